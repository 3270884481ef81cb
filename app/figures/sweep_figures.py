"""Figures of a sweep: its points and their front, parallel coordinates, and what moves what."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from app.language import t_html as t
from app.parts.sweep_tables import amount, axis_title, headline, point_text, short_field, value_text
from app.texts import html, plotted
from app.wording import hover, metric_name, scorer_name
from scenarios import Sensitivity, SweepResult, is_share
from scenarios.reporting import figures as drawing
from scenarios.reporting.sweep_tables import fields_of
from scenarios.reporting.theme import BROWN, GREY, LAVENDER, lay_out, series_style

SCALE = [[0.0, LAVENDER], [0.5, "#9A9A9A"], [1.0, BROWN]]
"""Reads on white and on black, and alike with and without colour vision deficiency."""

MOST_TICKS = 12
BETWEEN_AXES = 90
"""Pixels that a tick text may take without running into the axis before it, even on a narrow page."""
LONGEST_TICK = 28


def sweep_front(result: SweepResult, opened: int | None = None, bound: float | None = None) -> go.Figure:
    """The two main objectives of a sweep, see `scenarios.reporting.figures.sweep_front`."""
    gain, harm = result.sweep.file.objectives
    title = t("sweeps.front_title", gain=headline(gain), harm=metric_name(harm).lower())
    return drawing.sweep_front(result, _texts(result, title), opened=opened, bound=bound)


def _texts(result: SweepResult, title: str) -> drawing.SweepTexts:
    gain, harm = result.sweep.file.objectives

    def about(row: Mapping[str, Any]) -> str:
        return (
            f"<b>{t('sweeps.hover', point=row['point'])}</b><br>{html(point_text(result, row))}<br>"
            f"{metric_name(gain)} {amount(gain, row[gain])}<br>{metric_name(harm)} {amount(harm, row[harm])}"
            + ("" if row["feasible"] else f"<br>{t('sweeps.not_feasible')}")
        )

    return drawing.SweepTexts(
        title=title,
        gain=axis_title(gain),
        harm=t("sweeps.less_left", axis=axis_title(harm)),
        front=t("trade_off.front"),
        points=t("sweeps.points"),
        opened=t("sweeps.opened"),
        scorer=lambda scorer: html(scorer_name(scorer)),
        hover=about,
    )


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
    dimensions += [
        {"label": _short_metric(metric), "values": drawing.scaled(points, metric)} for metric in metrics
    ]
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": drawing.scaled(points, gain),
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
    left = max(BETWEEN_AXES, _tick_width(dimensions[0]))
    margin = {"l": left, "r": 20, "t": 125, "b": 30}
    lay_out(figure, t("sweeps.parallel_title"), height=450, margin=margin)
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
            y=[html(short_field(one.field)) for one in own],
            orientation="h",
            name=headline(metric),
            marker={
                "color": series_style(number).colour,
                "pattern": {"shape": ["" if one.ordered else "/" for one in own]},
            },
            text=[
                t("sweeps.says_nothing") if math.isnan(one.strength)
                else f"{one.strength:+.2f}" if one.ordered else f"{one.strength:.2f}"
                for one in own
            ],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=hover("sweeps.moves_hover", metric=metric_name(metric).lower(), field=plotted("y"),
                                strength=plotted("text")),
        )  # fmt: skip
    room, place = 70 * len(fields), {"traceorder": "normal"}
    lay_out(figure, t("sweeps.moves_title"), 170 + room, -90 / (room + 40), legend=place, barmode="group")
    figure.update_xaxes(
        title=t("sweeps.moves_x"), range=[-1.2, 1.2], tickvals=[-1, -0.5, 0, 0.5, 1], zeroline=True,
        zerolinecolor=GREY,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def two_fronts(first: SweepResult, second: SweepResult) -> go.Figure:
    """The points of two sweeps with the same objectives, and both fronts."""
    figure = go.Figure()
    for number, result in enumerate((first, second)):
        name, style, texts = (
            result.folder.name,
            series_style(number),
            _texts(result, t("sweeps.two_title")),
        )
        drawing.add_front(figure, result, t("sweeps.front_of", name=name), style.colour)
        drawing.add_points(figure, result, drawing.with_both_objectives(result), html(name), style, texts)
    drawing.lay_out_front(figure, texts, height=460)
    return figure


def _field_axis(points: pl.DataFrame, field: str) -> dict[str, Any]:
    """An axis of numbers as they are; of other values by their place, with texts."""
    values = points[field]
    label = html(short_field(field))
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
    """About how many pixels the longest tick text takes to the left of its axis; 0 for plotly's own ticks.

    Chinese letters are twice as wide.
    """
    widths = (
        [1 + (unicodedata.east_asian_width(x) in "WF") for x in text] for text in axis.get("ticktext", ())
    )
    return max((14 + round(6.2 * sum(width)) for width in widths), default=0)


def _short_metric(metric: str) -> str:
    name = headline(metric).replace(t("sweeps.per_thousand"), "")
    return f"{name} (%)" if is_share(metric) else name
