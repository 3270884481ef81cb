"""What the page Trade-off says of further days, and of stored points that the sliders cannot reach."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app import jobs, session
from app.parts.uplift import in_a_sentence
from app.setting import stored_scenario
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
from tests.app.test_pages import MAIN, PATIENCE_S, until_ended


@pytest.fixture
def dashboard(results: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("RELBID_RESULTS", str(results))
    return AppTest.from_file(MAIN, default_timeout=PATIENCE_S)


def said(at: AppTest) -> str:
    return "\n".join(found.value for found in at.markdown)


def test_the_interval_is_that_of_the_days_of_further_seeds(
    dashboard: AppTest, tiny_scenario: Scenario, results: Path
) -> None:
    at = dashboard.run()
    at.selectbox(key="scorer").set_value("bm25")
    at.slider(key="exponent").set_value(2.0).run()
    assert not at.exception
    prepared = prepare(tiny_scenario, cache=results)
    scores = {name: relevance_of(prepared, name, cache=results) for name in ("none", "bm25")}
    days = range(tiny_scenario.seed + 1, tiny_scenario.seed + 1 + session.DAYS)

    def revenue_of(scorer: str, fields: dict[str, object]) -> float:
        return simulate(prepared, scores[scorer], {"sweep": None, **fields}).metrics["revenue_rpm"]

    revenue = [
        np.array([revenue_of(scorer, {"seed": day, **fields}) for day in days])
        for scorer, fields in (("none", {}), ("bm25", {"fusion.relevance": 2.0}))
    ]
    change = compare(*revenue).change
    expected = f"revenue {change.value:+.1%} [{change.t_low:+.1%}, {change.t_high:+.1%}]"
    assert (
        f"**On {session.DAYS} further days** of 2,000 queries each, against no relevance: {expected}"
        in said(at)
    )
    at.selectbox(key="scorer").set_value("none").run()
    assert "further days" not in said(at)  # nothing is held against itself


def test_a_sentence_of_days_without_ads_says_nothing_false() -> None:
    nothing = compare(np.full(6, math.nan), np.full(6, math.nan))
    assert in_a_sentence(nothing, nothing, "10 queries each").endswith("revenue –, irrelevant share –.")


def test_whole_days_are_an_experiment_of_its_own(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "results"
    shutil.copytree(results, root)
    monkeypatch.setenv("RELBID_RESULTS", str(root))
    monkeypatch.setenv("PYTHONPATH", str(Path(MAIN).parents[1]))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.selectbox(key="scorer").set_value("bm25")
    at.slider(key="threshold").set_value(0.3).run()
    button = next(button for button in at.button if button.label == "The same on 10 whole days")
    button.click().run()
    assert not at.exception
    job = jobs.latest(root, "experiment")
    assert job is not None
    outcome = until_ended(job)
    assert outcome.state == "done", outcome.message
    assert outcome.progress.result is not None
    plan = load_experiment(job.folder / "experiment.yaml")
    assert plan.seeds == tuple(range(2, 12))
    assert plan.arms["setting"].scorer == "bm25"
    fusion = plan.arms["setting"].fusion.model_dump()
    assert (fusion["rule"], fusion["threshold"]) == ("gate", 0.3)
    at.run()
    assert at.success[0].value.endswith("on 10 whole days: see the page Experiments.")
    at.radio(key="language").set_value("zh").run()  # the job is known whatever it is called
    assert at.success[0].value.endswith("10 个完整日：已完成，请查看“实验”页。")
    assert "**另取 6 天**（每天 2,000 次查询），与不考虑相关性相比：收入 " in said(at)


def test_a_point_beyond_the_sliders_is_opened_as_it_is_stored(
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
    for key in ("opened", "scorer", "exponent", "threshold", "reserve"):
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
