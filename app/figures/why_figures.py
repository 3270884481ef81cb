"""The figure of who makes the difference between two rankings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from app.language import t_html as t
from app.texts import html
from app.wording import MISSING, hover
from scenarios import METRICS, Division, is_share
from scenarios.reporting.theme import BETTER, GREY, WORSE, lay_out

LONGEST = 26
"""Letters of a name beside its bar."""


def responsible(division: Division, rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """One bar for each of the largest parts, with its share; whiskers are intervals over days.

    Args:
        rows: of `scenarios.division_rows`, with the names that a reader sees.
    """
    scale = 100.0 if is_share(division.metric) else 1.0
    parts = [scale * row["part"] for row in rows]
    half = [0.0 if math.isnan(row["high"]) else scale * (row["high"] - row["part"]) for row in rows]
    labels = [_short(row["name"], place) for place, row in enumerate(rows)]
    shares = [f"{row['share']:.1%}" if division.clear else "" for row in rows]
    figure = go.Figure(
        go.Bar(
            x=parts,
            y=labels,
            orientation="h",
            marker_color=[_colour(division.metric, part) for part in parts],
            error_x={"array": half, "color": GREY, "thickness": 1.5, "width": 3},
            hovertemplate=[
                hover("responsible.hover", name=row["name"], part=f"{part:+.3f}", share=share or MISSING)
                for row, part, share in zip(rows, parts, shares, strict=True)
            ],
        )
    )
    reach = [part + math.copysign(more, part) for part, more in zip(parts, half, strict=True)]
    low = min(0.0, *(part - more for part, more in zip(parts, half, strict=True)))
    high = max(0.0, *(part + more for part, more in zip(parts, half, strict=True)))
    room = 0.16 * (high - low)
    for part, end, label, share in zip(parts, reach, labels, shares, strict=True):
        figure.add_annotation(
            x=end, y=label, text=share, showarrow=False, xanchor="left" if part >= 0 else "right",
            xshift=4 if part >= 0 else -4, font={"size": 12},
        )  # fmt: skip
    unit = t("responsible.in_points") if is_share(division.metric) else ""
    title = t("responsible.figure_title")
    lay_out(figure, title, height=110 + 30 * len(parts), showlegend=False, bargap=0.3)
    figure.update_xaxes(
        title=t("responsible.figure_x", unit=unit),
        range=[low - room * (min(parts) < 0), high + room * (max(parts) > 0)],
        zeroline=True,
        zerolinecolor=GREY,
    )
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False)
    return figure


def _colour(metric: str, part: float) -> str:
    known = METRICS.get(metric.removesuffix("_rpm")) or METRICS[metric]
    if known.more_is_better is None:  # clicks are neither by themselves, but more earn more
        return BETTER if part > 0 else WORSE
    return BETTER if (part > 0) == known.more_is_better else WORSE


def _short(name: str, place: int) -> str:
    """A name as its bar has it: cut names stay apart by blanks that nobody sees."""
    cut = name if len(name) <= LONGEST else f"{name[: LONGEST - 1].rstrip()}…"
    return html(cut) + "\u200b" * place
