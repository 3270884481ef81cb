"""The effects of an ablation as a forest plot: a panel for each figure, a line for each arm."""

from __future__ import annotations

import math
from typing import Any

from relevance.extras import require

require("plotly", extra="app", needed_by="figures")

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scenarios.reporting.figures import name_lines
from scenarios.reporting.theme import FAINT, GREY, INK, LINE_COLOURS
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

LINE, HEAD_AND_FOOT, WIDTH = 18, 110, 1300
"""In pixels: the height of a line, of all else, and the width of the picture."""


def picture(ablation: Ablation, found: Found) -> go.Figure:
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
    headings = [f"<b>{column.heading}</b><br>{_note(column)}" for column in panels]
    figure = make_subplots(1, len(panels), shared_yaxes=True, column_titles=headings, horizontal_spacing=0.03)
    for number, column in enumerate(panels, start=1):
        effects = {
            place: effect
            for place, (_, row) in enumerate(lines)
            if row is not None and (effect := effect_of(ablation, row, column, found))
        }
        scale = 100 if column.unit == "percent" else 1
        for seen, colour, symbol in ((True, LINE_COLOURS[0], "circle"), (False, GREY, "circle-open")):
            own = {place: effect for place, effect in effects.items() if effect.seen == seen}
            figure.add_scatter(
                x=[scale * effect.mean for effect in own.values()],
                y=list(own),
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2, "color": colour}},
                error_x={
                    "array": [scale * (effect.high - effect.mean) for effect in own.values()],
                    "arrayminus": [scale * (effect.mean - effect.low) for effect in own.values()],
                    "width": 0,
                    "thickness": 2,
                },
                name=column.heading,
                row=1,
                col=number,
            )
        figure.update_xaxes(**_axis(list(effects.values()), scale), row=1, col=number)
    name_lines(figure, (text for text, _ in lines))
    figure.update_yaxes(showgrid=False)
    figure.update_layout(
        template="none",
        width=WIDTH,
        height=HEAD_AND_FOOT + LINE * len(lines),
        margin={"l": 10, "r": 20, "t": 60, "b": 50},
        font={"color": INK},
        showlegend=False,
    )
    return figure


def _lines(ablation: Ablation) -> list[tuple[str, Row | None]]:
    """What stands at each line: the heading of a group (without a row), or an arm."""
    lines: list[tuple[str, Row | None]] = []
    for name, group in ablation.file.groups.items():
        lines.append((f"<b>{title_of(name)}, against {group.reference}</b>", None))
        for row in ablation.rows_of(name):
            if row.arm != group.reference:
                lines.append((", ".join(filter(None, [row.arm, row.at_text])), row))
    return lines


def _note(column: Column) -> str:
    return "less is better, in points" if column.unit == "percent" else "more is better"


def _axis(effects: list[Effect], scale: float) -> dict[str, Any]:
    """An axis with zero in it and every mean; the widest intervals, as of two seeds, may leave the panel."""
    axis = {"gridcolor": FAINT, "zerolinecolor": INK, "zerolinewidth": 1.5, "tickformat": "+~g", "nticks": 5}
    if not effects:
        return axis
    ends = [end for effect in effects for end in effect if not math.isnan(end)]
    span = 1.6 * max(abs(effect.mean) for effect in effects) or 1.0
    low, high = max(min([*ends, 0.0]), -span), min(max([*ends, 0.0]), span)
    room = 0.05 * (high - low)
    return {**axis, "range": [scale * (low - room), scale * (high + room)]}
