"""The report of the poll ceiling."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.poll_ceiling import Finding, Options, Pressure, read_command_line, write_section

_RECORD = {
    "polls": {"arrived": 1_200},
    "callbacks": {"answers": {"early": {"200": 30}, "forged_body": {"200": 12}}},
}


@pytest.mark.parametrize(("worst", "word"), [(3, "is kept"), (4, "is BROKEN")])
def test_the_worst_second_is_judged_by_kies_limit(worst: int, word: str) -> None:
    finding = Finding(_RECORD, Counter({2: 7, worst: 3}), Pressure(900, 5), 10.0, (0.1, 2.0))
    section = write_section(Options(seed=7), finding)
    assert f"**1,200 polls of 10 tasks: at most {worst} of one task" in section
    assert word in section
    assert "5 of them killed" in section
    assert "42 callbacks" in section
    assert "120 polls a second" in section


def test_the_command_line_repeats_itself() -> None:
    options = read_command_line(["--tasks", "50", "--polls", "900", "--seed", "3"])
    assert read_command_line(options.command.split()[3:]) == options


def test_no_tasks_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_command_line(["--tasks", "0"])
    assert "0 must be 1 or more" in capsys.readouterr().err
