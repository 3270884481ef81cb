"""Station 5, auction: who gets which slot, and at what price. NumPy arrays and torch tensors alike.

A mechanism is a function from a ranking to prices per click; all take the same arguments. They are GSP, VCG
and first price, by name in `MECHANISMS`. What is paid is either that price for each click, or, per
impression, that price times the predicted click probability of the slot for each time that the ad is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from annotated_types import Ge, Le
from array_api_compat import device, is_array_api_obj
from numpy.typing import ArrayLike

from relevance.ranges import Money, check_ranges, check_within
from simulator.arrays import (
    MICROS,
    AnyArray,
    BoolArray,
    FloatArray,
    IntArray,
    as_float,
    namespace,
    take_at,
    taken_places,
    to_micros,
)
from simulator.reasons import Reason, Terms, why_not_shown, why_shown
from simulator.rules.protocol import FusionRule, is_affine


class Ranked(NamedTuple):
    """Auctions whose candidates are ranked: all that a mechanism needs to price them."""

    ranking: AnyArray  # I[..., S + 1] `allocate` with one rank more than there are slots: the runner-up
    score: AnyArray  # F[..., K] of the candidates
    rule: FusionRule  # its inverse turns the score to beat into a bid
    bid: AnyArray  # F[..., K] currency per click
    pctr: AnyArray  # F[..., K]
    rel: AnyArray  # F[..., K]
    reserve: AnyArray  # least price per click, a float or F[..., K] for reserves of each ad
    examination: Sequence[float] | None = None  # how likely each slot is looked at, not rising; for VCG
    score_reserve: AnyArray = -inf  # least score, a float or F[..., 1]; its price is the bid that reaches it


PriceFunction: TypeAlias = Callable[[Ranked], AnyArray]
"""A mechanism: prices per click F[..., S] of ranked auctions, never above the bids, 0 in empty slots."""


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
    """What `allocate` returns, drawing only where candidates tie: F[Q, K], B[Q, K] -> I[Q, n_slots].

    `draw` is given the rows B[Q] with ties, n of them, and returns their `tie_break` F[n, K]. Drawing takes
    longer than the auction, and few draws are read. Which rows tie depends on the scores, so arrays on
    another device should go to `allocate`, which never waits for a number from there.
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


def price_gsp(ranked: Ranked) -> AnyArray:
    """Generalised second price per click F[..., S]: the least bid that keeps the slot.

    With nobody below, the price is the reserve, or the rule's least eligible bid if that is higher (Edelman,
    Ostrovsky and Schwarz 2007, "Internet advertising and the generalized second-price auction"; scores as in
    Lahaie and Pennock 2007).
    """
    winner = _winners(ranked)
    least = ranked.rule.bid_for_score(winner.to_beat, winner.pctr, winner.rel)
    return _within_bounds(least, winner)


def price_vcg(ranked: Ranked) -> AnyArray:
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
    if ranked.examination is None:
        raise ValueError("mechanism vcg needs examination: how likely each slot is looked at")
    check_vcg(ranked.rule, ranked.examination)
    winner, weights = _winners(ranked), ranked.examination
    bid = winner.bid
    xp = namespace(bid)
    reserve = xp.broadcast_to(winner.reserve, bid.shape)
    total, last = xp.zeros_like(bid), xp.zeros_like(bid)
    for t, (weight, below) in enumerate(zip(weights, [*weights[1:], 0.0], strict=True)):
        above = (..., slice(0, t + 1))  # the slots down to t: each of their ads keeps the one below t out
        target = xp.broadcast_to(winner.to_beat[..., t : t + 1], bid[above].shape)
        critical = ranked.rule.bid_for_score(target, winner.pctr[above], winner.rel[above])
        critical = xp.minimum(xp.maximum(critical, reserve[above]), bid[above])
        total[above] += (weight - below) * critical
        last[..., t] = critical[..., t]
    alpha = xp.asarray(weights, dtype=bid.dtype, device=device(bid))
    price = xp.where(alpha > 0, total / xp.where(alpha > 0, alpha, 1.0), last)
    return _within_bounds(price, winner)


def price_first(ranked: Ranked) -> AnyArray:
    """First price per click F[..., S]: the own bid."""
    winner = _winners(ranked)
    return _within_bounds(winner.bid, winner)


MECHANISMS: Mapping[str, PriceFunction] = MappingProxyType(
    {"gsp": price_gsp, "vcg": price_vcg, "first_price": price_first}
)


def check_mechanism(name: str) -> None:
    """ValueError unless `name` is in MECHANISMS."""
    if name not in MECHANISMS:
        raise ValueError(f"unknown auction mechanism {name!r}: known are {', '.join(MECHANISMS)}")


def check_vcg(rule: object, click_weight: Sequence[float]) -> None:
    """ValueError where VCG is not defined: a rule that is not affine in the bid, or rising click weights."""
    if not is_affine(rule):
        raise ValueError(
            "mechanism vcg is not defined for this fusion rule: its score is not affine in the bid, so "
            "ranking by it maximises no sum that a winner could take from others; take another rule, or the "
            "mechanism gsp. (A rule of your own says that it is affine with an attribute affine = True.)"
        )
    if min(click_weight) < 0 or any(b > a for a, b in pairwise(click_weight)):
        raise ValueError(
            "mechanism vcg needs click weights (users.examination) that do not rise from slot to slot, got "
            + ", ".join(f"{weight:g}" for weight in click_weight)
        )


Score: TypeAlias = Annotated[float, Ge(-1e12), Le(1e12)]
"""A fused score; the logarithm of one may be negative."""


@dataclass(frozen=True, slots=True)
class AuctionModel:
    """Mechanism, payment and reserves."""

    reserve: Money = 0.05  # currency per click, in bid space
    mechanism: str = "gsp"  # a name in MECHANISMS: gsp, vcg, first_price
    payment: Literal["click", "impression"] = "click"
    score_reserve: Score | None = None  # least fused score
    category_score_reserve: tuple[Score, ...] = ()  # least fused score by category of the query; () is none

    def __post_init__(self) -> None:
        check_ranges(self, "auction")
        check_mechanism(self.mechanism)
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


@dataclass(frozen=True, slots=True)
class AuctionResult:
    """One auction: who won at what price, and why; ads go by their places in the lists that were given.

    `str()` says all of it, a line for each ad.
    """

    winners: tuple[int, ...]  # the ads shown, from the top; fewer than slots where nobody else is eligible
    prices: tuple[float, ...]  # per click, of each winner
    runner_up: int | None  # the best of the ads that are not shown
    scores: tuple[float, ...]  # of every ad; -inf: the rule does not admit it
    reasons: tuple[Reason, ...]  # of every ad: why it has its place and price

    def __str__(self) -> str:
        """One line for each ad: the winners from the top, then the others."""
        others = [ad for ad in range(len(self.reasons)) if ad not in self.winners]
        return "\n".join(f"ad {ad}: {self.reasons[ad]}" for ad in (*self.winners, *others))


def run_auction(
    bids: ArrayLike | AnyArray,
    rule: FusionRule,
    *,
    slots: int | Sequence[float],
    pctr: ArrayLike | AnyArray = 1.0,
    relevance: ArrayLike | AnyArray = 1.0,
    mechanism: str = "gsp",
    reserve: ArrayLike | AnyArray = 0.0,
    score_reserve: float = -inf,
    tie_break: ArrayLike | AnyArray | None = None,
) -> AuctionResult:
    """Rank and price one auction of K ads. Lists, numbers, NumPy arrays and torch tensors are all taken.

    Args:
        bids: F[K] currency per click; a number is a lone bidder.
        rule: scores the ads (see fusion.py); torch tensors reach it as tensors.
        slots: how many there are, or how likely each is looked at, from the top. Only VCG reads the latter.
        pctr: F[K] predicted P(click | looked at), or one number for all.
        relevance: F[K] in [0, 1], or one number for all.
        mechanism: a name in MECHANISMS: gsp, vcg, first_price.
        reserve: least price per click, one number or F[K].
        score_reserve: least score.
        tie_break: F[K], of equal scores the larger comes first; None: the ad that is listed first.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, no slot, an unknown mechanism, or VCG
            without examination probabilities that do not rise or with a rule that is not affine in the bid.
        TypeError: something that is no number.
    """
    if not isinstance(rule, FusionRule) or isinstance(rule, type):
        raise TypeError(f"rule must be a fusion rule, such as Product(), got {rule!r}")
    check_within("score_reserve", score_reserve, -inf, inf)
    given = bids, pctr, relevance, reserve, tie_break
    tensors = [x for x in given if is_array_api_obj(x) and not isinstance(x, np.ndarray | np.generic)]
    xp = namespace(*tensors) if tensors else np
    place = {} if not tensors else {"device": device(tensors[0])}
    bid = _numbers("bids", bids, xp, place)
    if bid.ndim == 0:
        bid = xp.reshape(bid, (1,))
    if bid.ndim != 1 or bid.shape[0] == 0:
        raise ValueError(f"bids must be a list of one number for each ad, got shape {tuple(bid.shape)}")
    k = bid.shape[0]

    def of_each(name: str, value: ArrayLike | AnyArray) -> AnyArray:
        numbers = _numbers(name, value, xp, place)
        if numbers.ndim and numbers.shape != (k,):
            raise ValueError(
                f"{name} must be one number or one for each of the {k} bids, got shape {tuple(numbers.shape)}"
            )
        return xp.astype(xp.broadcast_to(numbers, (k,)), bid.dtype)

    click, rel, least = of_each("pctr", pctr), of_each("relevance", relevance), of_each("reserve", reserve)
    tie = of_each("tie_break", range(k, 0, -1) if tie_break is None else tie_break)
    examination = _slots(slots, mechanism)

    score = rule.score(bid, click, rel)
    may = eligible(score, bid, least, bid == bid, score_reserve)
    ranking = allocate(score, may, len(examination) + 1, tie)
    ranked = Ranked(ranking, score, rule, bid, click, rel, least, examination, score_reserve)
    price = MECHANISMS[mechanism](ranked)
    order = [int(ad) for ad in ranking if ad >= 0]
    winners = order[: len(examination)]
    prices = [float(one) for one in price[: len(winners)]]
    return AuctionResult(
        winners=tuple(winners),
        prices=tuple(prices),
        runner_up=order[-1] if len(order) > len(winners) else None,
        scores=tuple(float(one) for one in score),
        reasons=tuple(_reason(ad, ranked, mechanism, order, prices) for ad in range(k)),
    )


def _reason(ad: int, ranked: Ranked, mechanism: str, order: Sequence[int], prices: Sequence[float]) -> Reason:
    """Why an ad of one auction has its place; `order` lists the winners and the runner-up."""
    terms = Terms(mechanism, float(ranked.reserve[ad]), ranked.score_reserve)
    score, bid = float(ranked.score[ad]), float(ranked.bid[ad])
    if ad in order[: len(prices)]:
        slot = order.index(ad)
        rival = order[slot + 1] if slot + 1 < len(order) else None
        return why_shown(
            terms,
            slot=slot + 1,
            score=score,
            price=prices[slot],
            bid=bid,
            rival=rival,
            rival_score=-inf if rival is None else float(ranked.score[rival]),
        )
    one = slice(ad, ad + 1)
    last_score = ranked.score[order[len(prices) - 1]] if prices else -inf

    def needed() -> float:
        target = namespace(ranked.bid).full_like(ranked.bid[one], float(last_score))
        return float(ranked.rule.bid_for_score(target, ranked.pctr[one], ranked.rel[one])[0])

    return why_not_shown(
        terms,
        score=score,
        bid=bid,
        relevance=float(ranked.rel[ad]),
        last_score=float(last_score),
        needed=needed,
    )


def _numbers(name: str, value: ArrayLike | AnyArray, xp: Any, place: Mapping[str, Any]) -> AnyArray:
    """An array of finite floats; ValueError and TypeError name the argument."""
    try:
        numbers = as_float(xp.asarray(value, **place))
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be numbers, got {value!r}") from None
    if not bool(xp.all(xp.isfinite(numbers))):
        raise ValueError(f"{name} must be finite numbers, got {value!r}")
    return numbers


def _slots(slots: int | Sequence[float], mechanism: str) -> Sequence[float]:
    """How likely each slot is looked at, from that or from how many there are."""
    check_mechanism(mechanism)
    if isinstance(slots, int):
        if slots > 1 and mechanism == "vcg":
            raise ValueError(
                "mechanism vcg needs how likely each slot is looked at: slots=(1.0, 0.7), say, instead of "
                f"slots={slots}"
            )
        examination: Sequence[float] = (1.0,) * slots
    else:
        try:
            examination = [float(share) for share in slots]
        except (TypeError, ValueError):
            examination = []
    if not examination or not all(0 <= share <= 1 for share in examination):
        raise ValueError(
            f"slots must be how many there are, at least 1, or a probability for each, got {slots!r}"
        )
    return examination


class _Winners(NamedTuple):
    """The ads in the slots, and the score that each must beat to stay; [..., S], any number where empty."""

    filled: AnyArray  # B
    bid: AnyArray
    pctr: AnyArray
    rel: AnyArray
    reserve: AnyArray  # a single number where all have the same
    to_beat: AnyArray  # score of the ad ranked next, or the score reserve if that is higher; -inf for none


def _winners(ranked: Ranked) -> _Winners:
    ranking, score, bid = ranked.ranking, as_float(ranked.score), as_float(ranked.bid)
    xp = namespace(score, bid)
    place = taken_places(ranking, bid.shape[-1])
    taken = place[..., :-1]
    to_beat = xp.where(ranking[..., 1:] >= 0, take_at(score, place[..., 1:]), -inf)
    if not _is_none(ranked.score_reserve):
        least = xp.asarray(ranked.score_reserve, dtype=score.dtype, device=device(score))
        to_beat = xp.maximum(to_beat, least)
    reserve = xp.asarray(ranked.reserve, dtype=bid.dtype, device=device(bid))
    if reserve.ndim:
        reserve = take_at(xp.broadcast_to(reserve, bid.shape), taken)
    return _Winners(
        filled=ranking[..., :-1] >= 0,
        bid=take_at(bid, taken),
        pctr=take_at(as_float(ranked.pctr), taken),
        rel=take_at(as_float(ranked.rel), taken),
        reserve=reserve,
        to_beat=to_beat,
    )


def _within_bounds(price: AnyArray, winner: _Winners) -> AnyArray:
    """Raised to the reserve, cut at the bid (a rule's inverse may round to just above it), 0 where empty."""
    xp = namespace(price)
    return xp.where(winner.filled, xp.minimum(xp.maximum(price, winner.reserve), winner.bid), 0.0)
