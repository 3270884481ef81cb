"""What the dashboard shows where no result is stored yet: what to do, and an offer to do it here."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import job_panel, jobs
from app.session import results_root
from app.theme import scorer_style
from scenarios import DEFAULT_SCENARIO, Scenario, check_scorers, dump_scenario, load_scenario, override

FIRST = "first run"
NOTICES = "notices.txt"


def page() -> None:
    """The page of a newcomer."""
    root = results_root()
    st.title("Nothing has been run yet")
    job = jobs.latest(root, "run", FIRST)
    if job is not None and jobs.outcome(job).state != "done":
        st.write("As soon as the built-in scenario has been run, its result is shown here.")
        job_panel.watch(job, "The built-in scenario", "Dismiss this to start it again.")
        return
    st.write(f"The dashboard shows stored results, and there is none in `{root}`.")
    st.write("Run the built-in scenario in a terminal, then reload this page:")
    st.code("make run", language="bash")
    st.write("Or run it from here; it takes about a minute and is stored in the same place.")
    if not st.button("Run the built-in scenario", type="primary", icon=":material/play_arrow:"):
        return
    try:
        scenario, notices = _that_can_run(load_scenario(DEFAULT_SCENARIO))
        jobs.start(
            root,
            "run",
            FIRST,
            ["run", f"{jobs.HERE}/scenario.yaml", "--out", str(root)],
            {"scenario.yaml": dump_scenario(scenario), NOTICES: "\n".join(notices)},
        )
    except (ValueError, OSError) as error:
        st.error(str(error))
        return
    st.rerun()


def notices(root: Path) -> list[str]:
    """What the run that was started here had to leave out."""
    job = jobs.latest(root, "run", FIRST)
    if job is None:
        return []
    file = job.folder / NOTICES
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _that_can_run(scenario: Scenario) -> tuple[Scenario, list[str]]:
    """The scenario without the scorers that cannot be had here, such as HCMRM without checkpoint, and why."""
    swept = scenario.sweep.scorers if scenario.sweep is not None else ()
    faults: dict[str, str] = {}
    for scorer in dict.fromkeys([*scenario.compare, *swept, scenario.scorer]):
        try:
            check_scorers(scenario, [scorer])
        except ValueError as error:
            faults[scorer] = f"Left out {scorer_style(scorer).label}. {error}"
    settings: dict[str, object] = {}
    if scenario.scorer in faults:
        settings["scorer"] = "oracle"
    if faults:
        settings["compare"] = [scorer for scorer in scenario.compare if scorer not in faults]
        if swept:
            settings["sweep.scorers"] = [scorer for scorer in swept if scorer not in faults] or ["oracle"]
    return (override(scenario, settings) if settings else scenario), list(faults.values())
