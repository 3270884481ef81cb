"""Batches, clocks and budgets: what a run must give however it is cut up."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simulator import log as log_module
from simulator.arrays import to_micros
from simulator.clock.engine import simulate
from simulator.fusion import FusionRule, Gate, Linear, Product, Tiers
from simulator.log import COLUMNS, Impressions, SimulationLog
from simulator.market import Market, ServingModel, hand_market, with_relevance, with_rule, with_settings
from tests.simulator.markets import random_market
from tests.simulator.one_by_one import simulate_one_by_one


def same_bytes(a: SimulationLog, b: SimulationLog, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    """Names of the columns that differ in any bit."""
    names = [f.name for f in fields(a) if f.name not in leave_out]
    return [name for name in names if getattr(a, name).tobytes() != getattr(b, name).tobytes()]


RULES: list[FusionRule] = [Product(), Product(bid=0.7, pctr=1.3, relevance=0.6), Gate(0.4), Linear(), Tiers()]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_log_is_the_same_bit_for_bit_for_any_batch_size(rule: FusionRule) -> None:
    market = random_market(3, rule=rule)
    logs = [
        simulate(with_settings(market, serving=ServingModel(batch_size=size))) for size in (1, 7, 64, 4096)
    ]
    assert logs[0].ran_out.sum() >= 5, "the test wants budgets that run out"
    assert [same_bytes(logs[0], log) for log in logs[1:]] == [[], [], []]


@given(seed=st.integers(0, 10**6), size=st.integers(1, 700), tick_s=st.floats(500.0, 40_000.0))
@settings(max_examples=25, deadline=None)
def test_batch_size_never_matters(seed: int, size: int, tick_s: float) -> None:
    market = random_market(seed, n_queries=400, budget=2.0, tick_s=tick_s)
    whole = simulate(with_settings(market, serving=ServingModel(batch_size=4096)))
    cut = simulate(with_settings(market, serving=ServingModel(batch_size=size)))
    assert same_bytes(whole, cut) == []


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_one_query_at_a_time_in_plain_python(seed: int) -> None:
    market = random_market(seed, n_queries=1500, tick_s=86_400.0)
    log = simulate(market)
    shown, spent = simulate_one_by_one(market)
    assert log.query_index.tolist() == [s.query_index for s in shown]
    assert log.slot.tolist() == [s.slot for s in shown]
    assert log.ad.tolist() == [s.ad for s in shown]
    assert log.price_micros.tolist() == [s.price_micros for s in shown]
    assert log.clicked.tolist() == [s.clicked for s in shown]
    assert log.spent_micros.tolist() == spent


@given(seed=st.integers(0, 10**6), budget=st.floats(0.1, 20.0))
@settings(max_examples=25, deadline=None)
def test_the_books_balance_to_the_micro(seed: int, budget: float) -> None:
    log = simulate(random_market(seed, n_queries=300, budget=budget))
    per_advertiser = np.zeros_like(log.spent_micros)
    np.add.at(per_advertiser, log.advertiser, log.charged_micros)
    assert per_advertiser.tolist() == log.spent_micros.tolist()
    assert int(log.charged_micros.sum()) == int(log.spent_micros.sum())
    assert (log.budget_micros - log.spent_micros >= 0).all()
    assert (log.price_micros <= log.bid_micros).all()
    assert (log.price_micros >= 200_000).all(), "the reserve"


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_nobody_is_shown_twice_on_a_page(seed: int) -> None:
    log = simulate(random_market(seed, n_queries=200))
    for who in (log.ad, log.advertiser, log.slot):
        pairs = set(zip(log.query_index.tolist(), who.tolist(), strict=True))
        assert len(pairs) == who.size


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_budget_known_answer(batch_size: int) -> None:
    """A bids 5 with budget 12, B bids 3; A leaves when it cannot pay the next price."""
    log = simulate(hand_market([5.0, 3.0], budget=[12.0, 1e6], serving=ServingModel(batch_size=batch_size)))
    assert log.ad.tolist() == [0, 0, 0, 0, 1, 1]
    assert log.price_micros.tolist() == to_micros([3.0, 3.0, 3.0, 3.0, 0.0, 0.0]).tolist()
    assert log.spent_micros.tolist() == to_micros([12.0, 0.0]).tolist()
    assert log.charged_micros.sum() == log.spent_micros.sum()
    assert log.ran_out.tolist() == [True, False]


def test_leaving_looks_at_the_price_of_a_shown_slot_not_at_the_click() -> None:
    """Nobody ever clicks, and yet A cannot stand for a price of 3 with a budget of 2."""
    market = hand_market([5.0, 3.0], budget=[2.0, 100.0], attraction=1e-12)
    log = simulate(market)
    assert log.ad.tolist() == [1] * 6
    assert log.spent_micros.tolist() == [0, 0]


def test_lone_bidder_is_sold_at_the_reserve() -> None:
    log = simulate(hand_market([5.0], reserve=0.5))
    assert log.price_micros.tolist() == [500_000] * 6


def test_luck_does_not_repeat_from_tick_to_tick() -> None:
    """AuctionNet seeds anew in every step, so that a click in one tick comes again in the next."""
    market = with_settings(hand_market([1.0], n_queries=400, attraction=0.5), horizon_s=400.0)
    clicked = simulate(with_settings(market, serving=ServingModel(batch_size=100))).clicked
    halves = clicked.reshape(4, 100)
    agreement = (halves[1:] == halves[:-1]).mean()
    assert 0.4 < agreement < 0.6


def test_global_seed_is_neither_used_nor_touched() -> None:
    market = random_market(1, n_queries=100)
    np.random.seed(0)  # noqa: NPY002
    first = simulate(market)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    second = simulate(market)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert same_bytes(first, second) == []


def test_two_arms_share_their_luck() -> None:
    """Users in slot 1 who see the same ad under two rules do the same."""
    market = with_settings(random_market(2, budget=1e6), paced=np.zeros(23, dtype=bool))
    arms = [simulate(with_rule(market, rule)) for rule in (Product(), Product(relevance=0.0))]
    assert same_bytes(arms[0], arms[1]) != []
    in_slot_0 = [
        {(q, ad): hit for q, slot, ad, hit in zip(*columns, strict=True) if slot == 0}
        for columns in ((log.query_index, log.slot, log.ad, log.clicked) for log in arms)
    ]
    in_both = in_slot_0[0].keys() & in_slot_0[1].keys()
    assert len(in_both) > 100
    assert all(in_slot_0[0][case] == in_slot_0[1][case] for case in in_both)


def test_relevance_is_replaced_without_touching_the_rest() -> None:
    market = random_market(2)
    other = with_relevance(market, np.ones_like(market.relevance))
    assert other.arrival_s is market.arrival_s
    assert other.budget_micros is market.budget_micros
    with pytest.raises(ValueError, match="relevance"):
        with_relevance(market, np.ones((2, 2)))


def test_two_ads_of_one_advertiser_for_one_query_are_refused() -> None:
    market = hand_market([1.0, 2.0])
    with pytest.raises(ValueError, match="two ads of one advertiser"):
        with_settings(market, advertiser=np.array([0, 0]))


def test_pacing_spreads_a_budget_over_the_day() -> None:
    market = hand_market([1.0, 0.8], n_queries=960, budget=[200.0, 1e6], reserve=0.01)
    market = with_settings(market, arrival_s=np.arange(960) * 90.0, horizon_s=86_400.0)
    bidders = market.bidders.__class__(shading=1.0, pacing_tick_s=900.0)
    steady = simulate(with_settings(market, bidders=bidders))
    paced = simulate(with_settings(market, bidders=bidders, paced=np.array([True, False])))
    assert steady.ran_out[0]
    last_steady, last_paced = (log.time_s[log.advertiser == 0].max() for log in (steady, paced))
    assert last_paced > 2 * last_steady
    assert (paced.bid_micros[paced.advertiser == 1] == 800_000).all(), "others' bids stay as they are"


def serving_market(arrival_s: list[float], serving: ServingModel) -> Market:
    market = hand_market([1.0], n_queries=len(arrival_s), serving=serving)
    return with_settings(market, arrival_s=np.asarray(arrival_s), horizon_s=100.0)


def test_one_server_without_batching_is_lindleys_recursion() -> None:
    arrival_s = np.sort(np.random.default_rng(0).uniform(0.0, 90.0, 500))
    log = simulate(serving_market(arrival_s.tolist(), ServingModel(batch_size=1, service_s=0.15)))
    free = 0.0
    for arrived, answered in zip(arrival_s, log.answered_s, strict=True):
        free = max(free, arrived) + 0.15
        assert answered == pytest.approx(free)


def test_batch_closes_when_full_or_when_its_first_query_has_waited() -> None:
    serving = ServingModel(batch_size=2, window_s=0.5, service_s=0.25, service_per_query_s=0.1, servers=2)
    log = simulate(serving_market([0.0, 0.1, 0.2, 5.0, 5.5], serving))
    # {0, .1} is full at .1; {.2} waits until .7; {5, 5.5} is full at 5.5, when the window closes too.
    assert log.answered_s.tolist() == pytest.approx([0.55, 0.55, 1.05, 5.95, 5.95])


def test_batches_grow_while_the_server_is_busy() -> None:
    serving = ServingModel(batch_size=10, service_s=1.0)
    log = simulate(serving_market([0.0, 0.2, 0.4, 0.9, 1.5], serving))
    assert log.answered_s.tolist() == pytest.approx([1.0, 2.0, 2.0, 2.0, 3.0])


def test_vanishing_latency_gives_the_same_market_as_none() -> None:
    market = random_market(4, n_queries=1000)
    instant = simulate(market)
    nearly = simulate(with_settings(market, serving=ServingModel(service_s=1e-9)))
    assert same_bytes(instant, nearly, leave_out=("answered_s", "busy_s")) == []
    assert nearly.answered_s == pytest.approx(instant.answered_s, abs=1e-6)


def test_late_answers_use_the_bids_and_budgets_of_that_moment() -> None:
    market = with_settings(random_market(4, n_queries=200), serving=ServingModel(service_s=100_000.0))
    log = simulate(market)
    assert (log.answered_s >= 100_000.0).all()
    bids_of_ads = set(zip(log.ad.tolist(), log.bid_micros.tolist(), strict=True))
    assert len(bids_of_ads) == np.unique(log.ad).size, "every tick is over by then, so each ad has one bid"


def test_progress_counts_every_query() -> None:
    seen: list[tuple[int, int]] = []
    simulate(random_market(1, n_queries=500), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (500, 500)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def parts_of(market: Market) -> tuple[list[Impressions], SimulationLog]:
    """What a sink is given, copied, and the log that is returned beside it."""
    parts: list[Impressions] = []

    def keep(part: Impressions) -> None:
        parts.append(Impressions(**{name: getattr(part, name).copy() for name in COLUMNS}))

    return parts, simulate(market, sink=keep)


@pytest.mark.parametrize(
    "serving", [ServingModel(), ServingModel(batch_size=5, window_s=100.0, service_s=300.0, servers=4)]
)
def test_a_log_handed_on_in_parts_is_the_log(serving: ServingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "ROWS_OF_A_PART", 100)
    market = with_settings(random_market(3), serving=serving)
    whole = simulate(market)
    parts, rest = parts_of(market)
    assert [part.ad.size for part in parts[:-1]] == [100] * (len(parts) - 1)
    assert len(parts) == -(-whole.ad.size // 100) > 10
    for name in COLUMNS:
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))
    assert rest.ad.size == 0
    assert same_bytes(whole, rest, leave_out=COLUMNS) == []
