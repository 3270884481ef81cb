"""Figures of simulated points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import polars as pl

from app.language import t
from app.wording import Metrics, grade_name, hover, per_thousand, scorer_name
from scenarios.reporting.figures import add_stairs, add_star, clickable
from scenarios.reporting.theme import CHOSEN, GRADE_COLOURS, GREY, ON_GRADE, lay_out, marker, scorer_style

BASELINE = "none"
"""The scorer without relevance, against which everything is compared."""

NO_FIELD = ""
"""In the ids of points of a result that swept nothing."""

SHARE, REVENUE = "irrelevant_share", "revenue_rpm"

LABEL_DISTANCE = 0.045
"""Labels of points closer than this are left out, as a share of the figure's diagonal."""


@dataclass(frozen=True, slots=True)
class ChosenPoint:
    """The point that the reader has chosen: its name and metrics."""

    name: str
    metrics: Metrics


def trade_off(points: pl.DataFrame, chosen: ChosenPoint | None = None) -> go.Figure:
    """Revenue against irrelevant ads: one line per scorer, its points labelled with the swept value.

    Args:
        points: as of `scenarios.RunResult.points`. Points without a share or a revenue are left out.
        chosen: drawn as a star, in a colour that nothing else has.

    Every stored point carries its id, see `point_id`, as customdata.
    """
    drawn = points.filter(pl.col(SHARE).is_finite() & pl.col(REVENUE).is_finite())
    drawn = drawn.with_columns(pl.col("field").fill_null(NO_FIELD), pl.col("value").fill_null(0.0))
    swept = drawn.filter((pl.col("kind") == "sweep") & (pl.col("scorer") != BASELINE))
    compared = drawn.filter(pl.col("kind") == "compare")
    baseline = compared.filter(pl.col("scorer") == BASELINE)
    lines = swept if len(swept) else compared.filter(pl.col("scorer") != BASELINE)

    figure = go.Figure()
    front = drawn.filter("pareto").sort(SHARE, REVENUE)  # no stored point lies above or to the left of it
    add_stairs(figure, 100 * front[SHARE], front[REVENUE], t("trade_off.front"), GREY)
    labelled = _labels_with_room(lines, drawn)
    for scorer in lines["scorer"].unique(maintain_order=True):
        _add_line(figure, scorer, lines.filter(pl.col("scorer") == scorer).sort("value"), labelled)
    if len(baseline):
        _add_baseline(figure, baseline)
    if chosen is not None:
        x, y, name = [100 * chosen.metrics[SHARE]], [chosen.metrics[REVENUE]], t("trade_off.your_setting")
        add_star(figure, x, y, name, hovertemplate=point_hover(chosen.name))
    lay_out(figure, t("trade_off.figure_title"), height=520, legend_y=-0.2)
    money_against_share(figure)
    return clickable(figure)


def money_against_share(figure: go.Figure) -> None:
    """The axes of figures of revenue against irrelevant ads."""
    figure.update_xaxes(title=t("trade_off.figure_x"), ticksuffix="%", zeroline=False)
    figure.update_yaxes(title=t("trade_off.figure_y"), zeroline=False)


def point_hover(name: str) -> str:
    """What is shown where the pointer rests on a point of such a figure."""
    return hover("trade_off.point_hover", f"<b>{name}</b><br>", revenue="%{y:,.2f}", share="%{x:.2f}")


def point_id(scorer: str, field: str, value: float) -> str:
    """The id of a stored point; `parse_point_id` is its inverse."""
    return f"{scorer}|{field}|{value!r}"


def parse_point_id(text: str) -> tuple[str, str, float]:
    """(scorer, field, value) of an id made by `point_id`.

    Raises:
        ValueError: it is no such id.
    """
    scorer, field, value = text.split("|")
    return scorer, field, float(value)


def changes_by_side(chosen: Metrics, baseline: Metrics) -> dict[str, float]:
    """Change against the baseline for the platform, the advertisers and the users, per 1,000 queries."""
    sides = {
        t("trade_off.gains_platform"): "revenue",
        t("trade_off.gains_advertisers"): "advertiser_surplus",
        t("trade_off.gains_users"): "user_utility",
        t("trade_off.gains_all"): "welfare",
    }
    return {side: per_thousand(chosen, name) - per_thousand(baseline, name) for side, name in sides.items()}


def who_gains(chosen: Metrics, baseline: Metrics) -> go.Figure:
    """`changes_by_side` as bars."""
    sides = changes_by_side(chosen, baseline)
    change = list(sides.values())
    figure = go.Figure(
        go.Bar(
            x=change,
            y=list(sides),
            orientation="h",
            # The last is all together.
            marker_color=[*(CHOSEN if x < 0 else GRADE_COLOURS[3] for x in change[:-1]), GREY],
            text=[f"{x:+,.1f}".replace("-", "−") if math.isfinite(x) else "" for x in change],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:+,.2f}<extra></extra>",
        )
    )  # fmt: skip
    reach = max((abs(x) for x in change if math.isfinite(x)), default=0.0) or 1.0
    lowest, highest = min(0.0, *change), max(0.0, *change)
    lay_out(figure, t("trade_off.gains_title"), height=330, showlegend=False)
    figure.update_xaxes(
        title=t("trade_off.gains_x"),
        zeroline=True,
        zerolinecolor=GREY,
        range=[lowest - (0.22 * reach if lowest < 0 else 0.02 * reach), highest + 0.22 * reach],
        nticks=6,
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def grade_mix(rows: Mapping[str, Metrics]) -> go.Figure:
    """True grades of the shown ads as stacked bars, one bar per named point."""
    figure = go.Figure()
    for grade, colour in enumerate(GRADE_COLOURS):
        name = grade_name(grade)
        share = [100 * metrics[f"grade_{grade}_share"] for metrics in rows.values()]
        figure.add_bar(
            x=share,
            y=list(rows),
            orientation="h",
            name=f"{grade} {name}",
            marker_color=colour,
            text=[f"{x:.0f}%" if math.isfinite(x) and x >= 4 else "" for x in share],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont_color=ON_GRADE[grade],
            hovertemplate=hover("trade_off.mix_hover", row="%{y}", share="%{x:.2f}", grade=grade, name=name),
        )
    lay_out(
        figure,
        t("trade_off.mix_title"),
        height=330,
        legend_y=-0.38,
        legend={"traceorder": "normal"},
        barmode="stack",
        uniformtext={"minsize": 11, "mode": "hide"},
    )
    figure.update_xaxes(
        title=t("trade_off.mix_x"), range=[0, 101], tickvals=[0, 25, 50, 75, 100], ticksuffix="%"
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def _add_line(figure: go.Figure, scorer: str, line: pl.DataFrame, labelled: set[str]) -> None:
    style, name = scorer_style(scorer), scorer_name(scorer)
    ids = [point_id(*row) for row in line.select("scorer", "field", "value").iter_rows()]
    figure.add_scatter(
        x=100 * line[SHARE],
        y=line[REVENUE],
        mode="lines+markers+text",
        name=name,
        line={"color": style.colour, "width": 2},
        marker=marker(style),
        text=[
            f" {value:g}" if id_ in labelled and field != NO_FIELD else ""
            for id_, field, value in zip(ids, line["field"], line["value"], strict=True)
        ],
        textposition="middle right",
        textfont={"size": 12},
        customdata=[[id_] for id_ in ids],
        hovertemplate=[
            point_hover(name + (f", {field.rpartition('.')[2]} {value:g}" if field != NO_FIELD else ""))
            for field, value in line.select("field", "value").iter_rows()
        ],
    )  # fmt: skip


def _add_baseline(figure: go.Figure, baseline: pl.DataFrame) -> None:
    """The point without relevance, and lines through it: above and to the left is better in both."""
    style = scorer_style(BASELINE)
    x, y = 100 * float(baseline[SHARE][0]), float(baseline[REVENUE][0])
    for line in ({"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper"},
                 {"y0": y, "y1": y, "x0": 0, "x1": 1, "xref": "paper"}):  # fmt: skip
        figure.add_shape(type="line", layer="below", line={"color": GREY, "width": 1, "dash": "dot"}, **line)
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        name=scorer_name(BASELINE),
        marker=marker(style, 13),
        customdata=[[point_id(BASELINE, str(baseline["field"][0]), float(baseline["value"][0]))]],
        hovertemplate=point_hover(t("trade_off.baseline")),
    )


def _labels_with_room(lines: pl.DataFrame, all_points: pl.DataFrame) -> set[str]:
    """Ids of points whose labels do not cover one another: value 1 before the ends before the others."""
    rows = list(lines.select("scorer", "field", "value", SHARE, REVENUE).iter_rows())
    span = [float(np.ptp(all_points[c].to_numpy())) or 1.0 for c in (SHARE, REVENUE)] if rows else []
    values = lines["value"]
    ends = {values.min(), values.max()}
    rows.sort(key=lambda row: (row[2] != 1.0, row[2] not in ends))
    placed: list[tuple[float, float]] = []
    kept: set[str] = set()
    for scorer, field, value, share, revenue in rows:
        at = share / span[0], revenue / span[1]
        if all(math.hypot(at[0] - x, at[1] - y) > LABEL_DISTANCE for x, y in placed):
            placed.append(at)
            kept.add(point_id(scorer, field, value))
    return kept


def selected_id(event: object) -> str | None:
    """The id of the stored point that was clicked in `trade_off`; None if it was something else.

    Args:
        event: what Streamlit keeps of a chart, `{"selection": {"points": [...]}}`.
    """
    selection = event.get("selection") if isinstance(event, Mapping) else None
    points: Iterable[object] = selection.get("points", ()) if isinstance(selection, Mapping) else ()
    for point in points:
        data = point.get("customdata") if isinstance(point, Mapping) else None
        if isinstance(data, Mapping):
            data = list(data.values())
        if isinstance(data, Sequence) and data and isinstance(data[0], str):
            return data[0]
    return None
