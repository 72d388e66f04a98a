"""The plots of the overview: gaps stay gaps, and a quiet queue is no gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from producer.console.history_plots import QUEUE_PLOTS, account_plots, plots_to_json
from producer.monitoring.history import History, HistorySample

NOW = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)
STEP = 15


def sample(intervals_ago: int, **changes: Any) -> HistorySample:
    """Return the sample of the interval that ended so many intervals before 12:00."""
    values: dict[str, Any] = {
        **dict.fromkeys(
            ("queued", "scheduled", "submitting", "unknown", "generating", "held_for_review"), 0
        ),
        **dict.fromkeys(("accepted", "submitted", "succeeded", "failed", "cancelled"), 0),
        **{
            f"{name}_{part}_seconds": None
            for name in ("wait", "run", "lag")
            for part in ("p50", "p95")
        },
        "oldest_waiting_seconds": 0.0,
        "credits_held": Decimal(0),
        "credits_charged": Decimal(0),
        "polls": 0,
        "kie_accounts": {},
    }
    starts_at = NOW.replace(second=0) - timedelta(seconds=STEP * (intervals_ago + 1))
    return HistorySample(starts_at=starts_at, **{**values, **changes})


def series(name: str, *samples: HistorySample, accounts: tuple[str, ...] = ()) -> list[list[Any]]:
    """Return the newest four values of each line of a plot."""
    drawn = plots_to_json(History(STEP, samples), NOW, 1, accounts)
    return [one["values"][-4:] for one in drawn["plots"][name]["series"]]


def test_every_plot_is_on_one_grid_up_to_the_newest_sample() -> None:
    drawn = plots_to_json(History(STEP, (sample(0), sample(100))), NOW, 1, ("east",))
    assert (drawn["begin"], drawn["end"], drawn["step"]) == (
        int(NOW.timestamp()) - 7 - 3600,
        int(NOW.timestamp()) - 7,
        STEP,
    )
    names = [plot.name for plot in (*QUEUE_PLOTS, *account_plots("east"))]
    assert list(drawn["plots"]) == names
    lengths = {len(one["values"]) for plot in drawn["plots"].values() for one in plot["series"]}
    assert lengths == {3600 // STEP + 1}


def test_an_interval_that_was_not_sampled_yet_is_no_gap_at_the_end() -> None:
    assert series("depth", sample(2, queued=1), sample(1, queued=2))[0] == [None, None, 1, 2]


def test_a_scheduled_job_is_drawn_apart_from_those_that_wait() -> None:
    samples = (sample(2, queued=5, scheduled=5), sample(1, queued=7, scheduled=4))
    waiting, _, scheduled = series("depth", *samples)
    assert (waiting, scheduled) == ([None, None, 0, 3], [None, None, 5, 4])
    assert len(series("depth", sample(1, queued=7))) == 2


def test_a_gap_is_none_and_an_interval_in_which_nothing_ended_is_not() -> None:
    samples = (sample(3, wait_p50_seconds=1.5), sample(1), sample(0, wait_p50_seconds=2.25))
    assert series("wait", *samples)[0] == [1.5, None, "", 2.25]
    assert series("rates", *samples)[1] == [0, None, 0, 0]


def test_counts_are_per_minute_and_exact_to_three_decimals() -> None:
    samples = (sample(1, succeeded=7, failed=1), sample(0, credits_charged=Decimal("1.0123")))
    submitted, succeeded, failed = series("rates", *samples)
    assert (submitted[2:], succeeded[2:], failed[2:]) == ([0, 0], [28, 0], [4, 0])
    assert series("charged", *samples)[0][2:] == [0, 4.049]


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        ((sample(1, polls=9, succeeded=2, failed=1), sample(0)), [3, 3]),
        ((sample(1, polls=8), sample(0, polls=4, succeeded=3)), ["", 4]),
        ((sample(1, polls=None, succeeded=5), sample(0, polls=6, succeeded=2)), ["", 3]),
        ((sample(21, polls=50, succeeded=1), sample(1), sample(0)), ["", ""]),
    ],
    ids=["none ended in the last", "none ended in the first", "polls unknown", "too long ago"],
)
def test_polls_per_job_are_those_of_five_minutes(
    samples: tuple[HistorySample, ...], wanted: list[Any]
) -> None:
    assert series("polls", *samples)[0][-2:] == wanted


def test_what_redis_did_not_tell_of_an_account_is_no_value() -> None:
    known = {"budget": 20, "budget_used": 3, "brake_level": 2, "balance": 12.5}
    samples = (
        sample(2, kie_accounts={"east": known}),
        sample(1, kie_accounts={"east": {**known, "budget_used": None, "balance": None}}),
        sample(0, kie_accounts={"west": known}),
    )
    used, limit = series("budget:east", *samples, accounts=("east",))
    assert (used[1:], limit[1:]) == ([3, "", ""], [20, 20, ""])
    slowed = sample(0, kie_accounts={"east": {**known, "submit_rate": 10}})
    assert series("budget:east", slowed, accounts=("east",))[1][-1] == 10, "the rate in force"
    assert series("balance:east", *samples, accounts=("east",))[0][1:] == [12.5, "", ""]
    assert series("brake:east", *samples, accounts=("east",))[0][1:] == [2, 2, ""]
