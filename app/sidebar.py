"""The sidebar: which result is open, and the sliders that both pages share."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.session import BASELINE
from app.setting import EXPONENT_FIELDS, Setting, scenario_setting
from app.theme import scorer_style
from scenarios import Scenario

KEYS = ("scorer", "exponent", "threshold", "reserve")
"""Fields of a setting; the widgets' keys are the same."""


def choose_result(folders: list[Path]) -> Path:
    """The result to open; asks only where there are several."""
    if len(folders) == 1:
        return folders[0]
    names = {folder.name: folder for folder in folders}
    if st.session_state.get("result") not in names:
        st.session_state["result"] = folders[0].name
    name = st.sidebar.selectbox("Result, newest first", list(names), key="result", on_change=_forget)
    return names[str(name)]


def choose_setting(scenario: Scenario, *, draw: bool = True) -> Setting:
    """The sliders; they begin at the scenario's own setting.

    Args:
        draw: False on pages that do not follow them: the setting is kept, without sliders.
    """
    own = scenario_setting(scenario)
    known = scorers(scenario)
    if st.session_state.get("scorer") not in known:
        write(own)
    if not draw:
        return Setting(**{key: st.session_state[key] for key in KEYS})
    with st.sidebar:
        st.subheader("Ranking")
        scorer = st.selectbox(
            "Relevance scorer",
            known,
            format_func=lambda name: scorer_style(name).label,
            key="scorer",
            help="Who says how relevant an ad is: nobody, word overlap (BM25), the neural model (HCMRM), or "
            "the truth (oracle).",
        )
        ignored = scorer == BASELINE
        sweep = scenario.sweep
        swept = sweep.values if sweep is not None and sweep.field in EXPONENT_FIELDS else ()
        exponent = st.slider(
            "Relevance exponent",
            0.0,
            max(4.0, own.exponent, *swept),
            step=0.05,
            key="exponent",
            disabled=ignored,
            help="An ad's score is bid × pCTR × relevance to this power. 0 ignores relevance; the higher, "
            "the more it weighs against money.",
        )
        threshold = st.slider(
            "Least relevance to be shown",
            0.0,
            1.0,
            step=0.05,
            key="threshold",
            disabled=ignored,
            help="Ads below it are not admitted to the auction. 0 admits all.",
        )
        reserve = st.slider(
            "Reserve price per click",
            0.0,
            max(2.0, own.reserve),
            step=0.01,
            key="reserve",
            help="Least bid, and least price, in currency units. The baseline keeps the scenario's own "
            f"({own.reserve:g}).",
        )
        st.button("Back to the scenario's setting", on_click=write, args=(own,), width="stretch")
        st.caption(_formula(scenario, exponent, threshold, ignored))
    return Setting(str(scorer), exponent, threshold, reserve)


def write(setting: Setting) -> None:
    """Move the sliders; only before they are drawn, or in a callback."""
    for key in KEYS:
        st.session_state[key] = getattr(setting, key)


def _forget() -> None:
    for key in KEYS:
        st.session_state.pop(key, None)


def scorers(scenario: Scenario) -> list[str]:
    """The scorers to choose from: those of the comparison and the sweep, its own, and none."""
    swept = scenario.sweep.scorers if scenario.sweep is not None else ()
    return list(dict.fromkeys([*scenario.compare, *swept, scenario.scorer, BASELINE]))


def _formula(scenario: Scenario, exponent: float, threshold: float, ignored: bool) -> str:
    score = "score = bid × pCTR" + (
        "" if ignored else " × relevance" if exponent == 1 else f" × relevance^{exponent:g}"
    )
    if threshold > 0 and not ignored:
        score += f", of ads with relevance ≥ {threshold:g}"
    if scenario.fusion.rule not in ("product", "gate"):
        score += (
            f". The stored result itself was ranked by the {scenario.fusion.rule.replace('_', ' ')} rule."
        )
    return score
