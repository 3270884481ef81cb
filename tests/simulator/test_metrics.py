from math import isnan

import numpy as np
import polars as pl
import pytest

from simulator.clock.engine import simulate
from simulator.fusion import Product
from simulator.market import with_settings
from simulator.measures.market_metrics import market_metrics
from simulator.users import UserModel
from tests.simulator.markets import hand_market, random_market

USERS = UserModel(
    examination=(1.0, 0.5),
    value_of_seeing=(-0.2, 0.0, 0.1, 0.4),
    worth_of_click=(0.1, 0.4, 1.0, 2.0),
)


def test_metrics_by_hand() -> None:
    """Two slots, three bidders, three queries; everybody who looks clicks, and slot 0 is always looked at."""
    market = hand_market([4.0, 3.0, 1.0], n_queries=3, users=USERS, rule=Product(rel=0.0), grade=[0, 3, 2])
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
    assert metrics["user_utility"] == pytest.approx(3 * (1.0 * -0.2 + 0.5 * 0.4))
    assert metrics["welfare"] == pytest.approx(3 * 0.4 + clicks_below * 6.0 + metrics["user_utility"])
    assert metrics["ran_out_share"] == 0.0
    assert metrics["mean_latency_s"] == 0.0


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
        *("query_index", "time_s", "query", "slot", "ad", "advertiser", "bid_micros", "pctr", "relevance"),
        *("score", "price_micros", "examined", "clicked", "charged_micros", "satisfied", "conversion_s"),
        "grade",
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
