"""Page 1, trade-off: what relevance costs and earns, over the stored sweep and at the sliders' setting."""

from __future__ import annotations

import polars as pl
import streamlit as st

from app import figures, session, sidebar, wording
from app.language import t
from app.session import Opened
from app.setting import EXPONENT_FIELDS, chosen_scenario, in_words, setting_at
from app.theme import BETTER, WORSE
from app.wording import scorer_name
from scenarios import dump_scenario

CHART = "trade-off"


def page(opened: Opened) -> None:
    """Draw the page."""
    setting, stored = opened.setting, opened.result
    name = in_words(setting)
    st.title(t("trade_off.title"))
    baseline = session.metrics(opened.prepared, None)
    try:
        chosen = session.metrics(opened.prepared, setting)
    except ValueError as error:
        st.error(f"{t('scorers.cannot_settle', scorer=scorer_name(setting.scorer))}\n\n{error}")
        st.write(t("trade_off.points_below"))
        _chart(opened, None)
        return
    st.markdown(f"#### {wording.answer(chosen, baseline, name)}")
    _cards(chosen, baseline)
    st.caption(_basis(opened))
    _chart(opened, figures.ChosenPoint(t("trade_off.chosen", name=name), chosen))
    _downloads(opened, chosen)
    with st.container(key="figures"):
        st.plotly_chart(figures.who_gains(chosen, baseline), config=_QUIET)
        both = {t("trade_off.mix_baseline"): baseline, t("trade_off.mix_chosen"): chosen}
        st.plotly_chart(figures.grade_mix(both), config=_QUIET)
    if len(stored.points):
        with st.expander(t("trade_off.table")):
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
                delta_arrow="off" if figure.difference == t("figures.no_change") else "auto",
                help=figure.help,
                border=True,
            )


def _basis(opened: Opened) -> str:
    """On what the cards stand."""
    queries = session.sampled(opened.prepared, session.LIVE_QUERIES)
    return t("trade_off.basis", queries=queries, reserve=opened.scenario.auction.reserve)


def _chart(opened: Opened, chosen: figures.ChosenPoint | None) -> None:
    points = opened.result.points
    if not len(points):
        st.info(t("trade_off.no_points"))
        return
    st.plotly_chart(
        figures.trade_off(points, chosen),
        key=CHART,
        on_select=choose_clicked,
        selection_mode="points",
        config=_QUIET,
    )
    if not points["irrelevant_share"].is_finite().any():
        st.info(t("trade_off.no_grades"))
        return
    field = points["field"][0]
    meaning = t("trade_off.exponent") if field in EXPONENT_FIELDS else field
    numbers = t("trade_off.numbers", meaning=meaning) if field else ""
    st.caption(numbers + t("trade_off.click"))


def choose_clicked() -> None:
    """Move the sliders to the clicked point."""
    clicked = figures.selected_id(st.session_state.get(CHART))
    if clicked is None:
        return
    opened = session.current()
    setting = setting_at(opened.setting, opened.scenario, *figures.parse_point_id(clicked))
    if setting is None:
        st.toast(t("trade_off.cannot_follow"))
    else:
        sidebar.write(setting)


def _downloads(opened: Opened, chosen: wording.Metrics) -> None:
    setting, stored = opened.setting, opened.result
    row = {"kind": "chosen", "scorer": setting.scorer, "field": "fusion.relevance", "value": setting.exponent}
    table = pl.concat([stored.points, pl.DataFrame([{**row, **chosen}])], how="diagonal_relaxed")
    with st.container(horizontal=True):
        st.download_button(
            t("download.chart"), table.write_csv(), "trade-off.csv", "text/csv", icon=":material/download:"
        )
        st.download_button(
            t("download.scenario"),
            dump_scenario(chosen_scenario(setting, opened.scenario)),
            "scenario.yaml",
            "application/yaml",
            icon=":material/download:",
            help=t("download.scenario_help"),
        )


def _table(points: pl.DataFrame) -> pl.DataFrame:
    field = points["field"][0]
    return points.select(
        pl.col("scorer").alias(t("trade_off.column_scorer")),
        *([pl.when(pl.col("kind") == "sweep").then("value").alias(field)] if field else []),
        pl.col("revenue_rpm").round(2).alias(t("trade_off.column_revenue")),
        (100 * pl.col("irrelevant_share")).round(2).alias(t("trade_off.column_irrelevant")),
        (100 * pl.col("ctr")).round(2).alias(t("trade_off.column_ctr")),
        pl.col("mean_price").round(3).alias(t("trade_off.column_price")),
        (1000 * pl.col("advertiser_surplus") / pl.col("queries"))
        .round(2)
        .alias(t("trade_off.column_surplus")),
        (1000 * pl.col("user_utility") / pl.col("queries")).round(2).alias(t("trade_off.column_utility")),
        pl.col("pareto").alias(t("trade_off.column_front")),
    )


if __name__ == "__main__":
    page(session.current())
