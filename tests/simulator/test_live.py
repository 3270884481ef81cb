"""Live ranking: scorers that are asked when a batch is ranked give the log of a table of their scores."""

import subprocess
import sys
import tracemalloc
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from benchmarks.live import many_queries
from relevance.errors import ScorerError
from relevance.lexical import Bm25Scorer
from relevance.protocol import RelevanceScorer
from simulator import pairs, serving
from simulator.bidders import BidderModel, Followers
from simulator.clock.engine import simulate
from simulator.fusion import Exponential, Gate, Linear, Product, Tiers
from simulator.log import forget
from simulator.market import (
    Market,
    ServingModel,
    TrafficModel,
    WarmUp,
    build_market,
    hand_market,
    retrieve_candidates,
    with_settings,
)
from simulator.measures.market_metrics import market_metrics
from simulator.pairs import ComputedPairs
from simulator.pctr import CtrModel
from simulator.policies import Bids, Report
from simulator.policies.match_types import MatchBids
from simulator.recent import RecentRows
from simulator.scoring import LiveScorer, OnHost, score_candidates
from simulator.users import UserModel
from simulator.world import World, WorldConfig, build_world
from tests.simulator.markets import corpus_market, random_market
from tests.simulator.test_engine import same_bytes


class ByPair:
    """A scorer with the one method: a market's table by pair. It remembers what it was asked."""

    def __init__(self, market: Market, table: np.ndarray) -> None:
        self.known = np.full((market.candidate.shape[0], market.advertiser.size), np.nan)
        row, column = np.nonzero(market.candidate >= 0)
        self.known[row, market.candidate[row, column]] = table[row, column]
        self.asked: Counter[tuple[int, int]] = Counter()
        self.calls = 0

    def score(self, query: np.ndarray, ad: np.ndarray) -> np.ndarray:
        self.calls += 1
        self.asked.update(zip(query.tolist(), ad.tolist(), strict=True))
        return self.known[query, ad]


class OnTorch:
    """The same with the device protocol, on torch."""

    def __init__(self, scorer: RelevanceScorer) -> None:
        self.host = OnHost(scorer)

    def relevance(self, query: np.ndarray, candidate: np.ndarray) -> Any:
        return self.place(self.host.relevance(query, candidate))

    def place(self, values: np.ndarray) -> Any:
        return pytest.importorskip("torch").from_numpy(np.ascontiguousarray(values))


def live(market: Market, device: Any = OnHost, *, keep: int = 0) -> Market:
    """The same market with live scorers in place of all its tables of relevance."""
    roles = ("relevance", "fallback_relevance", "first_stage_relevance")
    tables = {name: getattr(market, name) for name in roles}
    scorers = {
        name: LiveScorer(device(ByPair(market, table)), keep)
        for name, table in tables.items()
        if table is not None
    }
    return with_settings(market, **scorers)


class Fickle:
    """A policy that takes part in some of the auctions, in more of them from tick to tick."""

    def start(self, budget: np.ndarray, value: np.ndarray) -> tuple[float, Bids]:
        return 0.3, Bids(np.ones_like(value), np.full_like(value, 0.3))

    def adjust(self, state: float, report: Report, u: np.ndarray) -> tuple[float, Bids]:
        state = min(1.0, state + 0.1)
        return state, Bids(0.8 + 0.4 * u[:, 0], np.full(report.value.shape, state))


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Budgets that run out, pacing or throttling, time-outs, fallbacks, caches, servers, stages, days."""
    times = draw(st.sampled_from([{}, {"service_s": 20.0}, {"service_per_pair_s": 9.0, "window_s": 15.0}]))
    cached = draw(st.sampled_from([{}, {}, {"cache_queries": 9}, {"cache_hit_rate": 0.3}]))
    model = ServingModel(
        batch_size=draw(st.sampled_from([1, 7, 64])),
        servers=draw(st.integers(1, 3)),
        timeout_s=draw(st.sampled_from([None, 40.0, 150.0])),
        fallback=draw(st.sampled_from(["skip", "bm25"])),
        first_stage="bm25",
        first_stage_keep=draw(st.sampled_from([0, 0, 3])),
        **times,
        **cached,
    )
    rule = draw(
        st.sampled_from([Product(), Product(relevance=0.5), Gate(0.4), Linear(), Tiers(), Exponential()])
    )
    seed, days = draw(st.integers(0, 10**6)), draw(st.sampled_from([1, 3]))
    market = random_market(seed, n_queries=700, budget=draw(st.sampled_from([2.0, 50.0])), rule=rule)
    rng = np.random.default_rng(seed)
    cheap = {name: rng.integers(0, 5, market.candidate.shape) / 4 for name in ("fallback", "first_stage")}
    market = with_settings(
        market,
        serving=model,
        days=days,
        horizon_s=86_400.0 / days,
        fallback_relevance=cheap["fallback"],
        first_stage_relevance=cheap["first_stage"],
    )
    if draw(st.booleans()):
        half = np.array_split(np.arange(market.budget_micros.size), 2)
        market = with_settings(market, policies=tuple(Followers(Fickle(), who) for who in half))
    if draw(st.booleans()):
        arm = rng.integers(0, 2, market.query.size)
        market = with_settings(market, arm=arm, other_rules=(Product(relevance=2.0),))
    if draw(st.booleans()):
        model = CtrModel(kind="learnt", feedback=draw(st.sampled_from(["own", "shared"])))
        n = market.query.size // 2
        before = WarmUp(
            market.arrival_s[:n], market.query[-n:], None, days, None if market.arm is None else arm[:n]
        )
        market = with_settings(market, ctr=model, warm_up=before)
    return market


@given(market=markets(), keep=st.sampled_from([0, 5, 40]))
@settings(max_examples=60, deadline=None)
def test_table_and_live_give_the_same_log(market: Market, keep: int) -> None:
    assert same_bytes(simulate(market), simulate(live(market, keep=keep))) == []


@given(market=markets())
@settings(max_examples=15, deadline=None)
def test_table_and_a_device_give_the_same_log(market: Market) -> None:
    """With rules of the four operations only: powers differ in the last bit between NumPy and torch."""
    market = replace(market, rule=Product(), other_rules=(Linear(),) if market.other_rules else ())
    assert same_bytes(simulate(market), simulate(live(market, OnTorch, keep=9))) == []


def test_only_those_who_may_be_shown_are_scored_and_each_pair_once() -> None:
    market = random_market(3, n_queries=400, budget=1.5, tick_s=86_400.0)
    market = live(with_settings(market, serving=ServingModel(batch_size=400)))
    scorer: Any = market.relevance.scorer._scorer  # type: ignore[union-attr]
    log = simulate(market)
    assert log.ran_out.mean() > 0.3, "queries are ranked again"
    assert set(scorer.asked.values()) == {1}
    # Advertisers who never come are not scored.
    scorer.asked.clear()
    away = (Followers(_Away(), np.arange(0, 23, 2)), Followers(Fickle(), np.arange(1, 23, 2)))
    simulate(with_settings(market, policies=away))
    assert scorer.asked
    assert {int(market.advertiser[ad]) % 2 for _, ad in scorer.asked} == {1}


class _Away(Fickle):
    def start(self, budget: np.ndarray, value: np.ndarray) -> tuple[float, Bids]:
        return 0.0, Bids(np.ones_like(value), np.zeros_like(value))


def test_scores_are_asked_again_unless_they_are_kept() -> None:
    market = random_market(3, n_queries=400, n_distinct=10)
    calls = {}
    for keep in (0, 3, 10):
        this = live(with_settings(market, serving=ServingModel(batch_size=1)), keep=keep)
        simulate(this)
        scorer: Any = this.relevance.scorer._scorer  # type: ignore[union-attr]
        calls[keep] = scorer.calls
        assert keep < 10 or max(scorer.asked.values()) == 1
    assert calls[0] == 400 > calls[3] > calls[10] >= 10


def test_the_short_list_is_all_that_the_scorer_sees() -> None:
    market = random_market(3, n_queries=200)
    model = ServingModel(first_stage="bm25", first_stage_keep=2)
    market = live(with_settings(market, serving=model, first_stage_relevance=market.relevance))
    log = simulate(market)
    scorer: Any = market.relevance.scorer._scorer  # type: ignore[union-attr]
    of_query = Counter(query for query, _ in scorer.asked)
    present = np.unique(market.query)
    assert set(of_query) <= set(present.tolist())
    assert log.n_eligible.max() == 2
    assert len(scorer.asked) < (market.candidate[present] >= 0).sum() / 2


def test_an_answer_that_is_no_relevance_is_refused_in_words() -> None:
    market = random_market(3, n_queries=20)
    wrong = ByPair(market, np.full(market.candidate.shape, 1.5))
    with pytest.raises(ScorerError, match=r"scorer 'mine'.*score 1.5 for query"):
        simulate(with_settings(market, relevance=LiveScorer(OnHost(wrong, "mine"))))


# The measured clock


class Clock:
    """Stands still but while the scorer works: so many seconds a call, and so many a pair."""

    def __init__(self, call_s: float, pair_s: float) -> None:
        self.now, self.call_s, self.pair_s = 0.0, call_s, pair_s

    def __call__(self) -> float:
        return self.now

    def timed(self, market: Market) -> Market:
        scorer, clock = ByPair(market, np.asarray(market.relevance)), self

        class Timed:
            def score(self, query: np.ndarray, ad: np.ndarray) -> np.ndarray:
                clock.now += clock.call_s + query.size * clock.pair_s
                return scorer.score(query, ad)

        return with_settings(market, relevance=LiveScorer(OnHost(Timed()), market.serving.cache_queries))


MEASURED = ServingModel(scoring="live", clock="measured", batch_size=4, servers=2, timeout_s=300.0)


def test_a_measured_clock_moves_time_as_a_profile_of_the_same_seconds_does() -> None:
    """Nobody runs out and every batch holds different queries, so all candidates are scored in each."""
    market = random_market(5, n_queries=900, n_distinct=900, budget=1e6)
    market = with_settings(market, query=np.arange(900), paced=np.zeros_like(market.paced))
    late = []
    for model in (MEASURED, replace(MEASURED, servers=1, window_s=30.0, speed=2.0)):
        clock = Clock(150.0, 4.0)
        measured = simulate(clock.timed(with_settings(market, serving=model)), clock=clock)
        given_s = replace(model, clock="profile", service_s=150.0, service_per_pair_s=4.0)
        expected = simulate(with_settings(market, serving=given_s))
        late += [(measured.served == serving.SKIPPED).mean()]
        assert same_bytes(measured, expected, leave_out=("answered_s", "busy_s")) == []
        assert measured.answered_s == pytest.approx(expected.answered_s, abs=1e-6)
        assert measured.busy_s == pytest.approx(expected.busy_s, abs=1e-6)
    assert 0.01 < max(late) < 0.9


def test_a_measured_miss_is_scored_however_often_and_a_hit_takes_no_time() -> None:
    model = replace(MEASURED, batch_size=1, servers=1, timeout_s=None, cache_queries=2)
    market = hand_market([2.0, 1.0], n_queries=4, serving=model)
    clock = Clock(1.5, 0.25)
    log = simulate(clock.timed(market), clock=clock)
    # Query 0 comes at 0, 1, 2 and 3 s. It is scored at 0; at 1 its scores are not there yet, so once more.
    assert log.served.tolist() == [serving.FULL, serving.FULL, serving.CACHED, serving.CACHED]
    assert log.answered_s.tolist() == [2.0, 4.0, 2.0, 3.0]
    assert log.scored_pairs.tolist() == [2, 2, 0, 0]
    assert log.busy_s.tolist() == [4.0]


def test_a_measured_log_counts_the_pairs_that_were_scored() -> None:
    """The first of three has no budget: it leaves with the first answer, and is not scored any more."""
    market = hand_market([3.0, 2.0, 1.0], n_queries=3, budget=[0.0, 100.0, 100.0], serving=MEASURED)
    log = simulate(Clock(1e-3, 0.0).timed(market), clock=Clock(0.0, 0.0))
    assert log.scored_pairs.tolist() == [3, 2, 2]


def test_figures_of_a_measured_run() -> None:
    model = replace(
        MEASURED, batch_size=1, servers=2, timeout_s=None, latency_target_s=2.0, price_per_hour=9.0
    )
    market = hand_market([2.0], n_queries=4, serving=model)
    clock = Clock(3.0, 0.0)
    found = market_metrics(simulate(clock.timed(market), clock=clock), market)
    # Answers at 3, 4, 6 and 7 s of arrivals at 0, 1, 2 and 3 s.
    assert found["latency_p50_s"] == 3.0
    assert found["timeout_share"] == 0.0
    assert found["utilisation"] == pytest.approx(12.0 / (2 * 7.0))
    assert found["served_per_s"] == pytest.approx(4 / 7)
    assert found["in_target_per_s"] == 0.0
    assert found["capacity_per_s"] == pytest.approx(2 / 3)
    assert found["cost_per_million"] == pytest.approx(2 * 9.0 * 7 / 3600 / 4 * 1e6)


# What is kept


@given(
    capacity=st.integers(0, 6),
    asked=st.lists(st.lists(st.integers(0, 12), max_size=9, unique=True), max_size=20),
)
def test_recent_rows_are_those_used_last(capacity: int, asked: list[list[int]]) -> None:
    kept, expected = RecentRows(capacity), dict[int, None]()
    for keys in asked:
        key = np.array(sorted(keys), dtype=np.int64)
        place = kept.find(key)
        assert [one for one, at in zip(key.tolist(), place.tolist(), strict=True) if at >= 0] == [
            one for one in key.tolist() if one in expected
        ]
        for one in key[place >= 0].tolist():
            expected[one] = expected.pop(one)
        if (place >= 0).any():
            assert kept.at(place[place >= 0])[0][:, 0].tolist() == key[place >= 0].tolist()
        new = key[place < 0]
        kept.put(new, np.repeat(new[:, None], 2, axis=1).astype(float))
        for one in new.tolist():
            expected[one] = None
        while len(expected) > capacity:
            del expected[next(iter(expected))]


# The embedded world: pairs that are computed batch by batch, and the real scorers


@pytest.fixture(scope="module")
def world() -> World:
    config = WorldConfig(query_pool=2000, test_advertisers=36)
    n_ads = config.ads("test")
    return build_world(config, "test", frames=np.zeros((n_ads, 0, 32, 32, 3), dtype=np.uint8))


def market_of(world: World, candidate: Any, relevance: Any, ctr: CtrModel | None = None) -> Market:
    return build_market(
        world, candidate, relevance, seed=3, traffic=TrafficModel(n_queries=1500, days=2, warm_up_days=2),
        bidder_model=BidderModel(budget_multiple=0.5, match_bids=MatchBids(learn=True)),
        users_model=UserModel(conversion_rate=0.2), ctr_model=ctr,
    )  # fmt: skip


@pytest.mark.parametrize("keep", [0, 10, 4096])
def test_computed_pairs_are_those_of_the_tables(
    world: World, keep: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "QUERIES_AT_ONCE", 7)
    candidate = retrieve_candidates(world, 8)
    table = market_of(world, candidate, None)
    computed = market_of(world, 8, None)
    for name in ("budget_micros", "value", "paced"):
        assert getattr(table, name).tobytes() == getattr(computed, name).tobytes(), name
    draws = computed.pairs._draws  # type: ignore[attr-defined]
    some = ComputedPairs(draws, keep)
    for seed in range(5):
        query = np.random.default_rng(seed).integers(0, world.corpus.n_queries, 60)
        expected, found = table.pairs.of(query), some.of(query)
        assert [one.tobytes() for one in found] == [one.tobytes() for one in expected]
        assert [one.dtype for one in found] == [one.dtype for one in expected]
        assert np.array_equal(some.count(query), table.pairs.count(query))
    with pytest.raises(ValueError, match="no tables"):
        _ = computed.candidate


@pytest.mark.parametrize(
    "ctr", [CtrModel(), CtrModel(kind="learnt"), CtrModel(kind="learnt", feedback="shared")]
)
def test_bm25_live_on_computed_pairs_gives_the_log_of_its_tables(world: World, ctr: CtrModel) -> None:
    scorer = Bm25Scorer(world.corpus)
    candidate = retrieve_candidates(world, 8)
    expected = simulate(market_of(world, candidate, score_candidates(scorer, candidate.ad), ctr))
    assert expected.ran_out.any()
    assert np.unique(expected.pctr).size > 100
    live_market = market_of(world, 8, LiveScorer(OnHost(scorer)), ctr)
    assert same_bytes(expected, simulate(live_market)) == []


def test_hcmrm_live_gives_the_log_of_its_table() -> None:
    """On a CPU in float32 a pair's score is the same bits, whatever the batch that it is scored in."""
    pytest.importorskip("torch")
    from relevance.hcmrm import HcmrmScorer
    from tests.relevance.test_scorer import CORPUS, make_checkpoint

    scorer = HcmrmScorer(make_checkpoint(), CORPUS, threads=2)
    market = corpus_market(CORPUS.n_queries, CORPUS.n_ads)
    market = with_settings(market, relevance=score_candidates(scorer, market.candidate))
    for batch_size in (1, 64):
        model = ServingModel(batch_size=batch_size)
        expected = simulate(with_settings(market, serving=model))
        found = simulate(with_settings(market, serving=model, relevance=LiveScorer(OnHost(scorer))))
        assert same_bytes(expected, found) == []


def peak(n: int) -> int:
    """Bytes that a market of n distinct queries and its run take at most, beside the queries themselves."""
    world = many_queries(n)
    scorer = Bm25Scorer(world.corpus)
    tracemalloc.start()
    market = build_market(world, 32, LiveScorer(OnHost(scorer)), seed=1, traffic=TrafficModel(n_queries=300))
    market = with_settings(market, query=np.random.default_rng(1).permutation(n)[:300])
    assert simulate(market, sink=forget).n_shown.mean() > 2
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_distinct_queries() -> None:
    """In a process of its own, whose memory holds nothing else.

    A table of one number a pair would take 256 bytes for each query.
    """
    code = (
        "from simulator.clock import engine; engine.keep_freed_memory = lambda: None; "
        "from tests.simulator.test_live import peak; print(peak(2_500), peak(4_500))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    assert many - few < 2_000 * 100


def test_a_market_runs_where_polars_is_not_installed() -> None:
    code = (
        "import sys; sys.modules['polars'] = None; from simulator.market import hand_market; "
        "from simulator.clock.engine import simulate; print(simulate(hand_market([2.0, 1.0])).ad.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([0] * 6)
