"""Serving: queues whose waits are known, time-outs, the cache, and two stages."""

import heapq
from dataclasses import replace
from math import factorial, sqrt

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simulator import random, serving
from simulator.arrivals import arrival_times
from simulator.clock.engine import simulate, ticks
from simulator.clock.run import Run
from simulator.log import SimulationLog
from simulator.market import Market, ServingModel, hand_market, with_settings
from simulator.measures.market_metrics import market_metrics
from tests.simulator.markets import random_market
from tests.simulator.test_engine import same_bytes


def queue_market(model: ServingModel, *, rate: float, n: float, seed: int = 1) -> Market:
    """Poisson arrivals at a constant rate, about `n` of them, of one query with one ad."""
    rng = random.generator(seed, "arrivals")
    arrival_s = arrival_times(int(rng.poisson(n)), [rate], n / rate, rng)
    market = hand_market([1.0], n_queries=arrival_s.size, serving=model)
    return with_settings(market, seed=seed, arrival_s=arrival_s, horizon_s=2 * n / rate)


def waits(log: SimulationLog) -> np.ndarray:
    return log.answered_s - log.arrival_s


# Queues with known answers (Kleinrock 1975, "Queueing Systems", volume 1); service rate 1, so load = rate.


def mm1_error(load: float, n: float) -> float:
    """Standard error of the mean wait of n successive customers of M/M/1 with mu = 1.

    From the sum of the autocovariances of waits (Daley 1968, "The serial correlation coefficients of waiting
    times in a stationary single server queue"; also Law 1975).
    """
    return sqrt(load * (2 + 5 * load - 4 * load**2 + load**3) / (1 - load) ** 4 / n)


@pytest.mark.parametrize("load", [0.3, 0.5])
def test_mm1_waits_load_over_one_minus_load(load: float) -> None:
    n = 30_000
    model = ServingModel(batch_size=1, service_s=1.0, service_distribution="exponential")
    log = simulate(queue_market(model, rate=load, n=n))
    wait, error = load / (1 - load), mm1_error(load, n)
    assert 3 * error < 0.1 * wait, "the test should see a difference of a tenth"
    assert waits(log).mean() - 1.0 == pytest.approx(wait, abs=3 * error)
    # The time in the system is exponential with rate mu - lambda.
    for share in (0.5, 0.95):
        expected = -np.log(1 - share) / (1 - load)
        assert np.quantile(waits(log), share) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("load", [0.3, 0.5])
def test_md1_waits_half_as_long(load: float) -> None:
    n = 30_000
    log = simulate(queue_market(ServingModel(batch_size=1, service_s=1.0), rate=load, n=n))
    wait = load / (2 * (1 - load))  # Pollaczek and Khinchine, without variance of the service
    # Its waits vary less than those of M/M/1, whose error is therefore a safe one.
    assert waits(log).mean() - 1.0 == pytest.approx(wait, abs=3 * mm1_error(load, n))
    assert waits(log).mean() - 1.0 == pytest.approx(wait, rel=0.05)


def test_mmc_waits_by_erlangs_c() -> None:
    servers, offered, n = 3, 2.1, 30_000
    model = ServingModel(batch_size=1, servers=servers, service_s=1.0, service_distribution="exponential")
    log = simulate(queue_market(model, rate=offered, n=n))
    full = offered**servers / factorial(servers) * servers / (servers - offered)
    waiting = full / (sum(offered**k / factorial(k) for k in range(servers)) + full)  # Erlang's C
    assert waits(log).mean() - 1.0 == pytest.approx(waiting / (servers - offered), rel=0.06)


def test_impatient_customers_of_mm1_are_lost_as_known() -> None:
    """Customers leave who have waited for t (Gnedenko and Kovalenko 1989, "Introduction to Queueing Theory").

    P(lost) = (1 - r) r g / (1 - r^2 g) with g = e^-(1-r)t; for t = 0 this is Erlang's r / (1 + r). Whoever
    is taken up by a server is served to the end, in time or not, so the lost are those who were never scored.
    """
    load, patience, n = 0.8, 3.0, 20_000
    model = ServingModel(batch_size=1, service_s=1.0, service_distribution="exponential", timeout_s=patience)
    log = simulate(queue_market(model, rate=load, n=n))
    g = np.exp(-(1 - load) * patience)
    lost = log.scored_pairs == 0
    assert lost.mean() == pytest.approx((1 - load) * load * g / (1 - load**2 * g), rel=0.08)
    assert waits(log)[lost] == pytest.approx(patience)


# Against the same queue in plain Python


def answer_one_by_one(
    arrival_s: list[float], query: list[int], model: ServingModel
) -> tuple[list[float], list[int]]:
    """When and by what each query is answered; with a cache for one server only."""
    patience = np.inf if model.timeout_s is None else model.timeout_s
    answered, by = [np.nan] * len(query), [-1] * len(query)
    cache: list[int] = []  # most recently used last
    line: list[int] = []
    seen = 0

    def come(i: int) -> None:
        if query[i] in cache:
            cache.append(cache.pop(cache.index(query[i])))
            answered[i], by[i] = arrival_s[i], serving.CACHED
        else:
            line.append(i)

    free, closed = [0.0] * model.servers, 0.0
    while True:
        now = max(heapq.heappop(free), closed)
        while True:
            while line and arrival_s[line[0]] + patience <= now:
                late = line.pop(0)
                answered[late], by[late] = arrival_s[late] + patience, serving.SKIPPED
            if seen == len(query) or (line and arrival_s[seen] > now):
                break
            come(seen)
            seen += 1
        if not line:
            return answered, by
        until = max(now, arrival_s[line[0]] + model.window_s)
        full = line[: model.batch_size]
        closed = max(now, arrival_s[full[-1]]) if len(full) == model.batch_size else until
        while seen < len(query) and arrival_s[seen] <= until and len(line) < model.batch_size:
            come(seen)
            seen += 1
            if len(line) == model.batch_size:
                closed = max(now, arrival_s[seen - 1])
        batch, line = line[: model.batch_size], line[model.batch_size :]
        done = closed + model.batch_s(len(batch), len(batch))
        heapq.heappush(free, done)
        for i in batch:
            in_time = done <= arrival_s[i] + patience
            answered[i] = done if in_time else arrival_s[i] + patience
            by[i] = serving.FULL if in_time else serving.SKIPPED
        if model.cache_queries:
            while seen < len(query) and arrival_s[seen] < done:  # the scores are not there yet
                come(seen)
                seen += 1
            for i in batch:
                cache = [kept for kept in cache if kept != query[i]] + [query[i]]
                cache = cache[-model.cache_queries :]


@st.composite
def models(draw: st.DrawFn) -> ServingModel:
    cached = draw(st.booleans())
    return ServingModel(
        batch_size=draw(st.integers(1, 6)),
        window_s=draw(st.sampled_from([0.0, 0.3, 2.0])),
        servers=1 if cached else draw(st.integers(1, 3)),
        service_s=draw(st.floats(0.01, 3.0)),
        service_per_pair_s=draw(st.floats(0.0, 1.0)),
        timeout_s=draw(st.none() | st.floats(2.5, 9.0)),
        cache_queries=draw(st.integers(1, 5)) if cached else 0,
    )


@given(model=models(), seed=st.integers(0, 10**6), days=st.sampled_from([1, 3]))
@settings(max_examples=40, deadline=None)
def test_agrees_with_one_query_at_a_time(model: ServingModel, seed: int, days: int) -> None:
    rng = np.random.default_rng(seed)
    n = 120
    market = one_ad_each(8, n_queries=n, serving=model)
    arrival_s = np.sort(rng.uniform(0.0, 90.0, n))
    query = rng.integers(0, 8, n)
    tick_s = float(rng.uniform(5.0, 50.0))
    market = with_settings(
        market, arrival_s=arrival_s, query=query, horizon_s=90.0 / days, days=days,
        bidders=replace(market.bidders, pacing_tick_s=tick_s),
    )  # fmt: skip
    log = simulate(market)
    answered_s, by = answer_one_by_one(arrival_s.tolist(), query.tolist(), model)
    assert log.served.tolist() == by
    assert log.answered_s == pytest.approx(np.array(answered_s), abs=1e-9)
    late = log.served == serving.SKIPPED
    assert (log.n_shown == ~late).all(), "late queries show no ads, all others their only one"


def one_ad_each(n_distinct: int, *, n_queries: int, serving: ServingModel) -> Market:
    """Several queries, each with the one ad of the one bidder."""
    market = hand_market([1.0], n_queries=n_queries, serving=serving)
    tables = {
        name: np.repeat(getattr(market, name), n_distinct, axis=0)
        for name in ("candidate", "grade", "attraction", "pctr", "recall", "relevance")
    }
    return with_settings(market, **tables)


# Time-outs


def busy_market(model: ServingModel, **changes: object) -> Market:
    """Many advertisers, no budgets that run out, no pacing: when a query is answered changes no auction."""
    market = random_market(5, n_queries=1500, budget=1e6)
    paced = np.zeros_like(market.paced)
    return with_settings(market, serving=model, paced=paced, **changes)


BUSY = ServingModel(batch_size=4, service_s=200.0, timeout_s=300.0)
TIMES = ("answered_s", "served", "scored_pairs", "busy_s")


def test_fallback_ranks_by_its_own_relevance() -> None:
    relevance = busy_market(BUSY).relevance
    unhurried = simulate(busy_market(ServingModel()))
    model = replace(BUSY, fallback="bm25")
    log = simulate(busy_market(model, fallback_relevance=relevance))
    late = log.served == serving.FALLBACK
    assert 0.1 < late.mean() < 0.9
    assert same_bytes(log, unhurried, leave_out=TIMES) == [], "as good as the scorer: nothing is lost"
    by_price = simulate(busy_market(model))
    plain = simulate(busy_market(ServingModel(), relevance=np.ones_like(relevance)))
    for n, log_of in ((late, plain), (~late, unhurried)):
        kept, expected = n[by_price.query_index], n[log_of.query_index]
        assert by_price.ad[kept].tolist() == log_of.ad[expected].tolist()
        assert by_price.price_micros[kept].tolist() == log_of.price_micros[expected].tolist()
        assert by_price.relevance[kept].tolist() == log_of.relevance[expected].tolist(), "what ranked it"


def test_late_queries_without_a_fallback_show_nothing() -> None:
    log = simulate(busy_market(BUSY))
    late = log.served == serving.SKIPPED
    assert 0.1 < late.mean() < 0.9
    assert not log.n_shown[late].any()
    assert waits(log)[late] == pytest.approx(300.0)
    assert (waits(log)[~late] <= 300.0).all()


def test_money_is_charged_in_the_order_of_time() -> None:
    """A budget for three clicks goes to the first three answers, timed-out ones among them."""
    model = ServingModel(batch_size=1, service_s=3.5, timeout_s=2.0, fallback="none")
    market = hand_market([1.0], n_queries=6, budget=[1.5], reserve=0.5, serving=model)
    # Query 0 is in service until 3.5 and gets the fallback at 2, 1 at 3; 2 is in service from 3.5 to 7 and
    # gets it at 4, 3 at 5 and so on.
    log = simulate(market)
    assert log.answered_s.tolist() == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert (log.served == serving.FALLBACK).all()
    assert log.n_shown.tolist() == [1, 1, 1, 0, 0, 0]


# Cache


def cached_market(popularity: np.ndarray, n: int, capacity: int) -> Market:
    model = ServingModel(batch_size=1, cache_queries=capacity)
    market = one_ad_each(popularity.size, n_queries=n, serving=model)
    return with_settings(market, query=np.random.default_rng(3).choice(popularity.size, n, p=popularity))


def hit_share(log: SimulationLog) -> float:
    return float((log.served == serving.CACHED).mean())


def test_lru_of_two_has_the_known_hit_rate() -> None:
    """P(i used last, j before it) = p_i p_j / (1 - p_i) (King 1971)."""
    p = np.array([0.4, 0.3, 0.2, 0.1])
    expected = sum((p[i] + p[j]) * p[i] * p[j] / (1 - p[i]) for i in range(4) for j in range(4) if i != j)
    n = 10_000
    assert hit_share(simulate(cached_market(p, n, 2))) == pytest.approx(expected, abs=4 / sqrt(4 * n))


def test_lru_hit_rate_of_zipf_traffic_is_ches_approximation() -> None:
    """Che, Tung and Wang 2002: hit rate sum p (1 - e^-pT), where sum (1 - e^-pT) is the capacity."""
    p = 1.0 / np.arange(1, 201) ** 0.9
    p /= p.sum()
    n, capacity = 10_000, 30
    low, high = 1.0, 1e6
    for _ in range(100):
        middle = sqrt(low * high)
        low, high = (middle, high) if (1 - np.exp(-p * middle)).sum() < capacity else (low, middle)
    expected = float((p * (1 - np.exp(-p * low))).sum())
    assert hit_share(simulate(cached_market(p, n, capacity))) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("cache", [{"cache_queries": 15}, {"cache_hit_rate": 0.4}])
def test_a_cache_changes_latency_and_nothing_else(cache: dict[str, float]) -> None:
    plain = simulate(busy_market(ServingModel(batch_size=4, service_s=200.0)))
    log = simulate(busy_market(ServingModel(batch_size=4, service_s=200.0, **cache)))
    assert 0.2 < hit_share(log) < 0.8
    assert same_bytes(log, plain, leave_out=TIMES) == []
    hits = log.served == serving.CACHED
    assert (waits(log)[hits] == 0.0).all()
    assert waits(log).mean() < waits(plain).mean()
    assert not log.scored_pairs[hits].any()
    assert log.scored_pairs[~hits].tolist() == plain.scored_pairs[~hits].tolist()


def test_a_given_hit_rate_is_met() -> None:
    model = ServingModel(batch_size=1, cache_hit_rate=0.3)
    log = simulate(queue_market(model, rate=1.0, n=10_000))
    assert hit_share(log) == pytest.approx(0.3, abs=4 * sqrt(0.21 / 10_000))


# Two stages


def test_two_stages_that_keep_all_are_one() -> None:
    one = simulate(random_market(3))
    two = simulate(random_market(3, serving=ServingModel(first_stage="none", first_stage_keep=7)))
    assert same_bytes(one, two) == []


def test_a_first_stage_as_good_as_the_scorer_changes_nothing_but_the_pairs() -> None:
    """It keeps the slots and the runner-up, who sets the last price."""
    market = random_market(3)
    keeps = ServingModel(first_stage="bm25", first_stage_keep=market.n_slots + 1)
    one = simulate(market)
    two = simulate(with_settings(market, serving=keeps, first_stage_relevance=market.relevance))
    assert same_bytes(one, two, leave_out=("scored_pairs", "n_eligible")) == []
    assert (two.scored_pairs <= 4).all()


def test_two_stages_give_the_same_log_for_any_batch_size_over_several_days() -> None:
    market = with_settings(random_market(3), days=4, horizon_s=86_400.0 / 4)
    logs = [
        simulate(with_settings(market, serving=ServingModel(batch_size=size, first_stage_keep=3)))
        for size in (1, 64, 4096)
    ]
    assert [same_bytes(logs[0], log) for log in logs[1:]] == [[], []]
    assert same_bytes(logs[0], simulate(market)) != []


@given(seed=st.integers(0, 10**6), keep=st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_shortlist_keeps_the_best_of_those_present(seed: int, keep: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 4, (5, 6)) / 4.0
    score[score == 0] = -np.inf
    present, tie = rng.random((5, 6)) < 0.7, rng.random((5, 6))
    kept = serving.shortlist(score, present, tie, keep)
    assert kept.sum(axis=1).tolist() == np.minimum(present.sum(axis=1), keep).tolist()
    assert not (kept & ~present).any()
    for row in range(5):
        left = present[row] & ~kept[row]
        worst = min(((score[row, c], tie[row, c]) for c in np.flatnonzero(kept[row])), default=None)
        assert all((score[row, c], tie[row, c]) <= worst for c in np.flatnonzero(left))


# Service times


def test_profile_is_linear_between_its_points_and_beyond_them() -> None:
    model = ServingModel(profile=((10.0, 1.0), (20.0, 3.0), (40.0, 4.0)), service_s=0.5, speed=2.0)
    seconds = [model.batch_s(1, pairs) for pairs in (0, 1, 10, 15, 20, 40, 80)]
    assert seconds == pytest.approx([0.25, 0.75, 0.75, 1.25, 1.75, 2.25, 3.25])


def test_pairs_decide_how_long_a_batch_takes() -> None:
    model = ServingModel(batch_size=1, service_per_pair_s=0.25)
    log = simulate(hand_market([3.0, 2.0, 1.0], serving=model))
    assert waits(log).tolist() == pytest.approx([0.75] * 6)
    assert log.scored_pairs.tolist() == [3] * 6
    two = replace(model, first_stage_keep=2)
    assert waits(simulate(hand_market([3.0, 2.0, 1.0], serving=two))).tolist() == pytest.approx([0.5] * 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timeout_s": 1.0, "window_s": 1.0}, "longer than window_s"),
        ({"speed": 0.0}, "speed must be at least 0.001"),
        ({"service_distribution": "gamma"}, "'constant' or 'exponential'"),
        ({"cache_hit_rate": 1.5}, "cache_hit_rate"),
        ({"cache_queries": 1, "cache_hit_rate": 0.5}, "not both"),
        ({"profile": ((1.0, 1.0),)}, "at least two points"),
        ({"profile": ((2.0, 1.0), (1.0, 2.0))}, "rise from point to point"),
        ({"profile": ((1.0, 2.0), (2.0, 1.0))}, "never fall"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServingModel(**settings)


def test_metrics_of_latencies_that_are_known() -> None:
    """A query a second, each 1.5 s in service: query i waits for i / 2 seconds."""
    market = hand_market([2.0, 1.0], n_queries=100, serving=ServingModel(batch_size=1, service_s=1.5))
    metrics = market_metrics(simulate(market), market)
    names = ("latency_p50_s", "latency_p95_s", "latency_p99_s", "mean_latency_s")
    assert [metrics[name] for name in names] == pytest.approx([26.0, 48.5, 50.5, 26.25])
    assert (metrics["scored_pairs"], metrics["timeout_share"], metrics["cache_hit_share"]) == (200, 0, 0)
    impatient = with_settings(market, serving=replace(market.serving, timeout_s=1.0))
    assert market_metrics(simulate(impatient), market)["timeout_share"] == 1.0
    cached = with_settings(market, serving=ServingModel(batch_size=1, cache_queries=1))
    metrics = market_metrics(simulate(cached), market)
    assert (metrics["cache_hit_share"], metrics["scored_pairs"]) == (0.99, 2)


# The clock


@pytest.mark.parametrize("model", [ServingModel(), ServingModel(batch_size=3, service_s=400.0)])
def test_the_clock_pauses_before_each_tick_of_each_day(model: ServingModel) -> None:
    market = with_settings(
        random_market(1, n_queries=300, tick_s=7000.0, serving=model), days=2, horizon_s=43_200.0
    )
    run = Run(market)
    pauses = []
    for now in ticks(market, run):
        pauses.append(now)
        answered_s = run.recorder.answered_s[run.recorder.came]
        assert (answered_s <= now).all()
    assert pauses == [day * 43_200.0 + tick * 7000.0 for day in (0, 1) for tick in range(1, 7)]
    assert run.recorder.came.size == 300
