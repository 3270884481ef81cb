"""Latency, revenue and irrelevant ads against the number of servers."""

from __future__ import annotations

from relevance.extras import require

require("plotly", extra="app", needed_by="figures")

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scenarios.reporting.theme import CHOSEN, FAINT, INK, Style, line_style, marker, series_style
from scenarios.studies.capacity import CapacityResult, MachineResult, Step, mean_of, values_of
from scenarios.studies.experiments.statistics import t_interval
from simulator.measures.market_metrics import is_share

WIDTH, HEIGHT = 1300, 440


def picture(result: CapacityResult) -> go.Figure:
    """A panel for each figure, a line for each kind of server.

    The dotted line is the target; the star is the smallest number of servers that keeps it. Bars are 95%
    intervals over the days: of the latency, and of the difference from the star on the same days.
    """
    target = result.asked.target
    panels = {
        target.metric: f"p{target.percentile} of the latency, ms",
        "revenue_rpm": "Revenue per 1,000 queries",
        "irrelevant_share": "Irrelevant ads, % of those shown",
    }
    titles = [f"<b>{title}</b>" for title in panels.values()]
    figure = make_subplots(1, len(panels), column_titles=titles, horizontal_spacing=0.06)
    for column, metric in enumerate(panels, start=1):
        for number, one in enumerate(result.machines):
            _add(figure, one, metric, number, column)
    ticks = sorted({step.servers for one in result.machines for step in one.steps})
    figure.add_scatter(
        x=[ticks[0], ticks[-1]],
        y=[1000.0 * target.latency_s] * 2,
        mode="lines",
        line={"color": INK, "dash": "dot", "width": 2},
        name=f"target {1000.0 * target.latency_s:g} ms",
        row=1,
        col=1,
    )
    figure.update_xaxes(title="servers", type="log", tickvals=ticks, ticktext=ticks, gridcolor=FAINT)
    figure.update_yaxes(gridcolor=FAINT, zeroline=False)
    figure.update_layout(
        template="none",
        width=WIDTH,
        height=HEIGHT,
        margin={"l": 60, "r": 20, "t": 50, "b": 80},
        font={"color": INK},
        legend={"orientation": "h", "y": -0.2, "x": 0},
    )
    return figure


def _add(figure: go.Figure, one: MachineResult, metric: str, number: int, column: int) -> None:
    """The line of one kind of server in one panel, and its star."""
    scale = 1000.0 if column == 1 else 100.0 if is_share(metric) else 1.0
    style, star = series_style(number), one.needed
    means = [scale * mean_of(step.days, metric) for step in one.steps]
    bars = [_bars(step, star or one.steps[-1], metric, paired=column > 1) for step in one.steps]
    place = {"row": 1, "col": column}
    figure.add_scatter(
        x=[step.servers for step in one.steps],
        y=means,
        error_y={
            "array": [scale * above for _, above in bars],
            "arrayminus": [scale * below for below, _ in bars],
            "width": 3,
        },
        mode="lines+markers",
        line=line_style(number),
        marker=marker(style, 9),
        name=one.machine.name,
        legendgroup=one.machine.name,
        showlegend=column == 1,
        **place,
    )
    if star is not None:
        figure.add_scatter(
            x=[star.servers],
            y=[means[one.steps.index(star)]],
            mode="markers",
            marker=marker(Style(CHOSEN, "star"), 18, 1.5),
            name="needed",
            legendgroup="needed",
            showlegend=column == 1 and number == 0,
            **place,
        )


def _bars(step: Step, star: Step, metric: str, *, paired: bool) -> tuple[float, float]:
    """How far the interval reaches below and above the mean."""
    values = values_of(step.days, metric) - (values_of(star.days, metric) if paired else 0.0)
    mean, low, high = t_interval(values)
    return mean - low, high - mean
