"""Page 1, trade-off: what relevance costs and earns, over the stored sweep and at the sliders' setting."""

from __future__ import annotations

from typing import Final

import polars as pl
import streamlit as st

from app import session, wording
from app.export import scenario_text
from app.figures import trade_off_figures as figures
from app.language import t
from app.parts import sidebar, uplift, why
from app.parts.download import chart_with_data, download
from app.session import Opened
from app.setting import EXPONENT_FIELDS, chosen_scenario, in_words, setting_at, stored_scenario
from app.wording import scorer_name
from scenarios.reporting.theme import QUIET

CHART, WHOLE, POINT = "trade-off", "whole", "opened-point"
KEYS = (WHOLE,)
BETTER: Final = "blue"
WORSE: Final = "orange"
"""Streamlit's names of the colours of differences; many eyes cannot tell green from red."""

HEAD = ("revenue_rpm", "irrelevant_share")
"""Metrics that an exported scenario names at its head."""


def page(opened: Opened) -> None:
    """Draw the page."""
    setting, stored = opened.setting, opened.result
    name = in_words(setting)
    st.title(t("trade_off.title"))
    whole = _whole(opened)
    baseline = session.metrics(opened.prepared, None, whole=whole)
    try:
        chosen = session.metrics(opened.prepared, setting, whole=whole)
    except ValueError as error:
        st.error(f"{t('scorers.cannot_simulate', scorer=scorer_name(setting.scorer))}\n\n{error}")
        st.write(t("trade_off.points_below"))
        _chart(opened, None)
        return
    st.markdown(f"#### {wording.answer(chosen, baseline, name)}")
    _cards(chosen, baseline)
    st.caption(_basis(opened, whole=whole))
    further_days = st.container()
    why.draw(opened, None, setting)
    _chart(opened, figures.ChosenPoint(t("trade_off.chosen", name=name), chosen))
    _stored_point(opened)
    _downloads(opened, chosen, whole=whole)
    with st.container(key="figures"):
        sides = figures.changes_by_side(chosen, baseline)
        table = pl.DataFrame({"side": list(sides), "change_per_1000_queries": list(sides.values())})
        chart_with_data(figures.who_gains(chosen, baseline), table, "who-gains")
        both = {t("trade_off.mix_baseline"): baseline, t("trade_off.mix_chosen"): chosen}
        mix = [
            {"ranked_by": ranking, **{key: row[key] for key in row if key.startswith("grade_")}}
            for ranking, row in both.items()
        ]
        chart_with_data(figures.grade_mix(both), pl.DataFrame(mix), "true-grades")
    if len(stored.points):
        with st.expander(t("trade_off.table")):
            st.dataframe(_table(stored.points), hide_index=True)
    if setting.scorer != session.BASELINE:
        with further_days:  # last, for it takes longer than all before
            uplift.draw(opened)


def _whole(opened: Opened) -> bool:
    """Whether to simulate all queries; asks where that takes longer than a slider should."""
    sample = session.live_queries(opened.prepared)
    if sample is None:
        return True
    total = session.total_queries(opened.prepared)
    return st.toggle(
        t("trade_off.whole", total=total, sample=sample), key=WHOLE, help=t("trade_off.whole_help")
    )


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


def _basis(opened: Opened, *, whole: bool) -> str:
    sample = None if whole else session.live_queries(opened.prepared)
    queries = wording.sample(session.total_queries(opened.prepared), sample)
    basis = t("trade_off.simulated" if whole else "trade_off.preview", queries=queries)
    return t("trade_off.basis", basis=basis, reserve=opened.scenario.auction.reserve)


def _chart(opened: Opened, chosen: figures.ChosenPoint | None) -> None:
    points = opened.result.points
    if not len(points):
        st.info(t("trade_off.no_points"))
        return
    drawn = figures.trade_off(points, chosen)
    st.plotly_chart(drawn, key=CHART, on_select=choose_clicked, selection_mode="points", config=QUIET)
    if not points["irrelevant_share"].is_finite().any():
        st.info(t("trade_off.no_grades"))
        return
    field = points["field"][0]
    meaning = t("trade_off.exponent") if field in EXPONENT_FIELDS else field
    numbers = t("trade_off.numbers", meaning=meaning) if field else ""
    st.caption(numbers + t("trade_off.click"))


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
    label = scorer_name(scorer)
    points = opened.result.points
    rows = points.filter(
        (pl.col("scorer") == scorer) & (pl.col("field") == field) & (pl.col("value") == value)
    )
    baseline = points.filter((pl.col("kind") == "compare") & (pl.col("scorer") == session.BASELINE))
    if not len(rows):
        return
    with st.container(border=True):
        st.markdown(f"#### {t('trade_off.stored_point', scorer=label, field=field, value=value)}")
        st.caption(t("trade_off.stored_point_caption"))
        row = rows.row(0, named=True)
        _cards_of(row, baseline.row(0, named=True) if len(baseline) else row)
        text = scenario_text(stored_scenario(opened.scenario, scorer, field, value), row, HEAD)
        file = f"{opened.scenario.name}-{scorer.rpartition(':')[2]}-{value:g}.yaml"
        download(t("download.point"), text, file, help=t("download.point_help"))


def _cards_of(row: wording.Metrics, baseline: wording.Metrics) -> None:
    with st.container(horizontal=True):
        for figure in wording.key_figures(row, baseline)[:4]:
            st.metric(figure.label, figure.value, figure.difference, delta_color="off", help=figure.help)


def _downloads(opened: Opened, chosen: wording.Metrics, *, whole: bool) -> None:
    setting, stored = opened.setting, opened.result
    row = {"kind": "chosen", "scorer": setting.scorer, "field": "fusion.relevance", "value": setting.exponent}
    table = pl.concat([stored.points, pl.DataFrame([{**row, **chosen}])], how="diagonal_relaxed")
    with st.container(horizontal=True):
        download(t("download.chart"), table.write_csv(), "trade-off.csv")
        text = scenario_text(chosen_scenario(setting, opened.scenario), chosen, HEAD)
        about = t("download.scenario_exact" if whole else "download.scenario_preview")
        download(t("download.scenario"), text, "scenario.yaml", disabled=not whole, help=about)


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
