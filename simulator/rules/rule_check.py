"""What `fusion.check_rule` tries: a rule alone on a grid of ads, then in auctions among others.

For a user's own rule, in their own tests:

    assert check_rule(MyRule()) == []
"""

from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple

import numpy as np

from relevance.errors import PluginError
from relevance.plug_in import Plugin, class_name, raised, text_of
from simulator import auction
from simulator.arrays import FloatArray
from simulator.rules.formula import LEAST_BID, Formula
from simulator.rules.protocol import FusionRule, is_affine

FAULTS: Mapping[str, str] = {
    "no_rule": "the rule must have the methods score(bid, pctr, rel) and bid_for_score(target, pctr, rel)",
    "raised": "the rule failed: {error}",
    "shape": "score must return floats of the shape {wanted} it got, not {dtype} {shape}",
    "nobody_eligible": "no ad is ever eligible: every score is -inf",
    "nowhere_rises": "no ad is ever eligible: the expression is nowhere a number that rises with b",
    "changes_arguments": "score changes the arrays that it is given",
    "random": "score answers the same question differently: it must not draw random numbers or remember",
    "depends_on_others": "an ad's score depends on the other ads or their order, not on its own numbers only",
    "not_a_number": "score is not a number (an ineligible ad must score -inf)",
    "infinite": "score is +inf",
    "shut_out": "an eligible ad becomes ineligible by bidding more",
    "not_rising": "the score does not rise strictly in the bid",
    "inverse_shape": "bid_for_score must return one number per ad, +inf where no bid suffices, and never NaN",
    "no_inverse": "bid_for_score does not give the score's bid",
    "entry": "bid_for_score(-inf) is not the least eligible bid: negative, or above an eligible bid",
    "falls_short": "the bid from bid_for_score does not reach its target",
    "not_least": "a lower bid reaches the target too",
    "out_of_reach": "bid_for_score is +inf though the target is reached",
    "price_above_bid": "the price that keeps a slot is above the bid that won it",
    "loses_slot": "an ad loses its slot by bidding more",
    "order": "the outcome depends on the order of the candidates",
    "not_affine": "the rule says that it is affine, but its score is not: drop the attribute affine",
}
"""What may be wrong with a rule, by its kind: sentences with the names of their values."""

WHERE = "{fault}: bid {bid:.4g}, pctr {pctr:.4g}, rel {rel:.4g}"
"""A fault with the ad at which it was found."""


class Fault(str):
    """A fault in words, and its parts: a key of FAULTS, its values, and the ad where it was found."""

    __slots__ = ("at", "kind", "values")
    kind: str
    values: Mapping[str, object]
    at: Mapping[str, float] | None

    def __new__(cls, kind: str, at: Mapping[str, float] | None = None, **values: object) -> "Fault":
        text = FAULTS[kind].format(**values)
        fault = super().__new__(cls, text if at is None else WHERE.format(fault=text, **at))
        fault.kind, fault.values, fault.at = kind, values, at
        return fault

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)  # another process gets the words only


def check_rule(rule: FusionRule, name: str | None = None) -> list[Fault]:
    """Try a rule in auctions; say in words what makes it unfit for GSP. An empty list: nothing was found.

    Scores must be finite or -inf, rise strictly in the bid, stay eligible as the bid rises, depend on the own
    ad alone and leave their arguments as they were; `bid_for_score` must be their inverse (the least bid that
    reaches a score; for -inf the least eligible bid). In auctions, nobody may need more than its bid to keep
    its slot, nor lose a slot by bidding more; the order of the candidates may not matter; and a rule that
    says it is affine must be.

    Args:
        name: what the user is told to wait for; by default its class's name.
    """
    try:
        with Plugin(f"fusion rule {name or class_name(rule)}"), np.errstate(all="ignore"):
            if not isinstance(rule, FusionRule):
                return [Fault("no_rule")]
            return _score_faults(rule, _grid()) or _inverse_faults(rule, _grid()) or _auction_faults(rule)
    except Exception as error:  # a user's rule may raise anything, and the answer is given in words
        said = text_of(error.at()) if isinstance(error, PluginError) else raised(error)
        return [Fault("raised", error=said)]


class RuleTraits(NamedTuple):
    """How a sound rule behaves; neither is a fault."""

    homogeneous: bool  # doubling all bids and reserves doubles all prices and moves nobody
    affine: bool  # the score is affine in the bid wherever the ad is eligible, so VCG is defined


def rule_traits(rule: FusionRule) -> RuleTraits:
    """Try how a rule that `check_rule` passes behaves when all bids double, and whether it is affine."""
    with np.errstate(all="ignore"):
        plain, doubled = (_Page.of(rule, _auctions(), scale) for scale in (1.0, 2.0))
        same = np.array_equal(plain.ranking, doubled.ranking)
        homogeneous = same and np.allclose(doubled.price, 2 * plain.price, rtol=1e-6, atol=0.0)
        return RuleTraits(homogeneous, _looks_affine(rule))


class _Ads(NamedTuple):
    """Every column is one ad, its bid rising from top to bottom."""

    bid: FloatArray
    pctr: FloatArray
    rel: FloatArray


def _grid() -> _Ads:
    pctr, rel = np.meshgrid([0.001, 0.02, 0.13, 0.6], [0.0, 0.07, 0.31, 0.5, 0.83, 1.0])
    bid = np.geomspace(0.01, 100.0, 41)[:, None]
    return _Ads(*(part.copy() for part in np.broadcast_arrays(bid, pctr.ravel(), rel.ravel())))


def _score_faults(rule: FusionRule, ads: _Ads) -> list[Fault]:
    score = np.asarray(rule.score(*ads))
    if score.shape != ads.bid.shape or not np.issubdtype(score.dtype, np.floating):
        return [Fault("shape", wanted=ads.bid.shape, dtype=score.dtype, shape=score.shape)]
    eligible = score > -inf
    if not eligible.any() and not np.isnan(score).any():
        return [Fault("nowhere_rises" if isinstance(rule, Formula) else "nobody_eligible")]
    faults = []
    if not all(np.array_equal(given, kept) for given, kept in zip(ads, _grid(), strict=True)):
        return [Fault("changes_arguments")]
    if not np.array_equal(score, rule.score(*ads), equal_nan=True):
        faults.append(Fault("random"))
    else:
        turned = np.asarray(rule.score(*(part[::-1, ::-1].copy() for part in ads)))[::-1, ::-1]
        alone = np.asarray(rule.score(*(part[:1, :1].copy() for part in ads)))
        if not (np.array_equal(turned, score, equal_nan=True) and np.array_equal(alone, score[:1, :1])):
            faults.append(Fault("depends_on_others"))
    return faults + _where(
        ads,
        (np.isnan(score), "not_a_number"),
        (score == inf, "infinite"),
        (eligible[:-1] & ~eligible[1:], "shut_out"),
        (eligible[:-1] & eligible[1:] & (score[1:] <= score[:-1]), "not_rising"),
    )


def _inverse_faults(rule: FusionRule, ads: _Ads) -> list[Fault]:
    pctr, rel = ads.pctr, ads.rel
    score = rule.score(*ads)
    eligible = score > -inf
    rival = np.roll(score, (7, 5), axis=(0, 1))  # the score of another ad, with another bid
    entry, own, needed = (
        np.asarray(rule.bid_for_score(target, pctr, rel))
        for target in (np.full_like(score, -inf), np.where(eligible, score, 0.0), rival)
    )
    if any(bid.shape != score.shape or np.isnan(bid).any() for bid in (entry, own, needed)):
        return [Fault("inverse_shape")]
    some = np.isfinite(needed) & (needed < 1e6)
    above = rule.score(np.where(some, needed * (1 + 1e-6) + LEAST_BID, 1.0), pctr, rel)
    below = rule.score(np.where(some, needed * (1 - 1e-6), 1.0), pctr, rel)
    return _where(
        ads,
        (eligible & ~np.isclose(own, ads.bid, rtol=1e-6, atol=0.0), "no_inverse"),
        (eligible & ~((entry >= 0) & (entry <= ads.bid * (1 + 1e-6))), "entry"),
        (some & (above < rival), "falls_short"),
        # Not so of a bid that is needed to be eligible at all: it may beat the target with room to spare.
        (some & (below >= rival) & (below > -inf) & (needed > entry), "not_least"),
        (~np.isfinite(needed) & eligible & (score >= rival), "out_of_reach"),
    )


def _where(ads: _Ads, *findings: tuple[Any, str]) -> list[Fault]:
    """The kinds of faults that were found, each with the first ad that has it."""
    faults = []
    for bad, kind in findings:
        if bad.any():
            at = tuple(np.argwhere(bad)[0])
            faults.append(Fault(kind, {name: float(part[at]) for name, part in ads._asdict().items()}))
    return faults


N_SLOTS, RESERVE = 3, 0.05


def _auctions() -> _Ads:
    """Auctions [40, 6] of ads that are drawn once and for all; every tenth has several of the same ad."""
    rng = np.random.default_rng(7)
    bid, pctr = np.exp(rng.normal(size=(40, 6))), rng.uniform(0.005, 0.4, (40, 6))
    rel = rng.uniform(0.0, 1.0, (40, 6))
    for part in (bid, pctr, rel):
        part[::10, 1:3] = part[::10, :1]
    return _Ads(bid, pctr, rel)


class _Page(NamedTuple):
    """The outcome of auctions: ranks with the runner-up, and prices."""

    ranking: Any
    price: Any

    @classmethod
    def of(cls, rule: FusionRule, ads: _Ads, scale: float = 1.0, tie_break: Any = None) -> "_Page":
        bid, reserve = scale * ads.bid, scale * RESERVE
        if tie_break is None:
            tie_break = np.broadcast_to(np.arange(bid.shape[1]) / bid.shape[1], bid.shape)
        score = np.asarray(rule.score(bid.copy(), ads.pctr, ads.rel))
        may = auction.eligible(score, bid, reserve, np.ones(bid.shape, dtype=np.bool_))
        ranking = auction.allocate(score, may, N_SLOTS + 1, tie_break)
        ranked = auction.Ranked(ranking, score, rule, bid, ads.pctr, ads.rel, reserve)
        return cls(ranking, auction.price_gsp(ranked))


def _auction_faults(rule: FusionRule) -> list[Fault]:
    ads = _auctions()
    page = _Page.of(rule, ads)
    faults = []

    score = np.asarray(rule.score(*ads))
    winner, follower = page.ranking[:, :-1], page.ranking[:, 1:]
    pair = (winner >= 0) & (follower >= 0)
    row, _ = np.nonzero(pair)
    at = row, winner[pair]
    needed = rule.bid_for_score(score[row, follower[pair]][:, None], *(x[at][:, None] for x in ads[1:]))[:, 0]
    faults += _where(
        _Ads(*(part[at] for part in ads)),
        (needed > ads.bid[at] * (1 + 1e-9), "price_above_bid"),
    )

    for column in range(ads.bid.shape[1]):
        raised = ads.bid.copy()
        raised[:, column] *= 1.5
        after = _Page.of(rule, ads._replace(bid=raised))
        before_rank, after_rank = _rank_of(page.ranking, column), _rank_of(after.ranking, column)
        faults += _where(
            _Ads(*(part[:, column] for part in ads)),
            (after_rank > before_rank, "loses_slot"),
        )

    turned = _Ads(*(part[:, ::-1].copy() for part in ads))
    tie_break = np.broadcast_to(np.arange(6)[::-1] / 6, ads.bid.shape)
    moved = _Page.of(rule, turned, tie_break=tie_break)
    place = np.where(moved.ranking >= 0, ads.bid.shape[1] - 1 - moved.ranking, -1)
    if not (np.array_equal(place, page.ranking) and np.allclose(moved.price, page.price, rtol=1e-9)):
        faults.append(Fault("order"))

    if is_affine(rule) and not _looks_affine(rule):
        faults.append(Fault("not_affine"))
    return faults[:3]


def _rank_of(ranking: Any, column: int) -> Any:
    """Rank I[Q] of a column; one past the last where it has none."""
    found = ranking == column
    return np.where(found.any(axis=1), found.argmax(axis=1), ranking.shape[1])


def _looks_affine(rule: FusionRule) -> bool:
    ads = _grid()
    score = np.asarray(rule.score(*ads))
    rise, step = np.diff(score, axis=0), np.diff(ads.bid, axis=0)
    both = np.isfinite(rise[:-1]) & np.isfinite(rise[1:])
    slope = np.where(np.isfinite(rise), rise, 0.0) / step
    return bool(np.allclose(slope[:-1][both], slope[1:][both], rtol=1e-6, atol=0.0))
