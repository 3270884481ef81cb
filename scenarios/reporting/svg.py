"""A scatter plot as inline SVG, drawn without any library so that a page of it is self-contained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 16, 52
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""


class Dot(NamedTuple):
    """A point of the plot; `label` is shown where the pointer rests on it."""

    x: float
    y: float
    group: int
    label: str
    bold: bool = False
    faint: bool = False


def scatter(
    dots: Sequence[Dot],
    line: Sequence[tuple[float, float]],
    groups: Sequence[str],
    title: str,
    x_title: str,
    y_title: str,
) -> str:
    """Dots, a stepped line through some of them, and axes; groups have colours and a legend of their own."""
    xs, ys = ticks([dot.x for dot in dots]), ticks([dot.y for dot in dots])

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" class="plot" '
        'xmlns="http://www.w3.org/2000/svg">'
    ]
    for x in xs:
        column = at(x, ys[0])[0]
        parts.append(f'<path class="grid" d="M{column:.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(text_at(column, HEIGHT - BOTTOM + 18, f"{x:g}", "middle"))
    for y in ys:
        row = at(xs[0], y)[1]
        parts.append(f'<path class="grid" d="M{LEFT} {row:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text_at(LEFT - 8, row + 4, f"{y:g}", "end"))
    parts.append(text_at((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_title, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(text_at(16, middle, y_title, "middle", f' transform="rotate(-90 16 {middle})"'))
    if len(line) > 1:
        steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in _staircase([at(*point) for point in line]))
        parts.append(f'<polyline class="front" points="{steps}"/>')
    for dot in sorted(dots, key=lambda dot: dot.bold):
        x, y = at(dot.x, dot.y)
        colour = COLOURS[dot.group % len(COLOURS)]
        style = "dot" + " bold" * dot.bold + " faint" * dot.faint
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if dot.bold else 4}" fill="{colour}" '
            f'class="{style}"><title>{escape(dot.label)}</title></circle>'
        )
    parts.append("</svg>")
    if len(groups) > 1:
        keys = "".join(
            f'<li><span style="background:{COLOURS[place % len(COLOURS)]}"></span>{escape(group)}</li>'
            for place, group in enumerate(groups)
        )
        parts.append(f'<ul class="legend">{keys}</ul>')
    return "".join(parts)


def ticks(values: Sequence[float], about: int = 6) -> list[float]:
    """Round numbers, evenly apart, that span the values."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1.0) / 10, high + (abs(high) or 1.0) / 10
    rough = (high - low) / about
    size = 10.0 ** math.floor(math.log10(rough))
    step = size * next(factor for factor in (1, 2, 5, 10) if factor * size >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def _staircase(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is attained without mixing points: level to the next point, then straight up to it."""
    steps = points[:1]
    for x, y in points[1:]:
        steps += [(x, steps[-1][1]), (x, y)]
    return steps


def text_at(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    """A text whose start, middle or end (`anchor`) stands at x; `more` are further attributes."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
