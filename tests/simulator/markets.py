"""Small markets made by hand or at random, for tests."""

import numpy as np
from numpy.typing import ArrayLike

from simulator import random
from simulator.arrays import to_micros
from simulator.bidders import BidderModel
from simulator.fusion import FusionRule, Product
from simulator.ledger import UNLIMITED
from simulator.market import AuctionModel, Market, ServingModel
from simulator.users import UserModel

CERTAIN = UserModel(examination=(1.0,))  # one slot, always looked at


def hand_market(
    bid: ArrayLike,
    *,
    n_queries: int = 6,
    budget: ArrayLike | None = None,
    attraction: float = 1.0,
    users: UserModel = CERTAIN,
    reserve: float = 0.0,
    rule: FusionRule | None = None,
    relevance: ArrayLike = 1.0,
    grade: ArrayLike = 3,
    serving: ServingModel | None = None,
) -> Market:
    """One query again and again, one ad per advertiser, fixed bids (= values), pctr = attraction."""
    value = np.asarray(bid, dtype=np.float64)
    shape = (1, value.size)
    return Market(
        seed=5,
        candidate=np.arange(value.size)[None, :],
        grade=np.broadcast_to(np.asarray(grade, dtype=np.int8), shape),
        attraction=np.full(shape, attraction),
        pctr=np.full(shape, attraction),
        relevance=np.broadcast_to(np.asarray(relevance, dtype=np.float64), shape),
        advertiser=np.arange(value.size),
        value=value,
        budget_micros=np.full(value.size, UNLIMITED) if budget is None else to_micros(budget),
        paced=np.zeros(value.size, dtype=bool),
        arrival_s=np.arange(n_queries, dtype=np.float64),
        query=np.zeros(n_queries, dtype=np.int64),
        horizon_s=float(n_queries),
        rule=rule or Product(),
        auction=AuctionModel(reserve=reserve),
        users=users,
        bidders=BidderModel(shading=1.0, pacing_tick_s=float(n_queries)),
        serving=serving or ServingModel(),
    )


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
        candidate=candidate,
        grade=rng.integers(0, 4, owner.shape).astype(np.int8),
        attraction=attraction,
        pctr=np.round(attraction, 1),
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
