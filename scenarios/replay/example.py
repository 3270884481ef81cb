"""An example of a table of auctions, made by the simulator, so that the truth behind it is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from relevance.lexical import Bm25Scorer
from relevance.oracle import GRADE_GAIN
from scenarios.storage.parquet import write_parquet
from scenarios.storage.whole import whole_path
from simulator import random
from simulator.arrays import MICROS, FloatArray
from simulator.bidders import BidderModel
from simulator.clock.engine import simulate
from simulator.fusion import FusionRule, Product
from simulator.ledger import UNLIMITED
from simulator.log import SimulationLog
from simulator.market import Market, TrafficModel, build_market, retrieve_candidates, with_settings
from simulator.pctr import CtrModel
from simulator.scoring import score_candidates
from simulator.users import UserModel
from simulator.world import WorldConfig, build_world

WORLD = WorldConfig(test_advertisers=400, query_pool=10_000)
CANDIDATES = 10
BID_SIGMA = 0.3
"""Spread of log bids between the auctions of an ad: so a pair of query and ad is seen in several slots."""


@dataclass(frozen=True, slots=True)
class Example:
    """A small market whose ads bid anew in each auction, ranked with the first relevance, and its log."""

    market: Market
    """Each event its own query, each candidate its own ad; budgets without limit."""
    relevance: dict[str, FloatArray]
    """[U, K] by name."""
    owner: np.ndarray
    """I[A] the ad of the world that an ad of the market is."""
    query_text: tuple[str, ...]
    log: SimulationLog


def make_example(
    n_queries: int,
    *,
    seed: int = 1,
    ctr: CtrModel | None = None,
    rule: FusionRule | None = None,
    users: UserModel | None = None,
) -> Example:
    """Simulate a day of a small market in which advertisers change their bids from auction to auction.

    Two scores come with it: BM25, and "model", a stand-in for a neural one: the grade's gain, blurred.
    """
    world = build_world(WORLD, "test", draw=False)
    found = retrieve_candidates(world, CANDIDATES)
    candidate = found.ad
    base = build_market(
        world,
        found,
        np.ones(candidate.shape),
        seed=seed,
        traffic=TrafficModel(n_queries=n_queries),
        bidder_model=BidderModel(paced_share=0.0),
        ctr_model=ctr,
        users_model=users,
    )
    asked = candidate[base.query]
    met = asked >= 0
    bid = (
        base.bidders.shading
        * base.value[asked]
        * np.exp(BID_SIGMA * random.normals(seed, "bid of an auction", 0, *asked.shape))
    )
    bid = np.maximum(np.round(bid, 2), 0.01)
    blur = random.pair_normals(seed, "blur", base.query[:, None], asked)
    gain = np.asarray(GRADE_GAIN)[base.grade[base.query]]
    scores = {
        "bm25": score_candidates(Bm25Scorer(world.corpus), candidate)[base.query],
        "model": np.where(met, np.clip(gain + 0.15 * blur, 0.0, 1.0).round(4), 0.0),
    }
    column = np.where(met, np.cumsum(met).reshape(met.shape) - 1, -1)
    market = with_settings(
        base,
        candidate=column,
        grade=base.grade[base.query],
        attraction=base.attraction[base.query],
        pctr=base.pctr[base.query],
        recall=base.recall[base.query],
        relevance=scores["model"],
        advertiser=base.advertiser[asked[met]],
        value=bid[met] / base.bidders.shading,
        budget_micros=np.full_like(base.budget_micros, UNLIMITED),
        query=np.arange(base.query.size),
        query_category=None,
        rule=rule or Product(),
    )
    texts = tuple(world.corpus.query_text[query] for query in base.query)
    return Example(market, scores, asked[met], texts, simulate(market))


def as_table(example: Example) -> pl.DataFrame:
    """The rows of an example, as `scenarios.markets.table.columns` describes them."""
    market, log = example.market, example.log
    event, column = np.nonzero(market.candidate >= 0)
    ad = market.candidate[event, column]
    shown = pl.DataFrame(
        {
            "_ad": log.ad,
            "position": log.slot + 1,
            "clicked": log.clicked,
            "price": log.price_micros / MICROS,
        }
    )
    rows = pl.DataFrame(
        {
            "_ad": ad,
            "query_id": event + 1,
            "time_s": market.arrival_s[event].round(3),
            "query": [example.query_text[row] for row in event],
            "ad_id": example.owner[ad],
            "advertiser_id": market.advertiser[ad],
            "bid": (market.value[ad] * market.bidders.shading).round(6),
            "pctr": market.pctr[event, column],
            **{f"relevance_{name}": score[event, column] for name, score in example.relevance.items()},
            "grade": market.grade[event, column],
        }
    )
    return rows.join(shown, on="_ad", how="left", maintain_order="left").drop("_ad")


def write_example(path: Path, *, n_rows: int = 1000, seed: int = 1) -> int:
    """Write at most `n_rows` rows of an example, whole events only; returns how many rows that are.

    The name of the file decides between Parquet and JSON lines.

    Raises:
        TableError: the name says neither.
        StoreError: it cannot be written.
    """
    from scenarios.markets.table.rows import LINES, check_kind

    check_kind(path)
    table = as_table(make_example(60 + n_rows // 3, seed=seed))
    sizes = table.group_by("query_id", maintain_order=True).len()
    kept, left = [], n_rows
    for query_id, size in sizes.iter_rows():  # an event that does not fit is left out
        if size <= left:
            kept.append(query_id)
            left -= size
    table = table.filter(pl.col("query_id").is_in(kept))
    with whole_path(path) as part:
        if path.suffix.lower() in LINES:
            table.write_ndjson(part)
        else:
            write_parquet(table, part)
    return table.height
