"""The comparison of `relbid run` over several days."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from scenarios import load_scenario, override, prepare, relevance_of
from scenarios.reporting.experiment_tables import days_tables, query_tables
from scenarios.runs.scenario_run import run_scenario
from scenarios.studies import replicates as module
from scenarios.studies.experiments.day_comparison import compare_days, days_plan
from scenarios.studies.experiments.statistics import t_interval

SCENARIO = """\
schema: 1
name: small
seed: 3
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 400}
retrieval: {candidates: 12}
scorer: oracle
compare: [none, bm25]
days_compared: 3
"""


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.yaml"
    path.write_text(SCENARIO)
    return load_scenario(path)


@pytest.fixture(scope="module")
def prepared(scenario):
    prepared = prepare(scenario)
    return prepared, {name: relevance_of(prepared, name) for name in ("none", "bm25", "oracle")}


@pytest.fixture(scope="module")
def compared(prepared, tmp_path_factory):
    cache = tmp_path_factory.mktemp("results")
    return cache, compare_days(*prepared, cache=cache)


def test_every_scorer_is_compared_with_the_first_over_the_days_that_follow(compared):
    _, result = compared
    assert result.with_scorers["scorer"].unique(maintain_order=True).to_list() == ["bm25", "oracle"]
    by_arm = {arm: rows for (arm,), rows in result.replicates.group_by("arm", maintain_order=True)}
    assert all(rows["seed"].to_list() == [3, 4, 5] for rows in by_arm.values())
    none, oracle = (by_arm[arm]["irrelevant_share"].to_numpy() for arm in ("1", "3"))
    row = result.with_scorers.filter(scorer="oracle", metric="irrelevant_share").row(0, named=True)
    low, high = t_interval(oracle - none)[1:]
    assert (row["difference_t_low"], row["difference_t_high"]) == pytest.approx((low, high))


def test_the_first_day_is_the_scenarios_own(compared, scenario):
    own = run_scenario(scenario, sweep=False).points.filter(scorer="bm25")
    day = compared[1].replicates.filter(arm="2", seed=3)
    assert day["revenue"][0] == own["revenue"][0]


def test_a_second_run_reads_the_days(compared, prepared, monkeypatch):
    cache, result = compared
    monkeypatch.setattr(module, "full", lambda market: pytest.fail("simulated again"))
    again = compare_days(*prepared, cache=cache)
    assert again.summary.equals(result.summary)


def test_the_tables_show_means_of_days_and_an_interval_at_every_difference(compared):
    means, changes, over, queries = days_tables(compared[1])
    assert "mean of 3 days of this world" in means.title
    assert "95% intervals over 3 days of this world; for other worlds: relbid experiment" in changes.note
    cells = [list(column.cells) for column in changes.table.columns]
    assert cells[0] == ["BM25", "oracle"]
    assert all("\n[" in text and text.endswith("]") for column in cells[1:] for text in column)
    revenue = compared[1].replicates.filter(arm="1")["revenue_rpm"].to_numpy()
    assert next(iter(means.table.columns[1].cells)) == f"{np.mean(revenue):.2f}"
    assert list(queries.table.columns[0].cells) == [
        f"{scorer}: {metric}" for scorer in ("BM25", "oracle") for metric in ("revenue", "irrelevant ads")
    ]
    assert "effective number of queries" in queries.note
    [alone] = query_tables(compared[1], "common", {"2": "BM25"}, "no relevance")
    assert alone.title == "The queries behind the differences of BM25 against no relevance"
    plan = compared[1].plan
    longer = replace(plan, scenario=override(plan.scenario, {"traffic.days": 2}))
    several = days_tables(replace(compared[1], plan=longer))[0].title
    assert "queries a run, mean of 3 runs of 2 days" in several
    # Over queries: of each scorer's own figures, and of its changes.
    cells = [list(column.cells) for column in over.table.columns]
    assert cells[0] == ["no relevance", "BM25", "oracle"]
    assert cells[1][0].startswith(f"{np.mean(revenue):.2f} [")
    low, high = (float(text) for text in cells[1][0].split("[")[1].rstrip("]").split(", "))
    assert low < np.mean(revenue) < high
    assert [cells[place][0] for place in (2, 4)] == ["", ""]
    assert all(text.endswith("]") for place in (1, 2, 3, 4) for text in cells[place][1:])


@pytest.mark.parametrize(
    "changes",
    [
        {"days_compared": 1},
        {"compare": (), "scorer": "none"},
        {"seed": 2**62 - 1},
    ],
)
def test_without_other_days_or_scorers_there_is_nothing_to_compare(scenario, changes):
    assert days_plan(scenario.model_copy(update=changes)) is None


def test_the_result_folder_holds_the_comparison(scenario, tmp_path, compared):
    from scenarios.runs.scenario_run import run_to_folder

    def days(prepared, relevances):
        return compared[1].with_scorers

    _, folder = run_to_folder(scenario, tmp_path, sweep=False, days=days)
    assert pl.read_parquet(folder / "comparison.parquet").equals(compared[1].with_scorers)


def test_points_that_are_kept_are_those_that_are_simulated_one_by_one(scenario, tmp_path, monkeypatch):
    from scenarios.studies import kept_points

    swept = {"field": "fusion.relevance", "values": [0.5, 1.0], "scorers": ["bm25", "oracle"]}
    scenario = override(scenario, {"sweep": swept})
    asked = []

    def points(prepared, relevances, scenarios):
        asked.append(len(scenarios))
        return kept_points.keep_points(prepared, relevances, scenarios, cache=tmp_path)

    one_by_one = run_scenario(scenario, points=points)
    assert not list(tmp_path.rglob("*.json")), "a small market is simulated where it is"
    monkeypatch.setattr(kept_points, "SMALL", 0)
    monkeypatch.setattr(kept_points, "cores", lambda: 1)
    kept = run_scenario(scenario, points=points)
    assert kept.points.equals(one_by_one.points)
    assert asked == [4, 4], "none, bm25 at two values, and the oracle's half; its own run is known"
    monkeypatch.setattr(module, "simulate_job", lambda *_: pytest.fail("simulated again"))
    assert run_scenario(scenario, points=points).points.equals(one_by_one.points)
