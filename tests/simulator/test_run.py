"""Runs over several days: budgets, policies, churn, sessions and loyalty together."""

from dataclasses import replace

import numpy as np
import pytest

from simulator import bidders, journey, random
from simulator.arrays import MICROS, to_micros
from simulator.bidders import BidderModel, PolicyShare
from simulator.clock.engine import simulate, ticks
from simulator.clock.run import Run
from simulator.fusion import Product
from simulator.market import Market, ServingModel, hand_market, with_settings
from simulator.measures.market_metrics import market_metrics
from simulator.policies import Report
from simulator.policies.churn import ChurnModel
from simulator.users import UserModel
from tests.simulator.markets import random_market


def over_days(market: Market, days: int, n_users: int = 30) -> Market:
    """The market's day again and again, each query by one of a few users."""
    n = market.query.size
    starts = np.repeat(np.arange(days), n) * market.horizon_s
    return replace(
        market,
        days=days,
        arrival_s=np.tile(market.arrival_s, days) + starts,
        query=np.tile(market.query, days),
        user=np.tile(np.arange(n) % n_users, days),
    )


def everything_on(days: int = 3) -> Market:
    policies = ("shading", "balanced", "dual_pacing", "throttling", "target_cpa", "bandit")
    shares = tuple(PolicyShare(name, 1 / len(policies)) for name in policies)
    market = over_days(random_market(3, n_queries=700, budget=2.0), days)
    n = market.budget_micros.size
    model = BidderModel(
        policies=shares,
        pacing_tick_s=5000.0,
        churn=ChurnModel(newcomer_share=0.3, least_return=1.0, patience_days=1.0),
    )
    return replace(
        market,
        bidders=model,
        policies=bidders.followers(shares, np.linspace(0.0, 1.0, n, endpoint=False)),
        users=UserModel(
            examination=(1.0, 0.6, 0.3),
            click_model="dbn",
            conversion_rate=0.3,
            return_rate=0.7,
            return_elasticity=3.0,
        ),
    )


def test_batches_change_nothing_with_everything_on() -> None:
    market = everything_on()
    logs = [simulate(replace(market, serving=ServingModel(batch_size=size))) for size in (1, 64, 4096)]
    for log in logs[1:]:
        assert log.impressions().equals(logs[0].impressions())
        assert log.queries().equals(logs[0].queries())
        assert log.accounts().equals(logs[0].accounts())


def test_the_books_balance_to_the_micro() -> None:
    market = everything_on()
    log = simulate(market)
    by_advertiser = np.zeros_like(log.spent_micros)
    np.add.at(by_advertiser, log.advertiser, log.charged_micros)
    assert (by_advertiser == log.spent_micros).all()
    assert (log.spent_micros <= log.budget_micros).all()
    assert market_metrics(log, market)["revenue"] == log.charged_micros.sum() / MICROS


def test_budgets_are_new_every_day() -> None:
    # Each day one bidder can pay four clicks at the other's bid of 3; then the other is alone.
    market = hand_market([5.0, 3.0], budget=[12.0, 1000.0], n_queries=6)
    log = simulate(over_days(market, 3))
    assert log.advertiser.tolist() == 3 * [0, 0, 0, 0, 1, 1]
    assert (log.charged_micros / MICROS).tolist() == 3 * [3.0, 3.0, 3.0, 3.0, 0.0, 0.0]
    assert log.spent_micros.tolist() == [36 * MICROS, 0]
    assert log.budget_micros.tolist() == [36 * MICROS, 3000 * MICROS]


def test_users_who_see_irrelevant_ads_stay_away() -> None:
    users = UserModel(examination=(1.0,), return_rate=0.8, return_elasticity=120.0)

    def queries_by_day(grade: int) -> list[int]:
        market = replace(hand_market([2.0, 1.0], grade=grade, n_queries=3000), users=users)
        log = simulate(over_days(market, 6, n_users=3000))
        return np.bincount((log.arrival_s // market.horizon_s).astype(int), minlength=6).tolist()

    bad, good = queries_by_day(0), queries_by_day(3)
    assert bad[0] == good[0] == pytest.approx(0.8 * 3000, rel=0.05), "the first day knows nothing yet"
    assert bad[5] < 0.6 * bad[0]
    assert good[5] > 1.1 * good[0]


def test_return_is_drawn_alike_whatever_was_shown() -> None:
    users = UserModel(examination=(1.0,), return_rate=0.5)
    market = over_days(replace(hand_market([2.0, 1.0], n_queries=200), users=users), 4, n_users=200)
    came = [simulate(replace(market, rule=rule)).arrival for rule in (Product(), Product(bid=0.5))]
    assert np.array_equal(*came)
    assert 0.4 < came[0].size / market.query.size < 0.6


def test_reports_say_what_the_log_says() -> None:
    seen: list[Report] = []

    class Listening:
        def start(self, budget, value):  # type: ignore[no-untyped-def]
            return (), bidders.Bids(np.ones_like(value), np.ones_like(value))

        def adjust(self, state, report, u):  # type: ignore[no-untyped-def]
            seen.append(report)
            return state, bidders.Bids(np.ones_like(report.value), np.ones_like(report.value))

    market = random_market(8, n_queries=900, tick_s=10_000.0)
    n = market.budget_micros.size
    users = replace(market.users, conversion_rate=0.4, conversion_delay_s=2000.0)
    market = replace(market, users=users, policies=(bidders.Followers(Listening(), np.arange(n)),))
    log = simulate(market)
    assert len(seen) == 8
    end = seen[-1].time_s
    told, clicked = log.time_s < end, log.clicked & (log.time_s < end)
    converted = log.conversion_s <= end
    for column, expected in {
        "impressions": np.bincount(log.advertiser[told], minlength=n),
        "clicks": np.bincount(log.advertiser[clicked], minlength=n),
        "spent": np.bincount(log.advertiser[told], weights=log.charged_micros[told] / MICROS, minlength=n),
        "conversions": np.bincount(log.advertiser[converted], minlength=n),
    }.items():
        assert np.sum([getattr(report, column) for report in seen], axis=0) == pytest.approx(expected), column
    assert 0 < converted.sum() < np.isfinite(log.conversion_s).sum(), "some are still to come"
    assert seen[-1].remaining == pytest.approx(
        (market.budget_micros - to_micros(np.sum([r.spent for r in seen], axis=0))) / MICROS
    )


def test_throttled_bidders_take_part_as_often_as_they_say() -> None:
    class Half:
        def start(self, budget, value):  # type: ignore[no-untyped-def]
            return (), bidders.Bids(np.ones_like(value), np.array([0.25, 1.0]))

        def adjust(self, state, report, u):  # type: ignore[no-untyped-def]
            raise AssertionError("there is no tick")

    market = hand_market([5.0, 3.0], n_queries=4000)
    log = simulate(replace(market, policies=(bidders.Followers(Half(), np.arange(2)),)))
    assert (log.advertiser == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert log.n_eligible.tolist() == np.where(log.advertiser == 0, 2, 1).tolist()


def test_those_who_have_left_bid_no_more() -> None:
    # One slot, two bidders; a click is worth 0.1 of the value on grade 0, so nobody earns its price back.
    market = replace(
        over_days(hand_market([5.0, 3.0, 2.0], grade=0, n_queries=400), 4),
        bidders=BidderModel(
            shading=1.0, pacing_tick_s=400.0, churn=ChurnModel(least_return=1.0, patience_days=1.0)
        ),
        users=UserModel(examination=(1.0,), conversion_rate=0.5, conversion_delay_s=1.0),
    )
    log = simulate(market)
    day = (log.time_s // market.horizon_s).astype(int)
    assert [set(log.advertiser[day == d].tolist()) for d in range(4)] == [{0}, {1}, {2}, {2}], (
        "the last has no rival, pays nothing, and has no reason to leave"
    )


def test_an_outsider_may_bid_between_ticks() -> None:
    market = replace(
        hand_market([5.0, 3.0], n_queries=10), bidders=BidderModel(shading=1.0, pacing_tick_s=5.0)
    )
    run = Run(market)
    for _ in ticks(market, run):
        run.bid = np.array([1.0, 3.0])
        run.tick = lambda now, ticks_left: None  # type: ignore[method-assign]
    assert run.close().advertiser.tolist() == 5 * [0] + 5 * [1]


@pytest.mark.parametrize("click_model", ["position", "cascade", "dbn"])
def test_draws_belong_to_query_event_and_ad_whatever_the_number_of_candidates(click_model: str) -> None:
    """A sweep over the candidates is paired: what two of its points both show is drawn alike in both."""
    market = with_settings(random_market(6), users=UserModel(examination=(1.0, 0.6), click_model=click_model))
    columns = np.argsort(random.uniforms(1, "order", 0, 1, market.candidate.shape[1])[0])
    tables = ("candidate", "grade", "attraction", "pctr", "recall", "relevance")
    turned = with_settings(market, **{name: getattr(market, name)[:, columns] for name in tables})
    fewer = with_settings(market, **{name: getattr(market, name)[:, :5] for name in tables})
    rows, active = np.arange(market.query.size), np.ones(market.budget_micros.size, dtype=bool)
    throttled = np.full(active.size, 0.5)

    def drawn(market: Market) -> dict[str, dict[tuple[int, int], float]]:
        """The draws of each arrival and ad."""
        batch = journey.gather(market, market.value, rows, throttled)
        candidate = market.candidate[market.query]
        met = candidate >= 0
        key = list(zip(np.nonzero(met)[0].tolist(), candidate[met].tolist(), strict=True))
        draws = {
            "takes part": batch.candidate >= 0,
            "tie break": journey.tie_break_draws(market, batch._replace(candidate=candidate)),
            "click": journey.click_uniforms(market, rows, candidate),
        }
        return {name: dict(zip(key, u[met].tolist(), strict=True)) for name, u in draws.items()}

    few, many, other = drawn(fewer), drawn(market), drawn(turned)
    for name in few:
        assert other[name] == many[name]
        assert few[name].items() < many[name].items()
    whole, again = simulate(market), simulate(turned)
    for column in ("query_index", "slot", "ad", "price_micros", "examined", "clicked", "satisfied"):
        assert np.array_equal(getattr(whole, column), getattr(again, column)), "columns have no say"
    assert whole.clicked.any()
