"""The distributions of task durations for the poll simulation."""

from __future__ import annotations

from math import exp, floor
from pathlib import Path
from random import Random

from bench.polling.poll_simulation import DurationModel
from worker.simulator import Durations

_LOGNORMAL = Durations("lognormal", 35.0, 0.4)
_BIMODAL = Durations("bimodal")
_HEAVY = Durations("heavy-tail")


def _steady(random: Random, _: float) -> float:
    return _LOGNORMAL.draw(random)


def _drifting(random: Random, gone: float) -> float:
    return (20.0 + 60.0 * gone) * exp(0.4 * random.gauss(0.0, 1.0))


def _jumping(random: Random, gone: float) -> float:
    return (25.0 if int(gone * 4) % 2 == 0 else 75.0) * exp(0.3 * random.gauss(0.0, 1.0))


def _hundredths(share: float) -> float:
    return floor(min(share, 1.0) * 100) / 100


MAIN = (
    DurationModel("steady (lognormal, 35 s)", _steady),
    DurationModel("bimodal (25 and 110 s)", lambda random, _: _BIMODAL.draw(random)),
    DurationModel("heavy tail (from 20 s)", lambda random, _: _HEAVY.draw(random)),
    DurationModel("drifting (20 to 80 s)", _drifting),
)
"""The distributions of P3b: those of the simulated Kie, and a slow drift."""

OTHERS = (
    DurationModel(
        "wide lognormal (sigma 0.6)", lambda random, _: 35.0 * exp(0.6 * random.gauss(0, 1))
    ),
    DurationModel("jumping (25 and 75 s)", _jumping),
    DurationModel("constant (4.5 s)", lambda random, _: 4.5),
    DurationModel(
        "steady, progress tells the end",
        _steady,
        progress=lambda seconds, elapsed: _hundredths(elapsed / seconds),
    ),
    DurationModel(
        "steady, progress tells nothing",
        _steady,
        progress=lambda seconds, elapsed: _hundredths(1.0 - exp(-elapsed / 35.0)),
    ),
    DurationModel("steady, Kie does not date ends", _steady, said=lambda seconds: None),
    DurationModel("steady, Kie's clock 5 s behind", _steady, said=lambda seconds: seconds - 5.0),
    DurationModel("steady, Kie's clock 5 s ahead", _steady, said=lambda seconds: seconds + 5.0),
)


def recorded(path: Path) -> DurationModel:
    """Return the world of a file of seconds, one per line, used in a cycle.

    Raises ValueError where a line is no positive number.
    """
    seconds = [float(line) for line in path.read_text(encoding="utf-8").split()]
    if not seconds or min(seconds) <= 0:
        raise ValueError(f"{path} must have one positive number of seconds per line")
    return DurationModel(
        f"recorded ({len(seconds)} tasks)", lambda random, gone: random.choice(seconds)
    )
