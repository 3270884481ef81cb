"""Page Formula: a ranking rule of one's own, tried in auctions and on the market."""

from __future__ import annotations

import polars as pl
import streamlit as st

from app import session, wording
from app.figures import formula_figures as figures
from app.language import names, t
from app.parts.download import chart_with_data, download
from app.parts.sidebar import scorers
from app.session import RULE_QUERIES, Opened
from app.wording import scorer_name
from scenarios import (
    SHIPPED_RULES,
    FormulaError,
    ScenarioError,
    Verdict,
    dump_scenario,
    iso_scores,
    judge_formula,
    override,
)

KEYS = ("expression", "formula-scorer", "rate")
EXPRESSION, SCORER, RATE = KEYS
FIRST = "b * q * r^0.5"
EXAMPLES = (FIRST, "b * q * max(r, 0.1)", "q * (b - 0.5 * (1 - r))", "b^0.8 * q * exp(3 * (r - 1))")
LINES = (0.5, 1.0, 2.0, 4.0)  # bids at relevance 1, in currency units, through which they run


def page(opened: Opened) -> None:
    """Draw the page."""
    st.title(t("formula.title"))
    expression = _ask()
    try:
        verdict = judge_formula(expression)
    except FormulaError as error:
        st.error(
            t("formula.cannot_be_read", position=error.position + 1, reason=wording.reading_fault(error))
        )
        st.code(error.pointer, language=None)
        st.write(t("formula.remedy"))
        return
    _say(verdict)
    rate = st.session_state.setdefault(RATE, 5.0)
    known = scorers(opened.scenario)
    if st.session_state.get(SCORER) not in known:
        st.session_state[SCORER] = opened.setting.scorer
    with st.container(key="figures"):
        with st.container():
            rate = st.slider(t("formula.rate"), 0.5, 30.0, step=0.5, key=RATE)
            lines = iso_scores(verdict.rule, rate / 100, LINES)
            chart_with_data(figures.iso_scores(lines, rate / 100), lines, "equal-scores")
        with st.container():
            scorer = st.selectbox(
                t("formula.scorer"), known, format_func=names(known, scorer_name), key=SCORER
            )
            _market(opened, verdict, str(scorer))
    st.caption(t("formula.caption"))


def _ask() -> str:
    st.session_state.setdefault(EXPRESSION, FIRST)
    expression = st.text_input(t("formula.score"), key=EXPRESSION, help=t("formula.score_help"))
    with st.container(horizontal=True):
        for example in EXAMPLES:
            st.button(example, on_click=_take, args=(example,), type="tertiary")
    return str(expression)


def _take(example: str) -> None:
    st.session_state[EXPRESSION] = example


def _say(verdict: Verdict) -> None:
    if verdict.traits is None:
        faults = t("words.semicolon").join(map(wording.fault, verdict.faults))
        st.error(f"{t('formula.faults', faults=faults)}\n\n{t('formula.faults_remedy')}")
        return
    twice = t("formula.homogeneous" if verdict.traits.homogeneous else "formula.has_scale")
    affine = t("formula.affine" if verdict.rule.affine else "formula.not_affine")
    st.success(t("formula.fit", twice=twice, affine=affine))


def _market(opened: Opened, verdict: Verdict, scorer: str) -> None:
    """The formula's point beside the built-in rules."""
    try:
        rules = {
            name: metrics
            for name, block in SHIPPED_RULES.items()
            if (metrics := _metrics_of(opened, scorer, dict(block))) is not None
        }
        block: dict[str, object] = {"rule": "formula", "expression": verdict.rule.expression}
        own = _metrics_of(opened, scorer, block) if verdict.traits is not None else None
    except ValueError as error:
        st.error(str(error))
        st.write(t("formula.other_scorer"))
        return
    rows = [{"rule": name, **metrics} for name, metrics in rules.items()]
    if own is not None:
        rows.append({"rule": verdict.rule.expression, **own})
    chart_with_data(figures.among_rules(rules, own), pl.DataFrame(rows), "rules")
    if own is None:
        st.info(t("formula.no_point"))
        return
    base = rules["ignores relevance"]
    st.markdown(wording.answer(own, base, t("formula.name")))
    total, part = session.total_queries(opened.prepared), session.live_queries(opened.prepared, RULE_QUERIES)
    st.caption(t("formula.basis", sample=wording.sample(total, part)))
    scenario = override(opened.scenario, {"sweep": None, "fusion": block, "scorer": scorer})
    about = t("download.scenario_help")
    download(t("download.formula"), dump_scenario(scenario), "scenario.yaml", help=about)


def _metrics_of(opened: Opened, scorer: str, block: dict[str, object]) -> wording.Metrics | None:
    """Metrics under a rule; None where the scenario's auction refuses it."""
    try:
        override(opened.scenario, {"sweep": None, "fusion": block})
    except ScenarioError:
        return None
    return session.rule_metrics(opened.prepared, scorer, block)


if __name__ == "__main__":
    page(session.current())
