"""Bids by match type: what a click is worth depends on how retrieval found the ad, and advertisers learn it.

Four groups: exact, phrase and broad match on the bid keyword, and expanded, the platform's own broad match.
An advertiser has few conversions in a group, so its rate is shrunk to that of the whole market (empirical
Bayes: Efron and Morris 1975, "Data analysis using Stein's estimator and its generalizations"); the rate of
the market, as platforms report it, is shrunk to the prior.
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
from annotated_types import Gt, Le
from numpy.typing import NDArray

from relevance.ranges import check_ranges
from simulator.arrays import BoolArray, FloatArray, IntArray

GROUPS = ("exact", "phrase", "broad", "expanded")
"""By number; see `group_of`."""
N_GROUPS = len(GROUPS)
Factor: TypeAlias = Annotated[float, Gt(0), Le(1000)]


@dataclass(frozen=True, slots=True)
class MatchBids:
    """How advertisers bid by match type; by default they bid the same for all."""

    learn: bool = False  # from clicks and conversions, at the end of each day
    prior: tuple[Factor, Factor, Factor, Factor] = (
        1.0,
        1.0,
        1.0,
        1.0,
    )  # multipliers before any click, by group
    weight: Annotated[float, Gt(0), Le(1e9)] = (
        200.0  # clicks that the market's rate counts as in an advertiser's
    )

    def __post_init__(self) -> None:
        check_ranges(self, "bidders.match_bids")


def group_of(recall: NDArray[np.integer]) -> NDArray[np.integer]:
    """The group I[...] of how ads were found: 3 and above of `retrieval.RECALLS` is expanded."""
    group: NDArray[np.integer] = np.minimum(recall, N_GROUPS - 1)
    return group


def multipliers(model: MatchBids, clicks: IntArray, conversions: IntArray) -> FloatArray:
    """Bid multipliers F[N, 4] by group, from what N advertisers have seen so far, I[N, 4].

    A group's rate: (conversions + weight x market's rate) / (clicks + weight). The multiplier is that rate
    over the advertiser's own overall rate, in which each group weighs as it does in the rate: its clicks, and
    as many of the market's as `weight`. So an advertiser moves its bids between groups and not up or down.
    Before the market's first conversion they are the prior.
    """
    prior = np.asarray(model.prior)
    of_market, converted = clicks.sum(axis=0), conversions.sum(axis=0)
    if not converted.any():
        return np.broadcast_to(prior, clicks.shape).copy()
    k = model.weight
    overall = converted.sum() / of_market.sum()
    pooled = (converted + k * prior * overall) / (of_market + k)
    rate = (conversions + k * pooled) / (clicks + k)
    weight = clicks + k * of_market / of_market.sum()
    own = (weight * rate).sum(axis=1) / weight.sum(axis=1)
    found: FloatArray = rate / own[:, None]
    return found


class MatchCounts:
    """Clicks and conversions of N advertisers by group, of the days that are over; all are whole numbers.

    Conversions wait until they have happened.
    """

    def __init__(self, n: int) -> None:
        self.clicks, self.conversions, self._today = np.zeros((3, n, N_GROUPS), dtype=np.int64)
        self._when_s, self._cell = [np.zeros(0)], [np.arange(0)]  # of conversions that wait

    def count(
        self, advertiser: IntArray, recall: NDArray[np.integer], clicked: BoolArray, conversion_s: FloatArray
    ) -> None:
        """Count the clicks B[...] on ads, whose conversions come at F[...] seconds; infinite: never."""
        cell = (advertiser * N_GROUPS + group_of(recall))[clicked]
        self._today += self._by_cell(cell)
        when_s = conversion_s[clicked]
        self._when_s.append(when_s[np.isfinite(when_s)])
        self._cell.append(cell[np.isfinite(when_s)])

    def end_day(self, now: float) -> None:
        """The day's clicks, and the conversions until `now`, are known."""
        self.clicks, self._today = self.clicks + self._today, np.zeros_like(self._today)
        when_s, cell = np.concatenate(self._when_s), np.concatenate(self._cell)
        self.conversions += self._by_cell(cell[when_s <= now])
        self._when_s, self._cell = [when_s[when_s > now]], [cell[when_s > now]]

    def multipliers(self, model: MatchBids) -> FloatArray:
        """Bid multipliers F[N, 4]; see `multipliers`."""
        return multipliers(model, self.clicks, self.conversions)

    def later(self, seconds: float) -> "MatchCounts":
        """A copy for a clock that starts that many seconds later."""
        copied = MatchCounts(self.clicks.shape[0])
        copied.clicks += self.clicks
        copied.conversions += self.conversions
        copied._today += self._today
        copied._when_s, copied._cell = [when_s - seconds for when_s in self._when_s], list(self._cell)
        return copied

    def _by_cell(self, cell: IntArray) -> IntArray:
        return np.bincount(cell, minlength=self.clicks.size).reshape(self.clicks.shape)
