"""Figures of a fusion rule that is written as an expression."""

from __future__ import annotations

import math
from collections.abc import Mapping

import plotly.graph_objects as go
import polars as pl

from app.figures.common import lay_out
from app.theme import BLUE, CHOSEN, GREY
from app.wording import Metrics

HIGHEST_BID = 8.0


def iso_scores(table: pl.DataFrame, pctr: float) -> go.Figure:
    """Bids against relevance, one line per score; `table` as of `scenarios.iso_scores`."""
    figure = go.Figure()
    for (line,), rows in table.group_by("line", maintain_order=True):
        inside = rows.filter(pl.col("bid") <= 1.5 * HIGHEST_BID)
        name = f"bid {line:g} at relevance 1"
        figure.add_scatter(
            x=inside["relevance"],
            y=inside["bid"],
            mode="lines",
            name=name,
            line={"color": BLUE, "width": 2},
            showlegend=False,
            hovertemplate=f"scores like {name}<br>relevance %{{x:.2f}}: bid %{{y:.2f}}<extra></extra>",
        )
        figure.add_annotation(
            x=1.01,
            y=line,
            xanchor="left",
            text=f"{line:g}",
            showarrow=False,
            font={"color": BLUE, "size": 12},
        )
    lay_out(figure, f"Ads on one line score alike, at a click rate of {pctr:.1%}", height=420)
    figure.update_xaxes(title="Relevance (score, 0 to 1)", range=[0, 1.07], zeroline=False)
    figure.update_yaxes(title="Bid per click (currency units)", range=[0, HIGHEST_BID])
    return figure


def among_rules(rules: Mapping[str, Metrics], formula: Metrics | None) -> go.Figure:
    """Revenue against irrelevant ads: the built-in rules, and the formula as a star."""
    figure = go.Figure()
    found = sorted(rules.items(), key=lambda rule: rule[1]["irrelevant_share"])
    known = {name: m for name, m in found if math.isfinite(m["irrelevant_share"])}
    shares = [m["irrelevant_share"] for m in known.values()]
    middle = 0.5 * (min(shares) + max(shares)) if shares else 0.0
    figure.add_scatter(
        x=[100 * m["irrelevant_share"] for m in known.values()],
        y=[m["revenue_rpm"] for m in known.values()],
        mode="markers+text",
        name="built-in rules, at their defaults",
        text=list(known),
        textposition=[
            # Where there is room: towards the middle of the figure.
            "middle left" if m["irrelevant_share"] > middle else "middle right"
            for m in known.values()
        ],
        cliponaxis=False,
        marker={"color": GREY, "size": 10, "symbol": "square"},
        hovertemplate="<b>%{text}</b><br>%{y:,.2f} per 1,000 queries<br>%{x:.2f}% irrelevant<extra></extra>",
    )
    if formula is not None and math.isfinite(formula["irrelevant_share"]):
        figure.add_scatter(
            x=[100 * formula["irrelevant_share"]],
            y=[formula["revenue_rpm"]],
            mode="markers",
            name="your formula",
            marker={"symbol": "star", "size": 19, "color": CHOSEN, "line": {"width": 1.5, "color": "white"}},
            hovertemplate="<b>your formula</b><br>%{y:,.2f} per 1,000 queries<br>%{x:.2f}% irrelevant"
            "<extra></extra>",
        )
    x = [x for trace in figure.data for x in trace.x]
    margin = 0.08 * (max(x) - min(x)) or 1.0 if x else 1.0
    lay_out(figure, "What the formula earns, beside the built-in rules", height=420)
    figure.update_xaxes(
        title="Irrelevant share of shown ads (%), fewer to the left",
        ticksuffix="%",
        zeroline=False,
        range=[min(x) - margin, max(x) + margin] if x else None,
    )
    figure.update_yaxes(title="Revenue per 1,000 queries (currency units)", zeroline=False)
    return figure
