"""Figures of simulated points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import polars as pl

from app.days import Days, held
from app.language import t_html as t
from app.setting import BASELINE, Setting
from app.texts import Html, html, plotted
from app.wording import Metrics, grade_name, hover, per_thousand, scorer_name
from scenarios import Comparison, Estimate, compare
from scenarios.reporting.figures import add_stairs, add_star, clickable
from scenarios.reporting.theme import (
    BETTER,
    CHOSEN,
    GRADE_COLOURS,
    GREY,
    WORSE,
    Style,
    dotted,
    lay_out,
    marker,
    scorer_style,
)

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
        x, y, name = (
            [100 * chosen.metrics[SHARE]],
            [chosen.metrics[REVENUE]],
            t("trade_off.your_setting"),
        )
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
    return hover(
        "trade_off.point_hover",
        Html(f"<b>{html(name)}</b><br>"),
        revenue=plotted("y:,.2f"),
        share=plotted("x:.2f"),
    )


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


def changes_by_side(a: Days, b: Days) -> pl.DataFrame:
    """B's change against A for each side of the market, per 1,000 queries: side, change, low and high.

    Large advertisers are the top tenth by budget, small ones the lower half. The interval is that of the mean
    over the days; of one day there is none.
    """
    sides = {
        "platform": "revenue",
        "large": "large_surplus",
        "small": "small_surplus",
        "advertisers": "advertiser_surplus",
        "users": "user_utility",
        "all": "welfare",
    }
    rows = []
    for side, name in sides.items():
        was, now = (np.array([_side(day, name) for day in days.of]) for days in (a, b))
        found = compare(was, now).difference
        value = float(np.mean(now - was))
        if math.isfinite(value):
            rows.append((t(f"trade_off.gains_{side}"), value, found.t_low, found.t_high))
    return pl.DataFrame(rows, schema=["side", "change", "low", "high"], orient="row")


def _side(day: Metrics, name: str) -> float:
    group = name.partition("_")[0]
    if group in ("large", "small"):
        spent = day.get(f"{group}_spend_share", math.nan) * per_thousand(day, "revenue")
        return spent * (day.get(f"{group}_return", math.nan) - 1.0)
    return per_thousand(day, name)


def who_gains(changes: pl.DataFrame) -> go.Figure:
    """`changes_by_side` as bars with their intervals: blue gains, orange loses, the last is all together."""
    change = changes["change"].to_list()
    colours = [BETTER if x >= 0 else WORSE for x in change]
    if colours:
        colours[-1] = GREY
    up = [
        0.0 if not math.isfinite(high) else high - x for x, high in zip(change, changes["high"], strict=True)
    ]
    down = [0.0 if not math.isfinite(low) else x - low for x, low in zip(change, changes["low"], strict=True)]
    figure = go.Figure(
        go.Bar(
            x=change,
            y=changes["side"].to_list(),
            orientation="h",
            marker_color=colours,
            error_x={"type": "data", "array": up, "arrayminus": down, "color": GREY, "thickness": 1.5},
            hovertemplate="%{y}: %{x:+,.2f}<extra></extra>",
        )
    )  # fmt: skip
    for row in changes.iter_rows(named=True):
        ends = [end for end in (row["low"], row["high"], row["change"], 0.0) if math.isfinite(end)]
        figure.add_annotation(
            x=max(ends),
            y=row["side"],
            text=f"{row['change']:+,.1f}".replace("-", "\u2212"),
            showarrow=False,
            xanchor="left",
            xshift=6,
        )
    every = [end for name in ("change", "low", "high") for end in changes[name] if math.isfinite(end)]
    lowest, highest = min([0.0, *every]), max([0.0, *every])
    reach = (highest - lowest) or 1.0
    lay_out(figure, t("trade_off.gains_title"), height=340, showlegend=False)
    figure.update_xaxes(
        title=t("trade_off.gains_x"),
        zeroline=True,
        zerolinecolor=GREY,
        range=[lowest - 0.04 * reach, highest + 0.2 * reach],
        nticks=6,
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def grade_table(rows: Mapping[str, Days]) -> pl.DataFrame:
    """Mean shares of the shown ads by true grade, one row per ranking and grade."""
    return pl.DataFrame(
        [
            {"ranked_by": name, "grade": grade, "share": days.mean(f"grade_{grade}_share")}
            for name, days in rows.items()
            for grade in range(len(GRADE_COLOURS))
        ]
    )


LEAST_SHARE = 1e-4
"""Shares below this are drawn at it, with an arrow: zero has no place on a logarithmic axis."""


def grades_seen(rows: Mapping[str, Days]) -> go.Figure:
    """Shares of true grades on a logarithmic scale, on which a slice of 0.3% can be read as well as half.

    A's are hollow, B's filled, of the grade's colour, with a line from one to the other.
    """
    figure = go.Figure()
    grades = list(range(len(GRADE_COLOURS)))
    names = [f"{grade} {grade_name(grade)}" for grade in grades]
    values = [[days.mean(f"grade_{grade}_share") for grade in grades] for days in rows.values()]
    drawn = [[100 * max(x, LEAST_SHARE) if math.isfinite(x) else math.nan for x in row] for row in values]
    for grade in grades:
        figure.add_scatter(
            x=[row[grade] for row in drawn],
            y=[names[grade]] * len(drawn),
            mode="lines",
            line={"color": GREY, "width": 2},
            showlegend=False,
            hoverinfo="skip",
        )
    for number, (name, row) in enumerate(zip(rows, drawn, strict=True)):
        filled = number == len(rows) - 1
        figure.add_scatter(
            x=row,
            y=names,
            mode="markers+text",
            name=name,
            marker={
                "size": 14,
                "symbol": "circle" if filled else "circle-open",
                "color": list(GRADE_COLOURS) if filled else GREY,
                "line": {"width": 2, "color": list(GRADE_COLOURS)},
            },
            text=[f"{x:.2%}" if x < 0.1 else f"{x:.0%}" if math.isfinite(x) else "" for x in values[number]],
            textposition="bottom center" if filled else "top center",
            cliponaxis=False,
            hovertemplate=hover("trade_off.mix_hover", row=name, share=plotted("x:.2f"), grade=plotted("y")),
        )
    lay_out(figure, t("trade_off.mix_title"), height=340, legend_y=-0.28)
    figure.update_xaxes(
        title=t("trade_off.mix_x"),
        type="log",
        range=[-2.2, 2.15],
        tickvals=[0.01, 0.1, 1, 10, 100],
        ticksuffix="%",
    )
    figure.update_yaxes(autorange="reversed", automargin=True, range=[3.6, -0.6])
    return figure


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A formula over days, against A on the same days."""

    name: str
    days: Days
    a: Days
    setting: Setting

    @property
    def change(self) -> Comparison:
        """Of revenue."""
        return held(self.a, self.days, REVENUE)

    @property
    def points(self) -> Comparison:
        """Of the share of irrelevant ads."""
        return held(self.a, self.days, SHARE)

    @property
    def row(self) -> dict[str, float]:
        """What `app.opening.cheapest` chooses by."""
        return {SHARE: self.days.mean(SHARE), REVENUE: self.days.mean(REVENUE)}


def curve(
    points: Sequence[CurvePoint],
    mine: CurvePoint,
    today: str,
    marked: CurvePoint | None = None,
    bound: float = math.nan,
) -> go.Figure:
    """Change of revenue against irrelevant ads, means over days with 95% intervals of the differences from A.

    Args:
        points: formulas of rising exponents; a line joins them. Each carries its formula as customdata.
        mine: B, drawn as a star.
        today: what A is called.
        marked: the cheapest under the bound, which has a ring.
        bound: a share, drawn as a dotted line.
    """
    figure = go.Figure()
    if math.isfinite(bound):
        figure.add_vrect(x0=0, x1=100 * bound, fillcolor=GREY, opacity=0.1, line_width=0, layer="below")
        figure.add_vline(x=100 * bound, line=dotted())
    figure.add_hline(y=0, line=dotted())
    if points:
        _add_means(figure, points, t("trade_off.curve_line", scorer=scorer_name(points[0].setting.scorer)))
    share = mine.a.mean(SHARE)
    figure.add_scatter(
        x=[100 * share],
        y=[0.0],
        mode="markers",
        name=t("trade_off.curve_today", name=today),
        marker=marker(scorer_style(BASELINE), 13),
        hovertemplate=f"%{{x:.2f}}%<extra>{html(today)}</extra>",
    )
    if marked is not None:
        figure.add_scatter(
            x=[100 * marked.days.mean(SHARE)],
            y=[100 * marked.change.change.value],
            mode="markers",
            name=t("trade_off.curve_marked"),
            marker={"size": 22, "symbol": "circle-open", "color": CHOSEN, "line": {"width": 2.5}},
            hoverinfo="skip",
        )
    _add_means(figure, [mine], t("trade_off.your_setting"), star=True)
    n, each = len(mine.days.of), mine.days.each
    title = t("trade_off.curve_title", n=n) if each == 1 else t("trade_off.curve_worlds", n=n, days=each)
    lay_out(figure, title, height=430, legend_y=-0.2)
    figure.update_xaxes(title=t("trade_off.figure_x"), ticksuffix="%", zeroline=False)
    figure.update_yaxes(title=t("trade_off.curve_y"), ticksuffix="%", zeroline=False)
    ends = [100 * share, *(100 * end for point in (*points, mine) for end in _ends(point))]
    known = [one for one in ends if math.isfinite(one)]
    if known:
        least = min([*known, *([100 * bound] if math.isfinite(bound) else [])])
        room = 0.12 * ((max(known) - least) or 1.0)
        # No share is below 0, though the interval of one may be.
        figure.update_xaxes(range=[min(max(least - room, -0.15), least - 0.02), max(known) + room])
    return clickable(figure)


def _ends(point: CurvePoint) -> list[float]:
    """A point's share of irrelevant ads, and the ends of its whiskers."""
    mean, found = point.days.mean(SHARE), point.points.difference
    return [mean, mean + found.t_low - found.value, mean + found.t_high - found.value]


def _add_means(figure: go.Figure, points: Sequence[CurvePoint], name: str, *, star: bool = False) -> None:
    style = Style(CHOSEN, "star") if star else scorer_style(points[0].setting.scorer)
    changes = [point.change.change for point in points]
    means = [point.days.mean(SHARE) for point in points]
    differences = [point.points.difference for point in points]
    ids = [[point.setting.formula] for point in points]

    def error(of: Sequence[Estimate]) -> dict[str, object]:
        up = [100 * (one.t_high - one.value) if math.isfinite(one.t_high) else 0.0 for one in of]
        down = [100 * (one.value - one.t_low) if math.isfinite(one.t_low) else 0.0 for one in of]
        colour = style.colour
        return {
            "type": "data",
            "array": up,
            "arrayminus": down,
            "thickness": 1.2,
            "width": 3,
            "color": colour,
        }

    figure.add_scatter(
        x=[100 * mean for mean in means],
        y=[100 * change.value for change in changes],
        error_x=error(differences),
        error_y=error(changes),
        mode="markers" if star else "lines+markers+text",
        name=name,
        line={"color": style.colour, "width": 2},
        marker=marker(style, 19, 1.5) if star else marker(style),
        text=[f" {point.setting.exponents[2]:g}" if point.setting.exponents else "" for point in points],
        textposition="top right",
        customdata=ids,
        hovertemplate=[
            hover(
                "trade_off.curve_hover",
                Html(f"<b>{html(point.name)}</b><br>"),
                change=f"{change.value:+.1%} [{change.t_low:+.1%}, {change.t_high:+.1%}]",
                share=f"{mean:.2%}",
                points=f"{100 * one.value:+.2f} [{100 * one.t_low:+.2f}, {100 * one.t_high:+.2f}]",
            )
            for point, change, mean, one in zip(points, changes, means, differences, strict=True)
        ],
    )


def _add_line(figure: go.Figure, scorer: str, line: pl.DataFrame, labelled: set[str]) -> None:
    style, name = scorer_style(scorer), html(scorer_name(scorer))
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
            point_hover(
                scorer_name(scorer) + (f", {field.rpartition('.')[2]} {value:g}" if field != NO_FIELD else "")
            )
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
