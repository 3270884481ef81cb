"""Page 1, trade-off: what relevance costs and earns, over the stored sweep and at the sliders' setting."""

from __future__ import annotations

import polars as pl
import streamlit as st

from app import figures, session, sidebar, wording
from app.session import Opened
from app.setting import EXPONENT_FIELDS, chosen_scenario, in_words, setting_at
from app.theme import BETTER, WORSE, scorer_style
from scenarios import dump_scenario

CHART = "trade-off"


def page(opened: Opened) -> None:
    """Draw the page."""
    setting, stored = opened.setting, opened.result
    name = in_words(setting, scorer_style(setting.scorer).label)
    st.title("What does relevance cost, and what does it earn?")
    baseline = session.metrics(opened.prepared, None)
    try:
        chosen = session.metrics(opened.prepared, setting)
    except ValueError as error:
        st.error(f"{scorer_style(setting.scorer).label} cannot be settled.\n\n{error}")
        st.write("Choose another relevance scorer in the sidebar; the stored points are still below.")
        _chart(opened, None)
        return
    st.markdown(f"#### {wording.answer(chosen, baseline, name)}")
    _cards(chosen, baseline)
    st.caption(_basis(opened))
    _chart(opened, figures.ChosenPoint(f"your setting: {name}", chosen))
    _downloads(opened, chosen)
    with st.container(key="figures"):
        st.plotly_chart(figures.who_gains(chosen, baseline), config=_QUIET)
        both = {"No relevance": baseline, "Your setting": chosen}
        st.plotly_chart(figures.grade_mix(both), config=_QUIET)
    if len(stored.points):
        with st.expander("The stored points as a table"):
            st.dataframe(_table(stored.points), hide_index=True)


_QUIET = {"displayModeBar": False}


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


def _basis(opened: Opened) -> str:
    """On what the cards stand."""
    total, sample = session.total_queries(opened.prepared), session.live_queries(opened.prepared)
    queries = (
        f"all {total:,} queries"
        if sample is None
        else f"an even sample of {sample:,} of {total:,} queries, budgets scaled alike"
    )
    return (
        f"Settled just now on {queries}. Differences are against the same queries and the same luck without "
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
        + "Click a point to move the sliders there. Above and to the left of "
        "the dotted lines is better than no relevance in both."
    )


def choose_clicked() -> None:
    """Move the sliders to the clicked point."""
    clicked = figures.selected_id(st.session_state.get(CHART))
    if clicked is None:
        return
    opened = session.current()
    setting = setting_at(opened.setting, opened.scenario, *figures.parse_point_id(clicked))
    if setting is None:
        st.toast("The sliders cannot follow this sweep's field; the table below holds its points.")
    else:
        sidebar.write(setting)


def _downloads(opened: Opened, chosen: wording.Metrics) -> None:
    setting, stored = opened.setting, opened.result
    row = {"kind": "chosen", "scorer": setting.scorer, "field": "fusion.relevance", "value": setting.exponent}
    table = pl.concat([stored.points, pl.DataFrame([{**row, **chosen}])], how="diagonal_relaxed")
    with st.container(horizontal=True):
        st.download_button(
            "Chart data (CSV)", table.write_csv(), "trade-off.csv", "text/csv", icon=":material/download:"
        )
        st.download_button(
            "This setting as a scenario (YAML)",
            dump_scenario(chosen_scenario(setting, opened.scenario)),
            "scenario.yaml",
            "application/yaml",
            icon=":material/download:",
            help="`relbid run scenario.yaml` runs it.",
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
