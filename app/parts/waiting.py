"""What a page shows while its market is not at hand: frames are drawn and pairs scored by a command."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import jobs
from app.language import t, t_plain
from app.parts import job_panel
from app.simulated import scoring
from app.wording import scorer_name
from scenarios import Scenario


def prepare_first(root: Path, scenario: Scenario, scorer: str) -> None:
    """Start `relbid prepare` if nobody has yet, show how far it is, and end the page's run.

    Returns where it has come to its end and yet nothing is kept: then the page has to do it itself.
    """
    job = scoring(root, scenario, scorer)
    if jobs.outcome(job).state == "done":
        jobs.forget(job)  # whoever removes the kept scores later makes a new one
        return
    if scorer == "none":
        text, title = t("waiting.frames"), t_plain("waiting.title_frames", scenario=scenario.name)
    else:
        label = scorer_name(scorer)
        text = t("waiting.first", scorer=label)
        title = t_plain("waiting.title", scenario=scenario.name, scorer=label)
    st.write(text)
    job_panel.watch(job, title, t("jobs.again_dismiss"))
    st.stop()
