"""The uplift of a setting over the baseline, with an interval: the same two rankings on further days."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import streamlit as st
import yaml

from app import jobs, session
from app.language import t
from app.parts import job_panel
from app.session import DAYS, Opened
from app.setting import Setting, in_words, market_settings
from app.wording import MISSING
from scenarios import Comparison, compare, dump_scenario, override

KIND = "experiment"
WHOLE_DAYS = 10


def draw(opened: Opened) -> None:
    """Both key changes with their intervals, one day after the other; and an offer of whole days."""
    if not session.has_other_days(opened.prepared):
        return
    baseline, chosen = [], []
    for number in range(1, DAYS + 1):
        baseline.append(session.on_other_day(opened.prepared, None, number))
        chosen.append(session.on_other_day(opened.prepared, opened.setting, number))

    def held(metric: str) -> Comparison:
        return compare(np.array([day[metric] for day in baseline]), np.array([day[metric] for day in chosen]))

    st.markdown(in_a_sentence(held("revenue_rpm"), held("irrelevant_share"), _day(opened)))
    _offer(opened)


def in_a_sentence(revenue: Comparison, irrelevant: Comparison, day: str) -> str:
    """What further days say of the uplift.

    Args:
        day: what one of them is, e.g. "12,500 queries".
    """

    def said(what: str, found: Any, unit: str) -> str:
        if not math.isfinite(found.value):
            return t(f"uplift.{what}_unknown", missing=MISSING)
        change, low, high = (
            f"{100 * end:+.1f}{unit}" if math.isfinite(end) else t("uplift.unbounded")
            for end in (found.value, found.t_low, found.t_high)
        )
        return t(f"uplift.{what}", change=change, low=low, high=high)

    money, ads = said("revenue", revenue.change, "%"), said("irrelevant", irrelevant.difference, "")
    return t("uplift.days", days=revenue.n, day=day, money=money, ads=ads)


def title_of(subject: str) -> str | None:
    """What a job of this subject does, in words; None if it was not started here."""
    if not subject.startswith(_MARK):
        return None
    _, _, scorer, *numbers = subject.split("|")
    return t("uplift.title", name=in_words(Setting(scorer, *map(float, numbers))), days=WHOLE_DAYS)


_MARK = "setting|"


def _subject(opened: Opened) -> str:
    """Of the job: the result and the setting. Not in words, as those are of the reader's language."""
    setting = opened.setting
    numbers = (setting.exponent, setting.threshold, setting.reserve)
    return _MARK + "|".join([opened.result.folder.name, setting.scorer, *map(repr, numbers)])


def _day(opened: Opened) -> str:
    total = session.total_queries(opened.prepared)
    sample = session.live_queries(opened.prepared, session.DAY_QUERIES)
    return t("uplift.day", queries=total) if sample is None else t("uplift.day_part", queries=sample)


def _offer(opened: Opened) -> None:
    """The same on whole days, as an experiment."""
    subject = _subject(opened)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(t("uplift.brackets"))
        st.button(
            t("uplift.offer", days=WHOLE_DAYS),
            icon=":material/science:",
            type="tertiary",
            on_click=_start,
            args=(opened, subject),
            help=t("uplift.offer_help"),
        )
    title = title_of(subject) or subject
    job_panel.follow(KIND, subject, title, t("uplift.again"), t("uplift.done", title=title))


def _start(opened: Opened, subject: str) -> None:
    scenario = opened.scenario
    settings = {k: v for k, v in market_settings(opened.setting, scenario).items() if k != "sweep"}
    first = scenario.seed + 1
    plan = {
        "schema": 1,
        "name": f"{scenario.name[:56]}-setting",
        "scenario": "scenario.yaml",
        "baseline": "no-relevance",
        "arms": {
            "no-relevance": {"scorer": session.BASELINE},
            "setting": {**settings, "scorer": opened.setting.scorer},
        },
        "seeds": list(range(first, first + WHOLE_DAYS)),
    }
    files = {
        "scenario.yaml": dump_scenario(override(scenario, {"sweep": None})),
        "experiment.yaml": yaml.safe_dump(plan, sort_keys=False),
    }
    job_panel.start(KIND, subject, [KIND, f"{jobs.HERE}/experiment.yaml"], files)
