"""The experiments page, on an experiment small enough to run here."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app.figures import experiment_figures as figures
from scenarios import (
    Scenario,
    StoreError,
    dump_scenario,
    list_experiments,
    load_experiment,
    override,
    read_experiment,
    run_experiment,
    write_experiment,
)
from tests.app.test_pages import MAIN, PATIENCE_S, chart

EXPERIMENT = """\
schema: 1
name: split
scenario: tiny.yaml
common: {traffic.n_queries: 1000}
baseline: A
arms:
  A: {scorer: none}
  B: {scorer: oracle}
  C: {scorer: bm25}
seeds: 4
design: query_split
"""


@pytest.fixture(scope="module")
def experiments(tiny_scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder that holds one experiment, and no result."""
    root = tmp_path_factory.mktemp("experiments")
    (root / "tiny.yaml").write_text(dump_scenario(override(tiny_scenario, {"sweep": None})))
    (root / "split.yaml").write_text(EXPERIMENT)
    write_experiment(root / "results", run_experiment(load_experiment(root / "split.yaml")))
    return root / "results"


@pytest.fixture
def page(experiments: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page, in a dashboard with a result and an experiment."""
    root = tmp_path / "results"
    shutil.copytree(results, root)
    shutil.copytree(experiments, root, dirs_exist_ok=True)
    monkeypatch.setenv("RELBID_RESULTS", str(root))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    return at.switch_page("views/experiments_page.py").run()


def test_a_stored_experiment_reads_back(experiments: Path) -> None:
    (folder,) = list_experiments(experiments)
    found = read_experiment(folder)
    assert found.seeds == (1, 2, 3, 4)
    assert found.plan.others == ("B", "C")
    assert found.replicates().height == 4 * 3 * 2  # seeds, arms, designs
    mean = found.replicates().filter((pl.col("design") == "common") & (pl.col("arm") == "B"))["revenue_rpm"]
    row = found.summary.filter(
        (pl.col("design") == "common") & (pl.col("arm") == "B") & (pl.col("metric") == "revenue_rpm")
    )
    assert row["arm_mean"][0] == pytest.approx(mean.mean())
    assert set(found.interference["design"]) == {"query_split"}


@pytest.mark.parametrize("lost", ["summary.json", "replicates.parquet"])
def test_a_damaged_experiment_says_which_file(experiments: Path, tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "split"
    shutil.copytree(list_experiments(experiments)[0], folder)
    (folder / lost).write_text("{")
    with pytest.raises(StoreError, match=r"run (it|the experiment) again"):
        read_experiment(folder).replicates()


def test_the_page_shows_arms_intervals_power_and_interference(page: AppTest) -> None:
    assert not page.exception
    assert not page.error
    assert page.title[0].value == "Which arm is better, and how sure is that?"
    said = [found.value for found in page.markdown]
    assert any("Against A, B changes revenue per 1,000 queries by" in text for text in said)
    figure = chart(page, "Change against A")
    assert {trace["name"] for trace in figure["data"]} == {"B", "C"}
    assert len(figure["layout"]["shapes"]) == len(figure["layout"]["yaxis"]["tickvals"])
    assert chart(page, "Larger changes against A")["data"]  # the oracle's irrelevant share is 0
    assert {trace["name"] for trace in chart(page, "What splits get wrong")["data"]} == {"query split"}


def test_the_page_in_chinese(page: AppTest) -> None:
    page.radio(key="language").set_value("zh").run()
    assert not page.exception
    assert page.title[0].value == "哪个实验组更好，有多大把握？"
    assert any("与 A 相比，B 使千次查询收入变化 " in found.value for found in page.markdown)
    arms, *_, splits = (frame.value for frame in page.dataframe)
    assert arms.columns[:2].tolist() == ["实验组", "指标"]
    assert "千次查询收入" in arms["指标"].tolist()  # named by the script, not by a thread of Polars
    assert set(splits["设计"]) == {"按查询分流"}


def test_without_an_experiment_the_page_says_how_to_run_one(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELBID_RESULTS", str(results))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.switch_page("views/experiments_page.py").run()
    assert not at.exception
    assert at.code[-1].value == "relbid experiment scenarios/experiments/interference.yaml"


def test_an_experiment_is_shown_where_there_is_no_result(
    experiments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELBID_RESULTS", str(experiments))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    assert at.title[0].value == "Nothing has been run yet"
    at.switch_page("views/experiments_page.py").run()
    assert not at.exception
    assert chart(at, "Change against A")["data"]


def test_the_setting_survives_a_visit(page: AppTest) -> None:
    page.switch_page("views/trade_off_page.py").run()
    page.slider(key="exponent").set_value(2.0).run()
    page.switch_page("views/experiments_page.py").run()
    page.switch_page("views/trade_off_page.py").run()
    assert page.slider(key="exponent").value == 2.0


def summary(*rows: tuple[str, str, float, float, float]) -> pl.DataFrame:
    columns = ["arm", "metric", "change_value", "change_t_low", "change_t_high"]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(change_detectable=pl.lit(0.03))


def test_large_changes_stand_apart_in_every_arm() -> None:
    rows = summary(
        ("B", "revenue_rpm", -0.02, -0.03, -0.01),
        ("B", "irrelevant_share", -0.9, -0.95, -0.85),
        ("C", "irrelevant_share", -0.1, -0.2, 0.0),
        ("C", "ctr", math.nan, math.nan, math.nan),
    )
    small, large = figures.by_size(rows)
    assert small["metric"].to_list() == ["revenue_rpm", "ctr"]
    assert large["metric"].to_list() == ["irrelevant_share", "irrelevant_share"]


def test_a_forest_draws_the_interval_and_what_could_be_detected() -> None:
    figure = figures.forest(summary(("B", "revenue_rpm", -0.02, -0.05, 0.0)), "A", "95%")
    (arm,) = figure.data
    assert arm.x[0] == pytest.approx(-2.0)
    assert arm.error_x.array[0] == pytest.approx(2.0)
    assert arm.error_x.arrayminus[0] == pytest.approx(3.0)
    (grey,) = figure.layout.shapes
    assert (grey.x0, grey.x1) == pytest.approx((-3.0, 3.0))
