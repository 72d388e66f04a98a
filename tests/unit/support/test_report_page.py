"""The sections that commands write into pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.figures import figure_report
from bench.peers import kill_report
from tests.support.report_page import rewrite_section, table

ROOT = Path(__file__).parents[3]


def test_only_what_is_between_the_marks_is_rewritten(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- b -->\nafter\n")
    rewrite_section(page, "<!-- a -->", "<!-- b -->", "\nnew\n")
    assert page.read_text() == "before\n<!-- a -->\n\nnew\n\n<!-- b -->\nafter\n"
    rewrite_section(page, "<!-- a -->", "<!-- b -->", "newer")
    assert page.read_text() == "before\n<!-- a -->\n\nnewer\n\n<!-- b -->\nafter\n"


@pytest.mark.parametrize("text", ["", "<!-- a -->\n", "<!-- b -->\n<!-- a -->\n"])
def test_a_page_without_its_marks_is_left_alone_and_named(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page\.md needs the lines"):
        rewrite_section(page, "<!-- a -->", "<!-- b -->", "new")
    assert page.read_text() == text


def test_a_table_lines_numbers_up_at_the_right() -> None:
    assert table(("who", "what", "ms"), [("a", "b", "1")], words=2) == (
        "| who | what | ms |\n| --- | --- | --: |\n| a | b | 1 |"
    )


@pytest.mark.parametrize(
    ("page", "begin", "end"),
    [
        ("bench/README.md", figure_report.BEGIN, figure_report.END),
        ("docs/reliability.md", kill_report.BEGIN, kill_report.END),
    ],
)
def test_the_pages_have_their_marks_once(page: str, begin: str, end: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count(begin) == 1
    assert text.count(end) == 1
    assert text.index(begin) < text.index(end)
