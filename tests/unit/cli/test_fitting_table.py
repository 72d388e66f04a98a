"""A table leaves columns out by importance, and breaks no word, before anything is folded."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from producer.cli.display.console import build_table

ID = "019f0000-0000-7000-8000-000000000000"
URL = "https://shop.example/a/very/long/path/of/a/webhook"


def rendered(width: int, *rows: tuple[str, ...]) -> list[str]:
    """Return the lines of a table like that of jobs."""
    table = build_table(
        *("id", "account", "model", "state", "credits", "why"),
        right=("credits",),
        drop=("model", "credits", "account"),
        sentences=("why",),
    )
    for row in rows:
        table.add_row(*row)
    out = io.StringIO()
    Console(file=out, width=width, markup=False).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


JOB = (ID, "acme", "gpt-4o-image", "failed (content_policy)", "7", "refused by Kie")


def test_everything_is_on_one_line_where_it_fits() -> None:
    head, row = rendered(200, JOB)
    assert head.split() == ["id", "account", "model", "state", "credits", "why"]
    assert [cell in row for cell in JOB] == [True] * len(JOB)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (130, []),
        (97, []),
        (90, ["model"]),
        (80, ["model", "credits"]),
        (70, ["model", "credits", "account"]),
    ],
)
def test_the_least_important_columns_are_left_out_first_and_named(
    width: int, left_out: list[str]
) -> None:
    lines = rendered(width, JOB)
    assert max(map(len, lines)) <= width
    for name in ("account", "model", "credits"):
        assert (name in lines[0].split()) == (name not in left_out)
    assert (f"not shown: {', '.join(left_out)}; see --json" in lines) == bool(left_out)
    assert ID in lines[1]
    assert {"failed", "(content_policy)"} <= set(" ".join(lines).split())


def test_numbers_are_aligned_right_and_never_folded() -> None:
    numbers = ("7", "12345.75", "-300")
    table = build_table("state", "credits", "why", right=("credits",))
    for number in numbers:
        table.add_row("queued", number, "a reason of some length")
    out = io.StringIO()
    Console(file=out, width=34, markup=False).print(table)
    lines = [line for line in out.getvalue().splitlines() if "queued" in line]
    ends = {line.index(number) + len(number) for line, number in zip(lines, numbers, strict=True)}
    assert len(ends) == 1


def test_only_long_words_of_sentences_are_folded() -> None:
    lines = rendered(80, (*JOB[:5], f"no answer from {URL}"))
    words = set(" ".join(lines).split())
    assert {"failed", "(content_policy)", "answer", "from", ID} <= words
    assert URL not in words
    assert max(map(len, lines)) <= 80


def test_an_id_is_whole_on_any_terminal_that_has_room_for_it() -> None:
    for width in range(60, 130):
        assert any(ID in line for line in rendered(width, JOB)), width
