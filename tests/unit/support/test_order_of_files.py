"""Files that wait and files that compute are mixed evenly, and no test is lost."""

from __future__ import annotations

from pathlib import Path

from tests.support.order_of_files import WAITING, order_files

ROOT = Path(__file__).parents[3]
OTHERS = [f"tests/unit/test_{number}.py" for number in range(300)]


def test_every_named_file_exists_and_the_longest_is_first() -> None:
    assert [file for file in WAITING if not (ROOT / file).is_file()] == []
    assert list(WAITING.values()) == sorted(WAITING.values(), reverse=True)


def test_every_file_begins_once() -> None:
    files = [*OTHERS, *WAITING, *OTHERS[:7]]
    assert sorted(order_files(files)) == sorted({*OTHERS, *WAITING})
    assert order_files(OTHERS[3:5]) == OTHERS[3:5]
    assert order_files([]) == []


def test_waits_and_computation_advance_alike() -> None:
    done, seconds = 0, 0
    for file in order_files([*OTHERS, *WAITING]):
        if file in WAITING:
            share = done / len(OTHERS) - seconds / sum(WAITING.values())
            assert abs(share) < 0.01, file
        seconds += WAITING.get(file, 0)
        done += file in OTHERS
    assert done == len(OTHERS)


def test_long_files_are_the_first_of_their_kind() -> None:
    waiting = [file for file in order_files([*OTHERS, *reversed(WAITING)]) if file in WAITING]
    assert waiting == list(WAITING)
