"""Small markets made at random, for tests."""

import numpy as np

from simulator import random
from simulator.arrays import to_micros
from simulator.bidders import BidderModel
from simulator.fusion import FusionRule, Product
from simulator.market import AuctionModel, Market, ServingModel, with_settings
from simulator.pairs import PairTables
from simulator.users import UserModel


def random_market(
    seed: int,
    *,
    n_queries: int = 3000,
    n_distinct: int = 40,
    n_advertisers: int = 23,
    n_candidates: int = 7,
    budget: float = 6.0,
    tick_s: float = 997.0,
    rule: FusionRule | None = None,
    serving: ServingModel | None = None,
) -> Market:
    """A crowded little market: many budgets run out in mid-batch, and ticks fall where batches do not end."""
    rng = random.generator(seed, "random market")
    advertiser = np.repeat(np.arange(n_advertisers), 3)
    owner = np.argsort(rng.random((n_distinct, n_advertisers)), axis=1)[:, :n_candidates]
    candidate = np.where(rng.random(owner.shape) < 0.15, -1, owner * 3 + rng.integers(0, 3, owner.shape))
    attraction = rng.uniform(0.1, 0.5, owner.shape)
    # Coarse values, so that ties are common and the tie break matters.
    value = rng.integers(1, 6, advertiser.size) / 4.0
    return Market(
        seed=seed,
        pairs=PairTables(
            candidate, rng.integers(0, 4, owner.shape).astype(np.int8), attraction, np.round(attraction, 1)
        ),
        relevance=rng.integers(0, 5, owner.shape) / 4.0,
        advertiser=advertiser,
        value=value,
        budget_micros=to_micros(budget * rng.lognormal(sigma=1.0, size=n_advertisers)),
        paced=rng.random(n_advertisers) < 0.5,
        arrival_s=np.sort(rng.uniform(0.0, 86_400.0, n_queries)),
        query=rng.integers(0, n_distinct, n_queries),
        horizon_s=86_400.0,
        rule=rule or Product(),
        auction=AuctionModel(reserve=0.2),
        users=UserModel(examination=(1.0, 0.6, 0.3)),
        bidders=BidderModel(shading=1.0, pacing_tick_s=tick_s),
        serving=serving or ServingModel(),
    )


def corpus_market(n_queries: int, n_ads: int, *, n_arrivals: int = 300) -> Market:
    """The same for the queries and ads of a corpus: five ads each, of an advertiser each; no relevance."""
    market = random_market(3, n_queries=n_arrivals, n_distinct=n_queries)
    rng = np.random.default_rng(1)
    k = min(5, n_ads)
    candidate = np.argsort(rng.random((n_queries, n_ads)), axis=1)[:, :k]
    known = market.pairs.of(np.arange(n_queries))
    return with_settings(
        market,
        pairs=PairTables(candidate, *(column[:, :k] for column in known[1:])),
        relevance=None,
        advertiser=np.arange(n_ads),
        value=np.linspace(1.0, 2.0, n_ads),
        budget_micros=np.full(n_ads, 10**7),
        paced=np.zeros(n_ads, dtype=bool),
    )
