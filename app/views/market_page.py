"""Page Market: what happens over the scenario's own day under my formula."""

from __future__ import annotations

import math

import polars as pl
import streamlit as st

from app import day, session
from app.figures import market_figures as figures
from app.language import t
from app.parts import serving
from app.parts.download import chart_with_data
from app.session import Opened
from app.setting import in_words
from app.texts import message
from app.wording import MISSING, metric_name, scorer_name

KEYS = ()
PREDICTION = {
    "pctr_auc": "{:.3f}",
    "pctr_calibration": "{:.3f}",
    "pctr_calibration_error": "{:.1%}",
    "pctr_relevance_auc": "{:.3f}",
}
"""Metrics of the click prediction, and how they are written."""
MATCHES = ("exact", "phrase", "broad", "expanded")
HEALTH = {
    "small_impression_share": "{:.1%}",
    "small_spend_share": "{:.1%}",
    "small_return": "{:.2f}",
    "large_impression_share": "{:.1%}",
    "large_spend_share": "{:.1%}",
    "large_return": "{:.2f}",
    "spend_top10_share": "{:.1%}",
    "spend_hhi": "{:.4f}",
    "loss_share": "{:.1%}",
    "price_cv": "{:.2f}",
    "newcomer_impression_share": "{:.1%}",
    "newcomer_first_click_s": "{:,.0f}",
    "lost_visit_share": "{:.1%}",
}
"""The metrics of who gains and who loses, and how they are written; a market without one leaves it out."""


def page(opened: Opened) -> None:
    """Draw the page."""
    scenario = opened.scenario
    st.title(t("market.title"))
    try:
        simulation = session.whole_day(opened.prepared, opened.b)
    except ValueError as error:
        st.error(f"{t('scorers.cannot_simulate', scorer=scorer_name(opened.b.scorer))}\n\n{message(error)}")
        st.write(t("market.remedy"))
        return
    metrics, unit = simulation.metrics, day.clock(simulation).unit
    owners = day.accounts(simulation, scenario)
    st.markdown(f"#### {_summary(metrics, owners.height)}")
    per = scenario.auction.payment
    st.caption(
        t(
            "market.basis",
            b=in_words(opened.b),
            mechanism=t(f"mechanisms.{scenario.auction.mechanism}"),
            per=t(f"payments.{per}"),
        )
    )
    if "judged_share" in metrics:
        share = metrics["judged_share"]
        by_judge = [] if share == 1.0 else [t("market.by_judge")]
        st.caption(" ".join((t("market.judged", share=share), *by_judge, t("market.modelled"))))
    _cards(metrics, instant=scenario.serving.instant)
    over_time, prices = day.over_time(simulation), day.prices(simulation)
    with st.container(key="figures"):
        chart_with_data(figures.traffic(over_time, unit), over_time, "traffic")
        chart_with_data(figures.fill(over_time, unit), over_time.select("time", "fill"), "fill")
        if not scenario.serving.instant:
            answers = over_time.select("time", "latency_p50_s", "latency_p95_s", "timeout_share")
            chart_with_data(figures.latency(over_time, unit, scenario.serving.timeout_s), answers, "latency")
            chart_with_data(figures.timeouts(over_time, unit), answers, "time-outs")
        if len(owners):
            spending = day.spending(simulation, owners)
            drawn = figures.spending(spending, unit, days=simulation.market.days)
            chart_with_data(drawn, spending, "spending")
            chart_with_data(figures.accounts(owners), owners, "advertisers")
        chart_with_data(figures.prices(prices, unit, per), prices, "prices")
        earned = over_time.select("time", "revenue_rpm")
        chart_with_data(figures.revenue(over_time, unit), earned, "revenue")
    if not scenario.serving.instant:
        serving.draw(opened, simulation)
    if not len(owners):
        st.info(t("market.no_budgets"))
    st.markdown(f"#### {t('market.matches_title')}")
    st.caption(t("market.matches_basis"))
    st.dataframe(pl.DataFrame([_found_by(name, metrics) for name in MATCHES]), hide_index=True)
    for part, names in {"prediction": PREDICTION, "health": HEALTH}.items():
        st.markdown(f"#### {t(f'market.{part}_title')}")
        st.caption(t(f"market.{part}_basis"))
        known = [name for name in names if not math.isnan(metrics[name])]
        _draw(part, [(metric_name(name), metrics[name], names[name]) for name in known])


def _cards(metrics: dict[str, float], *, instant: bool) -> None:
    rows: list[tuple[str, float, str]] = [
        (t("market.queries"), metrics["queries"], "{:,.0f}"),
        (t("market.revenue"), metrics["revenue_rpm"], "{:,.2f}"),
        (t("market.filled"), metrics["fill"], "{:.1%}"),
        (t("market.ran_out"), metrics["ran_out_share"], "{:.1%}"),
    ]
    if not instant:
        rows += [
            (t("market.latency"), 1000 * metrics["latency_p95_s"], "{:,.0f}"),
            (t("market.timed_out"), metrics["timeout_share"], "{:.1%}"),
        ]
    _draw("day", rows)


def _draw(key: str, rows: list[tuple[str, float, str]]) -> None:
    """Cards of labels, values and how the values are written."""
    with st.container(key=f"small-cards-{key}"):
        for label, value, form in rows:
            st.metric(label, MISSING if math.isnan(value) else form.format(value), border=True)


def _found_by(match: str, metrics: dict[str, float]) -> dict[str, str]:
    """What ads that were found by one kind of match were shown, clicked and charged."""
    columns = {"impressions": "impression_share", "revenue": "revenue_share"}
    row: dict[str, str] = {t("market.column_match"): t(f"market.match_{match}")}
    for heading in ("impressions", "revenue", "ctr", "irrelevant_share"):
        value = metrics[f"{match}_{columns.get(heading, heading)}"]
        row[metric_name(heading)] = MISSING if math.isnan(value) else f"{value:.1%}"
    return row


def _summary(metrics: dict[str, float], n_budgets: int) -> str:
    if not metrics["impressions"]:
        return t("market.summary_none", queries=metrics["queries"])
    return t(
        "market.summary_budgets" if n_budgets else "market.summary",
        queries=metrics["queries"],
        fill=metrics["fill"],
        revenue=metrics["revenue"],
        ran_out=metrics["ran_out_share"],
    )


if __name__ == "__main__":
    page(session.current())
