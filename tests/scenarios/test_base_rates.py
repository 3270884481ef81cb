"""Every base rate that the benchmark prints, against its definition on the log as a table."""

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest

from benchmarks.base_rates import RATES, Day, days

SMALL = ("world.query_pool=4000", "world.test_advertisers=60", "traffic.n_queries=3000")


@pytest.fixture(scope="module")
def day() -> Day:
    return next(days([3], SMALL))


@pytest.fixture(scope="module")
def expected(day: Day) -> Mapping[str, float]:
    log, market, metrics = day.run.log, day.run.market, day.run.metrics
    shown, queries, accounts = log.impressions(), log.queries(), log.accounts()
    share = queries["query"].value_counts()["count"] / queries.height
    product = pl.Series(day.world.truth.query_product[queries["query"].to_numpy()])
    broad, own, zero = pl.col("recall") >= 2, pl.col("recall") >= 3, pl.col("grade") == 0
    ctr = {s: shown.filter(pl.col("slot") == s)["clicked"].mean() for s in range(4)}
    bought = shown.filter("clicked").with_columns(bought=pl.col("conversion_s").is_finite())
    spend = accounts["spent"].sort(descending=True)
    found = {
        "largest share of a query": share.max(),
        "largest share of a product": product.value_counts()["count"].max() / queries.height,
        "effective number of queries": 1 / (share**2).sum(),
        "distinct queries in a day": queries["query"].n_unique(),
        "share of the 100 commonest queries": share.sort(descending=True)[:100].sum(),
        "eligible ads a query": queries["n_eligible"].mean(),
        "queries without an eligible ad": (queries["n_eligible"] == 0).mean(),
        "fill: shown ads / slots": shown.height / queries.height / 4,
        "sold slots at the reserve": (shown["price_micros"] <= 50_000).mean(),
        "price / bid": (shown["price_micros"] / shown["bid_micros"]).mean(),
        "impressions by broad match, the platform's own included": shown.select(broad.mean()).item(),
        "CTR of broad match / CTR of the rest": shown.filter(broad)["clicked"].mean()
        / shown.filter(~broad)["clicked"].mean(),
        "conversion of broad match / of exact": bought.filter(broad)["bought"].mean()
        / bought.filter(pl.col("recall") == 0)["bought"].mean(),
        "CTR an impression": shown["clicked"].mean(),
        "queries with a click on an ad": bought["query_index"].n_unique() / queries.height,
        "conversions a click": bought["bought"].mean(),
        "irrelevant ads, of shown ones": shown.select(zero.mean()).item(),
        "irrelevant ads found by the platform's own broad match": shown.filter(zero)
        .select(own.mean())
        .item(),
        "irrelevant share of those": shown.filter(own).select(zero.mean()).item(),
        "irrelevant share of the rest": shown.filter(~own).select(zero.mean()).item(),
        "advertisers out of budget": accounts["ran_out"].mean(),
        "top ten advertisers' share of spend": spend[:10].sum() / spend.sum(),
        "concentration of spend (HHI)": ((spend / spend.sum()) ** 2).sum(),
        "pCTR: AUC of clicks in a slot": metrics["pctr_auc"],
        "pCTR: expected clicks / clicks": metrics["pctr_calibration"],
        "pCTR read as relevance: AUC": metrics["pctr_relevance_auc"],
    }
    names = ("exact", "phrase", "broad", "synonym", "neighbour", "co-click", "category")
    found |= {f"impressions found by {n}": (shown["recall"] == i).mean() for i, n in enumerate(names)}
    found |= {f"CTR of slot {s + 1} / CTR of slot 1": ctr[s] / ctr[0] for s in (1, 2, 3)}
    assert market.auction.reserve == 0.05
    return found


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.name)
def test_a_base_rate_is_what_it_says(rate, day, expected):
    assert float(rate.of(day)) == pytest.approx(expected[rate.name], rel=1e-9, nan_ok=True)


def test_all_are_defined_once(expected):
    assert sorted(expected) == sorted(rate.name for rate in RATES)
    assert all(np.isfinite(value) for name, value in expected.items() if not name.startswith("CTR of slot"))
