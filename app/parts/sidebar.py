"""The sidebar: which result is open, and the sliders that pages share."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.language import names, t
from app.session import BASELINE
from app.setting import EXPONENT_FIELDS, Setting, scenario_setting
from app.wording import rule_name, scorer_name
from scenarios import Scenario

RESULT = "result"
KEYS = ("scorer", "exponent", "threshold", "reserve")
"""Fields of a setting; the widgets' keys are the same."""


def choose_result(folders: list[Path]) -> Path:
    """The result to open; asks only where there are several."""
    if len(folders) == 1:
        return folders[0]
    names = {folder.name: folder for folder in folders}
    if st.session_state.get(RESULT) not in names:
        st.session_state[RESULT] = folders[0].name
    name = st.sidebar.selectbox(t("sidebar.result"), list(names), key=RESULT, on_change=_forget)
    return names[str(name)]


def choose_setting(scenario: Scenario, place: DeltaGenerator, *, draw: bool = True) -> Setting:
    """The sliders; they begin at the scenario's own setting.

    Args:
        place: where they are drawn.
        draw: False on pages that do not follow them: the setting is kept, without sliders.
    """
    own = scenario_setting(scenario)
    known = scorers(scenario)
    if st.session_state.get("scorer") not in known:
        write(own)
    if not draw:
        return Setting(**{key: st.session_state[key] for key in KEYS})
    with place:
        st.subheader(t("sidebar.ranking"))
        named, about = names(known, scorer_name), t("sidebar.scorer_help")
        scorer = st.selectbox(t("sidebar.scorer"), known, format_func=named, key="scorer", help=about)
        ignored = scorer == BASELINE

        def slider(key: str, most: float, step: float = 0.05, *, disabled: bool = ignored) -> float:
            about = t(f"sidebar.{key}_help", reserve=own.reserve)
            return st.slider(
                t(f"sidebar.{key}"), 0.0, most, None, step, key=key, disabled=disabled, help=about
            )

        sweep = scenario.sweep
        swept = sweep.values if sweep is not None and sweep.field in EXPONENT_FIELDS else ()
        exponent = slider("exponent", max(4.0, own.exponent, *swept))
        threshold = slider("threshold", 1.0)
        reserve = slider("reserve", max(2.0, own.reserve), 0.01, disabled=False)
        st.button(t("sidebar.back"), on_click=write, args=(own,), width="stretch")
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
    key = "score" if ignored else "score_relevance" if exponent == 1 else "score_power"
    score = t(f"sidebar.{key}", exponent=exponent)
    if threshold > 0 and not ignored:
        score = t("sidebar.score_gate", score=score, threshold=threshold)
    if scenario.fusion.rule not in ("product", "gate"):
        score = t("sidebar.score_other_rule", score=score, rule=rule_name(scenario.fusion.rule))
    return score
