"""Figures that both the dashboard and reports draw, and how a figure becomes a page or a picture.

Texts are arguments, because the dashboard speaks several languages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from relevance.extras import require
from scenarios.reporting.theme import (
    CHOSEN,
    GREY,
    LINE_COLOURS,
    SYMBOLS,
    Style,
    dotted,
    lay_out,
    marker,
    scorer_style,
)
from scenarios.storage.whole import write_whole_file
from scenarios.studies.sweeps.analysis import front
from scenarios.studies.sweeps.folder import SweepResult
from simulator.measures.market_metrics import is_share

require("plotly", extra="app", needed_by="figures")

import plotly.graph_objects as go  # noqa: E402


@dataclass(frozen=True, slots=True)
class SweepTexts:
    """What the figure of a sweep says, in its reader's language."""

    title: str
    gain: str
    """Title of the vertical axis."""
    harm: str
    """Title of the horizontal axis."""
    front: str
    points: str
    opened: str
    scorer: Callable[[str], str]
    hover: Callable[[Mapping[str, Any]], str]
    """What a point's label says, given its row of the table of points; `<br>` begins a new line."""


def sweep_front(
    result: SweepResult, texts: SweepTexts, *, opened: int | None = None, bound: float | None = None
) -> go.Figure:
    """The two main objectives of a sweep: a marker for each point, and the Pareto front as a stepped line.

    A front in more than two objectives is no line in two of them; then only its larger markers show it.

    Args:
        opened: the point that is drawn as a star.
        bound: on the share of irrelevant ads, drawn where that is an objective.

    Every point carries its number as a text in customdata.
    """
    gain, harm = result.sweep.file.objectives
    points = with_both_objectives(result)
    figure = go.Figure()
    add_front(figure, result, texts.front, GREY)
    groups = points["scorer"].unique(maintain_order=True) if "scorer" in result.sweep.fields else [None]
    for group in groups:
        own = points if group is None else points.filter(pl.col("scorer") == group)
        style = Style(LINE_COLOURS[0], SYMBOLS[0]) if group is None else scorer_style(group)
        add_points(figure, result, own, texts.points if group is None else texts.scorer(group), style, texts)
    if opened is not None and len(star := points.filter(pl.col("point") == opened)):
        add_star(figure, scaled(star, harm), scaled(star, gain), texts.opened, hoverinfo="skip")
    if bound is not None and harm == "irrelevant_share":
        figure.add_vline(x=100 * bound, line=dotted())
    lay_out_front(figure, texts, height=480)
    return clickable(figure)


def lay_out_front(figure: go.Figure, texts: SweepTexts, height: int) -> None:
    """Title and axes of a figure of a sweep's main objectives."""
    lay_out(figure, texts.title, height=height, legend_y=-0.2)
    figure.update_xaxes(title=texts.harm, zeroline=False)
    figure.update_yaxes(title=texts.gain, zeroline=False)


def with_both_objectives(result: SweepResult) -> pl.DataFrame:
    """The points that have numbers in both main objectives."""
    return result.points.filter(*(pl.col(metric).is_finite() for metric in result.sweep.file.objectives))


def add_front(figure: go.Figure, result: SweepResult, name: str, colour: str) -> None:
    """The line of a front in two objectives; nothing where there are more."""
    if result.sweep.file.further:
        return
    gain, harm = result.sweep.file.objectives
    points = front(result).sort(harm, gain)
    add_stairs(figure, scaled(points, harm), scaled(points, gain), name, colour)


def add_stairs(figure: go.Figure, x: Any, y: Any, name: str, colour: str) -> None:
    """A broad, pale line in steps."""
    line = {"color": colour, "width": 6, "shape": "hv"}
    figure.add_scatter(x=x, y=y, mode="lines", name=name, line=line, opacity=0.4, hoverinfo="skip")


def add_points(
    figure: go.Figure, result: SweepResult, points: pl.DataFrame, name: str, style: Style, texts: SweepTexts
) -> None:
    """Markers: large ones on the front, hollow ones where a constraint is not kept."""
    gain, harm = result.sweep.file.objectives
    rows = list(points.iter_rows(named=True))
    symbols = [style.symbol if row["feasible"] else f"{style.symbol}-open" for row in rows]
    figure.add_scatter(
        x=scaled(points, harm),
        y=scaled(points, gain),
        mode="markers",
        name=name,
        marker=marker(style, [11 if row["pareto"] else 8 for row in rows])
        | {"symbol": symbols, "opacity": [1.0 if row["pareto"] else 0.65 for row in rows]},
        customdata=[[str(row["point"])] for row in rows],
        hovertext=[texts.hover(row) for row in rows],
        hovertemplate="%{hovertext}<extra></extra>",
        showlegend=True,
    )


def add_star(figure: go.Figure, x: Sequence[float], y: Sequence[float], name: str, **more: Any) -> None:
    """The point that the reader has chosen, in a colour that nothing else has."""
    star = marker(Style(CHOSEN, "star"), 19, 1.5)
    figure.add_scatter(x=x, y=y, mode="markers", name=name, marker=star, **more)


def name_lines(figure: go.Figure, names: Iterable[str]) -> None:
    """A vertical axis whose lines 0, 1, …, from the top, have names."""
    texts = list(names)
    figure.update_yaxes(
        tickvals=list(range(len(texts))),
        ticktext=texts,
        range=[len(texts) - 0.45, -0.55],
        automargin=True,
        zeroline=False,
    )


def clickable(figure: go.Figure) -> go.Figure:
    """A click chooses a point. A star shows which, so nothing else fades."""
    for trace in figure.data:
        trace.selected, trace.unselected = {"marker": {"opacity": 1}}, {"marker": {"opacity": 1}}
    figure.update_layout(clickmode="event+select")
    return figure


def scaled(points: pl.DataFrame, metric: str) -> list[float]:
    """A column of numbers, shares in per cent."""
    return ((100.0 if is_share(metric) else 1.0) * points[metric].cast(pl.Float64)).to_list()


def html_of(figure: go.Figure) -> str:
    """A figure as a part of an HTML page, with plotly's whole script in it: nothing is fetched."""
    text: str = figure.to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False})
    return text


def write_picture(figure: go.Figure, path: Path) -> Path:
    """Write a figure as an SVG file or, without kaleido or a Chromium to draw it with, as an HTML page.

    Args:
        path: of the SVG file; the page gets the same name with the suffix `.html`.

    Returns:
        The file that was written.

    Raises:
        StoreError: it cannot be written.
    """
    if find_spec("kaleido") is not None:
        try:
            text = figure.to_image(format="svg", width=figure.layout.width).decode()
        except (RuntimeError, OSError):  # kaleido's errors where there is no browser, or it does not start
            pass
        else:
            write_whole_file(path, f"{text}\n")
            return path
    page = path.with_suffix(".html")
    write_whole_file(page, figure.to_html(include_plotlyjs=True))
    return page
