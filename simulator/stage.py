"""The ranking stage of a micro-batch where its scores lie: fusion, slots and prices as one array program.

It is the same program in NumPy and on the device of a scorer. Scores never leave the device; one transfer
brings back a page for each query.
"""

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import to_device
from numpy.typing import NDArray

from simulator import auction
from simulator.arrays import AnyArray, BoolArray, FloatArray, IntArray, namespace, take_at, taken_places
from simulator.fusion import FusionRule
from simulator.scoring import DeviceScorer as DeviceScorer

Draw = Callable[[BoolArray | None], FloatArray]
"""Draws the tie-break F[n, K] of some queries B[Q], n of them, or of all."""


class Pages(NamedTuple):
    """Who is shown where and at what price, for Q queries; 0 in empty slots."""

    ranking: AnyArray  # I[Q, S + 1] column of the candidate, -1 unfilled; the last is the runner-up
    score: AnyArray  # F[Q, S] fused
    price: AnyArray  # F[Q, S] per click
    relevance: AnyArray  # F[Q, S]
    n_eligible: AnyArray  # I[Q]


def rank_on_device(
    scorer: DeviceScorer,
    rule: FusionRule,
    model: auction.AuctionModel,
    examination: tuple[float, ...],
    query: IntArray,
    candidate: IntArray,
    bid: FloatArray,
    pctr: FloatArray,
    tie_break: FloatArray,
    active: BoolArray | None = None,
    category: IntArray | None = None,
) -> Pages:
    """Score, fuse, rank and price a micro-batch of queries I[Q], one slot for each number of `examination`.

    Args:
        scorer: knows queries and ads by their numbers.
        rule: works on the arrays of the scorer's device, as all rules of fusion.py do.
        candidate: ads I[Q, K], -1 padding.
        bid, pctr, tie_break: F[Q, K].
        active: B[Q, K], candidates who may bid; None: all. The others are not scored.
        category: I[Q] of the queries, for score reserves by category.
    """
    present = candidate >= 0 if active is None else (candidate >= 0) & active
    rel = scorer.relevance(query, np.where(present, candidate, -1))
    least = model.least_score(category)

    def draw(which: BoolArray | None) -> FloatArray:
        return tie_break if which is None else tie_break[which]

    return rank_scored(scorer.place, rule, model, examination, bid, pctr, rel, present, draw, least)


def rank_scored(
    place: Callable[[NDArray[Any]], AnyArray],
    rule: FusionRule,
    model: auction.AuctionModel,
    examination: tuple[float, ...],
    bid: FloatArray,
    pctr: FloatArray,
    rel: AnyArray,
    present: BoolArray,
    draw: Draw,
    score_reserve: float | FloatArray = -inf,
) -> Pages:
    """Fuse, rank and price where the relevance F[Q, K] lies; the pages are NumPy's.

    Args:
        place: puts an array on that device; it is not asked for NumPy's relevance.
        bid, pctr: F[Q, K]; `present` B[Q, K].
        draw: draws the tie-break; in NumPy only of the queries where candidates tie.
        score_reserve: least score, a float or F[Q, 1].
    """
    given = (rule, model, examination)
    if isinstance(rel, np.ndarray):
        return rank_pages(*given, bid, pctr, rel, present, draw, score_reserve)
    least = score_reserve if isinstance(score_reserve, float) else place(score_reserve)
    pages = rank_pages(
        *given, place(bid), place(pctr), rel, place(present), lambda _: place(draw(None)), least
    )
    xp, s = namespace(rel), len(examination)
    columns = [pages.ranking, pages.score, pages.price, pages.relevance, pages.n_eligible[:, None]]
    together = xp.concat([xp.astype(part, xp.float64) for part in columns], axis=-1)
    host = np.asarray(to_device(together, "cpu"))
    ranking, score, price, relevance, n_eligible = np.split(host, np.cumsum([s + 1, s, s, s]), axis=1)
    return Pages(ranking.astype(np.int64), score, price, relevance, n_eligible[:, 0].astype(np.int64))


def rank_pages(
    rule: FusionRule,
    model: auction.AuctionModel,
    examination: tuple[float, ...],
    bid: AnyArray,
    pctr: AnyArray,
    rel: AnyArray,
    present: AnyArray,
    draw: Callable[[BoolArray | None], AnyArray],
    score_reserve: AnyArray = -inf,
) -> Pages:
    """The same with all arrays, the pages among them, on one device."""
    xp = namespace(bid, pctr, rel)
    score = rule.score(bid, pctr, rel)
    eligible = auction.eligible(score, bid, model.reserve, present, score_reserve)
    n = len(examination) + 1
    if xp is np:
        ranking = auction.allocate_drawing(score, eligible, n, draw)
    else:
        ranking = auction.allocate(score, eligible, n, draw(None))
    price = auction.MECHANISMS[model.mechanism](
        auction.Ranked(ranking, score, rule, bid, pctr, rel, model.reserve, examination, score_reserve)
    )
    winner = ranking[:, :-1]
    shown, place = winner >= 0, taken_places(winner, score.shape[1])
    return Pages(
        ranking,
        xp.where(shown, take_at(score, place), 0.0),
        price,
        xp.where(shown, take_at(rel, place), 0.0),
        xp.count_nonzero(eligible, axis=1) if xp is np else eligible.sum(-1),
    )
