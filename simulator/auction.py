"""Station 5, auction: who gets which slot, and the price per click. NumPy arrays and torch tensors alike."""

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Protocol

from array_api_compat import array_namespace

from simulator.arrays import AnyArray


class InvertibleScore(Protocol):
    """What pricing asks of a fusion rule (see fusion.FusionRule.bid_for_score)."""

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray: ...


class PriceFunction(Protocol):
    """A pricing mechanism: the prices per click F[..., S] of a ranking I[..., S + 1] (see price_gsp)."""

    def __call__(
        self,
        ranking: AnyArray,
        score: AnyArray,
        rule: InvertibleScore,
        bid: AnyArray,
        pctr: AnyArray,
        rel: AnyArray,
        reserve: AnyArray,
    ) -> AnyArray: ...


def eligible(score: AnyArray, bid: AnyArray, reserve: AnyArray, present: AnyArray) -> AnyArray:
    """Who may be shown, B[..., K]: present, not ruled out by fusion, and bidding at least the reserve.

    `score` and `bid` are F[..., K], `present` is B[..., K]; `reserve` is in bid space (currency per click), a
    float or F[..., K] for reserves of each ad.
    """
    return present & (score > -inf) & (bid >= reserve)


def allocate(score: AnyArray, eligible: AnyArray, n_slots: int, tie_break: AnyArray) -> AnyArray:
    """Columns of the `n_slots` best eligible candidates, best first: F[..., K], B[..., K] -> I[..., n_slots].

    Equal scores are ordered by `tie_break` F[..., K] in [0, 1), larger first; -1 where nobody is left.
    One sweep over the candidates per slot, which beats sorting them while slots are few.
    """
    xp = array_namespace(score, tie_break)
    column = xp.arange(score.shape[-1])
    left = xp.where(eligible, score, -inf)
    winners = []
    for _ in range(n_slots):
        best = xp.max(left, axis=-1, keepdims=True)
        winner = xp.argmax(xp.where(left == best, tie_break, -1.0), axis=-1, keepdims=True)
        winners.append(xp.where(best > -inf, winner, -1))
        left = xp.where(column == winner, -inf, left)
    return xp.concat(winners, axis=-1)


def price_gsp(
    ranking: AnyArray,
    score: AnyArray,
    rule: InvertibleScore,
    bid: AnyArray,
    pctr: AnyArray,
    rel: AnyArray,
    reserve: AnyArray,
) -> AnyArray:
    """Generalised second price per click F[..., S]: the least bid that keeps the slot.

    `ranking` I[..., S + 1] is `allocate` with one rank more than there are slots: the last is the runner-up.
    The others are F[..., K], `reserve` also a float. Never below the reserve nor above the bid; 0 in empty
    slots. With nobody below, the price is the reserve, or the rule's least eligible bid if that is higher
    (Edelman, Ostrovsky and Schwarz 2007, "Internet advertising and the generalized second-price auction";
    scores as in Lahaie and Pennock 2007).
    """
    xp = array_namespace(score, bid)
    winner, follower = ranking[..., :-1], ranking[..., 1:]
    taken = xp.clip(winner, min=0)
    rival = xp.where(follower >= 0, xp.take_along_axis(score, xp.clip(follower, min=0), axis=-1), -inf)
    least = rule.bid_for_score(
        rival, xp.take_along_axis(pctr, taken, axis=-1), xp.take_along_axis(rel, taken, axis=-1)
    )
    floor = xp.take_along_axis(
        xp.broadcast_to(xp.asarray(reserve, dtype=bid.dtype), bid.shape), taken, axis=-1
    )
    # The inverse of a score may round to just above the bid that made it.
    price = xp.minimum(xp.maximum(least, floor), xp.take_along_axis(bid, taken, axis=-1))
    return xp.where(winner >= 0, price, 0.0)


MECHANISMS: Mapping[str, PriceFunction] = MappingProxyType({"gsp": price_gsp})
