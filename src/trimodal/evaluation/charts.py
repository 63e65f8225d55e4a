"""Charts as inline SVG: dots with intervals, and lines over levels. Colours follow the page, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

_ROW, _WIDTH, _CHAR = 22, 860, 6.6


@dataclass(frozen=True)
class Dot:
    """A row of a dot chart: a value with its interval, and a second value to compare it with."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    other: float | None = None
    accent: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a line chart: a value per level with its interval (low, value, high)."""

    label: str
    points: Sequence[tuple[float, float, float]]
    color: str
    dashed: bool = False


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover [low, high], about `count` of them."""
    span = max(high - low, 1e-9)
    rough = span / count
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def dot_chart(
    rows: Sequence[Dot], *, title: str, reference: float | None = None, reference_label: str = "", percent: bool = False
) -> Markup:
    """Draw one row a value: a dot, its interval as a line, and a diamond where there is a second value.

    Parameters
    ----------
    title
        What a screen reader says of the picture.
    reference
        Value of a vertical line through all rows.
    percent
        Write shares as percent.
    """
    values = [v for row in rows for v in (row.value, row.low, row.high, row.other) if v is not None]
    marks = ticks(min(0.0, *values), max(values))
    left = 24 + _CHAR * max(len(row.label) for row in rows)
    right, top = _WIDTH - 72, 26
    height = top + _ROW * len(rows) + 12
    scale = _scale(marks, left, right)
    parts = [
        f'<line class="grid" x1="{scale(m):.1f}" x2="{scale(m):.1f}" y1="{top - 6}" y2="{height - 8}"/>'
        f'<text class="tick" x="{scale(m):.1f}" y="12" text-anchor="middle">{_number(m, percent)}</text>'
        for m in marks
    ]
    if reference is not None:
        x = scale(reference)
        parts.append(
            f'<line class="reference" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{height - 8}">'
            f"<title>{_escaped(reference_label)}</title></line>"
        )
    for i, row in enumerate(rows):
        y = top + _ROW * i + _ROW / 2
        kind = "dot accent" if row.accent else "dot"
        interval = ""
        if row.low is not None and row.high is not None:
            interval = (
                f'<line class="interval" x1="{scale(row.low):.1f}" x2="{scale(row.high):.1f}" y1="{y}" y2="{y}"/>'
            )
        other = ""
        if row.other is not None:
            x = scale(row.other)
            other = f'<path class="diamond" d="M{x:.1f} {y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5z"/>'
        figure = f"{100 * row.value:.2f} %" if percent else f"{row.value:.3f}"
        parts.append(
            f'<g class="{kind}"><text class="label" x="{left - 12:.1f}" y="{y + 4}" text-anchor="end">'
            f"{_escaped(row.label)}</text>{interval}{other}"
            f'<circle cx="{scale(row.value):.1f}" cy="{y}" r="4.5"/>'
            f'<text class="figure" x="{_WIDTH - 4}" y="{y + 4}" text-anchor="end">{figure}</text></g>'
        )
    return _svg(parts, _WIDTH, height, title)


def line_chart(lines: Sequence[Line], levels: Sequence[str], *, title: str, percent: bool = True) -> Markup:
    """Draw lines over named levels, evenly spaced; each is labelled at its right end."""
    height, left, top = 330, 52, 14
    label = 18 + _CHAR * max(len(line.label) for line in lines)
    right, bottom = _WIDTH - label, height - 38
    marks = ticks(0.0, max(high for line in lines for _, _, high in line.points))
    y = _scale(marks, bottom, top)
    gap = (right - left) / max(1, len(levels) - 1)
    parts = [
        f'<line class="grid" x1="{left}" x2="{right:.1f}" y1="{y(m):.1f}" y2="{y(m):.1f}"/>'
        f'<text class="tick" x="{left - 8}" y="{y(m) + 4:.1f}" text-anchor="end">{_number(m, percent)}</text>'
        for m in marks
    ]
    for i, level in enumerate(levels):
        parts.append(
            f'<text class="tick" x="{left + gap * i:.1f}" y="{bottom + 18}" text-anchor="middle">{_escaped(level)}'
            "</text>"
        )
    parts.append(
        f'<text class="tick" x="{(left + right) / 2:.1f}" y="{height - 3}" text-anchor="middle">'
        "clicks per product that are left</text>"
    )
    ends = _apart([y(line.points[-1][1]) for line in lines], 15.0, top, bottom)
    for line, end in zip(lines, ends, strict=True):
        places = [(left + gap * i, y(value)) for i, (_, value, _) in enumerate(line.points)]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        intervals = "".join(
            f"M{a:.1f} {y(low):.1f}V{y(high):.1f}" for (a, _), (low, _, high) in zip(places, line.points, strict=True)
        )
        dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.2"/>' for a, b in places)
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        x = places[-1][0]
        parts.append(
            f'<g class="series" style="--c:{line.color}"><title>{_escaped(line.label)}</title>'
            f'<path class="spread" d="{intervals}"/><path class="trace" d="{path}"{dash}/>{dots}'
            f'<path class="leader" d="M{x + 4:.1f} {places[-1][1]:.1f}L{x + 14:.1f} {end:.1f}"/>'
            f'<text x="{x + 17:.1f}" y="{end + 4:.1f}">{_escaped(line.label)}</text></g>'
        )
    return _svg(parts, _WIDTH, height, title)


def _scale(marks: Sequence[float], start: float, stop: float):  # type: ignore[no-untyped-def]
    low, high = marks[0], marks[-1]
    return lambda value: start + (value - low) / (high - low or 1.0) * (stop - start)


def _apart(places: Sequence[float], least: float, top: float, bottom: float) -> list[float]:
    """Move labels so that no two are nearer than `least`, in their order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    over = moved[order[-1]] - bottom
    if over > 0:
        moved[order[-1]] -= over
        for after, before in pairwise(order[::-1]):
            moved[before] = max(top, min(moved[before], moved[after] - least))
    return moved


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:g} %" if percent else f"{value:g}"


def _escaped(text: str) -> Markup:
    return Markup.escape(text)


def _svg(parts: Sequence[str], width: float, height: float, title: str) -> Markup:
    body = "".join(str(part) for part in parts)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{_escaped(title)}">{body}</svg>'
    )
