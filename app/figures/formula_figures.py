"""Figures of a fusion rule that is written as an expression."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import polars as pl

from app.figures.trade_off_figures import money_against_share, point_hover
from app.language import t_html as t
from app.texts import plotted
from app.wording import Metrics, hover, rule_name
from scenarios.reporting.figures import add_star
from scenarios.reporting.theme import GREY, LINE_COLOURS, lay_out

HIGHEST_BID = 8.0
PLOT_PX, LABEL_PX = 290, 17
"""Height of a figure's plot, about, and of a label in it."""


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
            hovertemplate=hover(
                "formula.line_hover", line=name, relevance=plotted("x:.2f"), bid=plotted("y:.2f")
            ),
        )
        font = {"size": 12}
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
    figure.add_scatter(
        x=[100 * m["irrelevant_share"] for m in known.values()],
        y=[m["revenue_rpm"] for m in known.values()],
        mode="markers",
        name=t("formula.built_in"),
        text=[rule_name(name) for name in known],
        marker={"color": GREY, "size": 10, "symbol": "square"},
        hovertemplate=point_hover(plotted("text")),
    )
    if formula is not None and math.isfinite(formula["irrelevant_share"]):
        star, name = ([100 * formula["irrelevant_share"]], [formula["revenue_rpm"]]), t("formula.yours")
        add_star(figure, *star, name, hovertemplate=point_hover(name))
    x = [x for trace in figure.data for x in trace.x]
    margin = 0.08 * (max(x) - min(x)) or 1.0 if x else 1.0
    lay_out(figure, t("formula.rules_title"), height=420)
    money_against_share(figure)
    figure.update_xaxes(range=[min(x) - margin, max(x) + margin] if x else None)
    if known:
        _name_points(figure, known, formula, (min(x) + max(x)) / 200)
    return figure


def _name_points(
    figure: go.Figure, rules: Mapping[str, Metrics], formula: Metrics | None, middle: float
) -> None:
    """Write the rules' names beside their points, towards the middle share, none over another or the star."""
    money = [one for trace in figure.data for one in trace.y]
    least, most = min(money), max(money)
    room = 0.08 * (most - least) or 1.0
    figure.update_yaxes(range=[least - room, most + room])
    pixels = PLOT_PX / (most - least + 2 * room)
    for left in (True, False):
        side = {name: m for name, m in rules.items() if (m["irrelevant_share"] > middle) == left}
        heights = [pixels * m["revenue_rpm"] for m in side.values()]
        star = [pixels * formula["revenue_rpm"]] if formula is not None and side else []
        places = spread([*heights, *star], LABEL_PX)[: len(heights)]
        for (name, m), was, now in zip(side.items(), heights, places, strict=True):
            figure.add_annotation(
                x=100 * m["irrelevant_share"], y=m["revenue_rpm"], text=rule_name(name),
                ax=-26 if left else 26, ay=was - now, xanchor="right" if left else "left",
                arrowwidth=0.7, arrowhead=0, arrowcolor=GREY, standoff=5, font={"size": 12},
            )  # fmt: skip


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights that are at least `gap` apart, in the same order and as near to the given ones as can be.

    Neighbours that are too close become a block around their mean (pool adjacent violators).
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    blocks: list[list[float]] = []  # of each: the wanted heights less their place in the block
    for index in order:
        blocks.append([heights[index]])
        while len(blocks) > 1 and _top(blocks[-2], gap) + gap > _bottom(blocks[-1], gap):
            last = blocks.pop()
            blocks[-1] = blocks[-1] + last
    placed = [_bottom(block, gap) + gap * place for block in blocks for place in range(len(block))]
    found = dict(zip(order, placed, strict=True))
    return [found[index] for index in range(len(heights))]


def _bottom(block: Sequence[float], gap: float) -> float:
    return sum(block) / len(block) - gap * (len(block) - 1) / 2


def _top(block: Sequence[float], gap: float) -> float:
    return _bottom(block, gap) + gap * (len(block) - 1)
