"""Draws lag against polls as an SVG of four panels, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

GOAL = 0.6
_WIDTH, _HEIGHT = 360, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 40
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .title { font-weight: 600; font-size: 13px }
  .axis { stroke: #888; fill: none }
  .grid { stroke: #8884; fill: none }
  .goal { fill: #2a9d5c2b; stroke: none }
  .curve { stroke: #1769c7; fill: none; stroke-width: 2 }
  .dot { fill: #1769c7 }
  .chosen { fill: #1769c7; stroke: #fff; stroke-width: 2 }
  .advice { fill: #c2410c }
  .thumb { fill: none; stroke: #777; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd }
    .curve { stroke: #6db3ff } .dot, .chosen { fill: #6db3ff } .chosen { stroke: #111 }
    .advice { fill: #fb923c } .thumb { stroke: #aaa } .goal { fill: #2a9d5c55 }
  }
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One timetable: polls per task, and the lag that 95 % of tasks stay below."""

    polls: float
    p95_seconds: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One distribution: the curve over all trade-offs, the default, and the others."""

    title: str
    curve: Sequence[Point]
    chosen: int
    advice: Point
    thumb: Point


def draw(panels: Sequence[Panel]) -> str:
    """Return the SVG, two panels in a row."""
    rows = (len(panels) + 1) // 2
    width, height = 2 * _WIDTH, rows * _HEIGHT + 30
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    label = "Lag against polls per job: the learned timetable, Kie's advice, the rule of thumb"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">',
        f"<style>{_STYLE}</style>",
    ]
    for index, panel in enumerate(panels):
        x, y = (index % 2) * _WIDTH, (index // 2) * _HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *_Drawing(panel).lines(), "</g>"]
    parts += [*_legend(rows * _HEIGHT + 14), "</svg>"]
    return "\n".join(parts) + "\n"


def _legend(y: int) -> Iterator[str]:
    marks = (
        ('<circle class="chosen" r="6" cx="{x}" cy="{y}"/>', "learned (large: the default)"),
        ('<rect class="advice" x="{x0}" y="{y0}" width="10" height="10"/>', "Kie's advice"),
        ('<circle class="thumb" r="5" cx="{x}" cy="{y}"/>', "rule of thumb"),
        ('<rect class="goal" x="{x0}" y="{y0}" width="10" height="10"/>', "goal: 0.6 of both"),
    )
    for (mark, words), x in zip(marks, (54, 256, 382, 510), strict=True):
        yield mark.format(x=x, y=y, x0=x - 5, y0=y - 5)
        yield f'<text x="{x + 12}" y="{y + 4}">{escape(words)}</text>'


class _Drawing:
    """One panel in its own coordinates."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        points = [*panel.curve, panel.advice, panel.thumb]
        self._polls_max = _round_up(max(point.polls for point in points))
        self._lag_max = _round_up(max(point.p95_seconds for point in points))

    def lines(self) -> Iterator[str]:
        yield f'<text class="title" x="{_LEFT}" y="20">{escape(self._panel.title)}</text>'
        yield from self._axes()
        advice = self._panel.advice
        corner = self._at(Point(GOAL * advice.polls, GOAL * advice.p95_seconds))
        base = _HEIGHT - _BOTTOM
        yield (
            f'<rect class="goal" x="{_LEFT}" y="{corner[1]:.1f}"'
            f' width="{corner[0] - _LEFT:.1f}" height="{base - corner[1]:.1f}"/>'
        )
        places = [self._at(point) for point in self._panel.curve]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline class="curve" points="{path}"/>'
        for index, (x, y) in enumerate(places):
            chosen = index == self._panel.chosen
            mark, radius = ("chosen", 6) if chosen else ("dot", 3)
            yield f'<circle class="{mark}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'
        x, y = self._at(advice)
        yield f'<rect class="advice" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
        x, y = self._at(self._panel.thumb)
        yield f'<circle class="thumb" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'

    def _axes(self) -> Iterator[str]:
        base, end = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        for step in range(5):
            x, _ = self._at(Point(self._polls_max * step / 4, 0))
            _, y = self._at(Point(0, self._lag_max * step / 4))
            yield f'<path class="grid" d="M{x:.1f} {_TOP}V{base}M{_LEFT} {y:.1f}H{end}"/>'
            polls, lag = self._polls_max * step / 4, self._lag_max * step / 4
            yield f'<text x="{x:.1f}" y="{base + 15}" text-anchor="middle">{polls:g}</text>'
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{lag:g}</text>'
        yield f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{end}"/>'
        middle = (_LEFT + end) / 2
        yield f'<text x="{middle}" y="{base + 32}" text-anchor="middle">polls per job</text>'
        yield (
            f'<text transform="translate(13 {(_TOP + base) / 2}) rotate(-90)"'
            ' text-anchor="middle">lag p95, s</text>'
        )

    def _at(self, point: Point) -> tuple[float, float]:
        width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        x = _LEFT + width * point.polls / self._polls_max
        return x, _TOP + height * (1 - point.p95_seconds / self._lag_max)


def _round_up(value: float) -> float:
    """Return the next multiple of 4."""
    return 4.0 * (int(value / 4.0) + 1)
