"""The ranking stage of a micro-batch where its scores lie: fusion, slots and prices as one array program.

The stations are the same functions that the journey calls, on the arrays of whatever device the scorer
computes on. Scores never leave it; one transfer brings back a page for each query.
"""

from math import inf
from typing import Any, NamedTuple, Protocol

import numpy as np
from array_api_compat import to_device
from numpy.typing import NDArray

from simulator import auction
from simulator.arrays import AnyArray, BoolArray, FloatArray, IntArray, namespace
from simulator.fusion import FusionRule


class DeviceScorer(Protocol):
    """A scorer that leaves its scores where it computes them (relevance.hcmrm.HcmrmScorer is one)."""

    def relevance(self, query: IntArray, candidate: IntArray) -> AnyArray:
        """Relevance of the candidates I[Q, K] of queries I[Q], F[Q, K] on the device; 0 at padding -1."""
        ...

    def place(self, values: NDArray[Any]) -> AnyArray:
        """A NumPy array on the device."""
        ...


class Pages(NamedTuple):
    """Who is shown where and at what price, for Q queries."""

    ranking: IntArray  # [Q, S + 1] column of the candidate, -1 unfilled; the last is the runner-up
    score: FloatArray  # [Q, S] fused, 0 in empty slots
    price: FloatArray  # [Q, S] per click, 0 in empty slots


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
    least = model.least_score(category)
    rel = scorer.relevance(query, np.where(present, candidate, -1))
    pages = rank_pages(
        rule,
        model,
        examination,
        scorer.place(bid),
        scorer.place(pctr),
        rel,
        scorer.place(present),
        scorer.place(tie_break),
        least if isinstance(least, float) else scorer.place(least),
    )
    s = len(examination)
    host: FloatArray = np.asarray(to_device(pages, "cpu"))
    return Pages(host[:, : s + 1].astype(np.int64), host[:, s + 1 : 2 * s + 1], host[:, 2 * s + 1 :])


def rank_pages(
    rule: FusionRule,
    model: auction.AuctionModel,
    examination: tuple[float, ...],
    bid: AnyArray,
    pctr: AnyArray,
    rel: AnyArray,
    present: AnyArray,
    tie_break: AnyArray,
    score_reserve: AnyArray = -inf,
) -> AnyArray:
    """The parts of `Pages` side by side in one array, F[Q, 3S + 1], all on one device.

    Args:
        bid, pctr, rel, tie_break: F[Q, K]; `present` B[Q, K].
        score_reserve: least score, a float or F[Q, 1].
    """
    xp = namespace(bid, pctr, rel)
    score = rule.score(bid, pctr, rel)
    eligible = auction.eligible(score, bid, model.reserve, present, score_reserve)
    ranking = auction.allocate(score, eligible, len(examination) + 1, tie_break)
    price = auction.MECHANISMS[model.mechanism](
        auction.Ranked(ranking, score, rule, bid, pctr, rel, model.reserve, examination, score_reserve)
    )
    winner = ranking[:, :-1]
    won = xp.take_along_axis(score, xp.clip(winner, min=0), axis=-1)
    shown = xp.where(winner >= 0, won, 0.0)
    return xp.concat((xp.astype(ranking, bid.dtype), shown, price), axis=-1)
