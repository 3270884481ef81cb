"""What the dashboard shows where no result is stored yet: what to do, and an offer to do it here."""

from __future__ import annotations

import streamlit as st

from app.language import t
from app.session import results_root
from app.wording import scorer_name
from scenarios import (
    DEFAULT_SCENARIO,
    Progress,
    Scenario,
    load_scenario,
    override,
    prepare,
    relevance_of,
    run_scenario,
    write_result,
)


def page() -> None:
    """The page of a newcomer."""
    root = results_root()
    st.title(t("welcome.title"))
    st.write(t("welcome.empty", folder=root))
    st.write(t("welcome.terminal"))
    st.code("make run", language="bash")
    st.write(t("welcome.here"))
    if not st.button(t("welcome.run"), type="primary", icon=":material/play_arrow:"):
        return
    bar = st.progress(0.0, t("welcome.starting"))

    def report(stage: str, done: int, total: int) -> None:
        bar.progress(min(done / total, 1.0) if total else 0.0, _stage(stage))

    try:
        scenario, notices = _that_can_run(load_scenario(DEFAULT_SCENARIO), report)
        outcome = run_scenario(scenario, cache=root, progress=report)
        write_result(root, scenario, outcome.metrics, outcome.points, outcome.log)
    except ValueError as error:
        bar.empty()
        st.error(str(error))
        return
    st.session_state["notices"] = notices
    st.rerun()


def _that_can_run(scenario: Scenario, report: Progress) -> tuple[Scenario, list[str]]:
    """The scenario without the scorers that cannot be had here, such as HCMRM without checkpoint, and why.

    What is scored here is kept, so that the run itself need not score again.
    """
    prepared = prepare(scenario, cache=results_root(), progress=report)
    swept = scenario.sweep.scorers if scenario.sweep is not None else ()
    faults: dict[str, str] = {}
    for scorer in dict.fromkeys([*scenario.compare, *swept, scenario.scorer]):
        try:
            relevance_of(prepared, scorer, cache=results_root(), progress=report)
        except ValueError as error:
            faults[scorer] = f"{t('welcome.left_out', scorer=scorer_name(scorer))} {error}"
    settings: dict[str, object] = {}
    if scenario.scorer in faults:
        settings["scorer"] = "oracle"
    if faults:
        settings["compare"] = [scorer for scorer in scenario.compare if scorer not in faults]
        if swept:
            settings["sweep.scorers"] = [scorer for scorer in swept if scorer not in faults] or ["oracle"]
    return (override(scenario, settings) if settings else scenario), list(faults.values())


def _stage(stage: str) -> str:
    """What is being done, by the name of its stage (see `scenarios.Progress`)."""
    what, _, scorer = stage.partition(" with ")
    if what == "scoring":
        return t("welcome.stage_scoring", scorer=scorer_name(scorer))
    return t("welcome.stage_frames") if stage == "drawing key frames" else t("welcome.stage_settling")
