"""What arms earn against the irrelevant ads that they show, along the grid of `matched`."""

from __future__ import annotations

from relevance.extras import require

require("plotly", extra="app", needed_by="figures")

import plotly.graph_objects as go
import polars as pl

from scenarios.reporting.theme import FAINT, INK, line_style, marker, series_style
from scenarios.studies.experiments.matched import IRRELEVANT, REVENUE, MatchedResult

WIDTH, HEIGHT = 900, 520


def picture(found: MatchedResult) -> go.Figure:
    """A line for each arm, a marker for each setting of the grid, with its intervals.

    Both axes are changes in per cent against the baseline at the first setting, in the worlds of the choice.
    Up and to the left is better.
    """
    experiment = found.grid.plan.experiment
    figure = go.Figure()
    for number, arm in enumerate(found.plan.arms):
        x, y = (_changes(found, arm, metric) for metric in (IRRELEVANT, REVENUE))
        figure.add_scatter(
            x=x["change"],
            y=y["change"],
            error_x=_bars(x, number),
            error_y=_bars(y, number),
            mode="lines+markers",
            line=line_style(number),
            marker=marker(series_style(number), 9),
            name=arm,
            text=[f"{value:g}" for value in x["value"]],
            hovertemplate="%{text}: %{x:+.1f}%, %{y:+.1f}%",
        )
    level = f"{100 * experiment.confidence:g}%"
    axis = f"against {found.plan.experiment.baseline} at {found.curves['value'][0]:g}, %"
    figure.update_xaxes(title=f"irrelevant ads {axis}", gridcolor=FAINT, zerolinecolor=FAINT)
    figure.update_yaxes(title=f"revenue {axis}", gridcolor=FAINT, zerolinecolor=FAINT)
    settings = f"{found.plan.experiment.name}: settings of {found.field}"
    title = f"{settings}, worlds {', '.join(map(str, found.grid.plan.worlds))}, {level} intervals"
    figure.update_layout(
        template="none",
        title={"text": title, "font": {"size": 15}, "x": 0.01},
        width=WIDTH,
        height=HEIGHT,
        margin={"l": 70, "r": 20, "t": 50, "b": 60},
        font={"color": INK},
        legend={"x": 0.99, "y": 0.02, "xanchor": "right", "yanchor": "bottom"},
    )
    return figure


def _changes(found: MatchedResult, arm: str, metric: str) -> pl.DataFrame:
    """Of an arm along the grid: value, and change, low and high in per cent."""
    rows = found.curves.filter(pl.col("arm") == arm).select("value", "name")
    summary = found.grid.summary.filter(pl.col("metric") == metric).select(
        name="arm",
        change=100 * pl.col("change_value"),
        low=100 * pl.col("change_t_low"),
        high=100 * pl.col("change_t_high"),
    )
    # The baseline's own row is not in the summary: it has changed by nothing.
    own = pl.col("name") == found.grid.plan.experiment.baseline
    return rows.join(summary, on="name", how="left", maintain_order="left").with_columns(
        pl.when(own).then(0.0).otherwise(pl.col("change", "low", "high")).name.keep()
    )


def _bars(rows: pl.DataFrame, number: int) -> dict[str, object]:
    """Intervals of line number 0, 1, …: paler than the line, which they would hide where many cross."""
    above, below = rows["high"] - rows["change"], rows["change"] - rows["low"]
    colour = f"{series_style(number).colour}70"
    return {"array": above.to_list(), "arrayminus": below.to_list(), "width": 2, "color": colour}
