"""Station 5, auction: who gets which slot, and at what price. NumPy arrays and torch tensors alike.

A mechanism is a function from a ranking to prices per click; all take the same arguments. They are GSP, VCG
and first price, by name in `MECHANISMS`. What is paid is either that price for each click, or, per
impression, that price times the predicted click probability of the slot for each time that the ad is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, prod
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from array_api_compat import device

from simulator.arrays import MICROS, AnyArray, BoolArray, FloatArray, IntArray, namespace, to_micros


class InvertibleScore(Protocol):
    """What pricing asks of a fusion rule (see fusion.FusionRule.bid_for_score)."""

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray: ...


class PriceFunction(Protocol):
    """A pricing mechanism: prices per click F[..., S] of a ranking, never above the bids, 0 in empty slots.

    Args:
        ranking: I[..., S + 1], `allocate` with one rank more than there are slots: the last is the runner-up.
        score, bid, pctr, rel: F[..., K] of the candidates.
        rule: its inverse turns the score to beat into a bid.
        reserve: least price per click, a float or F[..., K] for reserves of each ad.
        click_weight: F[S], how likely each slot is looked at, not rising; only VCG needs it.
        score_reserve: least score, a float or F[..., 1]; its price is the bid that reaches it.
    """

    def __call__(
        self,
        ranking: AnyArray,
        score: AnyArray,
        rule: InvertibleScore,
        bid: AnyArray,
        pctr: AnyArray,
        rel: AnyArray,
        reserve: AnyArray,
        click_weight: Sequence[float] | None = None,
        score_reserve: AnyArray = -inf,
    ) -> AnyArray: ...


def eligible(
    score: AnyArray, bid: AnyArray, reserve: AnyArray, present: AnyArray, score_reserve: AnyArray = -inf
) -> AnyArray:
    """Who may be shown, B[..., K]: present, not ruled out by fusion, and reaching the reserves.

    `score` and `bid` are F[..., K], `present` is B[..., K]; `reserve` is in bid space (currency per click), a
    float or F[..., K] for reserves of each ad; `score_reserve` in score space, a float or F[..., 1].
    """
    may = present & (score > -inf) & (bid >= reserve)
    return may if _is_none(score_reserve) else may & (score >= score_reserve)


def allocate(score: AnyArray, eligible: AnyArray, n_slots: int, tie_break: AnyArray) -> AnyArray:
    """Columns of the `n_slots` best eligible candidates, best first: F[..., K], B[..., K] -> I[..., n_slots].

    Equal scores are ordered by `tie_break` F[..., K] in [0, 1), larger first; -1 where nobody is left.
    One sweep over the candidates per slot, which beats sorting them while slots are few.
    """
    xp = namespace(score, tie_break)
    column = xp.arange(score.shape[-1], device=device(score))
    left = xp.where(eligible, score, -inf)
    winners = []
    for _ in range(n_slots):
        best = xp.max(left, axis=-1, keepdims=True)
        winner = xp.argmax(xp.where(left == best, tie_break, -1.0), axis=-1, keepdims=True)
        winners.append(xp.where(best > -inf, winner, -1))
        left = xp.where(column == winner, -inf, left)
    return xp.concat(winners, axis=-1)


def allocate_drawing(
    score: FloatArray, eligible: BoolArray, n_slots: int, draw: Callable[[BoolArray], FloatArray]
) -> IntArray:
    """What `allocate` returns, with lots drawn where somebody ties: F[Q, K], B[Q, K] -> I[Q, n_slots].

    `draw` is given the rows B[Q] in which that is so, n of them, and returns their `tie_break` F[n, K]:
    drawing lots takes longer than the auction, and few are looked at. Which rows they are depends on the
    scores, so what lies on another device had better go to `allocate`, which never waits for a number.
    """
    k = score.shape[1]
    left = np.where(eligible, score, -inf)
    flat, row = left.reshape(-1), np.arange(0, left.size, k)
    ranking = np.empty((row.size, n_slots + 1), dtype=np.int64)
    best = np.empty(ranking.shape)
    for place in range(n_slots + 1):  # one more, who may tie with the last
        ranking[:, place] = winner = left.argmax(axis=1)
        best[:, place] = flat[row + winner]
        flat[row + winner] = -inf  # which `left` sees, too
    somebody = best > -inf
    tied = ((best[:, 1:] == best[:, :-1]) & somebody[:, 1:]).any(axis=1)
    ranking[~somebody] = -1
    if tied.any():
        ranking[tied, :-1] = allocate(score[tied], eligible[tied], n_slots, draw(tied))
    return ranking[:, :-1]


def price_gsp(
    ranking: AnyArray,
    score: AnyArray,
    rule: InvertibleScore,
    bid: AnyArray,
    pctr: AnyArray,
    rel: AnyArray,
    reserve: AnyArray,
    click_weight: Sequence[float] | None = None,
    score_reserve: AnyArray = -inf,
) -> AnyArray:
    """Generalised second price per click F[..., S]: the least bid that keeps the slot (see PriceFunction).

    With nobody below, the price is the reserve, or the rule's least eligible bid if that is higher (Edelman,
    Ostrovsky and Schwarz 2007, "Internet advertising and the generalized second-price auction"; scores as in
    Lahaie and Pennock 2007). `click_weight` is not looked at.
    """
    place = _places(ranking, score)
    taken = place[..., :-1]
    rival = _to_beat(ranking, place, score, score_reserve)
    least = rule.bid_for_score(rival, _at(pctr, taken), _at(rel, taken))
    return _within_bounds(least, ranking, taken, bid, reserve)


def price_vcg(
    ranking: AnyArray,
    score: AnyArray,
    rule: InvertibleScore,
    bid: AnyArray,
    pctr: AnyArray,
    rel: AnyArray,
    reserve: AnyArray,
    click_weight: Sequence[float] | None = None,
    score_reserve: AnyArray = -inf,
) -> AnyArray:
    """Vickrey-Clarke-Groves price per click F[..., S]: what the ads below lose by the winner's presence.

    With click weights alpha and c_t the least bid that beats the ad below slot t (or reaches a reserve), the
    price in slot s is sum over t >= s of (alpha_t - alpha_{t+1}) c_t / alpha_s, alpha being 0 past the last
    slot. Where the score is affine in the bid, the ranking maximises the sum of alpha x score, and this is
    the externality in it, counted in the winner's own bids (Varian 2007, "Position auctions", for plain bids;
    Aggarwal, Goel and Motwani 2006, "Truthful auctions for pricing search keywords", for weighted ones;
    Roberts, Gunawardena, Kash and Key 2013, "Ranking and tradeoffs in sponsored search auctions", for affine
    ones). A slot that is never looked at has its GSP price.

    Raises:
        ValueError: the rule is not affine in the bid, or the click weights are missing or rise.
    """
    if click_weight is None:
        raise ValueError("mechanism vcg needs click_weight: how likely each slot is looked at")
    check_vcg(rule, click_weight)
    xp = namespace(score, bid)
    place = _places(ranking, score)
    taken, rival = place[..., :-1], _to_beat(ranking, place, score, score_reserve)
    bid_at, pctr_at, rel_at = _at(bid, taken), _at(pctr, taken), _at(rel, taken)
    floor = xp.broadcast_to(_least(reserve, taken, bid), bid_at.shape)
    total, last = xp.zeros_like(bid_at), xp.zeros_like(bid_at)
    for t, (weight, below) in enumerate(zip(click_weight, [*click_weight[1:], 0.0], strict=True)):
        above = (..., slice(0, t + 1))  # the slots down to t: each of their ads keeps the one below t out
        target = xp.broadcast_to(rival[..., t : t + 1], rel_at[above].shape)
        critical = rule.bid_for_score(target, pctr_at[above], rel_at[above])
        critical = xp.minimum(xp.maximum(critical, floor[above]), bid_at[above])
        total[above] += (weight - below) * critical
        last[..., t] = critical[..., t]
    alpha = xp.asarray(click_weight, dtype=bid.dtype, device=device(bid))
    price = xp.where(alpha > 0, total / xp.where(alpha > 0, alpha, 1.0), last)
    return _within_bounds(price, ranking, taken, bid, reserve)


def price_first(
    ranking: AnyArray,
    score: AnyArray,
    rule: InvertibleScore,
    bid: AnyArray,
    pctr: AnyArray,
    rel: AnyArray,
    reserve: AnyArray,
    click_weight: Sequence[float] | None = None,
    score_reserve: AnyArray = -inf,
) -> AnyArray:
    """First price per click F[..., S]: the own bid (see PriceFunction)."""
    xp = namespace(score, bid)
    return xp.where(ranking[..., :-1] >= 0, _at(bid, _places(ranking, bid)[..., :-1]), 0.0)


MECHANISMS: Mapping[str, PriceFunction] = MappingProxyType(
    {"gsp": price_gsp, "vcg": price_vcg, "first_price": price_first}
)


def is_affine(rule: object) -> bool:
    """Whether a fusion rule says of itself that its score is affine in the bid: attribute `affine`.

    Affine: a * bid + c with a > 0 where the ad is eligible, a and c depending on pctr and rel alone. A rule
    without the attribute is taken not to be; `fusion.check_rule` tries whether one that says so speaks true.
    """
    return bool(getattr(rule, "affine", False))


def check_vcg(rule: object, click_weight: Sequence[float]) -> None:
    """ValueError where VCG is not defined: a rule that is not affine in the bid, or rising click weights."""
    if not is_affine(rule):
        raise ValueError(
            f"mechanism vcg is not defined for {rule}: its score is not affine in the bid, so ranking by it "
            "maximises no sum that a winner could take from others; take another rule, or the mechanism gsp. "
            "(A rule of your own says that it is affine with an attribute affine = True.)"
        )
    if min(click_weight) < 0 or any(b > a for a, b in pairwise(click_weight)):
        raise ValueError(
            f"mechanism vcg needs click weights that do not rise from slot to slot, got {click_weight}"
        )


@dataclass(frozen=True, slots=True)
class AuctionModel:
    """Mechanism, payment and reserves."""

    reserve: float = 0.05  # currency per click, in bid space
    mechanism: str = "gsp"  # a name in MECHANISMS: gsp, vcg, first_price
    payment: Literal["click", "impression"] = "click"
    score_reserve: float | None = None  # least fused score
    category_score_reserve: tuple[float, ...] = ()  # least fused score by category of the query; () is none

    def __post_init__(self) -> None:
        if self.reserve < 0:
            raise ValueError(f"auction.reserve must not be negative, got {self.reserve}")
        if self.mechanism not in MECHANISMS:
            raise ValueError(
                f"unknown auction mechanism {self.mechanism!r}: known are {', '.join(MECHANISMS)}"
            )
        if self.payment not in ("click", "impression"):
            raise ValueError(f"auction.payment must be 'click' or 'impression', got {self.payment!r}")

    def check(self, rule: object, click_weight: Sequence[float], query_category: IntArray | None) -> None:
        """ValueError where these settings do not fit a market's rule, slots or query categories I[U]."""
        if self.mechanism == "vcg":
            check_vcg(rule, click_weight)
        if not self.category_score_reserve:
            return
        n = 0 if query_category is None else int(query_category.max(initial=-1)) + 1
        if n == 0 or n > len(self.category_score_reserve):
            raise ValueError(
                f"auction.category_score_reserve has {len(self.category_score_reserve)} numbers and needs "
                f"one for each category of queries, of which there are {n}"
            )

    def least_score(self, category: IntArray | None) -> float | FloatArray:
        """The score reserve of queries of categories I[Q]: a float, or F[Q, 1]. The stricter of two holds."""
        least = -inf if self.score_reserve is None else self.score_reserve
        if not self.category_score_reserve or category is None:
            return least
        by_category: FloatArray = np.maximum(np.asarray(self.category_score_reserve), least)
        return by_category[category][:, None]


def price_micros(payment: str, price: FloatArray, click_weight: FloatArray, pctr: FloatArray) -> IntArray:
    """What is paid each time, I[..., S] in micros, from prices per click F[..., S].

    Per click it is the price, rounded. Per impression it is price x click weight F[S] x pctr F[..., S], the
    predicted click probability of the ad in its slot: the same money on average if the prediction is right,
    but it is the advertiser who bears the risk that it is not. Rounded down, so that it is never above bid x
    click weight x pctr; at most one micro is lost.
    """
    if payment == "click":
        return to_micros(price)
    return np.floor(price * (click_weight * pctr) * MICROS).astype(np.int64)


def charged_micros(payment: str, price_micros: IntArray, shown: BoolArray, clicked: BoolArray) -> IntArray:
    """What each slot costs its advertiser, I[..., S] micros: the price where it is due, otherwise 0."""
    return np.where(clicked if payment == "click" else shown, price_micros, 0)


def _is_none(score_reserve: AnyArray) -> bool:
    return isinstance(score_reserve, float) and score_reserve == -inf


def _places(ranking: AnyArray, score: AnyArray) -> AnyArray:
    """Where the ranked candidates stand in F[..., K] read row by row, I[..., S + 1].

    Column 0 stands in for nobody, and what is read of it is masked.
    """
    *rows, k = score.shape
    xp = namespace(ranking)
    start = xp.arange(0, prod(rows) * k, k, device=device(ranking))
    return xp.where(ranking > 0, ranking, 0) + xp.reshape(start, (*rows, 1))


def _at(values: AnyArray, place: AnyArray) -> AnyArray:
    """Values F[..., K] at places I[..., S]: what take_along_axis gives, five times as fast."""
    if isinstance(values, np.ndarray):
        return values.reshape(-1).take(place)
    xp = namespace(values)
    return xp.reshape(xp.take(xp.reshape(values, (-1,)), xp.reshape(place, (-1,)), axis=0), place.shape)


def _least(reserve: AnyArray, taken: AnyArray, bid: AnyArray) -> AnyArray:
    """The reserves of those who have taken slots, F[..., S], from a float or F[..., K]."""
    if isinstance(reserve, int | float):
        return namespace(bid).asarray(reserve, dtype=bid.dtype, device=device(bid))
    return _at(_spread(reserve, bid), taken)


def _spread(reserve: AnyArray, bid: AnyArray) -> AnyArray:
    xp = namespace(bid)
    return xp.broadcast_to(xp.asarray(reserve, dtype=bid.dtype, device=device(bid)), bid.shape)


def _to_beat(ranking: AnyArray, place: AnyArray, score: AnyArray, score_reserve: AnyArray) -> AnyArray:
    """The score F[..., S] that each slot's ad must reach to stay there: the follower's, or the reserve."""
    xp = namespace(score)
    rival = xp.where(ranking[..., 1:] >= 0, _at(score, place[..., 1:]), -inf)
    if _is_none(score_reserve):
        return rival
    return xp.maximum(rival, xp.asarray(score_reserve, dtype=score.dtype, device=device(score)))


def _within_bounds(
    price: AnyArray, ranking: AnyArray, taken: AnyArray, bid: AnyArray, reserve: AnyArray
) -> AnyArray:
    """Raised to the reserve, cut at the bid (a rule's inverse may round to just above it), 0 where empty."""
    xp = namespace(price, bid)
    price = xp.minimum(xp.maximum(price, _least(reserve, taken, bid)), _at(bid, taken))
    return xp.where(ranking[..., :-1] >= 0, price, 0.0)
