"""Draws the submits of each account over time as an SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from bench.fairness.scenario_run import Submit
from bench.fairness.scenarios import Scenario

_WIDTH, _HEIGHT = 400, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 84, 34, 34
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .title { font-weight: 600; font-size: 13px }
  .axis { stroke: #888; fill: none }
  .grid { stroke: #8884; fill: none }
  .act { stroke: #b91c1c; stroke-dasharray: 4 3; fill: none }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round }
  .c0 { stroke: #1769c7 } .c1 { stroke: #c2410c } .c2 { stroke: #2a9d5c }
  text.c0 { fill: #1769c7; stroke: none } text.c1 { fill: #c2410c; stroke: none }
  text.c2 { fill: #1f7a46; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd }
    .c0 { stroke: #6db3ff } .c1 { stroke: #fb923c } .c2 { stroke: #4ade80 }
    text.c0 { fill: #6db3ff } text.c1 { fill: #fb923c } text.c2 { fill: #4ade80 }
    .act { stroke: #f87171 }
  }
"""

Measured = tuple[Scenario, Sequence[Submit]]


def draw(measured: Sequence[Measured], seconds: float) -> str:
    """Return the SVG, two scenarios in a row. The submits have the names of their crowds."""
    rows = (len(measured) + 1) // 2
    width, height = 2 * _WIDTH, rows * _HEIGHT
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    label = "Submits of each account over time, in seven situations"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">',
        f"<style>{_STYLE}</style>",
    ]
    for index, (scenario, submits) in enumerate(measured):
        x, y = (index % 2) * _WIDTH, (index // 2) * _HEIGHT
        parts += [
            f'<g transform="translate({x} {y})">',
            *_panel(scenario, submits, seconds),
            "</g>",
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(scenario: Scenario, submits: Sequence[Submit], seconds: float) -> Iterator[str]:
    most = _round_up(max(len(_moments(submits, one.name)) for one in scenario.crowds))
    base, end = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT

    def at(second: float, jobs: float) -> tuple[float, float]:
        x = _LEFT + (end - _LEFT) * min(second / seconds, 1)
        return x, base - (base - _TOP) * jobs / most

    yield f'<text class="title" x="{_LEFT}" y="20">{escape(scenario.name)}</text>'
    for step in range(5):
        second, jobs = seconds * step / 4, most * step / 4
        x, y = at(second, jobs)
        yield f'<path class="grid" d="M{x:.1f} {_TOP}V{base}M{_LEFT} {y:.1f}H{end}"/>'
        yield f'<text x="{x:.1f}" y="{base + 15}" text-anchor="middle">{second:g}</text>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{jobs:g}</text>'
    yield f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{end}"/>'
    yield f'<text x="{end}" y="{_HEIGHT - 4}" text-anchor="end">seconds</text>'
    for act in scenario.acts:
        x, _ = at(act.at_seconds, 0)
        yield f'<path class="act" d="M{x:.1f} {_TOP}V{base}"/>'
    labels: list[float] = []
    for number, crowd in enumerate(scenario.crowds):
        moments = _moments(submits, crowd.name)
        points = [(0.0, 0), *_steps(moments), (seconds, len(moments))]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        yield f'<polyline class="line c{number}" points="{path}"/>'
        _, y = at(seconds, len(moments))
        # Labels of lines that end close to each other stand below each other.
        while any(abs(y - other) < 13 for other in labels):
            y += 13
        labels.append(y)
        yield f'<text class="c{number}" x="{end + 6}" y="{y + 4:.1f}">{escape(crowd.name)}</text>'


def _moments(submits: Sequence[Submit], name: str) -> list[float]:
    return [one.at_seconds for one in submits if one.account == name]


def _steps(moments: Sequence[float]) -> Iterator[tuple[float, int]]:
    for number, moment in enumerate(moments):
        yield moment, number
        yield moment, number + 1


def _round_up(number: int) -> int:
    return max(-(-number // 20) * 20, 20)
