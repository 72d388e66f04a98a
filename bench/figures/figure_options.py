"""The options of a measurement."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.peer_environments import peers
from tests.support.arguments import at_least, positive

FIGURES = ("speed", "sustained", "enqueue", "crowd", "callbacks")
"""P1; P2; P5 and P6; P7; P3a."""
_FEWEST_JOBS = 10
_FEWEST_OFFERED_SECONDS = 10
"""Five are left out, and a task takes eight."""
_PAGE = Path(__file__).parents[1] / "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureOptions:
    """One measurement. The seed repeats the random choices of the simulated Kie."""

    rounds: int = 5
    jobs: int = 3_000
    """The jobs for P1: few enough for each poll to be on time."""
    sustained_rounds: int = 6
    """The rounds of P2: about two find the range of the rate, the others the rate."""
    offered_seconds: int = 40
    """How long a rate is offered. A longer time detects a smaller lag."""
    seed: int = 7
    peers: tuple[str, ...] = ()
    figures: tuple[str, ...] = FIGURES
    page: Path | None = None
    """The page whose section is rewritten. None means that the figures are only printed."""

    @property
    def command(self) -> str:
        """The command that repeats the measurement."""
        sustained = (
            f" --sustained-rounds {self.sustained_rounds} --offered-seconds {self.offered_seconds}"
            if "sustained" in self.figures
            else ""
        )
        return (
            f"python -m bench --rounds {self.rounds} --jobs {self.jobs}"
            f"{sustained} --seed {self.seed}"
            f" --peers {','.join(self.peers) or 'none'} --figures {','.join(self.figures)}"
        )


def read_command_line(arguments: Sequence[str]) -> FigureOptions:
    """Parse the arguments. Raises SystemExit if they are invalid."""
    defaults = FigureOptions()
    parser = _parser(defaults)
    given = parser.parse_args(arguments)
    for name in ("sustained_rounds", "offered_seconds"):
        if getattr(given, name) is not None and "sustained" not in given.figures:
            option = f"--{name.replace('_', '-')}"
            parser.error(f"{option} is for the figure sustained: add it to --figures")
    return FigureOptions(
        rounds=given.rounds,
        jobs=given.jobs,
        sustained_rounds=given.sustained_rounds or defaults.sustained_rounds,
        offered_seconds=given.offered_seconds or defaults.offered_seconds,
        seed=given.seed,
        peers=given.peers,
        figures=given.figures,
        page=_PAGE if given.write else None,
    )


def _parser(defaults: FigureOptions) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures Darkroom beside a bare loop and beside its peers, in rounds.",
        allow_abbrev=False,
    )
    parser.add_argument("--rounds", type=positive, default=defaults.rounds)
    parser.add_argument("--jobs", type=at_least(_FEWEST_JOBS), default=defaults.jobs)
    parser.add_argument(
        "--sustained-rounds",
        type=positive,
        help=f"rounds of sustained alone; default: {defaults.sustained_rounds}",
    )
    parser.add_argument(
        "--offered-seconds",
        type=at_least(_FEWEST_OFFERED_SECONDS),
        help=f"how long sustained offers a rate; default: {defaults.offered_seconds}",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument(
        "--peers",
        type=_peers,
        default=peers(),
        metavar="NAME,...",
        help=f"some of {', '.join(peers())}, or none; default: all",
    )
    parser.add_argument(
        "--figures",
        type=_figures,
        default=FIGURES,
        metavar="NAME,...",
        help="some of speed (P1), sustained (P2), enqueue (P5, P6), crowd (P7), callbacks (P3a);"
        " default: all",
    )
    parser.add_argument(
        "--write", action="store_true", help="rewrite the figures in bench/README.md as well"
    )
    return parser


def _peers(text: str) -> tuple[str, ...]:
    return () if text == "none" else _some_of(peers(), text, ", or none")


def _figures(text: str) -> tuple[str, ...]:
    return _some_of(FIGURES, text)


def _some_of(allowed: Sequence[str], text: str, rest: str = "") -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} must be some of {', '.join(allowed)}{rest}"
        )
    return names
