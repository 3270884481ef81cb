"""The learnt click prediction: what it fits, what it falls back on, and that it reads clicks alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simulator import journey
from simulator.click_learning import SPREADS, Features, Prediction
from simulator.clock.engine import past_of, simulate
from simulator.clock.pettingzoo import MarketEnv
from simulator.clock.run import Run
from simulator.fusion import Product
from simulator.ledger import UNLIMITED
from simulator.market import Market, ServingModel, WarmUp, with_rule, with_settings
from simulator.pctr import CtrModel
from simulator.policies.churn import ChurnModel
from tests.simulator.markets import random_market
from tests.simulator.test_engine import same_bytes

LOOK = (1.0, 0.6, 0.3)
U, K, A = 60, 6, 40


def features(**changes) -> Features:
    rng = np.random.default_rng(2)
    given = Features(
        n_queries=U, n_candidates=K, advertiser=rng.integers(0, 8, A), n_recalls=3,
        ad_category=rng.integers(0, 3, A),
    )  # fmt: skip
    return replace(given, **changes)


class World:
    """Pairs whose log odds are a sum of effects, and pages of them in random slots."""

    def __init__(self, known: Features, seed: int = 1) -> None:
        rng = self.rng = np.random.default_rng(seed)
        self.known = known
        self.candidate = np.argsort(rng.random((U, A)), axis=1)[:, :K]
        self.recall = rng.integers(0, 3, (U, K)).astype(np.int8)
        first = np.repeat(np.arange(U), K)
        levels = known.levels(
            np.zeros_like(first), first, self.candidate.ravel(), self.recall.ravel(), first * 0
        )
        log_odds = sum(rng.normal(0, 0.5, known.sizes[name])[level] for name, level in levels.items())
        self.rate = (1 / (1 + np.exp(2.5 - log_odds))).reshape(U, K)

    def pages(self, prediction: Prediction, n: int) -> np.ndarray:
        rng = self.rng
        query, column, slot = rng.integers(0, U, n), rng.integers(0, K, n), rng.integers(0, len(LOOK), n)
        clicked = rng.random(n) < np.array(LOOK)[slot] * self.rate[query, column]
        ad, recall = self.candidate[query, column], self.recall[query, column]
        return prediction.codes(query, np.zeros_like(query), column, ad, recall, slot, clicked)

    def all_of(self, prediction: Prediction) -> np.ndarray:
        every = np.arange(U)
        return prediction.of(every, np.zeros_like(every), self.candidate, self.recall)


def first(known: Features) -> Prediction:
    return Prediction.before_any_click(known, LOOK, 0.05)


def test_before_any_click_all_pairs_are_alike() -> None:
    world = World(features())
    world.candidate[0, 2] = -1
    found = world.all_of(first(world.known))
    assert found[0, 2] == 0.0
    assert np.unique(found[world.candidate >= 0]).tolist() == pytest.approx([0.05])


def test_it_finds_the_click_rates_whatever_the_slots() -> None:
    world = World(features())
    prediction = first(world.known)
    errors = []
    for _ in range(4):
        prediction = prediction.after([world.pages(prediction, 50_000)])
        errors.append(np.abs(np.log(world.all_of(prediction) / world.rate)).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.14
    assert world.all_of(prediction).mean() == pytest.approx(world.rate.mean(), rel=0.02)


def test_the_fit_balances_clicks_and_expected_clicks_of_every_level() -> None:
    """C - E p = effect / spread^2, from the pages as they were given."""
    world = World(features())
    prediction = first(world.known)
    pages = world.pages(prediction, 20_000)
    prediction = prediction.after([pages])
    for _ in range(40):  # no new pages: the same fit goes on to its end, as do the spreads
        before, prediction = prediction, prediction.after([])
    predicted = world.all_of(prediction)
    balance = {name: np.zeros(size) for name, size in world.known.sizes.items()}
    for code in pages.tolist():
        clicked, slot = code % 2, code // 2 % 3
        recall, ad = code // 6 % 3, code // 18 % A
        column, query = code // (18 * A) % K, code // (18 * A * K)
        assert world.candidate[query, column] == ad
        levels = world.known.levels(*(np.array([x]) for x in (0, query, ad, recall, 0)))
        for name, level in levels.items():
            balance[name][level] += clicked - LOOK[slot] * predicted[query, column]
    for name, found in balance.items():
        expected = prediction.effects[name] / before.spreads[name] ** 2
        np.testing.assert_allclose(found, expected, atol=0.05, err_msg=name)


def test_what_was_not_seen_falls_back_on_what_was() -> None:
    known = features(advertiser=np.repeat([0, 1], A // 2), ad_category=None)
    prediction = first(known)
    query, column = np.arange(4000) % (U - 1), np.arange(4000) % (K - 1)
    ad = (7 * query + column) % A
    ad[ad % 20 == 0] += 1  # ads 0 and 20 are never shown
    clicked = (ad >= 20) & (np.arange(4000) % 3 == 0)
    slot = recall = np.zeros(4000, dtype=np.int64)
    prediction = prediction.after([prediction.codes(query, slot, column, ad, recall, slot, clicked)])

    def of(query: int, ad: int) -> float:
        one = np.array([query])
        return float(prediction.of(one, one * 0, np.array([[ad]]), np.zeros((1, 1), dtype=np.int8))[0, 0])

    new_query = U - 1
    effect = prediction.effects
    assert effect["ad"][[0, 20]].tolist() == [0.0, 0.0] == effect["query"][[new_query]].tolist() * 2
    log_odds = effect["all"][0] + effect["recall"][0] + effect["advertiser"]
    expected = 1 / (1 + 19 * np.exp(-log_odds))
    assert [of(new_query, 0), of(new_query, 20)] == pytest.approx(expected.tolist())
    assert of(new_query, 20) > 3 * of(new_query, 0)
    # A query that is new altogether, beside those of before in another order.
    number = np.append(np.arange(U)[::-1], -1)
    other = prediction.of_queries(number)
    candidate, recall_of = np.tile(np.arange(K), (U + 1, 1)), np.zeros((U + 1, K), dtype=np.int8)
    found = other.of(np.arange(U + 1), np.zeros(U + 1, dtype=np.int64), candidate, recall_of)
    same = prediction.of(np.arange(U), np.zeros(U, dtype=np.int64), candidate[:U], recall_of[:U])
    np.testing.assert_array_equal(found[:U], same[::-1])
    assert found[U, 0] == pytest.approx(expected[0])


@given(order=st.permutations(range(9)), cut=st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_the_order_and_the_batches_of_pages_change_no_bit(order: list[int], cut: int) -> None:
    world = World(features())
    start = first(world.known)
    days = [np.array_split(world.pages(start, 900), 9) for _ in range(2)]
    expected, found = start, start
    for parts in days:
        expected = expected.after(parts)
        mixed = np.concatenate([parts[place] for place in order])
        found = found.after([mixed[:cut], mixed[cut:]])
    assert world.all_of(found).tobytes() == world.all_of(expected).tobytes()
    assert found.spreads == expected.spreads


def test_arms_learn_from_their_own_pages_alone() -> None:
    world = World(features())
    alone, both = first(world.known), first(replace(world.known, n_arms=2))
    pages = [world.pages(alone, 3000) for _ in range(2)]
    after = [alone.after([part]) for part in pages]
    size = U * K * A * 3 * len(LOOK) * 2
    together = both.after([pages[0], pages[1] + size])
    query = np.arange(U)
    for arm in range(2):
        found = together.of(query, np.full(U, arm), world.candidate, world.recall)
        np.testing.assert_array_equal(found, world.all_of(after[arm]))


def test_relevance_as_a_feature() -> None:
    known = features(relevance=True)
    prediction = first(known)
    rng = np.random.default_rng(0)
    n = 20_000
    query, column, zero = rng.integers(0, U, n), rng.integers(0, K, n), np.zeros(n, dtype=np.int64)
    pair = query * K + column
    relevance, ad = (pair * 0.618) % 1.0, pair % A
    clicked = rng.random(n) < 0.02 + 0.2 * relevance
    for _ in range(3):
        day = prediction.codes(query, zero, column, ad, zero, zero, clicked, relevance)
        prediction = prediction.after([day])
    effect = prediction.effects["relevance"]
    assert np.corrcoef(effect, np.arange(10))[0, 1] > 0.9
    one, row = np.array([0]), np.array([[0, 1]])
    low, high = prediction.of(one, one, row, row.astype(np.int8) * 0, np.array([[0.05, 0.97]]))[0]
    assert high > 2 * low


def test_the_spread_of_a_field_is_learnt() -> None:
    rng = np.random.default_rng(3)
    known = features(ad_category=None)
    n = 60_000
    prediction = first(known)
    zero = np.zeros(n, dtype=np.int64)
    of_ad = rng.normal(0, 0.8, A)
    for _ in range(5):  # ads differ, queries do not
        query, column = rng.integers(0, U, n), rng.integers(0, K, n)
        ad = (7 * query + column) % A
        clicked = rng.random(n) < 1 / (1 + np.exp(2.5 - of_ad[ad]))
        prediction = prediction.after([prediction.codes(query, zero, column, ad, zero, zero, clicked)])
    assert prediction.spreads["ad"] > 0.6 > SPREADS["ad"]
    assert prediction.spreads["query"] < 0.1 < SPREADS["query"]


# In a market


def learning_market(seed: int = 4, *, days: int = 2, warm_up_days: int = 2, **ctr) -> Market:
    """A market of days, whose click prediction is learnt, with days before them."""
    market = random_market(seed, n_queries=1500 * days, budget=9.0)
    before = random_market(seed + 1, n_queries=1500 * warm_up_days)
    return with_settings(
        market,
        arrival_s=market.arrival_s * days,
        days=days,
        ctr=CtrModel(kind="learnt", **ctr),
        warm_up=WarmUp(before.arrival_s * warm_up_days, before.query, None, warm_up_days)
        if warm_up_days
        else None,
    )


@pytest.mark.parametrize("feedback", ["own", "shared"])
def test_the_batch_size_changes_nothing(feedback: str) -> None:
    market = learning_market(feedback=feedback)
    logs = [simulate(with_settings(market, serving=ServingModel(batch_size=size))) for size in (1, 37, 4096)]
    assert same_bytes(logs[0], logs[1]) == same_bytes(logs[0], logs[2]) == []
    assert np.unique(logs[0].pctr).size > 100
    assert logs[0].ran_out.any()


def test_own_learns_on_and_shared_stays_as_it_is() -> None:
    def by_day(market: Market) -> list[dict[tuple[int, int], float]]:
        log = simulate(market)
        day = (log.time_s // market.horizon_s).astype(int)
        return [
            dict(zip(zip(log.query[day == d].tolist(), log.ad[day == d].tolist(), strict=True),
                     log.pctr[day == d].tolist(), strict=True))
            for d in range(2)
        ]  # fmt: skip

    other = Product(bid=0.5, relevance=2.0)
    shared = learning_market(feedback="shared")
    known: dict[tuple[int, int], float] = {}
    for market in (shared, with_rule(shared, other), with_settings(shared, relevance=None)):
        for day in by_day(market):
            assert all(known.setdefault(pair, rate) == rate for pair, rate in day.items())
    own = learning_market()
    first_day, second_day = by_day(own)
    both = set(first_day) & set(second_day)
    assert sum(first_day[pair] != second_day[pair] for pair in both) > 0.9 * len(both) > 50
    apart = by_day(with_rule(own, other))[0]
    both = set(first_day) & set(apart)
    assert sum(first_day[pair] != apart[pair] for pair in both) > 0.9 * len(both) > 50


def test_without_days_before_the_first_one_is_ranked_by_the_first_guess() -> None:
    market = learning_market(warm_up_days=0, first_guess=0.2)
    log = simulate(market)
    first_day = log.time_s < market.horizon_s
    assert np.ptp(log.pctr[first_day]) == 0.0
    assert log.pctr[0] == pytest.approx(0.2)
    assert np.unique(log.pctr[~first_day]).size > 50


def test_nothing_of_the_truth_enters_but_clicks() -> None:
    """With grades and attractions exchanged the same pages and clicks give the same prediction."""
    market = learning_market(warm_up_days=0)
    pairs, rng = market.tables, np.random.default_rng(0)
    other = with_settings(
        market,
        grade=rng.permutation(pairs.grade.ravel()).reshape(pairs.grade.shape),
        attraction=rng.permutation(pairs.attraction.ravel()).reshape(pairs.attraction.shape),
        pctr=rng.random(pairs.pctr.shape),
        users=replace(market.users, attraction=(0.5, 0.4, 0.3, 0.2), worth_of_click=(1.0, 1.0, 1.0, 1.0)),
    )
    rows = np.arange(1500)
    run = Run(market)
    outcome = journey.answer(market, run.accounts, run.bid, rows, prediction=run.prediction)
    found = []
    for this in (market, other):
        same = outcome._replace(grade=rng.integers(0, 4, outcome.grade.shape), satisfied=~outcome.satisfied)
        start = this.first_prediction()
        learnt = start.after([journey.impressions(this, start, rows, same)])
        batch = journey.gather(this, run.bid, rows, prediction=learnt)
        found.append(batch.pctr.tobytes())
    assert found[0] == found[1]
    assert np.unique(batch.pctr).size > 100


# Days before the measured ones


def signal_market(**changes) -> Market:
    market = learning_market()
    return with_settings(market, ctr=CtrModel(), **changes)


def test_log_and_accounts_are_those_of_the_measured_days() -> None:
    market = learning_market()
    log = simulate(market)
    assert log.arrival_s.tobytes() == market.arrival_s.tobytes()
    assert log.arrival.tolist() == list(range(market.query.size))
    assert log.query_index.max() < market.query.size
    np.testing.assert_array_equal(log.budget_micros, 2 * market.budget_micros)
    spent = np.bincount(log.advertiser, log.charged_micros, log.spent_micros.size)
    np.testing.assert_array_equal(log.spent_micros, spent)
    parts: list[int] = []
    done: list[tuple[int, int]] = []
    simulate(market, lambda *at: done.append(at), sink=lambda part: parts.append(part.ad.size))
    assert sum(parts) == log.ad.size
    assert done[-1] == (market.query.size, market.query.size)


def test_a_market_that_carries_nothing_over_does_not_notice_them() -> None:
    fixed = {"paced": np.zeros(23, dtype=bool), "budget_micros": np.full(23, UNLIMITED)}
    market = signal_market(**fixed)
    assert same_bytes(simulate(market), simulate(with_settings(market, warm_up=None))) == []


def test_pacing_goes_on_from_where_it_was() -> None:
    market = signal_market()
    past = past_of(market)
    assert past.bidding is not None
    assert (past.bidding.multiplier < 1).sum() > 3
    run = Run(with_settings(market, past=past))
    np.testing.assert_array_equal(run.bidding.multiplier, past.bidding.multiplier)
    assert same_bytes(simulate(market), simulate(with_settings(market, past=past))) == []
    assert same_bytes(simulate(market), simulate(with_settings(market, warm_up=None))) != []


def test_newcomers_are_not_there_yet() -> None:
    churn = ChurnModel(newcomer_share=0.5)
    market = learning_market()
    market = with_settings(market, bidders=replace(market.bidders, churn=churn))
    past = past_of(market)
    assert past.prediction is not None
    cells = past.prediction.cells
    ad = np.unique(cells.code // (2 * 3 * past.prediction.features.n_recalls) % market.advertiser.size)
    assert market.joins.max() == 1
    assert set(market.joins[market.advertiser[ad]].tolist()) == {0}


def test_satisfaction_is_carried_over() -> None:
    market = signal_market()
    assert market.warm_up is not None
    market = with_settings(
        market,
        user=np.arange(market.query.size) % 50,
        warm_up=market.warm_up._replace(user=np.arange(market.warm_up.query.size) % 40),
        users=replace(market.users, return_elasticity=0.5, return_rate=0.6),
    )
    past = past_of(market)
    run = Run(with_settings(market, past=past))
    np.testing.assert_array_equal(run.satisfaction[:40], past.satisfaction)
    assert (run.satisfaction[:40] != 0).mean() > 0.8
    assert not run.satisfaction[40:].any()


def test_agents_from_outside_come_after_them() -> None:
    env = MarketEnv(learning_market(days=1), [0])
    env.reset()
    while env.agents:
        env.step({"advertiser_0": np.zeros(1, dtype=np.float32)})
    assert env.log is not None
    assert env.log.arrival.size == 1500
    assert np.unique(env.log.pctr).size > 100


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "known"}, "pctr.kind must be one of signal, learnt"),
        ({"feedback": "none"}, "pctr.feedback must be one of own, shared"),
        ({"first_guess": 0.0}, "pctr.first_guess must be greater than 0, got 0.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CtrModel(**wrong)
