"""Figures of a sweep: its points and their front, parallel coordinates, and what moves what."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from app.figures.common import LINE_COLOURS, OUTLINE, SYMBOLS, lay_out
from app.language import t
from app.parts.sweep_tables import (
    amount,
    axis_title,
    fields_of,
    headline,
    point_text,
    short_field,
    value_text,
)
from app.theme import BLUE, CHOSEN, GREY, ORANGE, scorer_style
from app.wording import metric_name, scorer_name
from scenarios import Sensitivity, SweepResult, front, is_share

SCALE = [[0.0, BLUE], [0.5, "#9A9A9A"], [1.0, ORANGE]]
"""Reads on white and on black, and alike with and without colour vision deficiency."""

MOST_TICKS = 12
BETWEEN_AXES = 90
"""Pixels that a tick text may take without running into the axis before it, even on a narrow page."""
LONGEST_TICK = 28


def sweep_front(result: SweepResult, opened: int | None = None, bound: float | None = None) -> go.Figure:
    """The two main objectives against one another: a marker for each point, and their Pareto front.

    A front in more objectives is none in two: then there are its larger markers, and no line.

    Args:
        opened: the point that is drawn as a star.
        bound: of the share of irrelevant ads, drawn where that is an objective.

    Every point carries its number as a text in customdata.
    """
    gain, harm = result.sweep.file.objectives
    points = result.points.filter(pl.col(gain).is_finite() & pl.col(harm).is_finite())
    figure = go.Figure()
    _add_front(figure, result, t("trade_off.front"), GREY)
    by_scorer = "scorer" in fields_of(result)
    groups = points["scorer"].unique(maintain_order=True).to_list() if by_scorer else [None]
    for group in groups:
        own = points if group is None else points.filter(pl.col("scorer") == group)
        style = None if group is None else scorer_style(str(group))
        name = t("sweeps.points") if group is None else scorer_name(str(group))
        colour, symbol = (BLUE, SYMBOLS[0]) if style is None else (style.colour, style.symbol)
        _add_points(figure, result, own, name, colour, symbol)
    if opened is not None and len(star := points.filter(pl.col("point") == opened)):
        figure.add_scatter(
            x=_scaled(star, harm),
            y=_scaled(star, gain),
            mode="markers",
            name=t("sweeps.opened"),
            marker={"symbol": "star", "size": 19, "color": CHOSEN, "line": {"width": 1.5, "color": OUTLINE}},
            hoverinfo="skip",
        )
    if bound is not None and harm == "irrelevant_share":
        figure.add_vline(x=100 * bound, line={"color": GREY, "width": 1.5, "dash": "dot"})
    for trace in figure.data:
        trace.selected, trace.unselected = {"marker": {"opacity": 1}}, {"marker": {"opacity": 1}}
    title = t("sweeps.front_title", gain=headline(gain), harm=metric_name(harm).lower())
    lay_out(figure, title, height=480)
    figure.update_layout(clickmode="event+select", legend={"y": -0.2})
    figure.update_xaxes(title=t("sweeps.less_left", axis=axis_title(harm)), zeroline=False)
    figure.update_yaxes(title=axis_title(gain), zeroline=False)
    return figure


def parallel(result: SweepResult, metrics: Sequence[str]) -> go.Figure:
    """One line per point through an axis for each swept field and metric, coloured by the first objective."""
    gain, _ = result.sweep.file.objectives
    points = result.points.filter(pl.col(gain).is_finite())
    shown = [field for field in fields_of(result) if points[field].n_unique() > 1]
    # A field with long texts comes first: the margin has room for them, other axes have lines there.
    dimensions = sorted(
        (_field_axis(points, field) for field in shown),
        key=lambda axis: max(_tick_width(axis), BETWEEN_AXES),
        reverse=True,
    )
    dimensions += [{"label": _short_metric(metric), "values": _scaled(points, metric)} for metric in metrics]
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": _scaled(points, gain),
                "colorscale": SCALE,
                "showscale": True,
                "colorbar": {"title": {"text": headline(gain), "side": "right"}, "thickness": 12},
            },
            labelangle=-18,
            labelfont={"size": 12},
            tickfont={"size": 11},
            rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
            unselected={"line": {"color": GREY, "opacity": 0.12}},
        )
    )
    lay_out(figure, t("sweeps.parallel_title"), height=450)
    left = max(BETWEEN_AXES, _tick_width(dimensions[0]))
    figure.update_layout(margin={"l": left, "r": 20, "t": 125, "b": 30})
    return figure


def sensitivities(found: Sequence[Sensitivity]) -> go.Figure:
    """How strongly each swept field goes with each metric: one group of bars per field."""
    fields = list(dict.fromkeys(one.field for one in found))
    metrics = list(dict.fromkeys(one.metric for one in found))
    figure = go.Figure()
    for number, metric in enumerate(metrics):
        own = [one for one in found if one.metric == metric]
        known = [0.0 if math.isnan(one.strength) else one.strength for one in own]
        figure.add_bar(
            x=known,
            y=[short_field(one.field) for one in own],
            orientation="h",
            name=headline(metric),
            marker={
                "color": LINE_COLOURS[number % len(LINE_COLOURS)],
                "pattern": {"shape": ["" if one.ordered else "/" for one in own]},
            },
            text=[
                t("sweeps.says_nothing") if math.isnan(one.strength)
                else f"{one.strength:+.2f}" if one.ordered else f"{one.strength:.2f}"
                for one in own
            ],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=t(
                "sweeps.moves_hover", metric=metric_name(metric).lower(), field="%{y}", strength="%{text}"
            )
            + "<extra></extra>",
        )  # fmt: skip
    lay_out(figure, t("sweeps.moves_title"), height=170 + 70 * len(fields))
    figure.update_layout(barmode="group", legend={"traceorder": "normal", "y": -90 / (70 * len(fields) + 40)})
    figure.update_xaxes(
        title=t("sweeps.moves_x"),
        range=[-1.2, 1.2],
        tickvals=[-1, -0.5, 0, 0.5, 1],
        zeroline=True,
        zerolinecolor=GREY,
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def two_fronts(first: SweepResult, second: SweepResult) -> go.Figure:
    """The points of two sweeps with the same objectives, and both fronts."""
    gain, harm = first.sweep.file.objectives
    figure = go.Figure()
    for result, colour, symbol in ((first, BLUE, SYMBOLS[0]), (second, ORANGE, SYMBOLS[1])):
        name = result.folder.name
        _add_front(figure, result, t("sweeps.front_of", name=name), colour)
        points = result.points.filter(pl.col(gain).is_finite() & pl.col(harm).is_finite())
        _add_points(figure, result, points, name, colour, symbol)
    lay_out(figure, t("sweeps.two_title"), height=460)
    figure.update_xaxes(title=t("sweeps.less_left", axis=axis_title(harm)), zeroline=False)
    figure.update_yaxes(title=axis_title(gain), zeroline=False)
    return figure


def _add_front(figure: go.Figure, result: SweepResult, name: str, colour: str) -> None:
    """The line of a front in two objectives."""
    if result.sweep.file.further:
        return
    gain, harm = result.sweep.file.objectives
    points = front(result).sort(harm, gain)
    figure.add_scatter(
        x=_scaled(points, harm),
        y=_scaled(points, gain),
        mode="lines",
        name=name,
        line={"color": colour, "width": 6, "shape": "hv"},
        opacity=0.4,
        hoverinfo="skip",
    )


def _add_points(
    figure: go.Figure, result: SweepResult, points: pl.DataFrame, name: str, colour: str, symbol: str
) -> None:
    gain, harm = result.sweep.file.objectives
    rows = list(points.iter_rows(named=True))
    figure.add_scatter(
        x=_scaled(points, harm),
        y=_scaled(points, gain),
        mode="markers",
        name=name,
        marker={
            "color": colour,
            "symbol": [symbol if row["feasible"] else f"{symbol}-open" for row in rows],
            "size": [11 if row["pareto"] else 8 for row in rows],
            "opacity": [1.0 if row["pareto"] else 0.65 for row in rows],
            "line": {"width": 1, "color": OUTLINE},
        },
        customdata=[[str(row["point"])] for row in rows],
        hovertext=[
            f"<b>{t('sweeps.hover', point=row['point'])}</b><br>{point_text(result, row)}<br>"
            f"{metric_name(gain)} {amount(gain, row[gain])}<br>{metric_name(harm)} {amount(harm, row[harm])}"
            + ("" if row["feasible"] else f"<br>{t('sweeps.not_feasible')}")
            for row in rows
        ],
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=True,
    )


def _field_axis(points: pl.DataFrame, field: str) -> dict[str, Any]:
    """An axis of numbers as they are; of other values by their place, with texts."""
    values = points[field]
    label = short_field(field)
    if values.dtype != pl.String:
        ticks = sorted(values.unique().to_list())
        axis: dict[str, Any] = {"label": label, "values": values.to_list()}
        if len(ticks) <= MOST_TICKS:
            axis |= {"tickvals": ticks, "ticktext": [f"{tick:.3g}" for tick in ticks]}
        return axis
    known = values.unique(maintain_order=True).to_list()
    texts = [value_text(value) for value in known]
    return {
        "label": label,
        "values": [known.index(value) for value in values],
        "tickvals": list(range(len(known))),
        "ticktext": [text if len(text) <= LONGEST_TICK else f"{text[: LONGEST_TICK - 1]}…" for text in texts],
    }


def _tick_width(axis: dict[str, Any]) -> int:
    """Pixels that the longest tick text of an axis takes; 0 for ticks that plotly chooses."""
    return max(map(_width, axis.get("ticktext", ())), default=0)


def _width(text: str) -> int:
    """About how many pixels a tick takes to the left of its axis; Chinese letters are twice as wide."""
    return 14 + round(6.2 * sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text))


def _short_metric(metric: str) -> str:
    name = headline(metric).replace(t("sweeps.per_thousand"), "")
    return f"{name} (%)" if is_share(metric) else name


def _scaled(points: pl.DataFrame, metric: str) -> list[float]:
    """In per cent, if it is a share."""
    scale = 100.0 if is_share(metric) else 1.0
    return (scale * points[metric].cast(pl.Float64)).to_list()
