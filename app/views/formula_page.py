"""Page Formula: whether my formula is fit for auctions, and whether it is good for the market."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from app import session, wording
from app.bar import verdicts
from app.days import over_days
from app.figures import formula_figures as figures
from app.language import t
from app.parts.download import chart_with_data
from app.session import Opened
from app.setting import Setting, fault_of, in_words, market_settings
from app.texts import message
from scenarios import SHIPPED_RULES, fusion_text, iso_scores, judge_rule, override

KEYS = ("rate",)
(RATE,) = KEYS
LINES = (0.5, 1.0, 2.0, 4.0)  # bids at relevance 1, in currency units, through which they run


def page(opened: Opened) -> None:
    """Draw the page."""
    st.title(t("formula.title"))
    b = opened.b
    gated = b.formula
    if b.threshold > 0:
        gated = t("formula.gate", formula=b.formula, threshold=b.threshold)
    st.markdown(f"#### {t('formula.score', formula=gated)}")
    verdict = judge_rule(override(opened.scenario, market_settings(b)).fusion.build())
    lamps = st.container()
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
    except ValueError as error:
        with lamps:
            verdicts.draw(verdict)
            st.error(message(error))
        return
    with lamps:
        verdicts.draw(verdict, a_days.of, b_days.of)
        st.caption(t("verdicts.against", n=len(b_days.of), a=in_words(opened.a)))
    with rules:
        _among_rules(opened)


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
