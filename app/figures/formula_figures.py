"""Figures of a fusion rule that is written as an expression."""

from __future__ import annotations

import math
from collections.abc import Mapping

import plotly.graph_objects as go
import polars as pl

from app.figures.trade_off_figures import money_against_share, point_hover
from app.language import t
from app.wording import Metrics, hover, rule_name
from scenarios.reporting.figures import add_star
from scenarios.reporting.theme import GREY, LINE_COLOURS, lay_out

HIGHEST_BID = 8.0


def iso_scores(table: pl.DataFrame, pctr: float) -> go.Figure:
    """Bids against relevance, one line per score; `table` as of `scenarios.iso_scores`."""
    figure = go.Figure()
    for (line,), rows in table.group_by("line", maintain_order=True):
        inside = rows.filter(pl.col("bid") <= 1.5 * HIGHEST_BID)
        name = t("formula.line", bid=line)
        figure.add_scatter(
            x=inside["relevance"],
            y=inside["bid"],
            mode="lines",
            name=name,
            line={"color": LINE_COLOURS[0], "width": 2},
            showlegend=False,
            hovertemplate=hover("formula.line_hover", line=name, relevance="%{x:.2f}", bid="%{y:.2f}"),
        )
        font = {"color": LINE_COLOURS[0], "size": 12}
        figure.add_annotation(x=1.01, y=line, xanchor="left", text=f"{line:g}", showarrow=False, font=font)
    lay_out(figure, t("formula.lines_title", rate=pctr), height=420)
    figure.update_xaxes(title=t("formula.lines_x"), range=[0, 1.07], zeroline=False)
    figure.update_yaxes(title=t("formula.lines_y"), range=[0, HIGHEST_BID])
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
        name=t("formula.built_in"),
        text=[rule_name(name) for name in known],
        textposition=[
            # Where there is room: towards the middle of the figure.
            "middle left" if m["irrelevant_share"] > middle else "middle right"
            for m in known.values()
        ],
        cliponaxis=False,
        marker={"color": GREY, "size": 10, "symbol": "square"},
        hovertemplate=point_hover("%{text}"),
    )
    if formula is not None and math.isfinite(formula["irrelevant_share"]):
        star, name = ([100 * formula["irrelevant_share"]], [formula["revenue_rpm"]]), t("formula.yours")
        add_star(figure, *star, name, hovertemplate=point_hover(name))
    x = [x for trace in figure.data for x in trace.x]
    margin = 0.08 * (max(x) - min(x)) or 1.0 if x else 1.0
    lay_out(figure, t("formula.rules_title"), height=420)
    money_against_share(figure)
    figure.update_xaxes(range=[min(x) - margin, max(x) + margin] if x else None)
    return figure
