"""What the page Trade-off says of further days, and of stored points that the sliders cannot reach."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app import jobs, session
from app.bar.formula_bar import KEYS
from app.setting import stored_scenario
from app.views.trade_off_page import candidates
from scenarios import (
    Scenario,
    compare,
    list_results,
    load_experiment,
    override,
    prepare,
    read_result,
    relevance_of,
    run_scenario,
    simulate,
    write_result,
)
from tests.app.test_pages import MAIN, PATIENCE_S, as_read, until_ended


@pytest.fixture
def dashboard(results: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("RELBID_RESULTS", str(results))
    return AppTest.from_file(MAIN, default_timeout=PATIENCE_S)


def said(at: AppTest) -> str:
    return as_read("\n".join(found.value for found in at.markdown))


def test_the_interval_is_that_of_the_scenarios_days(
    dashboard: AppTest, tiny_scenario: Scenario, results: Path
) -> None:
    at = dashboard.run()
    at.selectbox(key="scorer").set_value("bm25")
    at.slider(key="exponent").set_value(2.0).run()
    assert not at.exception
    prepared = prepare(tiny_scenario, cache=results)
    scores = {name: relevance_of(prepared, name, cache=results) for name in ("none", "bm25")}
    seeds = range(tiny_scenario.seed, tiny_scenario.seed + tiny_scenario.days_compared)

    def day_of(scorer: str, seed: int) -> dict[str, float]:
        fields = {"sweep": None, "seed": seed, **({"fusion.relevance": 2.0} if scorer == "bm25" else {})}
        return simulate(prepared, scores[scorer], fields).metrics

    a, b = ([day_of(scorer, seed) for seed in seeds] for scorer in ("none", "bm25"))
    revenue, share = (
        compare(np.array([day[name] for day in a]), np.array([day[name] for day in b]))
        for name in ("revenue_rpm", "irrelevant_share")
    )
    money, points = revenue.change, share.difference
    deltas = {metric.label: metric.delta for metric in at.metric}
    assert deltas["Revenue per 1,000 queries"] == (
        f"{100 * money.value:+.1f}% [{100 * money.t_low:+.1f}, {100 * money.t_high:+.1f}]"
    )
    assert deltas["Irrelevant share"] == (
        f"{100 * points.value:+.2f} [{100 * points.t_low:+.2f}, {100 * points.t_high:+.2f}] points"
    )
    assert f"irrelevant ads instead of {np.mean([day['irrelevant_share'] for day in a]):.1%}" in said(at)
    text = "\n".join(found.value for found in at.caption)
    assert "Means of 5 days of this world, 2,000 queries each" in text


def test_the_cheapest_of_the_curve_under_a_bound_is_offered_and_taken(dashboard: AppTest) -> None:
    at = dashboard.run()
    at.selectbox(key="scorer").set_value("oracle")
    at.text_input(key="formula").set_value("b*q*r^4").run()
    opened = at.session_state["opened"]
    wanted = candidates(opened)
    assert [one.formula for one in wanted] == ["b*q*r^0.5", "b*q*r", "b*q*r^2"]
    end = time.monotonic() + PATIENCE_S
    while not all(
        session.is_known(opened.prepared, one, whole=True, day=day) for one in wanted for day in range(5)
    ):
        assert time.monotonic() < end
        time.sleep(0.05)
    at.run()
    means = {
        one.formula: [
            np.mean([session.metrics(opened.prepared, one, whole=True, day=day)[name] for day in range(5)])
            for name in ("irrelevant_share", "revenue_rpm")
        ]
        for one in wanted
    }
    bound = at.number_input(key="bound").value / 100
    best = max((one for one in means if means[one][0] <= bound), key=lambda one: means[one][1])
    assert f"{best} is the cheapest of the curve" in said(at)
    at.button(key="take").click().run()
    assert not at.exception
    assert at.text_input(key="formula").value == best
    assert "Your formula is the cheapest of the curve" in "\n".join(found.value for found in at.caption)


def test_further_days_are_an_experiment_of_their_own(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "results"
    shutil.copytree(results, root)
    monkeypatch.setenv("RELBID_RESULTS", str(root))
    monkeypatch.setenv("PYTHONPATH", str(Path(MAIN).parents[1]))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.selectbox(key="scorer").set_value("bm25")
    at.text_input(key="formula").set_value("b*q*r")
    at.slider(key="threshold").set_value(0.3).run()
    button = next(button for button in at.button if button.label == "10 further days, as an experiment")
    button.click().run()
    assert not at.exception
    job = jobs.latest(root, "experiment")
    assert job is not None
    outcome = until_ended(job)
    assert outcome.state == "done", outcome.message
    assert outcome.progress.result is not None
    plan = load_experiment(job.folder / "experiment.yaml")
    assert plan.seeds == tuple(range(6, 16))
    assert plan.experiment.baseline == "A"
    assert plan.arms["A"].scorer == "none"
    assert plan.arms["B"].scorer == "bm25"
    fusion = plan.arms["B"].fusion.model_dump()
    assert (fusion["rule"], fusion["threshold"]) == ("gate", 0.3)
    at.run()
    assert at.success[0].value.endswith("on 10 further days: see the page Experiments.")
    at.radio(key="language").set_value("zh").run()  # the job is known whatever it is called
    assert at.success[0].value.endswith("另外 10 天：已完成，请查看“实验”页。")


def test_a_point_that_no_formula_reaches_is_opened_as_it_is_stored(
    tiny_scenario: Scenario, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = {"field": "pctr.signal", "values": [0.0, 1.0], "scorers": ["bm25"]}
    scenario = override(tiny_scenario, {"sweep": swept, "compare": ["none", "bm25"]})
    run = run_scenario(scenario, cache=results)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / ".cache").symlink_to(results / ".cache")
    write_result(tmp_path / "results", scenario, run.metrics, run.points, run.log)
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path / "results"))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    (folder,) = list_results(tmp_path / "results")

    def click() -> None:
        from app.views import trade_off_page as trade_off

        trade_off.choose_clicked()

    script = AppTest.from_function(click, default_timeout=PATIENCE_S)
    for key in ("opened", *KEYS):
        script.session_state[key] = at.session_state[key]
    point = {"customdata": {"0": "bm25|pctr.signal|1.0"}}
    script.session_state["trade-off"] = {"selection": {"points": [point]}}
    script.run()
    assert not script.exception
    at.session_state["opened-point"] = script.session_state["opened-point"]
    at.run()
    assert not at.exception
    assert "The stored point: BM25, pctr.signal 1" in said(at)
    row = read_result(folder).points.filter((pl.col("kind") == "sweep") & (pl.col("value") == 1.0))
    values = [metric.value for metric in at.metric]
    assert f"{row['revenue_rpm'][0]:,.2f}" in values
    exact = stored_scenario(scenario, "bm25", "pctr.signal", 1.0)
    assert run_scenario(exact, cache=results).metrics["revenue_rpm"] == row["revenue_rpm"][0]
