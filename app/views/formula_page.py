"""Page Formula: whether my formula is fit for auctions, and whether it is good for the market."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from app import session, wording
from app.days import Days, held, mean_of, over_days
from app.figures import formula_figures as figures
from app.language import t
from app.opening import SHARE
from app.parts.download import chart_with_data
from app.session import Opened
from app.setting import Setting, fault_of, in_words, market_settings
from scenarios import SHIPPED_RULES, Verdict, fusion_text, iso_scores, judge_rule, override

KEYS = ("rate",)
(RATE,) = KEYS
LINES = (0.5, 1.0, 2.0, 4.0)  # bids at relevance 1, in currency units, through which they run


def page(opened: Opened) -> None:
    """Draw the page."""
    st.title(t("formula.title"))
    b = opened.b
    formula = b.formula.replace("*", "\\*")
    gated = t("formula.gate", formula=formula, threshold=b.threshold) if b.threshold > 0 else formula
    st.markdown(f"#### {t('formula.score', formula=gated)}")
    verdict = judge_rule(override(opened.scenario, market_settings(b)).fusion.build())
    with st.container(key="figures-lamps"):
        _auctions(verdict)
        market = st.container()
    with st.container(key="figures"):
        with st.container():
            st.session_state.setdefault(RATE, 5.0)
            rate = st.slider(t("formula.rate"), 0.5, 30.0, step=0.5, key=RATE)
            lines = iso_scores(verdict.rule, rate / 100, LINES)
            chart_with_data(figures.iso_scores(lines, rate / 100), lines, "equal-scores")
        rules = st.container()
    st.caption(t("formula.caption"))
    try:
        a_days, b_days = over_days(opened.prepared, (opened.a, b), whole=False)
        with market:
            _market(opened, a_days, b_days)
        with rules:
            _among_rules(opened)
    except ValueError as error:
        market.error(str(error))


def _auctions(verdict: Verdict) -> None:
    """Whether auctions can rank by it."""
    with st.container():
        if verdict.traits is None:
            faults = t("words.semicolon").join(map(wording.fault, verdict.faults))
            st.error(f"**{t('formula.auctions_not')}**\n\n{faults}. {t('formula.faults_remedy')}")
            return
        twice = t("formula.homogeneous" if verdict.traits.homogeneous else "formula.has_scale")
        affine = t("formula.affine" if verdict.traits.affine else "formula.not_affine")
        st.success(f"**{t('formula.auctions')}**\n\n{t('formula.fit', twice=twice, affine=affine)}")


def _market(opened: Opened, a: Days, b: Days) -> None:
    """Whether the market is better off than under A: in revenue and in irrelevant ads, over the days."""
    revenue, share = held(a, b, "revenue_rpm").change, held(a, b, SHARE).difference
    worse = (revenue.t_high < 0) + (share.t_low > 0)
    better = (revenue.t_low > 0) + (share.t_high < 0)
    said = wording.answer_over_days(held(a, b, "revenue_rpm"), a.mean(SHARE), mean_of(b, SHARE))
    if len(b.of) == 1:
        said = wording.answer(b.of[0], a.of[0])
    kind = "harmful" if worse and not better else "good" if better and not worse else "open"
    show = {"harmful": st.error, "good": st.success, "open": st.warning}[kind]
    text = t("formula.market_says", said=said)
    show(f"**{t(f'formula.market_{kind}')}**\n\n{text} (A: {in_words(opened.a)})")


def _among_rules(opened: Opened) -> None:
    """B's point beside the built-in rules, on the scenario's own day."""
    rules: dict[str, wording.Metrics] = {}
    for name, block in SHIPPED_RULES.items():
        setting = _setting_of(opened, dict(block))
        if fault_of(setting, opened.scenario) is None:
            rules[name] = session.metrics(opened.prepared, setting)
    own = session.metrics(opened.prepared, opened.b)
    rows = [{"rule": name, **metrics} for name, metrics in [*rules.items(), (opened.b.formula, own)]]
    chart_with_data(figures.among_rules(rules, own), pl.DataFrame(rows), "rules")
    total, part = session.total_queries(opened.prepared), session.live_queries(opened.prepared)
    st.caption(t("formula.basis", sample=wording.sample(total, part)))


def _setting_of(opened: Opened, block: dict[str, object]) -> Setting:
    return replace(opened.b, formula=fusion_text(block), threshold=0.0)


if __name__ == "__main__":
    page(session.current())
