"""Further days of B against A, as an experiment."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
import yaml

from app import jobs, session
from app.language import t, t_plain
from app.parts import job_panel
from app.session import Opened
from app.setting import Setting, market_settings
from scenarios import dump_scenario, override

KIND = "experiment"
MORE_DAYS = 10


def day_in_words(opened: Opened, *, whole: bool) -> str:
    """What one of the days is: all its queries, or a sample."""
    sample = None if whole else session.live_queries(opened.prepared)
    total = session.total_queries(opened.prepared)
    return (
        t_plain("uplift.day", queries=total) if sample is None else t_plain("uplift.day_part", queries=sample)
    )


def title_of(subject: str) -> str | None:
    """What a job of this subject does, in words; None if it was not started here."""
    if not subject.startswith(_MARK):
        return None
    _, _, a, b = [*subject.split("|"), "", ""][:4]
    return t_plain("uplift.title", a=a, b=b, days=MORE_DAYS)


_MARK = "setting|"


def offer(opened: Opened) -> None:
    """Further days, as an experiment."""
    subject = _MARK + "|".join([opened.result.folder.name, *map(written, (opened.a, opened.b))])
    st.button(
        t("uplift.offer", days=MORE_DAYS),
        icon=":material/science:",
        type="tertiary",
        on_click=_start,
        args=(opened, subject),
        help=t("uplift.offer_help"),
    )
    title = title_of(subject) or subject
    job_panel.follow(KIND, subject, title, t("uplift.again"), t("uplift.done", title=title))


def written(setting: Setting) -> str:
    """A setting in a job's subject, which is of no language: `b*q*r^0.5 hcmrm 0.2`."""
    gate = f" r>={setting.threshold:g}" if setting.threshold else ""
    return f"{setting.formula.replace('|', '')} ({setting.scorer}{gate}, reserve {setting.reserve:g})"


def _start(opened: Opened, subject: str) -> None:
    scenario = opened.scenario
    first = scenario.seed + session.n_days(opened.prepared)
    plan = {
        "schema": 1,
        "name": f"{scenario.name[:56]}-setting",
        "scenario": "scenario.yaml",
        "baseline": "A",
        "arms": {"A": _arm(opened.a), "B": _arm(opened.b)},
        "seeds": list(range(first, first + MORE_DAYS)),
    }
    files = {
        "scenario.yaml": dump_scenario(override(scenario, {"sweep": None})),
        "experiment.yaml": yaml.safe_dump(plan, sort_keys=False),
    }
    job_panel.start(KIND, subject, [KIND, f"{jobs.HERE}/experiment.yaml"], files)


def _arm(setting: Setting) -> Mapping[str, object]:
    fields = {name: value for name, value in market_settings(setting).items() if name != "sweep"}
    return {**fields, "scorer": setting.scorer}
