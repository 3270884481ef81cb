"""The first screen over several worlds, simulated beside it and kept for the next start."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app.setting import without_relevance
from app.simulated import SimulatedDays
from scenarios import (
    MarketDays,
    Scenario,
    compare,
    other_worlds,
    prepare,
    relevance_of,
    simulate,
)
from tests.app.test_pages import MAIN, PATIENCE_S


@pytest.fixture
def dashboard(results: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("RELBID_RESULTS", str(results))
    monkeypatch.setenv("RELBID_WORLDS", "3")
    return AppTest.from_file(MAIN, default_timeout=PATIENCE_S)


def captions(at: AppTest) -> str:
    return "\n".join(found.value for found in at.caption)


def until_worlds_are_in(at: AppTest) -> AppTest:
    end = time.monotonic() + PATIENCE_S
    while "Means over 3 worlds" not in captions(at.run()):
        assert not at.exception
        assert time.monotonic() < end, captions(at)
        time.sleep(0.5)
    return at


def test_other_worlds_have_other_seeds_and_draws(tiny_scenario: Scenario) -> None:
    found = other_worlds(tiny_scenario, 8)
    worlds = [one.world.seed for one in found]
    assert len({*worlds, tiny_scenario.world.seed}) == 9
    days = {one.seed + day for one in (tiny_scenario, *found) for day in range(one.days_compared)}
    assert len(days) == 9 * tiny_scenario.days_compared
    assert all(replace(one.world, seed=0) == replace(tiny_scenario.world, seed=0) for one in found)


def test_worlds_are_the_units_of_the_interval(
    dashboard: AppTest, tiny_scenario: Scenario, results: Path
) -> None:
    at = dashboard.run()
    assert "Means of 5 days of this world" in captions(at)
    at.selectbox(key="scorer").set_value("bm25")
    at.text_input(key="formula").set_value("b*q*r^2")
    until_worlds_are_in(at)

    means: dict[str, list[float]] = {"none": [], "bm25": []}
    for scenario in (tiny_scenario, *other_worlds(tiny_scenario, 2)):
        market = prepare(scenario, cache=results)
        for scorer, of_worlds in means.items():
            scored = relevance_of(market, scorer, cache=results)
            rule = {} if scorer == "none" else {"fusion.relevance": 2.0}
            seeds = range(scenario.seed, scenario.seed + 5)
            days = [simulate(market, scored, {"sweep": None, "seed": seed, **rule}).metrics for seed in seeds]
            of_worlds.append(float(np.mean([day["revenue_rpm"] for day in days])))
    change = compare(np.array(means["none"]), np.array(means["bm25"])).change
    card = next(one for one in at.metric if one.label == "Revenue per 1,000 queries")
    assert card.delta == f"{100 * change.value:+.1f}% [{100 * change.t_low:+.1f}, {100 * change.t_high:+.1f}]"

    at.toggle(key="own-world").set_value(True).run()
    assert "Means of 5 days of this world" in captions(at)
    assert at.query_params["own_world"] == "1"


def test_a_second_start_simulates_nothing_that_the_first_has(
    dashboard: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    until_worlds_are_in(dashboard)
    before = [one.delta for one in dashboard.metric]
    st.cache_resource.clear()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("simulated again")

    # what each query brought is not kept: let the page not ask who makes the difference
    monkeypatch.setattr("app.parts.why.draw", lambda *_: None)
    monkeypatch.setattr(MarketDays, "simulate", refuse)
    again = AppTest.from_file(MAIN, default_timeout=PATIENCE_S)
    until_worlds_are_in(again)
    assert [one.delta for one in again.metric] == before


def test_a_damaged_file_of_metrics_is_simulated_again(tiny_scenario: Scenario, tmp_path: Path) -> None:
    market = prepare(tiny_scenario)
    days, scored = MarketDays(market, tmp_path), relevance_of(market, "bm25")
    settings = {"sweep": None, "seed": 3}
    assert days.read(scored, settings) is None
    run = days.simulate(scored, settings)
    assert days.read(scored, settings) == pytest.approx(run.metrics, nan_ok=True)
    assert days.simulate(scored, {**settings, "seed": 4}).metrics == pytest.approx(
        simulate(market, scored, {**settings, "seed": 4}).metrics, rel=0, abs=0, nan_ok=True
    )
    (file,) = [
        path
        for path in tmp_path.rglob("*.json")
        if json.loads(path.read_text())[0]["revenue"] == run.metrics["revenue"]
    ]
    file.write_text("[{")
    assert days.read(scored, settings) is None


def test_metrics_in_memory_are_bounded_and_read_again(
    tiny_scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.simulated.METRICS_KEPT", 2)
    market = prepare(tiny_scenario)
    days, scored = SimulatedDays(market, tmp_path), relevance_of(market, "none")
    keys = [(without_relevance(tiny_scenario), 500, day) for day in range(4)]
    for key in keys:
        days.ensure(key, scored)
    assert list(days.metrics) == keys[2:]
    monkeypatch.delattr(MarketDays, "simulate")
    days.ensure(keys[0], scored)
    assert list(days.metrics) == [keys[3], keys[0]]
