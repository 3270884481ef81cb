"""Speed by counting work instead of seconds: calls, draws, events, scored pairs and memory. None can flake.

Where one of these fails, something is done per query that was done per batch, or twice that was done once.
"""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simpy

import scenarios.markets.scoring
from benchmarks.market import make_market
from relevance.protocol import RelevanceScorer
from scenarios import DEFAULT_SCENARIO, load_scenario, prepare, run_scenario
from simulator import random
from simulator.clock.engine import simulate
from simulator.journey import gather, rank
from simulator.ledger import UNLIMITED
from simulator.log import forget
from simulator.market import Market, ServingModel, hand_market, with_settings
from tests.simulator.markets import random_market

TICKS = 96  # of a day, each with one batch or more


def rich(queries: int, *, candidates: int = 16, slots: int = 3, advertisers: int = 16) -> Market:
    """Nobody runs out, so that no query is ranked twice; scores never tie."""
    market = make_market(queries, candidates, slots, advertisers)
    even = np.linspace(0.0, market.horizon_s, queries, endpoint=False)
    return replace(market, arrival_s=even, budget_micros=np.full_like(market.budget_micros, UNLIMITED))


def calls_of(market: Market) -> int:
    """Calls of Python and C functions in a run."""
    return calls(lambda: simulate(market))


def calls(work: Callable[[], object]) -> int:
    """Calls of Python and C functions, of work that has been done once before."""
    count = 0

    def see(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    work()  # what is done once is done
    # A collection may fall into the run, and others' callbacks of it (hypothesis has one) would be counted.
    gc.collect()
    gc.disable()
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def test_a_batch_takes_as_many_calls_whatever_its_size() -> None:
    few, many = calls_of(rich(10 * TICKS)), calls_of(rich(1000 * TICKS))
    assert few == many


def test_a_batch_takes_as_many_calls_whatever_the_candidates_and_advertisers() -> None:
    few, many = (calls_of(rich(10 * TICKS, candidates=n, advertisers=n)) for n in (16, 64))
    assert few == many


def test_a_further_slot_adds_calls_to_the_search_for_winners_only() -> None:
    """An argmax and the score it finds; all else is done for all slots at once."""
    three, four, seven = (calls_of(rich(10 * TICKS, slots=n)) / TICKS for n in (3, 4, 7))
    assert seven - three == 4 * (four - three)
    assert four - three <= 4


def test_what_is_not_ranking_takes_fewer_calls_than_ranking() -> None:
    """Clock, ledger, log and bids of a batch, which a small batch pays for as a large one does."""
    market = rich(10 * TICKS)
    rows, active = np.arange(10), np.ones(market.budget_micros.size, dtype=bool)
    ranking = calls(lambda: rank(market, gather(market, market.value, rows), active))
    assert calls_of(market) / TICKS < 2 * ranking


def test_clicks_are_drawn_once_a_shown_ad_and_tie_breaks_only_where_somebody_ties(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: dict[str, int] = {}

    def counting(seed: int, station: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        drawn[station] = drawn.get(station, 0) + np.broadcast(first, second).size
        return pair_uniforms(seed, station, first, second)

    pair_uniforms = random.pair_uniforms
    monkeypatch.setattr(random, "pair_uniforms", counting)
    simulate(rich(5000, slots=3))
    assert drawn == {"click": 5000 * 3}
    drawn.clear()
    simulate(hand_market([2.0, 1.0, 1.0], n_queries=70))  # the tie is for the second of two ranks
    assert drawn == {"click": 70, "tie break": 70 * 3}


def test_queries_cost_the_clock_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0

    def counting(env: simpy.Environment) -> None:
        nonlocal steps
        steps += 1
        step(env)

    step = simpy.Environment.step
    monkeypatch.setattr(simpy.Environment, "step", counting)
    served = ServingModel(batch_size=64, window_s=200.0, service_s=1.0)
    market = with_settings(random_market(1, n_queries=6000), serving=served)
    log = simulate(market)
    batches = np.unique(log.answered_s).size
    assert batches < 600
    assert steps <= 8 * batches + 2 * TICKS


SMALL = (
    "world.test_advertisers=36",
    "world.ads_per_advertiser=4",
    "world.query_pool=3000",
    "traffic.n_queries=500",
    "retrieval.candidates=12",
    "scorer=oracle",
    "compare=[none, bm25, oracle]",
    "sweep={values: [0.5, 1.0, 2.0], scorers: [bm25, oracle]}",
)


def test_a_pair_is_scored_once_however_many_points_it_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scenario = load_scenario(DEFAULT_SCENARIO, SMALL)
    scored: dict[str, int] = {}
    score_pairs = scenarios.markets.scoring.score_pairs

    def counting(scorer: RelevanceScorer, query: np.ndarray, ad: np.ndarray, name: str) -> np.ndarray:
        scored[name] = scored.get(name, 0) + query.size
        return score_pairs(scorer, query, ad, name)

    monkeypatch.setattr(scenarios.markets.scoring, "score_pairs", counting)
    result = run_scenario(scenario, cache=tmp_path)
    pairs = int((prepare(scenario, cache=tmp_path).candidate >= 0).sum())
    assert result.points.height == 9
    assert scored == {"bm25": pairs, "oracle": pairs}


def peak_of(queries: int) -> int:
    """Most memory that a run takes beside its market, in bytes."""
    market = rich(queries)
    tracemalloc.start()
    try:
        simulate(market, sink=forget)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_shown_ads_where_the_log_is_handed_on() -> None:
    # What is kept of a query: 33 bytes, and 8 for its number. A shown ad would add 105, three of them 315.
    more = peak_of(400_000) - peak_of(100_000)
    assert more < 300_000 * 60
