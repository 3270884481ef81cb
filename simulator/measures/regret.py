"""What each advertiser loses, and to what: allocation, estimation, overbidding, underbidding.

After Jeunen, Murphy and Allison 2022, "Learning to bid with AuctionGym" (AdKDD), which splits the regret of
bidders in second-price auctions; here for position auctions with pay per click, ranked by estimates.

For one auction and one advertiser, the bids of the others as they were, let u(b) be its expected surplus at
bid b,

    u(b) = examination[s(b)] x attraction x (worth - price(b)),    0 where it gets no slot,

with the slot and price that the auction gives, the true attraction, and the true worth of a click = value x
worth_of_click[grade]. u_est is of the auction as it was, ranked by the platform's pCTR and relevance; in u
the platform knows the attraction and, if asked for, the true relevance. With b the advertiser's own bid, b*
its best one in u, and b' the best one of a bidder who takes every click to be worth its value:

    allocation    u(b)  - u_est(b)   the platform ranked and priced by estimates; negative: it gained by them
    estimation    u(b*) - u(b')      it did not know what a click on this page is worth; never negative
    overbidding   u(b') - u(b)       over the auctions in which it stands above the slot of b'
    underbidding  u(b') - u(b)       over those in which it stands below

They sum to u(b*) - u_est(b). Over- and underbidding can be negative: shading every bid makes up for part of
what the advertiser does not know of a click. Budgets are left out, so an advertiser who paces shows
underbidding: that is what it costs to last the day. Surpluses are expectations over the clicks, so no random
draw enters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator import auction, journey
from simulator.arrays import BoolArray, FloatArray, IntArray
from simulator.click_learning import Prediction
from simulator.clock.engine import ticks, with_past
from simulator.clock.run import Run
from simulator.journey import Batch
from simulator.ledger import Ledger
from simulator.market import Market
from simulator.scoring import Scores
from simulator.serving import FULL

CHUNK = 512  # queries looked at in one go


@dataclass(frozen=True, slots=True)
class Regret:
    """Currency by advertiser, F[N]; `surplus` is its expected surplus over the clicks."""

    surplus: FloatArray
    allocation: FloatArray
    estimation: FloatArray
    overbidding: FloatArray
    underbidding: FloatArray

    @property
    def total(self) -> FloatArray:
        """Surplus of the best bids where the platform knows the truth, less the surplus that there was."""
        return self.allocation + self.estimation + self.overbidding + self.underbidding


class Offers(NamedTuple):
    """What each candidate could have had, against the bids of the others."""

    price: FloatArray  # [Q, K, S] per click: the least bid that takes the slot; infinite where none does
    slot: IntArray  # [Q, K] that its own bid takes; S for none


def advertiser_regret(market: Market, relevance: FloatArray | None = None) -> Regret:
    """Run a market and split each advertiser's regret, see the head of this module.

    Args:
        relevance: F[U, K] by which a platform that knows the truth ranks; None: the market's own, so that it
            is only the click prediction that is wrong.

    Raises:
        ValueError: the market is not one of second prices per click, position-based users, one rule, and
            answers on arrival by one scorer.
    """
    _check(market)
    market = with_past(market)
    run = _Watched(market)
    for _ in ticks(market, run):
        pass
    totals = np.zeros((5, market.budget_micros.size))
    for stretch in run.stretches:
        for start in range(0, stretch.rows.size, CHUNK):
            rows = stretch.rows[start : start + CHUNK]
            batch = journey.gather(
                market, stretch.bid, rows, stretch.participation, prediction=stretch.prediction
            )
            scores = batch.scores if relevance is None else Scores(relevance[batch.query])
            true = batch._replace(pctr=batch.attraction, scores=scores)
            present = (batch.candidate >= 0) & stretch.active[batch.advertiser]
            parts = split(
                offers(market, batch, present),
                offers(market, true, present),
                weight=np.asarray(market.users.examination) * batch.attraction[..., None],
                value=market.value[batch.candidate],
                worth=_worth(market, batch),
            )
            for total, part in zip(totals, parts, strict=True):
                np.add.at(total, batch.advertiser[present], part[present])
    return Regret(*totals)


def offers(market: Market, batch: Batch, present: BoolArray) -> Offers:
    """Prices of all slots for all candidates who are present B[Q, K], and the slots that they take."""
    model, n_slots = market.auction, market.n_slots
    score_reserve = model.least_score(batch.category)
    score = market.rule.score(batch.bid, batch.pctr, batch.relevance)
    eligible = auction.eligible(score, batch.bid, model.reserve, present, score_reserve)
    ranking = auction.allocate(score, eligible, n_slots + 1, journey.tie_break_draws(market, batch))
    ranked = np.where(ranking >= 0, np.take_along_axis(score, ranking, axis=1), -np.inf)
    row, place = np.nonzero(ranking >= 0)
    own = np.full(score.shape, n_slots + 1)
    own[row, ranking[row, place]] = place
    # Who stands above a slot without the candidate: itself left out, all below it move up by one.
    slot = np.arange(n_slots)
    rival = np.where(slot < own[..., None], ranked[:, None, :-1], ranked[:, None, 1:])
    rival = np.maximum(
        rival, np.asarray(score_reserve)[..., None] if np.ndim(score_reserve) else score_reserve
    )
    least = market.rule.bid_for_score(rival, batch.pctr[..., None], batch.relevance[..., None])
    return Offers(np.maximum(least, model.reserve), np.minimum(own, n_slots))


def split(
    as_it_was: Offers, with_truth: Offers, *, weight: FloatArray, value: FloatArray, worth: FloatArray
) -> tuple[FloatArray, ...]:
    """Surplus, allocation, estimation, overbidding and underbidding, each F[Q, K].

    Args:
        weight: F[Q, K, S] P(click) by slot.
        value: F[Q, K] of a click, as the advertiser knows it.
        worth: F[Q, K] of a click on this page, in truth.
    """
    price, slot = with_truth
    surplus = _at_slot(_margins(weight, worth, as_it_was.price), as_it_was.slot)
    margins = _margins(weight, worth, price)
    believed = _best_slot(_margins(weight, value, price))
    own, best = _at_slot(margins, slot), _at_slot(margins, _best_slot(margins))
    of_belief = _at_slot(margins, believed)
    bidding = of_belief - own
    return (
        surplus,
        own - surplus,
        best - of_belief,
        np.where(slot < believed, bidding, 0.0),
        np.where(slot > believed, bidding, 0.0),
    )


class Stretch(NamedTuple):
    """Arrivals that met the same bids and the same bidders."""

    rows: IntArray  # [Q]
    bid: FloatArray  # [A]
    participation: FloatArray  # [N]
    active: BoolArray  # [N]
    prediction: Prediction | None  # of clicks, where it is learnt


class _Watched(Run):
    """A run that remembers which bids met whom."""

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self.stretches: list[Stretch] = []

    def answer(
        self, rows: IntArray, answered_s: FloatArray, served: int = FULL, known: Batch | None = None
    ) -> None:
        trial = Ledger(self.accounts.budget, self.accounts.spent.copy(), self.accounts.active.copy())
        self.stretches += self._walk(trial, rows)
        super().answer(rows, answered_s, served, known)

    def _walk(self, accounts: Ledger, rows: IntArray) -> Iterator[Stretch]:
        """Answer rows on a copy of the accounts, in parts within which nobody runs out."""
        spent, active = accounts.spent.copy(), accounts.active.copy()
        bid, participation = self.bid, self.bidding.participation
        journey.answer(self.market, accounts, bid, rows, participation, prediction=self.prediction)
        if rows.size > 1 and not np.array_equal(active, accounts.active):
            accounts.spent, accounts.active = spent, active
            middle = rows.size // 2
            yield from self._walk(accounts, rows[:middle])
            yield from self._walk(accounts, rows[middle:])
        else:  # an advertiser that runs out at a query takes no part in it
            yield Stretch(rows, bid, participation, accounts.active.copy(), self.prediction)


def _check(market: Market) -> None:
    reasons = {
        "auction.mechanism must be gsp": market.auction.mechanism == "gsp",
        "auction.payment must be click": market.auction.payment == "click",
        "users.click_model must be position": market.users.click_model == "position",
        "serving must be instant": market.serving.instant,
        "serving.first_stage_keep must be 0": not market.serving.first_stage_keep,
        "there must be one rule for all arrivals": market.arm is None,
    }
    if wrong := [reason for reason, holds in reasons.items() if not holds]:
        raise ValueError(f"regret is not split in this market: {'; '.join(wrong)}")


def _worth(market: Market, batch: Batch) -> FloatArray:
    worth = np.asarray(market.users.worth_of_click)[batch.grade]
    return np.asarray(market.value[batch.candidate] * worth)


def _margins(weight: FloatArray, worth: FloatArray, price: FloatArray) -> FloatArray:
    """Expected surplus F[Q, K, S + 1] by slot, the last of no slot."""
    to_be_had = np.isfinite(price)
    margin = np.where(to_be_had, weight * (worth[..., None] - np.where(to_be_had, price, 0.0)), -np.inf)
    return np.concatenate([margin, np.zeros((*worth.shape, 1))], axis=-1)


def _best_slot(margins: FloatArray) -> IntArray:
    """The slot I[Q, K] of the greatest surplus; none rather than one that brings nothing."""
    n_slots = margins.shape[-1] - 1
    best: IntArray = n_slots - np.argmax(margins[..., ::-1], axis=-1)
    return best


def _at_slot(margins: FloatArray, slot: IntArray) -> FloatArray:
    return np.asarray(np.take_along_axis(margins, slot[..., None], axis=-1)[..., 0])
