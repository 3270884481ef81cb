"""Scenario files whose market is a table of auctions."""

import math
from pathlib import Path

import polars as pl
import pytest

from scenarios import (
    inspect_query,
    load_scenario,
    prepare,
    read_result,
    relevance_of,
    run_scenario,
    write_result,
)
from scenarios.errors import ScenarioError, TableError
from scenarios.replay.example import as_table, make_example
from scenarios.replay.replay_run import replay_file
from scenarios.replay.ways import scenario_entries
from scenarios.studies.sweeps.sweep import load_sweep
from scenarios.studies.sweeps.sweep_run import estimate
from simulator.fusion import Gate

SCENARIO = """\
schema: 1
name: own
market: {kind: table, auctions: log.parquet}
auction: {reserve: 0.05}
fusion: {rule: gate}
sweep: {field: fusion.threshold, values: [0.2, 0.6]}
"""


@pytest.fixture(scope="module")
def table():
    return as_table(make_example(300, seed=2))


@pytest.fixture
def file(tmp_path, table) -> Path:
    table.write_parquet(tmp_path / "log.parquet")
    path = tmp_path / "own.yaml"
    path.write_text(SCENARIO)
    return path


def test_the_table_is_beside_the_scenario_and_its_columns_are_the_scorers(file):
    scenario = load_scenario(file)
    assert scenario.market.auctions == str(file.parent / "log.parquet")
    assert scenario.scorer == "bm25"
    assert scenario.compare == ("none", "bm25", "model", "oracle")
    assert scenario.sweep.scorers == ("bm25", "model", "oracle")
    assert load_scenario(file, scorer="model").scorer == "model"


def test_a_run_on_a_table_is_stored_and_read_back(file, tmp_path, table):
    scenario = load_scenario(file)
    result = run_scenario(scenario)
    rows = result.points.filter(pl.col("kind") == "compare")
    assert rows["scorer"].to_list() == ["none", "bm25", "model", "oracle"]
    assert set(result.points["queries"]) == {table["query_id"].n_unique()}
    assert rows["irrelevant_share"].is_between(0, 1).all()
    assert rows["revenue"].min() > 0
    # The log speaks of the table's own ads, with the bids that they made.
    shown = result.log.with_columns(pl.col("query_id").cast(pl.Int64), pl.col("ad_id").cast(pl.Int64))
    found = shown.join(table, on=["query_id", "ad_id"], how="left", suffix="_table")
    assert found.height == result.log.height
    assert found["bid"].to_list() == pytest.approx((found["bid_micros"] / 1e6).to_list())
    assert found["grade"].to_list() == found["grade_table"].to_list()
    # Nobody is charged more than it bids, and the log's charges are the revenue.
    assert (shown["price_micros"] <= shown["bid_micros"]).all()
    assert shown["charged_micros"].sum() / 1e6 == pytest.approx(result.metrics["revenue"])
    folder = write_result(tmp_path / "results", scenario, result.metrics, result.points, result.log)
    again = read_result(folder)
    assert again.scenario == scenario
    assert run_scenario(again.scenario).points.equals(result.points)


def test_without_grades_what_needs_them_is_not_there(file, table):
    table.drop("grade").write_parquet(file.parent / "log.parquet")
    scenario = load_scenario(file, ["sweep=null"])
    assert scenario.compare == ("none", "bm25", "model")
    result = run_scenario(scenario)
    for name in ("irrelevant_share", "welfare", "grade_0_share"):
        assert math.isnan(result.metrics[name])
    assert result.metrics["revenue"] > 0
    assert result.log["grade"].null_count() == result.log.height


def test_a_budget_ends_an_advertisers_day(file, table):
    owners = table["advertiser_id"].unique().sort()
    pl.DataFrame({"advertiser_id": owners, "budget": 0.5}).write_ndjson(file.parent / "budgets.jsonl")
    free = run_scenario(load_scenario(file, ["sweep=null", "compare=[none]", "scorer=none"]))
    capped = run_scenario(
        load_scenario(
            file, ["sweep=null", "compare=[none]", "scorer=none", "market.advertisers=budgets.jsonl"]
        )
    )
    assert capped.metrics["revenue"] < free.metrics["revenue"]
    spent = capped.log.group_by("advertiser_id").agg(pl.col("charged_micros").sum())
    assert spent["charged_micros"].max() <= 500_000
    assert capped.metrics["ran_out_share"] > free.metrics["ran_out_share"] == 0.0


def test_a_replay_ranks_as_the_scenario_compares_and_sweeps(file):
    ways = scenario_entries(load_scenario(file))
    assert [(way.scorer, way.rule) for way in ways] == [
        *[(scorer, "gate 0.3") for scorer in ("none", "bm25", "model", "oracle")],
        *[(scorer, f"gate {t}") for scorer in ("bm25", "model", "oracle") for t in (0.2, 0.6)],
    ]
    assert ways[-1].fusion == Gate(threshold=0.6)
    result, settings = replay_file(file)
    assert result.points.height == 1 + len(ways)
    assert settings["auction"]["reserve"] == 0.05
    vcg, _ = replay_file(file.parent / "log.parquet", mechanism="vcg")
    assert "gate 0.3" in vcg.points["rule"].to_list()
    assert "tiers 0.3 0.6" not in vcg.points["rule"].to_list()
    chosen, _ = replay_file(file, scorers=["model"], rules=["product"])
    assert chosen.points["rule"].to_list() == [None, "product", "product"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("market.auctions=lag.parquet", "lag.parquet: no such file; did you mean 'log.parquet'?"),
        ("market.auctions=null", "market.auctions=null: needs a text, got nothing"),
        ("market.kind=tabel", "market.kind=tabel: unknown kind 'tabel'; did you mean 'table'?"),
        ("market.digest=0a", "has changed since; remove the digest to take it"),
        ("traffic.n_queries=10", "traffic: the table says it all where market.kind is table; leave it out"),
        ("bidders.paced_share=0.1", "bidders: bids are the table's where market.kind is table"),
        ("sweep.field=market.auctions", "sweep: market.auctions: decides which queries and ads there are"),
    ],
)
def test_what_a_table_refuses(file, change, message):
    with pytest.raises((ScenarioError, TableError)) as caught:
        load_scenario(file, [change])
    assert message in str(caught.value)


def test_a_column_that_is_not_there_is_named_before_anything_runs(file):
    with pytest.raises(TableError, match="has no column relevance_modl; did you mean 'model'"):
        run_scenario(load_scenario(file, scorer="modl"))


def test_a_sweep_is_refused_before_its_time_is_estimated(file):
    def swept(over):
        sweep = file.with_name("sweep.yaml")
        sweep.write_text(f"schema: 1\nname: swept\nscenario: own.yaml\nover:\n  {over}\n")
        return load_sweep(sweep)

    with pytest.raises(TableError, match=r"has no column relevance_minilm \(scorers of this table are none,"):
        estimate(swept("scorer: [none, minilm]"), file.parent / "results")
    # Its digest would be that of the scenario's own file.
    with pytest.raises(ScenarioError, match=r"log.parquet: market: the files of a market are those of the"):
        swept("market.auctions: [log.parquet, other.parquet]")


def test_a_table_that_no_market_can_hold_is_refused(file, table):
    table.with_columns(bid=-pl.col("bid")).write_parquet(file.parent / "log.parquet")
    with pytest.raises(TableError, match=r"row 1, column bid: must be from 0 to 1e\+06"):
        run_scenario(load_scenario(file))


def test_what_needs_texts_and_frames_says_so(file):
    prepared = prepare(load_scenario(file))
    with pytest.raises(ScenarioError, match="needs the texts and frames of the embedded world"):
        inspect_query(prepared, relevance_of(prepared, "model"), 0)


def test_a_world_has_nothing_to_replay(tmp_path):
    path = tmp_path / "world.yaml"
    path.write_text("schema: 1\nname: w\n")
    with pytest.raises(ScenarioError, match="is world; a replay needs a table of auctions"):
        replay_file(path)
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(SCENARIO.replace("fusion.threshold", "auction.reserve"))
    as_table(make_example(20, seed=2)).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ScenarioError, match=r"changes the fusion rule alone, not auction\.reserve"):
        replay_file(sweep)
