"""The effects of an ablation as a forest plot in SVG: a panel for each figure, a line for each arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from scenarios.reporting.svg import COLOURS, text_at, ticks
from scenarios.studies.ablations.ablation import Ablation, Row
from scenarios.studies.ablations.effects import (
    MARKET,
    METRICS,
    Column,
    Effect,
    Found,
    effect_of,
    graded,
    title_of,
)

ROW, HEADING, LABELS, PANEL, GAP, TOP, BOTTOM = 18, 30, 400, 180, 44, 46, 40
BOLD = ' font-weight="bold"'
SEEN, UNSEEN = COLOURS[0], "#8a8a8a"


class _Line(NamedTuple):
    """An arm, or with `row` None the heading of a group."""

    text: str
    row: Row | None
    y: float


def picture(ablation: Ablation, found: Found) -> str:
    """Differences to each group's reference with 95% intervals; grey and hollow where they hold zero.

    Panels: NDCG@10, AUC of 3 against 2 and of 1 against 0 on the first split, and the share of irrelevant
    ads in the market. An arm without an interval (one seed) has a dot alone.
    """
    split = ablation.file.splits[0]
    panels = [
        Column(heading, graded(split, "all", METRICS[heading][0]))
        for heading in ("NDCG@10", "3 vs 2", "1 vs 0")
    ]
    panels.append(next(column for column in MARKET if column.heading == "irrelevant"))
    lines = _lines(ablation)
    width = LABELS + len(panels) * (PANEL + GAP)
    height = int(lines[-1].y) + ROW + BOTTOM
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'font-family="sans-serif" font-size="12" fill="#222" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(ablation.name)}: what each arm changes, with 95% intervals over the seeds</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for line in lines:
        parts.append(text_at(8, line.y + 4, line.text, "start", BOLD * (line.row is None)))
    for number, column in enumerate(panels):
        effects = [
            (line.y, effect)
            for line in lines
            if line.row is not None and (effect := effect_of(ablation, line.row, column, found))
        ]
        left = LABELS + number * (PANEL + GAP)
        parts += _panel(left, height - BOTTOM, column, effects)
    return "".join([*parts, "</svg>\n"])


def _lines(ablation: Ablation) -> list[_Line]:
    lines, y = [], float(TOP)
    for name, group in ablation.file.groups.items():
        y += HEADING - ROW
        lines.append(_Line(f"{title_of(name)}, against {group.reference}", None, y))
        for row in ablation.rows_of(name):
            if row.arm != group.reference:
                y += ROW
                lines.append(_Line(", ".join(filter(None, [row.arm, row.at_text])), row, y))
        y += ROW
    return lines


def _panel(left: float, bottom: float, column: Column, effects: Sequence[tuple[float, Effect]]) -> list[str]:
    scale = 100 if column.unit == "percent" else 1
    note = "less is better, in points" if column.unit == "percent" else "more is better"
    parts = [text_at(left, 16, column.heading, "start", BOLD), text_at(left, 30, note, "start")]
    if not effects:
        return parts
    ends = [end for _, effect in effects for end in effect if not math.isnan(end)]
    # The widest intervals, of two seeds or so, may leave the panel; all of the means are in it.
    span = 1.6 * max(abs(effect.mean) for _, effect in effects) or 1.0
    low, high = max(min([*ends, 0.0]), -span), min(max([*ends, 0.0]), span)
    marks = ticks([low * scale, high * scale], 3)
    low, high = marks[0] / scale, marks[-1] / scale

    def at(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * PANEL

    for mark in marks:
        x, colour = at(mark / scale), "#222" if mark == 0 else "#ddd"
        parts.append(f'<path d="M{x:.1f} {TOP - 14}V{bottom:.0f}" stroke="{colour}"/>')
        parts.append(text_at(x, bottom + 18, f"{mark:+g}" if mark else "0", "middle"))
    for y, effect in effects:
        colour, fill = (SEEN, SEEN) if effect.seen else (UNSEEN, "#fff")
        if not math.isnan(effect.low):
            ends_at = f"M{at(effect.low):.1f} {y:.1f}H{at(effect.high):.1f}"
            parts.append(f'<path d="{ends_at}" stroke="{colour}" stroke-width="2"/>')
        dot = (
            f'cx="{at(effect.mean):.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}" stroke-width="2"'
        )
        parts.append(f"<circle {dot}/>")
    return parts
