"""The uplift of a setting over the baseline, with an interval: the same two rankings on further days."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st
import yaml

from app import job_panel, jobs, session
from app.session import DAYS, Opened
from app.setting import in_words, market_settings
from app.theme import scorer_style
from app.wording import MISSING
from scenarios import Comparison, StoreError, compare, dump_scenario, override

KIND = "experiment"
WHOLE_DAYS = 10
FAULT = "uplift-fault"


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
    change = revenue.change
    money = (
        f"revenue {_percent(change.value)} [{_percent(change.t_low)}, {_percent(change.t_high)}]"
        if math.isfinite(change.value)
        else f"revenue {MISSING}"
    )
    points = irrelevant.difference
    ads = (
        f"irrelevant share {_points(points.value)} [{_points(points.t_low)}, {_points(points.t_high)}] points"
        if math.isfinite(points.value)
        else f"irrelevant share {MISSING}"
    )
    return f"**On {revenue.n} further days** of {day}, against no relevance: {money}, {ads}."


def _percent(value: float) -> str:
    return f"{100 * value:+.1f}%" if math.isfinite(value) else "unbounded"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}" if math.isfinite(value) else "unbounded"


def _day(opened: Opened) -> str:
    total = session.total_queries(opened.prepared)
    sample = session.live_queries(opened.prepared, session.DAY_QUERIES)
    return f"{total:,} queries each" if sample is None else f"{sample:,} queries each, budgets scaled alike"


def _offer(opened: Opened) -> None:
    """The same on whole days, as an experiment."""
    root = session.results_root()
    name = in_words(opened.setting, scorer_style(opened.setting.scorer).label)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            "In brackets: 95% intervals of the mean over the days, on each of which both rankings meet the "
            "same queries and luck."
        )
        st.button(
            f"The same on {WHOLE_DAYS} whole days",
            icon=":material/science:",
            type="tertiary",
            on_click=_start,
            args=(opened, name),
            help="Runs as an experiment of its own; the page Experiments then shows it, with more metrics.",
        )
    if fault := st.session_state.pop(FAULT, None):
        st.error(fault)
    job = jobs.latest(root, KIND, name)
    if job is not None:
        job_panel.watch(
            job, f"{name} on {WHOLE_DAYS} whole days", "Start it again: what is finished is kept."
        )
        if jobs.outcome(job).state == "done":
            st.success(f"{name} on {WHOLE_DAYS} whole days: see the page Experiments.")


def _start(opened: Opened, name: str) -> None:
    root, scenario = session.results_root(), opened.scenario
    found = jobs.latest(root, KIND, name)
    if found is not None and jobs.is_alive(found):
        return
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
    try:
        jobs.start(root, KIND, name, [KIND, f"{jobs.HERE}/experiment.yaml", "--out", str(root)], files)
    except StoreError as error:
        st.session_state[FAULT] = str(error)
