"""Figures of experiments: changes with their intervals, and what splits get wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl

from app.language import t_html as t
from app.texts import Html, html, plotted
from app.wording import hover, metric_name
from scenarios.reporting.figures import name_lines
from scenarios.reporting.theme import GREY, lay_out, marker, series_style

LARGE = 0.3
"""Metrics with a larger change are drawn apart, or they would flatten the others."""


def by_size(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Rows of a summary in one part or two: metrics that change little in every arm, and the others."""
    bounds = pl.max_horizontal(pl.col("change_t_low").abs(), pl.col("change_t_high").abs())
    large = rows.filter(bounds.is_finite() & (bounds > LARGE))["metric"].unique().to_list()
    parts = rows.filter(~pl.col("metric").is_in(large)), rows.filter(pl.col("metric").is_in(large))
    return [part for part in parts if len(part)]


def forest(rows: pl.DataFrame, baseline: str, level: str, *, large: bool = False) -> go.Figure:
    """Relative change of each metric in each arm, with its paired interval, over what could be detected.

    Args:
        rows: of one design of `StoredExperiment.summary`.
        level: of the intervals, e.g. "95%".
        large: whether the changes are those drawn apart.
    """
    title = t(f"experiments.forest_title{'_large' if large else ''}", baseline=baseline, level=level)
    figure = _forest(rows, "arm", ("change_value", "change_t_low", "change_t_high"), title)
    detectable = rows.group_by("metric", maintain_order=True).agg(pl.col("change_detectable").max())
    for place, reach in enumerate(detectable["change_detectable"].to_list()):
        if math.isfinite(reach):
            figure.add_shape(
                type="rect", layer="below", x0=-100 * reach, x1=100 * reach, y0=place - 0.36, y1=place + 0.36,
                fillcolor=GREY, opacity=0.25, line={"width": 0},
            )  # fmt: skip
    figure.update_xaxes(title=t("experiments.forest_x", baseline=baseline))
    return figure


def split_errors(rows: pl.DataFrame, arm: str, baseline: str, level: str) -> go.Figure:
    """By how much each split design is wrong about one arm.

    Args:
        rows: of one arm of `StoredExperiment.interference`.
    """
    names = {design: t(f"experiments.name_{design}") for design in rows["design"].unique()}
    rows = rows.with_columns(pl.col("design").replace(names))
    title = t("experiments.splits_title", arm=arm, level=level)
    figure = _forest(rows, "design", ("error_change", "error_change_low", "error_change_high"), title)
    figure.update_xaxes(title=t("experiments.splits_x", baseline=baseline))
    return figure


def _forest(rows: pl.DataFrame, by: str, columns: Sequence[str], title: str) -> go.Figure:
    """One line of the plot per metric, one marker in it per value of `by`."""
    metrics = rows["metric"].unique(maintain_order=True).to_list()
    groups = rows[by].unique(maintain_order=True).to_list()
    figure = go.Figure()
    for number, group in enumerate(groups):
        own = rows.filter(pl.col(by) == group)
        shift = 0.5 * (number - 0.5 * (len(groups) - 1)) / len(groups)
        value, low, high = (100 * own[column] for column in columns)
        figure.add_scatter(
            x=value,
            y=[metrics.index(metric) + shift for metric in own["metric"]],
            mode="markers",
            name=html(group),
            marker=marker(series_style(number), width=0),
            error_x={"type": "data", "array": high - value, "arrayminus": value - low, "thickness": 2},
            customdata=[
                [metric_name(metric), f"{a:+.2f}%", f"{b:+.2f}%"]
                for metric, a, b in zip(own["metric"], low, high, strict=True)
            ],
            hovertemplate=hover(
                "experiments.hover", Html(f"<b>{html(group)}</b>, "), metric=plotted("customdata[0]"),
                change=plotted("x:+.2f"), low=plotted("customdata[1]"), high=plotted("customdata[2]"),
            ),
            showlegend=True,
        )  # fmt: skip
    lay_out(figure, title, height=150 + 44 * len(metrics), legend_y=-70 / (44 * len(metrics)))
    figure.update_xaxes(ticksuffix="%", zeroline=True, zerolinecolor=GREY, zerolinewidth=1.5)
    name_lines(figure, map(metric_name, metrics))
    return figure
