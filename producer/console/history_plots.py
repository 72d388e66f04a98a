"""Turns the history of the queue into the plots of the overview."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from producer.monitoring.history import History, HistorySample

NOTHING_MEASURED = ""
"""The value of an interval that was sampled and in which nothing ended. A line goes through it. A
gap, which is None, breaks the line."""
_POLLS_WINDOW_SECONDS = {15: 300, 300: 1800}
"""Over how long polls per job are averaged, by the length of an interval."""

_Value = float | str | None
_Read = Callable[[HistorySample], float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    label: str
    tone: str
    read: _Read
    is_per_minute: bool = False
    has_steps: bool = False
    is_optional: bool = False
    """Whether it is left out while all its values are 0."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot."""

    name: str
    title: str
    lines: tuple[Line, ...]
    unit: str = ""
    is_wide: bool = False
    """Whether it takes two places of three in its row."""


def _of(name: str) -> _Read:
    def read(sample: HistorySample) -> float | None:
        value = getattr(sample, name)
        return None if value is None else float(value)

    return read


def _percentiles(name: str, title: str) -> Plot:
    return Plot(
        name,
        title,
        (
            Line("p50", "2", _of(f"{name}_p50_seconds")),
            Line("p95", "1", _of(f"{name}_p95_seconds")),
        ),
        unit="s",
    )


QUEUE_PLOTS = (
    Plot(
        "depth",
        "Jobs waiting and at Kie",
        (
            Line("waiting", "1", _of("waiting")),
            Line("at Kie", "2", _of("in_flight")),
            Line("scheduled", "mute", _of("scheduled"), is_optional=True),
        ),
        is_wide=True,
    ),
    Plot(
        "oldest",
        "Oldest waiting job",
        (Line("age", "1", _of("oldest_waiting_seconds")),),
        unit="s",
    ),
    Plot(
        "rates",
        "Submits and ends a minute",
        (
            Line("submitted", "2", _of("submitted"), is_per_minute=True),
            Line("succeeded", "good", _of("succeeded"), is_per_minute=True),
            Line("failed", "bad", _of("failed"), is_per_minute=True),
        ),
        is_wide=True,
    ),
    Plot(
        "doubt",
        "Jobs in doubt",
        (Line("unknown", "4", _of("unknown")), Line("held", "bad", _of("held_for_review"))),
    ),
    _percentiles("wait", "Wait, from due to task id"),
    _percentiles("run", "Run, from task id to end"),
    _percentiles("lag", "Lag, from Kie's end to charge"),
    Plot("polls", "Polls per job", ()),
    Plot("held", "Credits held", (Line("held", "4", _of("credits_held")),)),
    Plot(
        "charged",
        "Credits charged a minute",
        (Line("charged", "3", _of("credits_charged"), is_per_minute=True),),
    ),
)


def account_plots(account: str) -> tuple[Plot, ...]:
    """Return the plots of one Kie account."""

    def of(name: str) -> _Read:
        def read(sample: HistorySample) -> float | None:
            value = sample.kie_accounts.get(account, {}).get(name)
            return None if value is None else float(value)

        return read

    def in_force(sample: HistorySample) -> float | None:
        # Samples of an earlier version have the configured limit only.
        rate = of("submit_rate")(sample)
        return of("budget")(sample) if rate is None else rate

    return (
        Plot(
            f"budget:{account}",
            "Submits in the last 10 s",
            (Line("used", "2", of("budget_used")), Line("limit", "mute", in_force)),
        ),
        Plot(
            f"brake:{account}",
            "Brake level",
            (Line("level", "1", of("brake_level"), has_steps=True),),
        ),
        Plot(f"balance:{account}", "Credits left at Kie", (Line("balance", "3", of("balance")),)),
    )


def plots_to_json(
    history: History, now: datetime, hours: int, accounts: Sequence[str]
) -> dict[str, Any]:
    """Return the values of all plots on one grid of times, which `plots.js` draws.

    The grid ends with the newest interval that may have been sampled. Times are those of the ends
    of the intervals, in seconds.
    """
    step = history.interval_seconds
    last = int(now.timestamp()) // step * step
    begin = last - hours * 3600
    known = {int(one.starts_at.timestamp()) + step: one for one in history.samples}
    newest = max((at for at in known if at <= last), default=last)
    samples = [known.get(at) for at in range(begin, newest + 1, step)]
    plots = [*QUEUE_PLOTS, *(plot for name in accounts for plot in account_plots(name))]
    return {
        "begin": begin,
        "end": last,
        "step": step,
        "plots": {plot.name: _plot_to_json(plot, samples, step) for plot in plots},
    }


def _plot_to_json(
    plot: Plot, samples: Sequence[HistorySample | None], step: int
) -> Mapping[str, Any]:
    if plot.name == "polls":
        values = _polls_per_job(samples, _POLLS_WINDOW_SECONDS[step] // step)
        series = [{"label": "polls", "tone": "2", "values": values}]
        return {"unit": plot.unit, "series": series}
    return {
        "unit": plot.unit,
        "series": [
            {
                "label": line.label,
                "tone": line.tone,
                "values": [_value(line, sample, step) for sample in samples],
                **({"steps": True} if line.has_steps else {}),
            }
            for line in plot.lines
            if not line.is_optional or any(one and line.read(one) for one in samples)
        ],
    }


def _value(line: Line, sample: HistorySample | None, step: int) -> _Value:
    if sample is None:
        return None
    value = line.read(sample)
    if value is None:
        return NOTHING_MEASURED
    return _rounded(value * 60 / step if line.is_per_minute else value)


def _polls_per_job(samples: Sequence[HistorySample | None], window: int) -> list[_Value]:
    """Return the polls ÷ the ends of the intervals up to each one, of those whose polls are known.

    Single intervals have too few ends for a ratio.
    """
    values: list[_Value] = []
    for place, sample in enumerate(samples):
        counted = [
            one
            for one in samples[max(place - window + 1, 0) : place + 1]
            if one is not None and one.polls is not None
        ]
        ended = sum(one.succeeded + one.failed for one in counted)
        polls = sum(one.polls or 0 for one in counted)
        if sample is None:
            values.append(None)
        else:
            values.append(_rounded(polls / ended) if ended else NOTHING_MEASURED)
    return values


def _rounded(value: float) -> float:
    """Return the value with three decimals, as an integer if it is one: this text is shorter."""
    rounded = round(value, 3)
    return int(rounded) if rounded.is_integer() else rounded
