"""The rate that a worker carries: the result of a trial, the screening, and the report."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bench.figures.figure_options import FigureOptions
from bench.figures.figure_report import Findings, write_figures
from bench.figures.rate_search import Outcome
from bench.figures.rate_trial import Trial, delays_between, lateness_of, outcome_of
from bench.figures.sustained_rate import Sustained, best_peers
from bench.figures.sustained_report import sustained_ratio

YES, NO, LATE = Outcome.CARRIED, Outcome.NOT_CARRIED, Outcome.NOT_OFFERED
ON_TIME = (0.0,) * 100
OURS = Trial(
    name="Darkroom",
    rate=600,
    jobs=12_000,
    outcome=YES,
    cpu_seconds=15.0,
    polls=36_000,
    kie_share=0.3,
    worker_share=0.75,
    lags=(1.0,) * 90 + (2.0,) * 10,
    submit_delays=(0.25,) * 100,
)
PEER = replace(OURS, name="arq 0.28.0", rate=300, jobs=6_000)


def placed_at(rate: int, jobs: int) -> list[float]:
    return [1_000 + number / rate for number in range(jobs)]


def test_a_worker_that_keeps_up_has_the_delay_of_one_job() -> None:
    placed = placed_at(100, 1_000)
    created = [moment + 0.2 for moment in placed]
    delays = delays_between(placed, created, since=1_000)
    assert delays == pytest.approx([0.2] * 1_000)
    assert outcome_of(lateness_of(placed, 100), delays, ON_TIME, all_ended=True) is YES


def test_a_worker_that_creates_more_slowly_than_jobs_are_placed_does_not_carry_the_rate() -> None:
    placed = placed_at(100, 2_000)
    # 20 s of jobs take it 28 s: the last are 8 s late, and a twentieth is beyond 5 s.
    created = [1_000 + number / 100 * 1.4 for number in range(2_000)]
    delays = delays_between(placed, created, since=1_005)
    assert delays[0] == pytest.approx(2.0)
    assert delays[-1] == pytest.approx(8.0, abs=0.01)
    assert outcome_of(lateness_of(placed, 100), delays, ON_TIME, all_ended=True) is NO


def test_jobs_that_never_got_a_task_are_late_without_end() -> None:
    placed = placed_at(10, 10)
    delays = delays_between(placed, placed[:9], since=0)
    assert delays == (0.0,) * 9 + (math.inf,)
    assert outcome_of((), delays, (), all_ended=True) is NO


def test_jobs_of_the_cold_seconds_are_left_out() -> None:
    placed = placed_at(10, 100)
    created = [*([1_009.0] * 50), *placed[50:]]
    assert max(delays_between(placed, created, since=1_005)) == 0


@pytest.mark.parametrize(
    ("late", "share", "outcome"), [(5.0, 0.5, YES), (5.5, 0.04, YES), (5.5, 0.06, NO)]
)
def test_a_twentieth_of_the_jobs_may_be_settled_late(
    late: float, share: float, outcome: Outcome
) -> None:
    count = round(share * 100)
    lags = (late,) * count + (1.0,) * (100 - count)
    assert outcome_of(ON_TIME, ON_TIME, lags, all_ended=True) is outcome


def test_a_rate_with_jobs_that_did_not_end_is_not_carried() -> None:
    assert outcome_of(ON_TIME, ON_TIME, ON_TIME, all_ended=False) is NO


def test_placing_that_falls_behind_is_not_counted_against_the_worker() -> None:
    # 100 jobs/s were meant, 80 were placed: after 10 s the placing is 2 s late.
    lateness = lateness_of(placed_at(80, 800), 100)
    assert lateness[-1] == pytest.approx(2.0, abs=0.01)
    assert outcome_of(lateness, (9.0,) * 100, ON_TIME, all_ended=False) is LATE


def test_darkroom_and_the_two_least_busy_peers_continue() -> None:
    shares = {"Darkroom": 0.9, "a": 0.4, "b": 0.2, "c": 0.3}
    screened = [replace(OURS, name=name, worker_share=share) for name, share in shares.items()]
    assert best_peers(screened) == ["b", "c"]
    assert best_peers(screened[:1]) == []


def findings(ours: list[Trial], peer: list[Trial]) -> Findings:
    screening = [replace(one, rate=100, jobs=1_000, worker_share=0.2) for one in (OURS, PEER)]
    trials = {"Darkroom": ours, "arq 0.28.0": peer}
    return Findings(sustained=Sustained(screening, trials))


BRACKETED = findings(
    [OURS, replace(OURS, rate=780, outcome=NO, cpu_seconds=99)],
    [PEER, replace(PEER, rate=390, outcome=NO)],
)


def test_the_figures_hold_the_ratio_the_trials_and_the_screening() -> None:
    text = write_figures(BRACKETED, FigureOptions(peers=("arq",), sustained_rounds=2), (0.1, 0.9))
    assert "| P2 | jobs/s that one worker process carries ÷ the best peer's | 2.00 | 2" in text
    row = "| Darkroom | 684 | 684 | 684 | 600 yes, 780 no | 600 | 75 | 1.25 | 3.00 | 1.00 | 2.00 |"
    assert f"{row} 0.25 | 30 |" in text
    assert "| arq 0.28.0 | 342 | 342 | 342 | 300 yes, 390 no | 300 |" in text
    assert "| arq 0.28.0 | yes | 20 | 15.00 | 36.00 | 1.00 | 2.00 | 0.25 | 30 | 400 |" in text
    assert "30 % of a core at most: no bottleneck" in text
    assert "**" not in text
    assert "P1" not in text


def test_a_rate_measured_from_one_side_only_is_reported_as_a_bound() -> None:
    found = findings([OURS], [replace(PEER, outcome=NO)])
    text = " ".join(write_figures(found, FigureOptions(peers=("arq",)), (0, 0)).split())
    assert "÷ the best peer's (of bounds, see below) | 2" in text
    assert "**Darkroom: the outcome never changed. The rate is somewhere above 600 jobs/s" in text
    assert "**arq 0.28.0: the outcome never changed. The rate is somewhere below 300 jobs/s" in text
    assert "| 300 no | none | none |" in text


def test_rounds_whose_placing_fell_behind_are_named() -> None:
    late = replace(PEER, rate=390, outcome=LATE)
    found = findings([OURS, OURS], [PEER, late])
    text = " ".join(write_figures(found, FigureOptions(peers=("arq",)), (0, 0)).split())
    assert "300 yes, 390 placed late" in text
    assert "**arq 0.28.0: at 390 jobs/s the placing fell behind." in text


def test_without_peers_there_is_a_rate_and_no_ratio() -> None:
    alone = Sustained([OURS], {"Darkroom": [OURS]})
    assert sustained_ratio(alone) is None
    text = write_figures(Findings(sustained=alone), FigureOptions(), (0, 0))
    assert "| P2 |" not in text
    assert "| Darkroom | 684 |" in text
