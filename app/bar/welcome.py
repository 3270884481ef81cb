"""What the dashboard shows where no result is stored yet: what to do, and an offer to do it here."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import streamlit as st

from app import jobs
from app.language import t, t_plain
from app.parts import job_panel
from app.session import results_root
from app.texts import code, message
from app.wording import scorer_name
from relevance.files import read_json
from scenarios import (
    DEFAULT_SCENARIO,
    Scenario,
    StoreError,
    check_scorers,
    dump_scenario,
    load_scenario,
    override,
)

FIRST = "first run"
NOTICES = "notices.json"


def page() -> None:
    """The page of a newcomer."""
    root = results_root()
    st.title(t("welcome.title"))
    job = jobs.latest(root, "run", FIRST)
    if job is not None and jobs.outcome(job).state != "done":
        st.write(t("welcome.soon"))
        job_panel.watch(job, t("welcome.built_in"), t("jobs.again_dismiss"))
        return
    st.write(t("welcome.empty", folder=code(root)))
    st.write(t("welcome.terminal"))
    default = root == Path("results").absolute()
    typed = ["make", "run"] if default else ["relbid", "run", str(DEFAULT_SCENARIO), "--out", str(root)]
    st.code(shlex.join(typed), language="bash")
    st.write(t("welcome.here"))
    if not st.button(t("welcome.run"), type="primary", icon=":material/play_arrow:"):
        return
    try:
        scenario, faults = _that_can_run(load_scenario(DEFAULT_SCENARIO))
        jobs.start(
            root,
            "run",
            FIRST,
            ["run", f"{jobs.HERE}/scenario.yaml", "--out", str(root)],
            {"scenario.yaml": dump_scenario(scenario), NOTICES: json.dumps(faults)},
        )
    except (ValueError, OSError) as error:
        st.error(message(error))
        return
    st.rerun()


def notices(root: Path) -> list[str]:
    """What the run that was started here had to leave out."""
    job = jobs.latest(root, "run", FIRST)
    if job is None:
        return []
    try:
        faults = read_json(job.folder / NOTICES, dict, StoreError)
    except StoreError:
        return []
    return [
        f"{t_plain('welcome.left_out', scorer=scorer_name(scorer))} {why}" for scorer, why in faults.items()
    ]


def _that_can_run(scenario: Scenario) -> tuple[Scenario, dict[str, str]]:
    """The scenario without the scorers that cannot be had here, such as HCMRM without checkpoint, and why."""
    swept = scenario.sweep.scorers if scenario.sweep is not None else ()
    faults: dict[str, str] = {}
    for scorer in dict.fromkeys([*scenario.compare, *swept, scenario.scorer]):
        try:
            check_scorers(scenario, [scorer])
        except ValueError as error:
            faults[scorer] = str(error)
    settings: dict[str, object] = {}
    if scenario.scorer in faults:
        settings["scorer"] = "oracle"
    if faults:
        settings["compare"] = [scorer for scorer in scenario.compare if scorer not in faults]
        if swept:
            settings["sweep.scorers"] = [scorer for scorer in swept if scorer not in faults] or ["oracle"]
    return (override(scenario, settings) if settings else scenario), faults
