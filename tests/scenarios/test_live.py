"""Live ranking from a scenario file: the same results as with tables, and what a measured clock adds."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from scenarios import ScenarioError, ask, load_scenario, prepare, relevance_of, simulate
from scenarios.markets.loading import DEFAULT_SCENARIO
from scenarios.markets.simulation import with_tables
from scenarios.models.profiling import measure_profile
from scenarios.reporting.terminal import measured_table
from scenarios.runs.inspection import inspect_query
from scenarios.runs.scenario_run import run_scenario
from scenarios.studies.replicates import share_world
from simulator.market import with_settings
from simulator.scoring import LiveScorer
from tests.scenarios.test_cli import relbid

LIVE = DEFAULT_SCENARIO.with_name("live.yaml")
SETTINGS = {
    "plain": [],
    "servers": ["cache_queries=30", "service_per_pair_s=2", "timeout_s=90", "fallback=bm25", "servers=2"],
    "two stages": ["first_stage=bm25", "first_stage_keep=4"],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_live_run_gives_the_results_of_tables(name: str, tiny_file: Path, tiny_cache: Path) -> None:
    results = []
    settings = [f"serving.{setting}" for setting in SETTINGS[name]]
    for scoring in ("table", "live"):
        changes = [*settings, f"serving.scoring={scoring}", "bidders.budget_multiple=0.5", "traffic.days=2"]
        scenario = load_scenario(tiny_file, changes)
        results.append(run_scenario(scenario, cache=tiny_cache))
    table, live = results
    assert live.metrics == pytest.approx(table.metrics, rel=0, abs=0, nan_ok=True)
    assert isinstance(live.log, pl.DataFrame)
    assert isinstance(table.log, pl.DataFrame)
    assert live.log.equals(table.log)
    assert live.points.equals(table.points)


def test_nothing_is_scored_or_looked_up_before_a_live_run(tiny_file: Path, tiny_cache: Path) -> None:
    scenario = load_scenario(tiny_file, ["serving.scoring=live", "serving.fallback=bm25"], scorer="bm25")
    prepared = prepare(scenario, cache=tiny_cache)
    relevance = relevance_of(prepared, "bm25", cache=tiny_cache)
    simulate(prepared, relevance)
    assert isinstance(relevance.score, LiveScorer)
    assert prepared.candidates is None
    assert prepared.without_frames() is prepared
    with pytest.raises(ScenarioError, match=r"serving\.scoring: .*before a run; set serving\.scoring: table"):
        _ = relevance.table


def measured(*more: str) -> list[str]:
    return ["serving.scoring=live", "serving.clock=measured", "serving.batch_size=1", *more]


def test_a_measured_run_tells_what_the_machine_serves(tiny_file: Path, tiny_cache: Path) -> None:
    settings = measured("serving.timeout_s=50", "serving.price_per_hour=2", "serving.servers=2")
    scenario = load_scenario(tiny_file, settings)
    prepared = prepare(scenario, cache=tiny_cache)
    seconds = itertools.count(step=40.0)  # between two looks at the clock
    found = simulate(prepared, relevance_of(prepared, "oracle"), clock=lambda: float(next(seconds)))
    metrics = found.metrics
    assert metrics["latency_p50_s"] == pytest.approx(40.0)
    assert 0 < metrics["timeout_share"] < 0.9
    served = 2000 * (1 - metrics["timeout_share"])
    span = max(86_400.0, float(found.log.answered_s.max()))
    assert metrics["served_per_s"] == pytest.approx(served / span)
    assert metrics["in_target_per_s"] == pytest.approx(served / span), "the time-out is the target"
    assert metrics["utilisation"] == pytest.approx(found.log.busy_s.sum() / (2 * span))
    assert metrics["capacity_per_s"] == pytest.approx(served * 2 / found.log.busy_s.sum())
    assert metrics["cost_per_million"] == pytest.approx(2 * 2 * span / 3600 / served * 1e6)


def test_what_is_printed_of_it(tiny_file: Path, tiny_cache: Path) -> None:
    settings = measured("serving.price_per_hour=2", "sweep=null", "traffic.n_queries=100")
    scenario = load_scenario(tiny_file, settings)
    points = run_scenario(scenario, cache=tiny_cache).points

    def headings(**changes: float | None) -> list[str]:
        other = scenario.model_copy(update={"serving": replace(scenario.serving, **changes)})
        return [str(column.header) for column in measured_table(other, points).table.columns]

    assert headings() == ["ranked by", "busy", "served/s", "capacity/s", "cost/million"]
    assert headings(price_per_hour=None) == ["ranked by", "busy", "served/s", "capacity/s"]
    assert "in target/s" in headings(latency_target_s=0.1)
    assert "in target/s" in headings(timeout_s=1.0)


def test_the_shipped_scenario_runs_on_this_machine(tiny_cache: Path, tiny_file: Path, tmp_path: Path) -> None:
    """By the command, on a small world and with scorers that need no model."""
    text = tiny_file.read_text()
    world = text[text.index("world:") : text.index("traffic:")]
    path = tmp_path / "small.yaml"
    path.write_text(LIVE.read_text().replace("scorer: hcmrm", "scorer: bm25") + world)
    options = ["--set", "compare=[none, bm25]", "--set", "traffic.n_queries=300", "--out", str(tiny_cache)]
    done = relbid("run", str(path), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for title in ("Serving", "Measured on this machine", "in target/s", "cost/million"):
        assert title in done.stdout


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("serving.scoring=alive", "'table' or 'live'"),
        ("serving.clock=measured", "needs scoring live"),
        ("serving.price_per_hour=-1", "must be at least 0"),
        ("serving.latency_target_s=0", "must be greater than 0"),
    ],
)
def test_wrong_setting_is_refused_in_words(tiny_file: Path, setting: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_scenario(tiny_file, [setting])


def test_times_and_a_measured_clock_exclude_each_other(tiny_file: Path) -> None:
    for time in ("service_s=1", "service_per_query_s=1", "service_per_pair_s=1", "profile=[[1, 1], [2, 2]]"):
        with pytest.raises(ScenarioError, match="no service times"):
            load_scenario(tiny_file, measured(f"serving.{time}"))


def test_what_needs_tables_says_so(tiny_file: Path, tiny_cache: Path) -> None:
    scenario = load_scenario(tiny_file, ["serving.scoring=live"])
    with pytest.raises(
        ScenarioError, match=r"tiny\.yaml, serving\.scoring: this needs the relevance of all pairs"
    ):
        share_world([scenario], cache=tiny_cache)
    with pytest.raises(ScenarioError, match=r"pctr\.relevance.*scored later"):
        load_scenario(tiny_file, ["serving.scoring=live", "pctr.kind=learnt", "pctr.relevance=true"])
    prepared = prepare(scenario, cache=tiny_cache)
    with pytest.raises(ScenarioError, match=r"serving\.scoring: is decided before a run"):
        simulate(prepared, relevance_of(prepared, "oracle"), {"serving.scoring": "table"})
    table = tiny_file.with_name("table.yaml")
    table.write_text("schema: 1\nname: t\nmarket: {kind: table, auctions: a.csv}\nserving: {scoring: live}\n")
    tiny_file.with_name("a.csv").write_text(
        "query_id,time_s,ad_id,advertiser_id,bid,pctr,relevance_x\nq,0,a,b,1,0.1,0.5\n"
    )
    with pytest.raises(ScenarioError, match=r"serving\.scoring: relevance is the table's"):
        load_scenario(table)


def test_single_auctions_of_a_live_scenario(tiny_file: Path, tiny_cache: Path) -> None:
    """The inspector, a typed query and a profile, each as of the same scenario with tables."""
    cheap = ["serving.fallback=bm25"]
    table = prepare(load_scenario(tiny_file, cheap, scorer="bm25"), cache=tiny_cache)
    live = prepare(
        load_scenario(tiny_file, [*cheap, "serving.scoring=live"], scorer="bm25"), cache=tiny_cache
    )
    pages = [inspect_query(one, relevance_of(one, "bm25", cache=tiny_cache), 5) for one in (table, live)]
    assert pages[0].equals(pages[1])
    text = table.corpus.query_text[3]
    assert ask(table, text).ads.equals(ask(live, text).ads)
    assert with_tables(table) is table
    assert np.array_equal(with_tables(live, cache=tiny_cache).cheap_tables["bm25"], table.cheap["bm25"])
    seconds = itertools.count()
    profile = measure_profile(
        live.scenario, repeats=1, sizes=(1, 8), cache=tiny_cache, clock=lambda: float(next(seconds))
    )
    assert profile.points == ((1.0, 1.0), (8.0, 1.0))


def test_a_scorer_keeps_its_scores_over_a_runs_points(tiny_file: Path, tiny_cache: Path) -> None:
    scenario = load_scenario(tiny_file, ["serving.scoring=live", "serving.cache_queries=2000"], scorer="bm25")
    prepared = prepare(scenario, cache=tiny_cache)
    relevance = relevance_of(prepared, "bm25")
    first = simulate(prepared, relevance)
    assert isinstance(relevance.score, LiveScorer)

    class NotAsked:
        def relevance(self, query: np.ndarray, candidate: np.ndarray) -> np.ndarray:
            raise AssertionError("everything is kept")

        def place(self, values: np.ndarray) -> np.ndarray:
            return values

    relevance.score.scorer = NotAsked()
    again = simulate(prepared, relevance)
    assert again.metrics == pytest.approx(first.metrics, nan_ok=True)
    assert with_settings(again.market, seed=1).relevance is relevance.score
