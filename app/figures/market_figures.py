"""Figures of a market over the run: traffic, answers, money and slots. Tables are those of `app.day`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import polars as pl

from app.language import t_html as t
from app.texts import html, plotted
from app.wording import group_name, hover
from scenarios.reporting.theme import (
    GREY,
    LINE_COLOURS,
    VERMILLION,
    dotted,
    lay_out,
    line_style,
    marker,
    series_style,
)


def traffic(table: pl.DataFrame, unit: str) -> go.Figure:
    """Queries per hour over the run."""
    shown = hover(
        "market.traffic_hover",
        unit=t(f"market.{unit}"),
        time=plotted("x:.2f"),
        queries=plotted("y:,.0f"),
    )
    bars = go.Bar(
        x=table["time"], y=table["queries_per_hour"], marker_color=LINE_COLOURS[0], hovertemplate=shown
    )
    figure = go.Figure(bars)
    _over_time(figure, table, unit, "traffic", rangemode="tozero")
    figure.update_layout(showlegend=False, bargap=0.08)
    return figure


def fill(table: pl.DataFrame, unit: str) -> go.Figure:
    """Slots with an ad, as a share of all slots."""
    shown = hover("market.fill_hover", share=plotted("y:.1f"))
    figure = _one_line(table, unit, "fill", t("market.filled"), 100 * table["fill"], shown)
    return figure.update_yaxes(ticksuffix="%", range=[0, 102])


def revenue(table: pl.DataFrame, unit: str) -> go.Figure:
    """Revenue per 1,000 queries over the run."""
    shown = hover("market.revenue_hover", revenue=plotted("y:,.2f"))
    figure = _one_line(table, unit, "revenue", t("market.revenue"), table["revenue_rpm"], shown)
    return figure.update_yaxes(rangemode="tozero")


def latency(table: pl.DataFrame, unit: str, timeout_s: float | None) -> go.Figure:
    """Median and 95th percentile of the time from a query to its answer, and the time-out."""
    figure = go.Figure()
    lines = {t("market.median"): "latency_p50_s", t("market.percentile"): "latency_p95_s"}
    for number, (name, column) in enumerate(lines.items()):
        shown = hover("market.latency_hover", name=name, latency=plotted("y:,.0f"))
        _line(figure, name, table["time"], 1000 * table[column], number, shown)
    if timeout_s is not None:
        figure.add_hline(y=1000 * timeout_s, line=dotted())
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=1000 * timeout_s, yanchor="bottom", showarrow=False,
            text=t("market.time_out"), font={"color": GREY, "size": 12},
        )  # fmt: skip
    _over_time(figure, table, unit, "latency", rangemode="tozero")
    return figure


def timeouts(table: pl.DataFrame, unit: str) -> go.Figure:
    """Queries that the scorer did not answer in time."""
    share = 100 * table["timeout_share"]
    shown = hover("market.timeouts_hover", share=plotted("y:.1f"))
    figure = _one_line(table, unit, "timeouts", t("market.timed_out"), share, shown, number=5)
    top = max(1.0, 1.1 * float(str(share.max() or 0.0)))
    return figure.update_yaxes(ticksuffix="%", range=[0, top])


def spending(table: pl.DataFrame, unit: str, *, days: int = 1) -> go.Figure:
    """Cumulative share of the budgets that each group has spent, and the line of even spending."""
    figure = go.Figure()
    end = table["time"].max()
    even = t("market.even_spending")
    figure.add_scatter(x=[0, end], y=[0, 100], mode="lines", name=even, hoverinfo="skip", line=dotted())
    for number, (group, rows) in enumerate(_groups(table)):
        shown = hover("market.spending_hover", group=group, share=plotted("y:.1f"))
        _line(figure, group, rows["time"], 100 * rows["share"], number, shown)
    _over_time(figure, table, unit, "spending", {"n": days}, ticksuffix="%", range=[0, 102])
    return figure


def accounts(table: pl.DataFrame) -> go.Figure:
    """What each advertiser has spent of its budget; those who ran out are ringed."""
    figure = go.Figure()
    for number, (group, rows) in enumerate(_groups(table)):
        out = rows["ran_out"].to_list()
        figure.add_scatter(
            x=rows["budget"],
            y=100 * rows["share"],
            mode="markers",
            name=group,
            marker=marker(series_style(number), 8, opacity=0.8)
            | {"line": {"width": [2 if o else 0 for o in out], "color": VERMILLION}},
            customdata=[[html(a), t("market.out" if o else "market.not_out")] for a, o in
                        zip(rows["advertiser"], out, strict=True)],
            hovertemplate=hover("market.accounts_hover", advertiser=plotted("customdata[0]"),
                                budget=plotted("x:,.2f"), share=plotted("y:.1f"),
                                out=plotted("customdata[1]")),
        )  # fmt: skip
    lay_out(figure, t("market.accounts_title"))
    figure.update_xaxes(title=t("market.accounts_x"), type="log", dtick=1, exponentformat="none")
    figure.update_yaxes(title=t("market.accounts_y"), ticksuffix="%", range=[-3, 104], zeroline=False)
    return figure


def prices(table: pl.DataFrame, unit: str, per: str) -> go.Figure:
    """Mean price by slot; `per` is what is paid for, click or impression."""
    figure = go.Figure()
    for number, slot in enumerate(table["slot"].unique().sort().to_list()):
        rows = table.filter(pl.col("slot") == slot)
        shown = hover("market.prices_hover", slot=slot, price=plotted("y:.3f"), per=t(f"payments.{per}"))
        _line(figure, t("market.slot", slot=slot), rows["time"], rows["price"], number, shown)
    _over_time(figure, table, unit, "prices", {"per": t(f"payments.{per}")}, rangemode="tozero")
    return figure


def _groups(table: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    names = table["group"].unique().sort().to_list()
    return [(html(group_name(name)), table.filter(pl.col("group") == name)) for name in names]


def _line(figure: go.Figure, name: str, x: pl.Series, y: pl.Series, number: int, shown: str) -> None:
    line = line_style(number)
    figure.add_scatter(x=x, y=y, mode="lines", name=name, line=line, hovertemplate=shown)


def _one_line(
    table: pl.DataFrame, unit: str, what: str, name: str, y: pl.Series, shown: str, number: int = 0
) -> go.Figure:
    """A figure of one quantity over the run; `what` is the beginning of its texts' keys."""
    figure = go.Figure()
    _line(figure, name, table["time"], y, number, shown)
    _over_time(figure, table, unit, what)
    figure.update_layout(showlegend=False)
    return figure


def _over_time(
    figure: go.Figure,
    table: pl.DataFrame,
    unit: str,
    what: str,
    values: Mapping[str, object] | None = None,
    **axis: Any,
) -> None:
    """Titles and axes of a figure over the run; `values` fill its texts, `axis` is of the vertical axis."""
    lay_out(figure, t(f"market.{what}_title", **(values or {})))
    times = table["time"].to_list()
    end = max(times) + min(times)  # a part's middle is half a part before its end; an end has 0 first
    step = 3 if unit == "hour" and end <= 24.5 else None
    figure.update_xaxes(title=t(f"market.axis_{unit}"), range=[0, end], dtick=step)
    figure.update_yaxes(title=t(f"market.{what}_y", **(values or {})), **axis)
