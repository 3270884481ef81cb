"""Page 1, trade-off: what relevance costs and earns, over the stored sweep and at the sliders' setting."""

from __future__ import annotations

import polars as pl
import streamlit as st

from app import figures, session, sidebar, uplift, wording
from app.download import chart_with_data
from app.export import scenario_text
from app.session import Opened
from app.setting import EXPONENT_FIELDS, chosen_scenario, in_words, setting_at, stored_scenario
from app.theme import BETTER, WORSE, scorer_style

CHART, WHOLE, POINT = "trade-off", "whole", "opened-point"
HEAD = ("revenue_rpm", "irrelevant_share")
"""Metrics that an exported scenario names at its head."""


def page(opened: Opened) -> None:
    """Draw the page."""
    setting, stored = opened.setting, opened.result
    name = in_words(setting, scorer_style(setting.scorer).label)
    st.title("What does relevance cost, and what does it earn?")
    whole = _whole(opened)
    baseline = session.metrics(opened.prepared, None, whole=whole)
    try:
        chosen = session.metrics(opened.prepared, setting, whole=whole)
    except ValueError as error:
        st.error(f"{scorer_style(setting.scorer).label} cannot be settled.\n\n{error}")
        st.write("Choose another relevance scorer in the sidebar; the stored points are still below.")
        _chart(opened, None)
        return
    st.markdown(f"#### {wording.answer(chosen, baseline, name)}")
    _cards(chosen, baseline)
    st.caption(_basis(opened, whole=whole))
    further_days = st.container()
    _chart(opened, figures.ChosenPoint(f"your setting: {name}", chosen))
    _stored_point(opened)
    _downloads(opened, chosen, whole=whole)
    with st.container(key="figures"):
        sides = figures.changes_by_side(chosen, baseline)
        table = pl.DataFrame({"side": list(sides), "change_per_1000_queries": list(sides.values())})
        chart_with_data(figures.who_gains(chosen, baseline), table, "who-gains")
        both = {"No relevance": baseline, "Your setting": chosen}
        mix = [
            {"ranked_by": name, **{key: row[key] for key in row if key.startswith("grade_")}}
            for name, row in both.items()
        ]
        chart_with_data(figures.grade_mix(both), pl.DataFrame(mix), "true-grades")
    if len(stored.points):
        with st.expander("The stored points as a table"):
            st.dataframe(_table(stored.points), hide_index=True)
    if setting.scorer != session.BASELINE:
        with further_days:  # last, for it takes longer than all before
            uplift.draw(opened)


def _whole(opened: Opened) -> bool:
    """Whether to settle all queries; asks where that takes longer than a slider should."""
    sample = session.live_queries(opened.prepared)
    if sample is None:
        return True
    total = session.total_queries(opened.prepared)
    return st.toggle(
        f"Settle all {total:,} queries, not a preview of {sample:,}",
        key=WHOLE,
        help="The figures are then exactly those that relbid run gives; sliders answer more slowly.",
    )


def _cards(chosen: wording.Metrics, baseline: wording.Metrics) -> None:
    with st.container(key="cards"):
        for figure in wording.key_figures(chosen, baseline):
            st.metric(
                figure.label,
                figure.value,
                figure.difference,
                delta_color="off" if figure.better is None else BETTER if figure.better else WORSE,
                delta_arrow="off" if figure.difference == "no change" else "auto",
                help=figure.help,
                border=True,
            )


def _basis(opened: Opened, *, whole: bool) -> str:
    """On what the cards stand."""
    total, sample = session.total_queries(opened.prepared), session.live_queries(opened.prepared)
    queries = (
        f"Settled just now on all {total:,} queries"
        if whole
        else f"A preview: settled just now on an even sample of {sample:,} of {total:,} queries, budgets "
        "scaled alike"
    )
    return (
        f"{queries}. Differences are against the same queries and the same luck without "
        f"relevance, at the scenario's own reserve of {opened.scenario.auction.reserve:g}; blue is better, "
        "orange worse. Money is in currency units per 1,000 queries, but for the price."
    )


def _chart(opened: Opened, chosen: figures.ChosenPoint | None) -> None:
    points = opened.result.points
    if not len(points):
        st.info("This result holds no points. Run its scenario with a comparison or a sweep: `make run`.")
        return
    st.plotly_chart(
        figures.trade_off(points, chosen),
        key=CHART,
        on_select=choose_clicked,
        selection_mode="points",
        config=_QUIET,
    )
    if not points["irrelevant_share"].is_finite().any():
        st.info("No share of irrelevant ads is known: the table has no grades. Add a column grade to it.")
        return
    field = points["field"][0]
    meaning = "the relevance exponent" if field in EXPONENT_FIELDS else field
    st.caption(
        (f"Numbers at points: {meaning}. " if field else "")
        + "Click a point to open it: the sliders move there, and the figures and the scenario to take away "
        "are that point's. Above and to the left of the dotted lines is better than no relevance in both."
    )


_QUIET = {"displayModeBar": False}


def choose_clicked() -> None:
    """Open the clicked point: at the sliders or, where they cannot reach it, as it is stored."""
    clicked = figures.selected_id(st.session_state.get(CHART))
    if clicked is None:
        return
    opened = session.current()
    setting = setting_at(opened.setting, opened.scenario, *figures.parse_point_id(clicked))
    if setting is None:
        st.session_state[POINT] = (opened.result.folder.name, clicked)
    else:
        st.session_state.pop(POINT, None)
        sidebar.write(setting)


def _stored_point(opened: Opened) -> None:
    """A clicked point that the sliders cannot reach: its stored figures, and its exact scenario."""
    folder, clicked = st.session_state.get(POINT, ("", ""))
    if folder != opened.result.folder.name:
        return
    scorer, field, value = figures.parse_point_id(clicked)
    label = scorer_style(scorer).label
    points = opened.result.points
    rows = points.filter(
        (pl.col("scorer") == scorer) & (pl.col("field") == field) & (pl.col("value") == value)
    )
    baseline = points.filter((pl.col("kind") == "compare") & (pl.col("scorer") == session.BASELINE))
    if not len(rows):
        return
    with st.container(border=True):
        st.markdown(f"#### The stored point: {label}, {field} {value:g}")
        st.caption("The sliders do not reach it. These are the figures of the stored run, on all queries.")
        row = rows.row(0, named=True)
        _cards_of(row, baseline.row(0, named=True) if len(baseline) else row)
        st.download_button(
            "This point as a scenario (YAML)",
            scenario_text(stored_scenario(opened.scenario, scorer, field, value), row, HEAD),
            f"{opened.scenario.name}-{label}-{value:g}.yaml".replace(" ", "-"),
            "application/yaml",
            icon=":material/download:",
            help="`relbid run` on it gives these figures.",
        )


def _cards_of(row: wording.Metrics, baseline: wording.Metrics) -> None:
    with st.container(horizontal=True):
        for figure in wording.key_figures(row, baseline)[:4]:
            st.metric(figure.label, figure.value, figure.difference, delta_color="off", help=figure.help)


def _downloads(opened: Opened, chosen: wording.Metrics, *, whole: bool) -> None:
    setting, stored = opened.setting, opened.result
    row = {"kind": "chosen", "scorer": setting.scorer, "field": "fusion.relevance", "value": setting.exponent}
    table = pl.concat([stored.points, pl.DataFrame([{**row, **chosen}])], how="diagonal_relaxed")
    with st.container(horizontal=True):
        st.download_button(
            "Chart data (CSV)", table.write_csv(), "trade-off.csv", "text/csv", icon=":material/download:"
        )
        st.download_button(
            "This setting as a scenario (YAML)",
            scenario_text(chosen_scenario(setting, opened.scenario), chosen, HEAD),
            "scenario.yaml",
            "application/yaml",
            icon=":material/download:",
            disabled=not whole,
            help="`relbid run scenario.yaml` gives the figures above."
            if whole
            else "What is shown is a preview, and `relbid run` settles every query: settle all of them above "
            "first, so that the file gives the figures that you see.",
        )


def _table(points: pl.DataFrame) -> pl.DataFrame:
    field = points["field"][0]
    return points.select(
        pl.col("scorer").alias("Scorer"),
        *([pl.when(pl.col("kind") == "sweep").then("value").alias(field)] if field else []),
        pl.col("revenue_rpm").round(2).alias("Revenue per 1,000 queries"),
        (100 * pl.col("irrelevant_share")).round(2).alias("Irrelevant ads (%)"),
        (100 * pl.col("ctr")).round(2).alias("Click-through rate (%)"),
        pl.col("mean_price").round(3).alias("Price per click"),
        (1000 * pl.col("advertiser_surplus") / pl.col("queries"))
        .round(2)
        .alias("Advertiser surplus per 1,000"),
        (1000 * pl.col("user_utility") / pl.col("queries")).round(2).alias("User utility per 1,000"),
        pl.col("pareto").alias("On the front"),
    )


if __name__ == "__main__":
    page(session.current())
