"""Station 5 of a fit: what a click is worth to an advertiser, if its bids are best responses.

A log does not hold values. Under an assumption on behaviour it bounds them: if an advertiser could not gain
by scaling all of its bids, and a click's value is its bid over one number, the shading, then

    shading = (clicks won x bid) / (cost of these clicks)

for a small change of the scale: value is the marginal cost of a click (Varian 2007, "Position auctions";
Edelman, Ostrovsky and Schwarz 2007, "Internet advertising and the generalized second-price auction"; with
scores and many auctions Athey and Nekipelov 2012, "A structural model of sponsored search advertising
auctions"). The marginal cost is found by auctioning each event again, with the bids of one advertiser scaled
and those of the others as they were. The cost of the clicks between bid and scaled-up bid bounds the value
from above, that between scaled-down bid and bid from below. Where budgets bind, or bids are not best
responses, the figure is the shading that would make them so, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from scenarios.fitting.auction_log import AuctionLog, Finding
from scenarios.fitting.ranking import Ranking
from scenarios.markets.table.auctions import relevance_by
from simulator import random
from simulator.arrays import BoolArray, FloatArray, IntArray
from simulator.auction import MECHANISMS, AuctionModel, Ranked, allocate, eligible
from simulator.fusion import FusionRule

STEP = 0.1
"""Bids are scaled up and down by this share."""
CHUNK = 8192
MOST_ADVERTISERS = 200
LEAST_MOVED = 5
"""Fewest events in which the scale changes clicks, for an advertiser's figures."""


class Response(NamedTuple):
    """What one candidate in each of R auctions gets at three scales of its bid: down, as it is, up."""

    clicks: FloatArray  # [R, 3] expected
    cost: FloatArray  # [R, 3] expected


class Values(NamedTuple):
    """Shading of n advertisers under best response, F[n]."""

    advertiser: IntArray
    shading: FloatArray  # bid / value at the marginal cost of both sides
    low: FloatArray  # 95% bootstrap interval over events
    high: FloatArray
    at_least: FloatArray  # from the marginal cost upwards, which is the most that a value can be
    at_most: FloatArray  # from the marginal cost downwards
    bid: FloatArray  # mean bid on the clicks


def respond(
    rule: FusionRule,
    auction: AuctionModel,
    *,
    bid: FloatArray,
    pctr: FloatArray,
    relevance: FloatArray,
    rate: FloatArray,
    present: BoolArray,
    column: IntArray,
    looked_at: FloatArray,
    tie_break: FloatArray,
    step: float = STEP,
) -> Response:
    """Auction R pages at three scales of one candidate's bid; all else stays.

    Args:
        bid: F[R, K] currency per click, as pctr, relevance, rate (P(click | looked at)), present, tie_break.
        column: I[R] the candidate whose bid is scaled.
        looked_at: F[S].
    """
    rows, n_slots = np.arange(column.size), looked_at.size
    clicks, cost = np.zeros((column.size, 3)), np.zeros((column.size, 3))
    for place, scale in enumerate((1.0 - step, 1.0, 1.0 + step)):
        scaled = bid.copy()
        scaled[rows, column] *= scale
        score = rule.score(scaled, pctr, relevance)
        may = eligible(score, scaled, auction.reserve, present)
        order = allocate(score, may, n_slots + 1, tie_break)
        looks = tuple(looked_at.tolist())
        ranked = Ranked(order, score, rule, scaled, pctr, relevance, auction.reserve, looks)
        price = MECHANISMS[auction.mechanism](ranked)
        won = order[:, :-1] == column[:, None]
        clicks[:, place] = (won * looked_at).sum(axis=1) * rate[rows, column]
        cost[:, place] = (won * looked_at * price).sum(axis=1) * rate[rows, column]
    return Response(clicks, cost)


def shading(bid: FloatArray, response: Response, first: int, last: int) -> float:
    """(clicks won x bid) / (their cost) between two scales, of R auctions; NaN where no click is won."""
    won = response.clicks[:, last] - response.clicks[:, first]
    paid = float((response.cost[:, last] - response.cost[:, first]).sum())
    return float(bid @ won) / paid if won.sum() > 0 and paid > 0 else float("nan")


def fit_values(
    log: AuctionLog,
    rate: FloatArray,
    ranked: Ranking,
    looked_at: FloatArray,
    *,
    seed: int = 1,
    draws: int = 200,
    most: int = MOST_ADVERTISERS,
) -> Values:
    """Shading of the advertisers with the largest expected spend under a ranking, at most `most`.

    Args:
        rate: F[U, K] P(click | looked at).
    """
    auctions = log.auctions
    met = auctions.candidate >= 0
    event, column = np.nonzero(met)
    owner = auctions.advertiser[auctions.candidate[event, column]]
    bid = np.where(met, auctions.bid[auctions.candidate], 0.0)
    relevance = relevance_by(auctions, ranked.way.scorer)
    tie = random.uniforms(seed, "ties of a fit", 0, *bid.shape)
    parts = []
    for start in range(0, event.size, CHUNK):
        at, one = event[start : start + CHUNK], column[start : start + CHUNK]
        parts.append(
            respond(
                ranked.way.fusion,
                ranked.auction,
                bid=bid[at],
                pctr=auctions.pctr[at],
                relevance=relevance[at],
                rate=rate[at],
                present=met[at],
                column=one,
                looked_at=looked_at,
                tie_break=tie[at],
            )
        )
    clicks, cost = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    own_bid = bid[event, column]
    spend = np.bincount(owner, weights=cost[:, 1], minlength=auctions.advertiser_id.len())
    rows = []
    for who in np.argsort(-spend, kind="stable")[:most].tolist():
        mine = owner == who
        response, theirs = Response(clicks[mine], cost[mine]), own_bid[mine]
        if int((response.clicks[:, 2] > response.clicks[:, 0]).sum()) < LEAST_MOVED:
            continue
        rng = random.generator(seed, f"values of advertiser {who}")
        low, high = _interval(theirs, response, rng, draws)
        total = float(response.clicks[:, 1].sum())
        mean_bid = float(theirs @ response.clicks[:, 1]) / total if total > 0 else np.nan
        up, down = shading(theirs, response, 1, 2), shading(theirs, response, 0, 1)
        rows.append((who, shading(theirs, response, 0, 2), low, high, up, down, mean_bid))
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 7)
    return Values(table[:, 0].astype(np.int64), *table[:, 1:].T)


def _interval(
    bid: FloatArray, response: Response, rng: np.random.Generator, draws: int
) -> tuple[float, float]:
    """95% interval of the shading between the outer scales, over auctions drawn with replacement."""
    n = bid.size
    weight = rng.multinomial(n, np.full(n, 1.0 / n), size=draws).astype(np.float64)
    won = weight @ (bid * (response.clicks[:, 2] - response.clicks[:, 0]))
    paid = weight @ (response.cost[:, 2] - response.cost[:, 0])
    good = (won > 0) & (paid > 0)
    if not good.any():
        return float("nan"), float("nan")
    low, high = np.quantile(won[good] / paid[good], [0.025, 0.975])
    return float(low), float(high)


def findings(found: Values, rng: np.random.Generator, draws: int = 200) -> Iterable[Finding]:
    """Median and spread of the shading, with bootstrap intervals over advertisers."""
    nan = float("nan")
    value = found.shading[np.isfinite(found.shading)]
    if not value.size:
        says = "not identified: no advertiser's clicks change with its bids"
        yield Finding("values", "shading, bid / value", nan, nan, nan, says)
        return
    drawn = rng.choice(value, (draws, value.size))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    says = (
        f"assumes that bids are best responses, which no log shows; median of {value.size:,} advertisers, "
        "interval over advertisers"
    )
    yield Finding("values", "shading, bid / value", float(np.median(value)), float(low), float(high), says)
    width = np.subtract(*np.quantile(drawn, [0.75, 0.25], axis=1))
    low, high = np.quantile(width, [0.025, 0.975])
    between = float(np.subtract(*np.quantile(value, [0.75, 0.25])))
    says = "between the quartiles of advertisers, their own errors included"
    yield Finding("values", "spread of the shading", between, float(low), float(high), says)
    for name, bounds, says in (
        ("shading at least", found.at_least, "median; from the cost of the next clicks upwards"),
        ("shading at most", found.at_most, "median; from the cost of the last clicks downwards"),
    ):
        bound = bounds[np.isfinite(bounds)]
        middle = float(np.median(bound)) if bound.size else nan
        yield Finding("values", name, middle, nan, nan, says)
