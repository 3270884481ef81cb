"""Page Market: what happens over the day, in the scenario's own run."""

from __future__ import annotations

import streamlit as st

from app import day, figures, session
from app.download import chart_with_data
from app.session import Opened
from app.theme import scorer_style
from app.wording import MISSING

_MECHANISMS = {"gsp": "GSP", "vcg": "VCG", "first_price": "first-price"}


def page(opened: Opened) -> None:
    """Draw the page."""
    scenario = opened.scenario
    st.title("What happens over the day?")
    try:
        settled = session.settled(opened.prepared)
    except ValueError as error:
        st.error(f"{scorer_style(scenario.scorer).label} cannot be settled.\n\n{error}")
        st.write("Run the scenario with another scorer: `relbid run FILE --set scorer=bm25`.")
        return
    metrics, unit = settled.metrics, day.clock(settled).unit
    owners = day.accounts(settled, scenario)
    st.markdown(f"#### {_summary(metrics, owners.height)}")
    per = scenario.auction.payment
    st.caption(
        f"The scenario's own run, whole: ranked by {scorer_style(scenario.scorer).label} with the "
        f"{scenario.fusion.rule.replace('_', ' ')} rule, {_MECHANISMS[scenario.auction.mechanism]} "
        f"auction, paid by the {per}. The sliders of other pages change nothing here."
    )
    _cards(metrics, instant=scenario.serving.instant)
    over_time, prices = day.over_time(settled), day.prices(settled)
    with st.container(key="figures"):
        chart_with_data(figures.traffic(over_time, unit), over_time, "traffic")
        chart_with_data(figures.fill(over_time, unit), over_time.select("time", "fill"), "fill")
        if not scenario.serving.instant:
            answers = over_time.select("time", "latency_p50_s", "latency_p95_s", "timeout_share")
            chart_with_data(figures.latency(over_time, unit, scenario.serving.timeout_s), answers, "latency")
            chart_with_data(figures.timeouts(over_time, unit), answers, "time-outs")
        if len(owners):
            spending = day.spending(settled, owners)
            drawn = figures.spending(spending, unit, days=settled.market.days)
            chart_with_data(drawn, spending, "spending")
            chart_with_data(figures.accounts(owners), owners, "advertisers")
        chart_with_data(figures.prices(prices, unit, per), prices, "prices")
        earned = over_time.select("time", "revenue_rpm")
        chart_with_data(figures.revenue(over_time, unit), earned, "revenue")
    if not len(owners):
        st.info(
            "Nobody has a budget here, so there is no spending to pace. Name a file of daily budgets in "
            "`market.advertisers` to see it."
        )


def _cards(metrics: dict[str, float], *, instant: bool) -> None:
    rows = [
        ("Queries", metrics["queries"], "{:,.0f}"),
        ("Revenue per 1,000 queries", metrics["revenue_rpm"], "{:,.2f}"),
        ("Filled slots", metrics["fill"], "{:.1%}"),
        ("Advertisers who ran out", metrics["ran_out_share"], "{:.1%}"),
    ]
    if not instant:
        rows += [
            ("Latency, 95th percentile (ms)", 1000 * metrics["latency_p95_s"], "{:,.0f}"),
            ("Timed out", metrics["timeout_share"], "{:.1%}"),
        ]
    with st.container(key="small-cards"):
        for label, value, form in rows:
            st.metric(label, MISSING if value != value else form.format(value), border=True)


def _summary(metrics: dict[str, float], n_budgets: int) -> str:
    if not metrics["impressions"]:
        return f"{metrics['queries']:,.0f} queries came, and no ad was shown."
    text = (
        f"{metrics['queries']:,.0f} queries came, {metrics['fill']:.0%} of the slots showed an ad, and the "
        f"platform earned {metrics['revenue']:,.0f} currency units"
    )
    return (
        f"{text}; {metrics['ran_out_share']:.0%} of advertisers ran out of money."
        if n_budgets
        else f"{text}."
    )


if __name__ == "__main__":
    page(session.current())
