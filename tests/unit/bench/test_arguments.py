"""The arguments of the measuring commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.figures.figure_options import FIGURES, FigureOptions, read_command_line
from bench.peers import campaign
from bench.peers.kill_run import KillPlan
from bench.peers.peer_environments import peers

ALL = ("arq", "celery", "procrastinate", "saq", "streaq", "taskiq")


def test_without_arguments_everybody_is_measured_in_five_rounds_of_3000_jobs() -> None:
    assert read_command_line([]) == FigureOptions(
        rounds=5, jobs=3_000, seed=7, peers=ALL, figures=FIGURES, sustained_rounds=6, page=None
    )


def test_arguments_are_read() -> None:
    arguments = [
        "--rounds",
        "2",
        "--jobs",
        "50",
        "--sustained-rounds",
        "4",
        "--offered-seconds",
        "60",
        "--figures",
        "sustained,crowd",
        "--seed",
        "3",
        "--peers",
        "saq,arq",
        "--write",
    ]
    options = read_command_line(arguments)
    assert (options.rounds, options.jobs, options.seed) == (2, 50, 3)
    assert options.peers == ("saq", "arq")
    assert (options.sustained_rounds, options.offered_seconds) == (4, 60)
    assert options.figures == ("sustained", "crowd")
    assert options.page is not None
    assert options.page.name == "README.md"


def test_peers_may_be_left_out() -> None:
    assert read_command_line(["--peers", "none"]).peers == ()


def test_the_command_that_is_shown_gives_the_same_options_again() -> None:
    options = FigureOptions(rounds=3, jobs=20, seed=1, peers=("arq", "saq"))
    assert read_command_line(options.command.split()[3:]) == options
    nobody = FigureOptions(rounds=3, jobs=20, seed=1, peers=())
    assert read_command_line(nobody.command.split()[3:]) == nobody
    sustained = FigureOptions(
        sustained_rounds=3, offered_seconds=40, peers=("arq",), figures=("sustained",)
    )
    assert read_command_line(sustained.command.split()[3:]) == sustained


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rounds", "0"], "0 must be 1 or more"),
        (["--jobs", "9"], "9 must be 10 or more"),
        (["--jobs", "many"], "invalid"),
        (["--peers", "arq,rq"], "rq must be some of arq, celery"),
        (["--figures", "speed", "--sustained-rounds", "3"], "is for the figure sustained"),
        (["--figures", "speed", "--offered-seconds", "30"], "--offered-seconds is for the figure"),
        (["--offered-seconds", "9"], "9 must be 10 or more"),
        (["--figures", "speed,rate"], "rate must be some of speed, sustained"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_is_allowed(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        read_command_line(arguments)
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err


def test_the_campaign_gives_everybody_twelve_kills_in_24_seconds() -> None:
    plan, libraries, page = campaign.read_command_line([])
    assert plan == KillPlan(jobs=200, kills=12, window_seconds=24, limit_seconds=360)
    assert libraries == ("arq", "saq", "streaq")
    assert page is None


def test_the_campaign_reads_its_arguments() -> None:
    plan, libraries, page = campaign.read_command_line(
        ["--jobs", "5", "--kills", "2", "--peers", "saq", "--report", "page.md"]
    )
    assert (plan.jobs, plan.kills) == (5, 2)
    assert libraries == ("saq",)
    assert page == Path("page.md")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--kills", "0"], "0 must be 1 or more"),
        (["--limit-seconds", "7200"], "7200 must be above 0, 3600 at most"),
        (["--peers", "celery"], "celery must be some of arq, saq, streaq"),
    ],
)
def test_the_campaign_refuses_a_wrong_argument_with_what_is_allowed(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        campaign.read_command_line(arguments)
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err


def test_every_peer_has_its_requirements() -> None:
    assert peers() == ALL
