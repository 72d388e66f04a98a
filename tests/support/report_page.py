"""Writes what a command found into its section of a page, between two marks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

_WIDTH = 100


def rewrite_section(page: Path, begin: str, end: str, section: str) -> None:
    """Put the section between the two marks of the page; raises ValueError where they lack."""
    text = page.read_text(encoding="utf-8")
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"{page} needs the lines {begin!r} and {end!r}; write them in")
    page.write_text(f"{before}{begin}\n\n{section.strip()}\n\n{end}{after}", encoding="utf-8")


def wrapped(text: str, indent: str = "") -> str:
    """Return a paragraph as the pages are wrapped; all but its first line are indented."""
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return a table of Markdown; all but the first `words` columns are numbers."""
    marks = ["---" if index < words else "--:" for index, _ in enumerate(head)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))
