"""Writes a section of a Markdown page between two marks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

_WIDTH = 100


def rewrite_section(page: Path, begin: str, end: str, section: str) -> None:
    """Replace the text between the two marks of the page. Raises ValueError without them."""
    text = page.read_text(encoding="utf-8")
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"{page} needs the lines {begin!r} and {end!r}; write them in")
    page.write_text(f"{before}{begin}\n\n{section.strip()}\n\n{end}{after}", encoding="utf-8")


def wrapped(text: str, indent: str = "") -> str:
    """Wrap a paragraph at the width of the pages. Later lines are indented."""
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return a Markdown table. Columns after the first `words` are right-aligned."""
    marks = ["---" if index < words else "--:" for index, _ in enumerate(head)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))
