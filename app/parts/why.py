"""Who makes the difference between two rankings: queries, ads, advertisers, kinds of match."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from app import address, session
from app.figures import why_figures as figures
from app.language import names, t, t_plain
from app.parts.download import download
from app.session import Opened
from app.setting import Setting
from app.wording import Metrics, metric_name
from scenarios import (
    DIVIDED,
    GROUPINGS,
    Division,
    PairTotals,
    Prepared,
    division_rows,
    is_share,
    narrowed,
    responsible_for,
)
from scenarios.reporting.theme import QUIET

METRIC, BY = "why-metric", "why-by"
KEYS = (METRIC, BY)
QUERY, EVENT = "query", "event"
"""Keys of the inspector's widgets: the query of a market with texts, or the event of a table."""
TOP = 10
_OPENED = "why-opened"
"""How often a group has been opened: charts and tables begin anew each time, without what was clicked."""


@st.fragment
def draw(opened: Opened) -> None:
    """The ten groups that explain most of B's difference from A, as a picture and a table.

    Each opens its auction.
    """
    a, b = opened.a, opened.b
    st.subheader(t("responsible.title"))
    metrics = [name for name in DIVIDED if _known(session.metrics(opened.prepared, b), name)]
    for key, options in ((METRIC, metrics), (BY, GROUPINGS)):
        if st.session_state.get(key) not in options:
            st.session_state[key] = options[0]
    with st.container(horizontal=True):
        named = names(metrics, metric_name)
        st.segmented_control(
            t("responsible.metric"), metrics, format_func=named, key=METRIC, label_visibility="collapsed"
        )
        grouped = names(GROUPINGS, lambda one: t(f"responsible.by_{one}"))
        st.segmented_control(
            t("responsible.by"), GROUPINGS, format_func=grouped, key=BY, label_visibility="collapsed"
        )
    metric, by = st.session_state[METRIC] or metrics[0], st.session_state[BY] or GROUPINGS[0]
    before, after = (session.who_brought_what(opened.prepared, one) for one in (a, b))
    division = _division(opened.prepared, a, b, metric, by, before, after)
    rows = [{**row, "name": _name(by, row["name"])} for row in division_rows(opened.prepared, division, TOP)]
    st.markdown(in_a_sentence(division, rows))
    if not rows:
        return
    if division.warns:
        st.warning(_warning(division, rows[0]), icon=":material/warning:")
    clicked = _picture_and_table(division, rows)
    st.caption(_basis(opened, division))
    if clicked is not None:
        _open(opened, metric, by, clicked, (before, after))


def in_a_sentence(division: Division, rows: Sequence[dict[str, Any]]) -> str:
    """The difference with its interval, and how much of it the first groups make."""
    if not math.isfinite(division.difference):
        return t("responsible.unknown")
    values = {
        "metric": metric_name(division.metric),
        "before": level(division.metric, division.before),
        "after": level(division.metric, division.after),
        "change": amount(division.metric, division.difference),
        "interval": interval(division.metric, division.low, division.high),
    }
    if not rows:
        return t("responsible.same", **values)
    if not division.clear:
        return t("responsible.not_clear", n=division.n_days, **values)
    share = sum(row["share"] for row in rows)
    values |= {"share": share, "who": t(f"responsible.who_{division.grouping}", n=len(rows))}
    if left := len(division.parts) - len(rows):
        return f"{t('responsible.clear', **values)} {t('responsible.others', n=left, share=1 - share)}"
    return t("responsible.clear", **values)


def level(metric: str, value: float) -> str:
    """A figure of a ranking."""
    return f"{100 * value:.2f}%" if is_share(metric) else f"{value:,.2f}"


def amount(metric: str, value: float) -> str:
    """A difference: shares in points."""
    if is_share(metric):
        return t_plain("responsible.points", points=100 * value)
    return f"{value:+,.3f}" if abs(value) < 1 else f"{value:+,.2f}"


def interval(metric: str, low: float, high: float) -> str:
    """The bounds of a difference; nothing where they are not known."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    scale = 100.0 if is_share(metric) else 1.0
    digits = 3 if max(abs(low), abs(high)) * scale < 1 else 2
    return f"[{scale * low:+,.{digits}f}, {scale * high:+,.{digits}f}]"


def _warning(division: Division, first: dict[str, Any]) -> str:
    if division.grouping == "query":
        return t(
            "responsible.warns_query", name=first["name"], share=first["share"], traffic=first["traffic"]
        )
    return t("responsible.warns", name=first["name"], share=first["share"])


def _picture_and_table(division: Division, rows: list[dict[str, Any]]) -> int | None:
    """Draw both; the group that was clicked."""
    round_ = st.session_state.get(_OPENED, 0)
    with st.container(key="figures-why"):
        chart: Any = st.plotly_chart(
            figures.responsible(division, rows),
            config=QUIET,
            key=f"why-chart-{round_}",
            on_select="rerun",
            selection_mode="points",
        )
        with st.container():
            chosen: Any = st.dataframe(
                _table(division, rows),
                hide_index=True,
                key=f"why-table-{round_}",
                on_select="rerun",
                selection_mode="single-row",
                column_config={"name": st.column_config.TextColumn(t(f"responsible.by_{division.grouping}"))},
            )
            file = f"difference-{division.metric}-{division.grouping}.csv"
            download(t("responsible.all"), division.parts.write_csv(), file, type="tertiary")
    if chosen.selection.rows:
        return int(rows[chosen.selection.rows[0]]["group"])
    for point in chart.selection.points:
        place = point.get("point_index", TOP)
        if place < len(rows):
            return int(rows[place]["group"])
    return None


def _table(division: Division, rows: list[dict[str, Any]]) -> pl.DataFrame:
    metric = division.metric
    shown = [
        {
            "name": row["name"],
            t("responsible.share"): f"{row['share']:.1%}" if division.clear else "",
            t("responsible.part"): amount(metric, row["part"]),
            t("responsible.interval"): interval(metric, row["low"], row["high"]),
            "A": level(metric, row["before"]),
            "B": level(metric, row["after"]),
            **({t("responsible.traffic"): f"{row['traffic']:.2%}"} if division.grouping == "query" else {}),
        }
        for row in rows
    ]
    return pl.DataFrame(shown)


def _open(
    opened: Opened,
    metric: str,
    by: str,
    group: int,
    days: tuple[Sequence[PairTotals], Sequence[PairTotals]],
) -> None:
    """Open the auction of a query in the inspector; of another group, of the query where it moves most."""
    if by != "query":
        own = [[narrowed(day, by, group) for day in side] for side in days]
        group = int(responsible_for(own[0], own[1], metric, "query").parts["group"][0])
    st.session_state[_OPENED] = st.session_state.get(_OPENED, 0) + 1
    key, number = (QUERY, group) if opened.prepared.source.has_texts else (EVENT, group + 1)
    st.session_state[key] = number
    st.switch_page("views/inspector_page.py", query_params=address.of_page({key: str(number)}))


def _basis(opened: Opened, division: Division) -> str:
    total = session.total_queries(opened.prepared)
    sample = session.live_queries(opened.prepared)
    text = t("responsible.basis", n=division.n_days, queries=total if sample is None else sample)
    return f"{text} {t('responsible.click' if division.grouping == 'query' else 'responsible.click_other')}"


def _name(by: str, name: str) -> str:
    if by == "match":
        return t(f"market.match_{name}")
    return t_plain("responsible.advertiser", name=name) if by == "advertiser" else name


def _known(known: Metrics, metric: str) -> bool:
    """Whether a market can say a metric: without grades there is none of irrelevant ads, nor of users."""
    return math.isfinite(known.get(metric.removesuffix("_rpm"), math.nan))


@st.cache_resource(show_spinner=False, max_entries=64, hash_funcs=session.KEYS)
def _division(
    market: Prepared,
    a: Setting,
    b: Setting,
    metric: str,
    by: str,
    _before: Sequence[PairTotals],
    _after: Sequence[PairTotals],
) -> Division:
    return responsible_for(_before, _after, metric, by)
