"""From a scenario to its result: reproducible, cached, and the same whichever way one comes to it."""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, strategies as st

from relevance.errors import CheckpointError, PluginError
from relevance.oracle import GRADE_GAIN
from scenarios import (
    ScenarioError,
    StoreError,
    inspect_query,
    load_scenario,
    override,
    pareto_front,
    prepare,
    relevance_of,
    run_scenario,
    simulate,
    write_result,
)
from scenarios.markets.checkpoints import checkpoint_hash
from scenarios.markets.simulation import market_of, thin
from scenarios.reporting.terminal import sweep_table
from scenarios.runs.points import points_of, simulate_points
from scenarios.runs.scenario_run import run_to_folder
from scenarios.storage import cache as disk
from scenarios.storage.whole import staging
from simulator.retrieval import Candidates


@pytest.fixture(scope="module")
def result(prepared, tiny_cache):
    return run_scenario(prepared.scenario, cache=tiny_cache)


def cached(root: Path, kind: str) -> list[Path]:
    return sorted((root / disk.FOLDER).glob(f"{kind}-*"))


# The result


def test_the_points_are_the_comparison_then_the_sweep(result):
    points = result.points
    assert points.select("kind", "scorer", "value").rows() == [
        *[("compare", scorer, 1.0) for scorer in ("none", "bm25", "oracle")],
        *[("sweep", scorer, value) for scorer in ("bm25", "oracle") for value in (0.5, 1.0, 2.0)],
    ]
    assert set(points["field"]) == {"fusion.relevance"}
    assert set(points["queries"]) == {2000.0}


def test_changes_are_relative_to_ranking_without_relevance(result):
    none, bm25, oracle = result.points.head(3).iter_rows(named=True)
    assert none["revenue_uplift"] == none["irrelevant_change"] == 0.0
    for row in (bm25, oracle):
        assert row["revenue_uplift"] == pytest.approx(row["revenue"] / none["revenue"] - 1)
    assert none["irrelevant_share"] > 0
    assert oracle["irrelevant_share"] == 0.0, "the oracle gives grade 0 no score"
    assert oracle["irrelevant_change"] == -1.0


def test_the_own_run_is_a_row_of_the_comparison_and_its_log_adds_up(result):
    own = result.points.row(2, named=True)
    assert {name: own[name] for name in result.metrics} == pytest.approx(result.metrics, nan_ok=True)
    assert result.log["charged_micros"].sum() / 1e6 == pytest.approx(result.metrics["revenue"])
    assert len(result.log) == result.metrics["impressions"]
    assert set(result.log["grade"]) <= {1, 2, 3}


def test_a_swept_point_is_the_scenario_with_that_value(result, prepared, tiny_cache):
    scenario = override(prepared.scenario, {"fusion.relevance": 2.0})
    alone = run_scenario(scenario, cache=tiny_cache, sweep=False)
    swept = result.points.filter(
        (pl.col("kind") == "sweep") & (pl.col("scorer") == "oracle") & (pl.col("value") == 2.0)
    )
    assert swept["revenue"][0] == alone.metrics["revenue"]
    assert set(alone.points["kind"]) == {"compare"}


def test_the_same_scenario_gives_the_same_bytes_with_and_without_a_cache(result, prepared, tmp_path):
    again = run_scenario(prepared.scenario)
    first = write_result(tmp_path / "a", result.scenario, result.metrics, result.points, result.log)
    second = write_result(tmp_path / "b", again.scenario, again.metrics, again.points, again.log)
    assert first.name == second.name
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_another_seed_gives_another_day(result, prepared, tiny_cache):
    other = run_scenario(override(prepared.scenario, {"seed": 4, "sweep": None}), cache=tiny_cache)
    assert other.metrics["revenue"] != result.metrics["revenue"]


def test_without_the_baseline_in_the_comparison_changes_are_unknown(prepared, tiny_cache):
    scenario = override(prepared.scenario, {"compare": ["bm25"], "sweep": None})
    points = run_scenario(scenario, cache=tiny_cache).points
    assert list(points["scorer"]) == ["bm25", "oracle"]
    assert points["revenue_uplift"].null_count() == points["irrelevant_change"].null_count() == 2


# Simulating


def test_no_relevance_is_the_exponent_zero_of_any_scorer(prepared, tiny_cache):
    none = simulate(prepared, relevance_of(prepared, "none", cache=tiny_cache))
    bm25 = simulate(prepared, relevance_of(prepared, "bm25", cache=tiny_cache), {"fusion.relevance": 0.0})
    assert none.metrics == bm25.metrics


def test_every_rule_settles(prepared, tiny_cache):
    oracle = relevance_of(prepared, "oracle", cache=tiny_cache)
    revenue = {
        rule: simulate(prepared, oracle, {"fusion.rule": rule}).metrics["revenue"]
        for rule in ("product", "gate", "linear", "tiers")
    }
    assert len(set(revenue.values())) == 4
    assert min(revenue.values()) > 0


def test_what_decides_the_candidates_cannot_be_settled_anew(prepared, tiny_cache):
    none = relevance_of(prepared, "none", cache=tiny_cache)
    for field, value in {
        "world.seed": 1,
        "retrieval.candidates": 4,
        "split": "train",
        "hcmrm.device": "cuda",
    }.items():
        with pytest.raises(ScenarioError, match="decides which queries and ads there are"):
            simulate(prepared, none, {field: value})


def test_a_sample_of_the_day_is_even_and_keeps_the_budgets_in_proportion(prepared, tiny_cache):
    market = market_of(prepared, relevance_of(prepared, "none", cache=tiny_cache))
    sample = thin(market, 500)
    np.testing.assert_array_equal(sample.query, market.query[::4])
    np.testing.assert_array_equal(sample.arrival_s, market.arrival_s[::4])
    np.testing.assert_array_equal(sample.budget_micros, market.budget_micros // 4)
    assert thin(market, 2000) is market
    simulation = simulate(prepared, relevance_of(prepared, "none", cache=tiny_cache), n_queries=500)
    assert simulation.metrics["queries"] == 500


def test_progress_is_reported_by_stage(prepared, tiny_cache):
    seen = []
    run_scenario(prepared.scenario, cache=tiny_cache, progress=lambda *step: seen.append(step))
    stage = "simulating points"
    assert [step for step in seen if step[0] == stage] == [(stage, i, 9) for i in range(1, 10)]


# The cache


def test_scores_and_frames_are_kept_and_reused(prepared, tmp_path, monkeypatch):
    first = prepare(prepared.scenario, cache=tmp_path)
    assert len(cached(tmp_path, "frames")) == 1
    drawn = []
    again = prepare(prepared.scenario, cache=tmp_path, progress=lambda *step: drawn.append(step))
    assert drawn == []
    assert again.world.corpus.fingerprint() == first.world.corpus.fingerprint()

    before = relevance_of(first, "bm25", cache=tmp_path)
    assert len(cached(tmp_path, "scores-bm25")) == 1

    def unneeded(corpus):
        raise AssertionError("scored again")

    monkeypatch.setattr("relevance.lexical.Bm25Scorer", unneeded)
    np.testing.assert_array_equal(relevance_of(first, "bm25", cache=tmp_path).score, before.score)
    # Another corpus, or other candidates, are not mistaken for these.
    for settings in ({"world.seed": 9}, {"retrieval.candidates": 3}):
        with pytest.raises(AssertionError, match="scored again"):
            relevance_of(prepare(override(prepared.scenario, settings)), "bm25", cache=tmp_path)


@pytest.mark.parametrize("kind", ["frames", "scores-bm25"])
@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nothing else", None])
def test_damaged_cache_files_are_made_again(prepared, tmp_path, kind, damage):
    before = relevance_of(prepare(prepared.scenario, cache=tmp_path), "bm25", cache=tmp_path)
    [path] = cached(tmp_path, kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    again = relevance_of(prepare(prepared.scenario, cache=tmp_path), "bm25", cache=tmp_path)
    np.testing.assert_array_equal(again.score, before.score)
    assert path.read_bytes() == whole


def test_the_cache_looks_at_code_checkpoint_and_settings(tmp_path):
    import simulator.users

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    module = simulator.users
    fake = type(module)("package")
    fake.__file__ = str(package / "__init__.py")
    before = disk.code_hash(fake)
    (package / "more.py").write_text("x = 1\n")
    assert disk.code_hash(fake) != before

    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(CheckpointError, match=r"checkpoint/model\.safetensors.*relbid train --out"):
        checkpoint_hash(checkpoint)
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"1")
    (checkpoint / "training.json").write_text("{}")
    before = checkpoint_hash(checkpoint)
    (checkpoint / "training.json").write_text('{"seconds": 3}')
    assert checkpoint_hash(checkpoint) == before, "how it was trained does not change its scores"
    (checkpoint / "model.safetensors").write_bytes(b"2")
    assert checkpoint_hash(checkpoint) != before
    os.mkfifo(checkpoint / "calibration.json")
    with pytest.raises(CheckpointError, match=r"calibration\.json: is a device or a pipe"):
        checkpoint_hash(checkpoint)


# Scorers of one's own


class Halves:
    def __init__(self, corpus):
        self.corpus = corpus

    def score(self, query, ad):
        return np.full(query.shape, 0.5)


class TooMuch(Halves):
    def score(self, query, ad):
        return np.full(query.shape, 2.0)


class Group:
    class Inner(Halves):
        pass


def nothing(corpus):
    return None


NOT_CALLABLE = 3


def test_a_scorer_of_one_s_own_is_used_and_not_cached(prepared, tmp_path):
    own = relevance_of(prepared, f"{__name__}:Halves", cache=tmp_path)
    met = prepared.candidate >= 0
    assert set(own.score[met]) == {0.5}
    assert set(own.score[~met]) <= {0.0}
    assert not (tmp_path / disk.FOLDER).exists()
    inner = relevance_of(prepared, f"{__name__}:Group.Inner")
    assert np.array_equal(inner.score, own.score)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_scorer.py:Mine", "needs a module's name, not a file's; write my_scorer:Mine"),
        ("no_such_module:Scorer", "there is no module 'no_such_module' in the folder where you stand"),
        (f"{__name__}:Nothing", "has no 'Nothing'"),
        (f"{__name__}:NOT_CALLABLE", "must be a class or function that takes the corpus"),
        (f"{__name__}:nothing", r"it gives nothing, which has no method score\(query, ad\)"),
        (f"{__name__}:TooMuch", r"scores must be numbers in \[0, 1\]"),
        ("math:sqrt", "making it failed: TypeError"),
    ],
)
def test_a_scorer_that_cannot_be_used_is_explained(prepared, name, words):
    with pytest.raises(PluginError, match=words):
        relevance_of(prepared, name)


# The inspector


def test_the_inspector_shows_what_the_auction_does(prepared, tiny_cache):
    oracle = relevance_of(prepared, "oracle", cache=tiny_cache)
    market = market_of(prepared, oracle)
    # The day's first query is auctioned at the opening bids and whole budgets, as the inspector does it.
    log = simulate(prepared, oracle).log
    query = int(market.query[0])
    shown = inspect_query(prepared, oracle, query).drop_nulls("slot")
    first = log.impressions().filter(pl.col("query_index") == 0)
    assert len(first) > 0
    assert shown["ad"].to_list() == first["ad"].to_list()
    np.testing.assert_allclose(shown["price"] * 1e6, first["price_micros"], atol=0.5)
    np.testing.assert_allclose(shown["score"], first["score"])
    assert shown["grade"].to_list() == first["grade"].to_list()


def test_the_inspector_explains_every_candidate(prepared, tiny_cache):
    bm25 = relevance_of(prepared, "bm25", cache=tiny_cache)
    table = inspect_query(
        prepared, bm25, 0, {"fusion.rule": "gate", "fusion.threshold": 0.2, "auction.reserve": 0.4}
    )
    ads = prepared.candidate[0]
    assert sorted(table["ad"]) == sorted(ads[ads >= 0])
    for row in table.iter_rows(named=True):
        if row["slot"] is not None:
            assert row["why"].startswith(f"Slot {row['slot']}: ")
            assert 0.4 - 1e-6 <= row["price"] <= row["bid"] + 1e-6
        elif row["bid"] < 0.4:
            assert "below the reserve 0.40" in row["why"]
        elif row["relevance"] < 0.2:
            assert row["why"].startswith("Not eligible: the fusion rule")
            assert row["score"] is None
        else:
            assert row["why"].startswith("Not shown: score ")
    assert table["p0"].null_count() == len(table)
    slots = table["slot"].drop_nulls().to_list()
    assert slots == list(range(1, len(slots) + 1))


def test_a_query_without_candidates_has_an_empty_table(prepared, tiny_cache):
    nobody = Candidates(np.full_like(prepared.candidate, -1), prepared.found.recall * 0)
    empty = replace(prepared, candidates=nobody)
    table = inspect_query(empty, relevance_of(empty, "none"), 0)
    assert len(table) == 0
    assert "why" in table.columns


# Pareto front


def test_the_pareto_front_by_hand():
    gain = np.array([1.0, 2.0, 3.0, 2.0, 3.0, math.nan])
    harm = np.array([0.1, 0.2, 0.3, 0.3, 0.3, 0.0])
    assert pareto_front(gain, harm).tolist() == [True, True, True, False, True, False]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_a_point_is_on_the_front_if_no_other_beats_it(points):
    gain = np.array([float(g) for g, _ in points])
    harm = np.array([float(h) for _, h in points])
    expected = [not any((g2 >= g and h2 <= h) and (g2 > g or h2 < h) for g2, h2 in points) for g, h in points]
    assert pareto_front(gain, harm).tolist() == expected


def test_the_front_is_marked_in_the_points(result):
    points = result.points
    front = points.filter("pareto")
    assert len(front) > 0
    best = front.filter(pl.col("revenue") == points["revenue"].max())
    assert len(best) > 0


def test_grade_probabilities_make_the_score():
    assert GRADE_GAIN[0] == 0.0
    assert list(GRADE_GAIN) == sorted(GRADE_GAIN)


def test_loading_by_seed_changes_only_the_seed(tiny_file):
    assert load_scenario(tiny_file, seed=5) == override(load_scenario(tiny_file), {"seed": 5})


# The log as a file


def test_a_log_that_goes_to_disk_as_it_comes_is_the_same_bytes(result, prepared, tiny_cache, tmp_path):
    whole = write_result(tmp_path / "a", result.scenario, result.metrics, result.points, result.log)
    with staging(tmp_path / "b") as part:
        streamed = run_scenario(prepared.scenario, cache=tiny_cache, log_path=part / "log.parquet")
        folder = write_result(
            tmp_path / "b", streamed.scenario, streamed.metrics, streamed.points, streamed.log
        )
    for path in whole.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name
    assert not list((tmp_path / "b").glob(".writing-*"))


def test_a_run_that_shows_nothing_has_a_log_without_rows(prepared, tiny_cache, tmp_path, result):
    scenario = override(
        prepared.scenario,
        {"auction.reserve": 1e6, "compare": ["oracle"], "sweep": None, "traffic.n_queries": 50},
    )
    done = run_scenario(scenario, cache=tiny_cache, log_path=tmp_path / "log.parquet")
    log = pl.read_parquet(done.log)
    assert log.height == 0
    assert log.schema == result.log.schema


def test_a_log_that_cannot_be_written_is_a_clear_error_and_leaves_nothing(prepared, tiny_cache, tmp_path):
    def run():
        with staging(tmp_path) as part:
            (part / "log.parquet").mkdir()  # something else stands where the log belongs
            run_scenario(prepared.scenario, cache=tiny_cache, sweep=False, log_path=part / "log.parquet")

    with pytest.raises(StoreError, match=r"cannot be written .*; choose another folder with --out"):
        run()
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_a_sweep_has_twice_is_one_point(prepared):
    scenario = override(prepared.scenario, {"sweep.values": [1, 0.5, 1], "sweep.scorers": ["bm25", "bm25"]})
    assert [point.value for point in points_of(scenario) if point.kind == "sweep"] == [1.0, 0.5]
    relevances = {name: relevance_of(prepared, name) for name in ("none", "bm25", "oracle")}
    points = simulate_points(replace(prepared, scenario=scenario), relevances)
    title = sweep_table(scenario, points).title
    assert title.startswith("Sweep of fusion.relevance")
    assert title.endswith("simulated once")  # which may be of many days


def test_a_sweep_to_more_than_the_machine_has_is_refused_before_the_work(prepared, tmp_path):
    sweep = {"field": "traffic.n_queries", "values": [100, 10**9], "scorers": ["bm25"]}
    scenario = override(prepared.scenario, {"sweep": sweep})
    with pytest.raises(ScenarioError, match=r"traffic.n_queries: .*1,000,000,000 needs at least"):
        run_to_folder(scenario, tmp_path / "results")
    assert not list(tmp_path.rglob("*.npy"))
