"""Page Formula: a ranking rule of one's own, tried in auctions and on the market."""

from __future__ import annotations

import polars as pl
import streamlit as st

from app import figures, session, wording
from app.download import chart_with_data
from app.session import Opened
from app.sidebar import scorers
from app.theme import scorer_style
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

EXPRESSION, SCORER, RATE = "expression", "formula-scorer", "rate"
FIRST = "b * q * r^0.5"
EXAMPLES = (
    FIRST,
    "b * q * max(r, 0.1)",
    "q * (b - 0.5 * (1 - r))",
    "b^0.8 * q * exp(3 * (r - 1))",
)
LINES = (0.5, 1.0, 2.0, 4.0)  # bids at relevance 1, in currency units, through which they run


def page(opened: Opened) -> None:
    """Draw the page."""
    st.title("Write a ranking formula")
    expression = _ask()
    try:
        verdict = judge_formula(expression)
    except FormulaError as error:
        st.error(f"This cannot be read. Character {error.position + 1}: {error.reason}.")
        st.code(error.pointer, language=None)
        st.write(
            "Use b (bid), q (predicted click rate), r (relevance), numbers, + - * / ^, parentheses, min, "
            "max, exp, log and sqrt."
        )
        return
    _say(verdict)
    rate = st.session_state.setdefault(RATE, 5.0)
    known = scorers(opened.scenario)
    if st.session_state.get(SCORER) not in known:
        st.session_state[SCORER] = opened.setting.scorer
    with st.container(key="figures"):
        with st.container():
            rate = st.slider("Click rate q for the lines below (%)", 0.5, 30.0, step=0.5, key=RATE)
            lines = iso_scores(verdict.rule, rate / 100, LINES)
            chart_with_data(figures.iso_scores(lines, rate / 100), lines, "equal-scores")
        with st.container():
            scorer = st.selectbox(
                "Relevance r by", known, format_func=lambda name: scorer_style(name).label, key=SCORER
            )
            _market(opened, verdict, str(scorer))
    st.caption(
        "Left: numbers at lines are bids of a wholly relevant ad; the line says what an ad of less relevance "
        "must bid to score as high. The less it rises to the left, the less relevance counts."
    )


def _ask() -> str:
    if EXPRESSION not in st.session_state:
        st.session_state[EXPRESSION] = FIRST
    expression = st.text_input(
        "Score of an ad, in b (bid), q (predicted click rate) and r (relevance)",
        key=EXPRESSION,
        help="+ - * / ^, parentheses, min, max, exp, log and sqrt. It is read, never run as code.",
    )
    with st.container(horizontal=True):
        for example in EXAMPLES:
            st.button(example, on_click=_take, args=(example,), type="tertiary")
    return str(expression)


def _take(example: str) -> None:
    st.session_state[EXPRESSION] = example


def _say(verdict: Verdict) -> None:
    """The verdict in words."""
    if verdict.traits is None:
        st.error(
            "No auction could rank by this: "
            + "; ".join(verdict.faults)
            + ".\n\nPrices are the least bid that keeps a slot, so the score must rise with b, for every ad "
            "that may be shown."
        )
        return
    twice = (
        "twice all bids and reserves make twice the prices"
        if verdict.traits.homogeneous
        else "twice all bids and reserves do not make twice the prices, for it has a scale in currency"
    )
    affine = (
        "it is affine in the bid, so VCG is defined, too" if verdict.rule.affine else "VCG is not defined"
    )
    st.success(
        "Fit for auctions: the score rises with the bid, nobody pays more than it bids, and the order of ads "
        f"does not matter. Moreover, {twice}; {affine}."
    )


def _market(opened: Opened, verdict: Verdict, scorer: str) -> None:
    """The formula's point beside the built-in rules."""
    try:
        rules = {
            name: metrics
            for name, block in SHIPPED_RULES.items()
            if (metrics := _settled(opened, scorer, dict(block))) is not None
        }
        block: dict[str, object] = {"rule": "formula", "expression": verdict.rule.expression}
        own = _settled(opened, scorer, block) if verdict.traits is not None else None
    except ValueError as error:
        st.error(str(error))
        st.write("Choose another relevance scorer above.")
        return
    rows = [{"rule": name, **metrics} for name, metrics in rules.items()]
    if own is not None:
        rows.append({"rule": verdict.rule.expression, **own})
    chart_with_data(figures.among_rules(rules, own), pl.DataFrame(rows), "rules")
    if own is None:
        st.info("The formula has no point here: no auction could rank by it, or the scenario's cannot.")
        return
    base = rules["ignores relevance"]
    st.markdown(wording.answer(own, base, "the formula"))
    st.caption(
        f"Settled just now on {session.sampled(opened.prepared)}; the change is against the same market "
        "ranked by b × q."
    )
    scenario = override(opened.scenario, {"sweep": None, "fusion": block, "scorer": scorer})
    st.download_button(
        "This formula as a scenario (YAML)",
        dump_scenario(scenario),
        "scenario.yaml",
        "application/yaml",
        icon=":material/download:",
        help="`relbid run scenario.yaml` runs it.",
    )


def _settled(opened: Opened, scorer: str, block: dict[str, object]) -> wording.Metrics | None:
    """Metrics under a rule; None where the scenario's auction refuses it."""
    try:
        override(opened.scenario, {"sweep": None, "fusion": block})
    except ScenarioError:
        return None
    return session.rule_metrics(opened.prepared, scorer, block)


if __name__ == "__main__":
    page(session.current())
