import ast
import copy
from collections.abc import Iterator
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from numpy.typing import ArrayLike

from simulator.arrays import BoolArray
from simulator.bidders import BidderModel
from simulator.clock.engine import simulate
from simulator.fusion import Product
from simulator.log import COLUMNS, Impressions, SimulationLog
from simulator.market import hand_market, with_settings
from simulator.measures import health, market_metrics as schema, prediction_quality
from simulator.measures.market_metrics import (
    METRICS,
    RUN_METRICS,
    TOTALS,
    Totals,
    market_metrics,
    with_rates,
)
from simulator.policies.churn import ChurnModel
from simulator.serving import ServingModel
from simulator.users import UserModel
from tests.simulator.markets import random_market

USERS = UserModel(
    examination=(1.0, 0.5),
    value_of_seeing=(-0.2, -0.1, 0.1, 0.6),
    worth_of_click=(0.1, 0.4, 1.0, 2.0),
)
BROWSING = replace(USERS, click_model="cascade")
MEASURED = ServingModel(scoring="live", clock="measured", timeout_s=1.0, price_per_hour=0.9)
MARKET = with_settings(hand_market([4.0, 3.0, 1.0], budget=[30.0, 10.0, 20.0], users=USERS), days=1)
ALL_JOIN = BidderModel(churn=ChurnModel(newcomer_share=1.0))  # on the second of two days

PAGES = SimulationLog(
    # Shown: four ads to query 0, 1 and 3 of four; ads 0, 1, 2 are worth 4, 3 and 1 a click.
    query_index=np.array([0, 0, 1, 3, 3]),
    time_s=np.array([0.0, 0.0, 1.0, 3.0, 3.0]),
    query=np.zeros(5, dtype=np.int64),
    slot=np.array([0, 1, 0, 0, 1]),
    ad=np.array([0, 1, 1, 2, 0]),
    recall=np.array([0, 0, 1, 3, 4], dtype=np.int8),
    advertiser=np.array([0, 1, 1, 2, 0]),
    bid_micros=np.array([4_000_000, 3_000_000, 3_000_000, 1_000_000, 4_000_000]),
    pctr=np.array([0.5, 0.25, 0.125, 0.25, 0.5]),
    relevance=np.ones(5),
    score=np.ones(5),
    price_micros=np.array([3_000_000, 1_000_000, 2_000_000, 500_000, 700_000]),
    examined=np.array([True, False, True, True, True]),
    clicked=np.array([True, False, True, False, True]),
    charged_micros=np.array([3_000_000, 0, 2_000_000, 0, 700_000]),
    satisfied=np.zeros(5, dtype=np.bool_),
    conversion_s=np.array([np.inf, np.inf, 7.5, np.inf, np.inf]),
    grade=np.array([0, 1, 3, 2, 0], dtype=np.int8),
    # Four queries: answered by the scorer, by its cache, by nobody, by the fallback.
    arrival=np.arange(4),
    arrival_s=np.array([0.0, 1.0, 2.0, 3.0]),
    arrival_query=np.zeros(4, dtype=np.int64),
    answered_s=np.array([0.5, 1.25, 3.0, 3.25]),
    served=np.array([0, 1, 3, 2], dtype=np.int8),
    scored_pairs=np.array([3, 0, 0, 3]),
    n_eligible=np.array([3, 3, 0, 3]),
    n_shown=np.array([2, 1, 0, 2]),
    budget_micros=np.full(3, 10_000_000),
    spent_micros=np.array([3_700_000, 2_000_000, 0]),
    ran_out=np.array([False, True, False]),
    busy_s=np.array([1.5, 0.5]),
)
KNOWN = {
    "queries": 4,
    "impressions": 5,
    "clicks": 3,
    "conversions": 1,
    "revenue": 3 + 2 + 0.7,
    "revenue_rpm": 5.7 / 4 * 1000,
    "irrelevant_share": 2 / 5,
    "negative_share": 3 / 5,
    "irrelevant_share_weighted": (1 + 0.5) / (1 + 0.5 + 1 + 1 + 0.5),
    "ctr": 3 / 5,
    "fill": 5 / 8,
    "mean_price": 5.7 / 3,
    # Ad 0 is worth 4 x .1 for each of its two clicks (grade 0), ad 1 3 x 2 (grade 3).
    "advertiser_surplus": (0.4 - 3) + (6 - 2) + (0.4 - 0.7),
    "user_utility": -0.2 + 0.5 * -0.1 + 0.6 + 0.1 + 0.5 * -0.2,
    "welfare": 0.4 + 6 + 0.4 + 0.35,
    "ran_out_share": 1 / 3,
    "mean_latency_s": (0.5 + 0.25 + 1 + 0.25) / 4,
    "latency_p50_s": 0.25,
    "latency_p95_s": 1.0,
    "latency_p99_s": 1.0,
    "timeout_share": 2 / 4,
    "cache_hit_share": 1 / 4,
    "scored_pairs": 6,
    "grade_0_share": 2 / 5,
    "grade_1_share": 1 / 5,
    "grade_2_share": 1 / 5,
    "grade_3_share": 1 / 5,
    "spend_hhi": (3.7**2 + 2**2) / 5.7**2,
    "spend_top10_share": 1.0,
    "impression_hhi": (2**2 + 2**2 + 1) / 25,
    "impression_top10_share": 1.0,
    # Of budgets of 30, 10 and 20 the second is below the median, the first above nine tenths.
    "small_impression_share": 2 / 5,
    "small_spend_share": 2 / 5.7,
    "small_return": 6 / 2,
    "large_impression_share": 2 / 5,
    "large_spend_share": 3.7 / 5.7,
    "large_return": 0.8 / 3.7,
    "newcomer_impression_share": nan,
    "newcomer_first_click_s": nan,
    "loss_share": 1 / 2,
    "price_cv": (((3 - 1.9) ** 2 + (2 - 1.9) ** 2 + (0.7 - 1.9) ** 2) / 3) ** 0.5 / 1.9,
    "lost_visit_share": nan,
    "exact_impression_share": 2 / 5,
    "exact_ctr": 1 / 2,
    "exact_irrelevant_share": 1 / 2,
    "exact_revenue_share": 3 / 5.7,
    "phrase_impression_share": 1 / 5,
    "phrase_ctr": 1.0,
    "phrase_irrelevant_share": 0.0,
    "phrase_revenue_share": 2 / 5.7,
    "broad_impression_share": 0.0,
    "broad_ctr": nan,
    "broad_irrelevant_share": nan,
    "broad_revenue_share": 0.0,
    "expanded_impression_share": 2 / 5,
    "expanded_ctr": 1 / 2,
    "expanded_irrelevant_share": 1 / 2,
    "expanded_revenue_share": 0.7 / 5.7,
    # Slot 0: .5 and .125 were clicked, .25 was not; slot 1: .5 was clicked, .25 was not.
    "pctr_auc": (1 + 0 + 1) / 3,
    "pctr_calibration": (0.5 + 0.5 * 0.25 + 0.125 + 0.25 + 0.5 * 0.5) / 3,
    # One click less .125 expected of pCTR .125, none less .375 of .25, two less .75 of .5.
    "pctr_calibration_error": (0.875 + 0.375 + 1.25) / 3,
    # .125 and .25 are good; .25, .5 and .5 are not.
    "pctr_relevance_auc": 0.5 / 6,
}
LOOKED_AT = {  # where looking depends on the ads above, what was looked at counts: all but the second ad
    **KNOWN,
    "irrelevant_share_weighted": 2 / 4,
    "user_utility": -0.2 + 0.6 + 0.1 - 0.2,
    "welfare": 0.4 + 6 + 0.4 + 0.3,
}
MEASURED_PAGES = {  # 2 of 4 are served, at .5 and .25 s, in a day of 6 s in which two servers work for 2 s
    **KNOWN,
    "utilisation": 2 / 12,
    "served_per_s": 2 / 6,
    "in_target_per_s": 2 / 6,
    "capacity_per_s": 2 / (2 / 2),
    "cost_per_million": 0.9 * 2 * (6 / 3600) / 2 * 1e6,
}
# All join after 6 s; two have a click then, after 2 and 0.5 s, and the third waits for the other 6.
JOINED = {"newcomer_impression_share": 1.0, "newcomer_first_click_s": (2 + 2.5 + 6) / 3}
STAYED_AWAY = {"lost_visit_share": 2 / 6}
TIGHT = {"in_target_per_s": 1 / 6, "cost_per_million": nan}  # .25 s are within a target of as much
UNTARGETED = {"in_target_per_s": nan}
NOTHING = {  # of no query, no ad and no advertiser
    **{name: 0.0 if metric.total or metric.unit == "money" else nan for name, metric in RUN_METRICS.items()},
    "revenue_rpm": nan,
    "mean_price": nan,
}
QUEUE = replace(  # latencies of 1 to 1000 s: the least that 50, 95 and 99% of them do not exceed
    PAGES,
    arrival=np.arange(1000),
    arrival_s=np.zeros(1000),
    answered_s=np.arange(1000.0, 0.0, -1.0),
    served=np.zeros(1000, dtype=np.int8),
)
PERCENTILES = {"mean_latency_s": 500.5, "latency_p50_s": 500, "latency_p95_s": 950, "latency_p99_s": 990}


def empty(log: SimulationLog) -> SimulationLog:
    return SimulationLog(**{name: getattr(log, name)[:0] for name in log.__dataclass_fields__})


def check(found: dict[str, float], known: dict[str, float]) -> None:
    if len(known) > 5:
        assert list(found) == list(known), "every metric has a known answer"
    for name, value in known.items():
        assert found[name] == pytest.approx(value, nan_ok=True), name


def check_known_answers(module: ModuleType) -> None:
    """All metrics of hand-made logs, by hand; `module` computes them."""
    tight = replace(MEASURED, latency_target_s=0.25, price_per_hour=None)
    for serving, users, log, known in (
        (ServingModel(), USERS, PAGES, KNOWN),
        (ServingModel(), BROWSING, PAGES, LOOKED_AT),
        (ServingModel(), USERS, empty(PAGES), NOTHING),
        (ServingModel(), USERS, QUEUE, PERCENTILES),
        (MEASURED, USERS, PAGES, MEASURED_PAGES),
        (tight, USERS, PAGES, TIGHT),
        (replace(MEASURED, timeout_s=None), USERS, PAGES, UNTARGETED),
        # Answers that come after the last day lengthen the time.
        (MEASURED, USERS, replace(PAGES, answered_s=PAGES.answered_s + 8.75), {"served_per_s": 2 / 12}),
    ):
        check(module.market_metrics(log, replace(MARKET, users=users, serving=serving)), known)
    later = replace(PAGES, time_s=PAGES.time_s + np.array([8.0, 8.0, 7.5, 8.0, 8.0]))
    check(module.market_metrics(later, replace(MARKET, bidders=ALL_JOIN, days=2)), JOINED)
    loyal = replace(MARKET, users=replace(USERS, return_rate=0.5), user=np.zeros(6, dtype=np.int64))
    check(module.market_metrics(PAGES, loyal), STAYED_AWAY)
    check(module.market_metrics(PAGES, replace(loyal, users=USERS)), {"lost_visit_share": nan})
    for name, recall in (("exact", 0), ("phrase", 1), ("broad", 2), ("expanded", 3)):
        whole = {"impression_share": 1.0, "ctr": 3 / 5, "irrelevant_share": 2 / 5, "revenue_share": 1.0}
        alike = replace(PAGES, recall=np.full(5, recall, dtype=np.int8))
        check(module.market_metrics(alike, MARKET), {f"{name}_{of}": value for of, value in whole.items()})
    some = replace(MARKET, judged=lambda query, ad: (query == PAGES.query[0]) & (ad == PAGES.ad[0]))
    same = int(((PAGES.query == PAGES.query[0]) & (PAGES.ad == PAGES.ad[0])).sum())
    check(module.market_metrics(PAGES, some), {"judged_share": same / 5})
    check(module.market_metrics(empty(PAGES), some), {"judged_share": nan})
    assert "judged_share" not in module.market_metrics(PAGES, MARKET)
    # Ads 0 and 2 have a seat, ad 0 may deviate. Over two days of budgets 30, 10, 20; worth .8 and spend 3.7.
    seats = replace(MARKET, seat=np.array([2, 0, 1]), days=2)
    by_hand = {
        "seat_surplus": (0.8 - 3.7) / (2 * 50),
        "seat_return": 0.8 / 3.7,
        "seat_budget_used": 3.7 / (2 * 50),
        "deviant_surplus": (0.8 - 3.7) / (2 * 30),
    }
    check(module.market_metrics(PAGES, seats), by_hand)
    nobody = dict.fromkeys(by_hand, nan)
    check(module.market_metrics(PAGES, replace(seats, seat=np.zeros(3, dtype=np.int64))), nobody)
    assert not nobody.keys() & module.market_metrics(PAGES, MARKET).keys()
    rates = {f"{name}_rpm": 250 * KNOWN[name] for name in TOTALS if name != "queries"}
    assert module.with_rates(KNOWN) == pytest.approx(rates | KNOWN, nan_ok=True)
    kept = KNOWN | {"judged_share": 0.5, "seat_return": 2.0}
    assert module.without_rates(module.with_rates(kept)) == pytest.approx(kept, nan_ok=True)
    totals = module.Totals(MARKET)
    totals.add(PAGES)
    facts = totals.facts(PAGES)
    assert facts.advertisers.impressions.tolist() == [2, 2, 1]
    check({name: metric.of(facts) for name, metric in module.METRICS.items()}, rates | KNOWN)
    shares = {name: module.is_share(name) for name in ("ctr", "utilisation", "judged_share", "revenue", "x")}
    assert shares == {"ctr": True, "utilisation": True, "judged_share": True, "revenue": False, "x": False}


def advertisers(module: ModuleType, **given: ArrayLike) -> health.Advertisers:
    """Twelve, of whom the last has no budget and takes no part; `given` replaces what each got."""
    n = 12
    of_each: dict[str, ArrayLike] = {
        "budget": [90, 1, 20, 30, 40, 50, 60, 70, 80, 100, 110, 0],
        "impressions": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0],
        "spent": [0, 0, 0, 10**6, 2 * 10**6, 10**6, 1, 0, 0, 0, 6 * 10**6, 0],
        "worth": [0, 0, 0, 1.0, 3.0, 0.5, 0, 0, 0, 0, 5.5, 0],
        "new": np.arange(n) < 4,
        "joined_s": [100.0, 100.0, 50.0, 200.0, *[0.0] * 8],
        "first_click_s": [130.0, np.inf, 60.0, np.inf, *[0.0] * 8],
    }
    days = given.pop("days", 1)
    arrays = {name: np.asarray(value) for name, value in (of_each | given).items()}
    return module.Advertisers(**arrays, days=days)


def check_health(module: ModuleType) -> None:
    """Every function of `health` by hand."""
    nobody, amounts = np.zeros(12, dtype=np.bool_), np.array([3, 1, *range(10, 101, 10)])
    assert module.herfindahl(np.array([1, 1, 2])) == pytest.approx(0.25**2 + 0.25**2 + 0.5**2)
    assert module.herfindahl(np.array([0, 5, 0])) == 1.0
    assert module.top_share(amounts) == pytest.approx(550 / 554)
    assert module.top_share(amounts, 1) == pytest.approx(100 / 554)
    assert isnan(module.herfindahl(np.zeros(3, dtype=int)))
    assert isnan(module.top_share(np.zeros(3, dtype=int)))
    who = advertisers(module)
    # Eleven budgets of 1 to 110: the median is 60, and nine tenths are not above 100.
    assert np.flatnonzero(who.small).tolist() == [1, 2, 3, 4, 5]
    assert np.flatnonzero(who.large).tolist() == [10]
    assert not advertisers(module, budget=np.full(12, 7)).small.any()
    assert not advertisers(module, budget=np.zeros(12, dtype=int)).large.any()
    assert advertisers(module, budget=[1, 2, *[0] * 10]).large.tolist() == [False, True, *[False] * 10]
    assert module.share_of(who.small, who.impressions) == pytest.approx((2 + 3 + 4 + 5 + 6) / 66)
    assert isnan(module.share_of(nobody, who.impressions))
    assert isnan(module.share_of(who.small, np.zeros(12, dtype=int)))
    assert module.return_of(who.small, who) == pytest.approx(4.5 / 4)
    assert isnan(module.return_of(nobody, who))
    assert module.surplus_of(who.small, who) == pytest.approx((4.5 - 4) / (141 / 10**6))
    assert module.used_of(who.small, who) == pytest.approx(4 * 10**6 / 141)
    twice = advertisers(module, days=2)
    assert module.used_of(who.small, twice) == pytest.approx(4 * 10**6 / 282)
    assert isnan(module.surplus_of(nobody, who))
    assert isnan(module.used_of(nobody, who))
    # Five paid; three of them got less than that, and one exactly as much.
    assert module.loss_share(who) == 3 / 5
    assert isnan(module.loss_share(advertisers(module, spent=np.zeros(12, dtype=int))))
    # Clicks 30 and 10 s after joining, none in 80 s; the fourth joins when all is over.
    assert module.time_to_first_click(who, 180.0) == pytest.approx((30 + 10 + 80) / 3)
    assert module.time_to_first_click(who, 200.0) == pytest.approx((30 + 10 + 100) / 3)
    assert isnan(module.time_to_first_click(advertisers(module, new=nobody), 180.0))
    assert module.variation(4, 2 + 4 + 4 + 6, 4 + 16 + 16 + 36) == pytest.approx(2**0.5 / 4)
    big = 10**9  # micros: squares of 100,000 such prices are beyond 64 bits
    assert module.variation(10**5, 10**5 * big, 10**5 * big**2) == 0.0
    assert isnan(module.variation(0, 0, 0))


def test_health_by_hand() -> None:
    check_health(health)


def check_prediction_quality(module: ModuleType) -> None:
    """Orders and gaps of random pages, pair by pair; and where bins begin and end."""
    rng = np.random.default_rng(5)
    n, look = 300, np.array([1.0, 0.6, 0.3])
    tenths = rng.integers(1, 9, n)
    pages = replace(
        empty(PAGES), pctr=tenths / 10, slot=rng.integers(0, 3, n),
        grade=rng.integers(0, 4, n).astype(np.int8), clicked=rng.random(n) < tenths / 12,
    )  # fmt: skip
    counts = module.PredictionCounts.none(3)
    counts.add(replace(pages, **{name: getattr(pages, name)[:100] for name in OF_A_PAGE}))
    counts.add(replace(pages, **{name: getattr(pages, name)[100:] for name in OF_A_PAGE}))

    def in_order(better: BoolArray, worse: BoolArray) -> tuple[float, float]:
        by_pair = np.sign(pages.pctr[better][:, None] - pages.pctr[worse])
        return (by_pair.sum() + by_pair.size) / 2, by_pair.size

    of_slots = [
        in_order(pages.clicked & (pages.slot == s), ~pages.clicked & (pages.slot == s)) for s in range(3)
    ]
    assert counts.click_order() == tuple(np.sum(of_slots, axis=0))
    assert counts.relevance_order() == in_order(pages.grade >= 2, pages.grade < 2)
    expected = look[pages.slot] * pages.pctr
    assert counts.expected_clicks(look).sum() == pytest.approx(expected.sum())
    gap = sum(abs((expected - pages.clicked)[tenths == tenth].sum()) for tenth in range(1, 9))
    assert counts.calibration_gap(look) == pytest.approx(gap)

    def tell(*pctr: float) -> tuple[float, float]:
        """Two ads of grades 3 and 0 with these pCTRs, the second of which is clicked."""
        two, grade = module.PredictionCounts.none(1), np.array([3, 0], dtype=np.int8)
        of_both = {"slot": np.zeros(2, dtype=np.int64), "grade": grade, "clicked": grade == 0}
        two.add(replace(empty(PAGES), pctr=np.array(pctr), **of_both))
        return two.relevance_order()[0], two.calibration_gap(np.ones(1))

    # A bin is 1/128 of an octave wide. All from 1 on are in the last, and all below 2^-14 in the first.
    for low in (0.25, 2.0**-13):
        assert tell(low * (1 + 1.01 / 128), low)[0] == 1.0
        assert tell(low * (1 + 0.99 / 128), low)[0] == 0.5
    assert tell(1.0, 1.0 - 1e-9)[0] == 1.0
    assert tell(0.99 * 2.0**-14, 0.0)[0] == tell(1.5, 1.0)[0] == 0.5
    assert tell(1.01 * 2.0**-14, 0.0)[0] == 1.0
    # Of groups there are two in an octave, from 2^-14 on.
    assert tell(0.25, 0.25 * 1.49)[1] == pytest.approx(1 - 0.25 * 2.49, rel=1e-3)
    assert tell(0.25, 0.25 * 1.51)[1] == pytest.approx(0.25 + 1 - 0.25 * 1.51, rel=1e-3)


OF_A_PAGE = ("pctr", "slot", "grade", "clicked")


def test_prediction_quality_by_hand() -> None:
    check_prediction_quality(prediction_quality)


def test_every_metric_by_hand() -> None:
    check_known_answers(schema)


def test_metrics_of_a_run_by_hand() -> None:
    """Two slots, three bidders, three queries; everybody who looks clicks, and slot 0 is always looked at."""
    market = hand_market(
        [4.0, 3.0, 1.0], n_queries=3, users=USERS, rule=Product(relevance=0.0), grade=[0, 3, 2]
    )
    log = simulate(market)
    clicks_below = int(log.clicked[log.slot == 1].sum())
    metrics = market_metrics(log, market)
    assert metrics["impressions"] == 6
    assert metrics["clicks"] == 3 + clicks_below
    assert metrics["revenue"] == 3 * 3.0 + clicks_below * 1.0
    assert metrics["revenue_rpm"] == pytest.approx(1000 * metrics["revenue"] / 3)
    assert metrics["irrelevant_share"] == 1 / 2
    assert metrics["irrelevant_share_weighted"] == pytest.approx(1.0 / 1.5)
    assert metrics["grade_3_share"] == 1 / 2
    assert metrics["fill"] == 1.0
    assert metrics["ctr"] == metrics["clicks"] / 6
    assert metrics["mean_price"] == metrics["revenue"] / metrics["clicks"]
    # Ad 0 is worth 4 x .1 a click, ad 1 (grade 3) 3 x 2.
    assert metrics["advertiser_surplus"] == pytest.approx(3 * (0.4 - 3.0) + clicks_below * (6.0 - 1.0))
    assert metrics["user_utility"] == pytest.approx(3 * (1.0 * -0.2 + 0.5 * 0.6))
    assert metrics["welfare"] == pytest.approx(3 * 0.4 + clicks_below * 6.0 + metrics["user_utility"])
    assert metrics["ran_out_share"] == 0.0
    assert metrics["mean_latency_s"] == 0.0


def test_the_schema_names_what_is_computed_in_its_order() -> None:
    market = hand_market([4.0, 3.0])
    found = market_metrics(simulate(market), market)
    assert list(found) == list(RUN_METRICS)
    assert list(with_rates(found)) == list(METRICS)
    assert all(name == metric.name and metric.definition for name, metric in METRICS.items())


KINDS = ("RUN_METRICS", "MEASURED_METRICS", "JUDGED_METRICS", "SEAT_METRICS")


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in getattr(schema, kind)])
def test_known_answers_notice_a_metric_that_is_wrong(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = getattr(schema, kind)
    metric = metrics[name]
    for wrong in (lambda facts: 2 * metric.of(facts), lambda facts: metric.of(facts) + 0.01):
        monkeypatch.setattr(schema, kind, {**metrics, name: metric._replace(of=wrong)})
        with pytest.raises(AssertionError, match=name):
            check_known_answers(schema)


OPERATORS: dict[type[ast.AST], ast.AST] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.Mult: ast.Div(),
    ast.Div: ast.Mult(),
    ast.GtE: ast.Gt(),
    ast.Gt: ast.GtE(),
    ast.Lt: ast.LtE(),
    ast.Eq: ast.NotEq(),
}
UNCHANGED = ("minlength", "dtype")  # arguments that say how something is computed, not what


def wrong_modules(module: ModuleType) -> Iterator[tuple[str, ast.Module]]:
    """The module with one operator exchanged, or one number raised, at a time."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in UNCHANGED
        for inner in ast.walk(node)
    }
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.BinOp | ast.AugAssign):
            changes = {"op": OPERATORS.get(type(node.op))}
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
            changes = {"ops": [OPERATORS[type(node.ops[0])]]}
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            changes = {"value": node.value + 1}
        else:
            continue
        if None in changes.values():
            continue
        other = copy.deepcopy(tree)
        changed = list(ast.walk(other))[place]
        for field, value in changes.items():
            setattr(changed, field, value)
        yield f"line {node.lineno}: {ast.unparse(changed)}", other


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["market_metrics", "health", "prediction_quality"])
def test_known_answers_notice_any_changed_operator_or_number(name: str) -> None:
    module, check_answers = {
        "market_metrics": (schema, check_known_answers),
        "health": (health, check_health),
        "prediction_quality": (prediction_quality, check_prediction_quality),
    }[name]
    survivors, tried = [], 0
    as_it_is = ModuleType(module.__name__)
    exec(compile(Path(str(module.__file__)).read_text(), "unchanged", "exec"), vars(as_it_is))
    check_answers(as_it_is)
    for what, tree in wrong_modules(module):
        tried += 1
        wrong = ModuleType(module.__name__)
        try:
            exec(compile(tree, "changed", "exec"), vars(wrong))
            check_answers(wrong)
        except Exception:
            continue
        survivors.append(what)
    assert tried > 15
    assert survivors == []


def test_a_rule_that_squeezes_small_advertisers_shows_it() -> None:
    """Twelve small advertisers with relevant ads and low bids, four large ones with high bids."""
    small, n = 12, 16
    rng = np.random.default_rng(3)
    market = with_settings(
        hand_market(
            np.where(np.arange(n) < small, rng.uniform(0.8, 1.2, n), rng.uniform(1.8, 2.2, n)),
            n_queries=6000,
            budget=np.where(np.arange(n) < small, 300.0, 3000.0) * rng.uniform(0.9, 1.1, n),
            users=replace(USERS, worth_of_click=(0.2, 0.5, 1.0, 1.2)),
            grade=np.where(np.arange(n) < small, 3, 1),
        ),
        pctr=np.where(np.arange(n) < small, 0.3, 0.1)[None, :],
        attraction=np.where(np.arange(n) < small, 0.3, 0.1)[None, :],
    )
    fair = market_metrics(simulate(market), market)
    squeezing = with_settings(market, rule=Product(pctr=0.0), auction=replace(market.auction, reserve=1.1))
    found = market_metrics(simulate(squeezing), squeezing)
    for name in ("small_impression_share", "small_spend_share"):
        assert found[name] < 0.5 * fair[name], name
    for name in ("spend_hhi", "impression_hhi", "large_impression_share", "large_spend_share", "loss_share"):
        assert found[name] > 2 * fair[name], (name, fair[name], found[name])


def test_health_does_not_depend_on_how_the_log_is_cut() -> None:
    market = with_settings(random_market(4), days=1)
    log = simulate(market)
    totals = Totals(market)
    for start in range(0, log.ad.size, 777):
        part = slice(start, start + 777)
        totals.add(Impressions(**{name: getattr(log, name)[part] for name in COLUMNS}))
    whole = market_metrics(log, market)
    assert totals.metrics(log) == pytest.approx(whole, rel=0, abs=0, nan_ok=True)
    assert 0 < whole["loss_share"] < 1
    assert whole["price_cv"] > 0


def test_an_empty_page_has_no_shares() -> None:
    market = hand_market([1.0], reserve=2.0)
    metrics = market_metrics(simulate(market), market)
    assert metrics["fill"] == 0.0
    assert metrics["revenue"] == 0.0
    assert isnan(metrics["irrelevant_share"])
    assert isnan(metrics["ctr"])


def test_log_as_tables() -> None:
    market = random_market(1, n_queries=300)
    log = simulate(market)
    shown, queries, accounts = log.impressions(), log.queries(), log.accounts()
    assert shown.columns == [
        *("query_index", "time_s", "query", "slot", "ad", "recall", "advertiser", "bid_micros", "pctr"),
        *("relevance", "score", "price_micros", "examined", "clicked", "charged_micros", "satisfied"),
        *("conversion_s", "grade"),
    ]
    assert shown.schema["price_micros"] == pl.Int64
    assert queries.height == 300
    assert queries["n_shown"].sum() == shown.height
    assert (queries["n_shown"] == np.minimum(queries["n_eligible"], 3)).all()
    assert accounts["spent"].sum() == pytest.approx(shown["charged_micros"].sum() / 1e6)
    fused = shown["bid_micros"] / 1e6 * shown["pctr"] * shown["relevance"]
    assert fused.to_numpy() == pytest.approx(shown["score"].to_numpy())


def test_settings_change_a_copy() -> None:
    market = hand_market([1.0])
    assert with_settings(market, seed=9).seed == 9
    assert market.seed == 5
