"""Station 4, fusion: one number to rank by, made of bid, predicted click rate and relevance.

A rule is a pair: the score, and its inverse in the bid. GSP charges the least bid that keeps the slot, so
every rule must rise strictly in the bid wherever the ad is eligible; `check_rule` tries that on any rule, a
user's own too. All rules work on NumPy arrays and torch tensors alike. Score -inf means that the ad may not
be shown.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from array_api_compat import array_namespace

from simulator.arrays import AnyArray, FloatArray


@runtime_checkable
class FusionRule(Protocol):
    """Elementwise and pure: an ad's score depends on nothing but its own bid, pctr and rel."""

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        """Fused score F[..., K] of bids (currency per click), predicted click rates and relevances.

        Finite and strictly rising in the bid where the ad is eligible, -inf where it is not; an ad that is
        eligible stays so when it bids more.
        """
        ...

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        """Least bid F[..., K] at which an ad is eligible and scores at least `target` F[..., K], or +inf.

        `target` -inf (nobody to beat) asks for the least bid at which the ad is eligible.
        """
        ...


@dataclass(frozen=True, slots=True)
class Product:
    """bid^b * pctr^q * rel^r, the rule of search ads with relevance; r = 0 ignores relevance.

    q below 1 is "squashing" (Lahaie and Pennock 2007, "Revenue analysis of a family of ranking rules for
    keyword auctions"). An ad with pctr 0 (q > 0) or rel 0 (r > 0) is ineligible: it could not buy any score.
    """

    bid: float = 1.0
    pctr: float = 1.0
    rel: float = 1.0

    def __post_init__(self) -> None:
        if not self.bid > 0:
            raise ValueError(f"the bid's exponent must be positive, or scores would not rise; got {self.bid}")
        if self.pctr < 0 or self.rel < 0:
            raise ValueError(f"exponents must not be negative, got pctr {self.pctr} and rel {self.rel}")

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = array_namespace(bid, pctr, rel)
        weight = _power(pctr, self.pctr) * _power(rel, self.rel)
        return xp.where(weight > 0, _power(bid, self.bid) * weight, -inf)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = array_namespace(target, pctr, rel)
        weight = _power(pctr, self.pctr) * _power(rel, self.rel)
        eligible = weight > 0
        least = _power(xp.clip(target, min=0.0) / xp.where(eligible, weight, 1.0), 1.0 / self.bid)
        return xp.where(eligible, least, inf)


@dataclass(frozen=True, slots=True)
class Gate:
    """Only ads with rel >= threshold take part; among those, the rule `within`."""

    threshold: float = 0.3
    within: FusionRule = field(default_factory=lambda: Product(rel=0.0))

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = array_namespace(bid, pctr, rel)
        return xp.where(rel >= self.threshold, self.within.score(bid, pctr, rel), -inf)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = array_namespace(target, pctr, rel)
        return xp.where(rel >= self.threshold, self.within.bid_for_score(target, pctr, rel), inf)


@dataclass(frozen=True, slots=True)
class Linear:
    """pctr * (bid - cost * (1 - rel)): a click of an ad is charged with the harm of its irrelevance.

    Abrams and Schwarz 2007, "Ad auction design and user experience": a hidden cost per click, here `cost`
    (currency per click of a wholly irrelevant ad) times the irrelevance 1 - rel. An ad that bids below its
    hidden cost would lower the total, so it is ineligible; its least price is the hidden cost.
    """

    cost: float = 0.5

    def __post_init__(self) -> None:
        if self.cost < 0:
            raise ValueError(f"cost must not be negative, got {self.cost}")

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = array_namespace(bid, pctr, rel)
        margin = bid - self.cost * (1.0 - rel)
        return xp.where((margin >= 0) & (pctr > 0), pctr * margin, -inf)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = array_namespace(target, pctr, rel)
        possible = pctr > 0
        least = xp.clip(target, min=0.0) / xp.where(possible, pctr, 1.0) + self.cost * (1.0 - rel)
        return xp.where(possible, least, inf)


@dataclass(frozen=True, slots=True)
class Tiers:
    """Relevance first: ads fall into buckets by rising `thresholds`; `within` ranks those of one bucket.

    With x >= 0 the score within, the whole score is bucket + x / (1 + x): the bucket is its integer part. The
    critical bid: against an ad of a lower bucket the least eligible bid (any bid wins, so the reserve is
    paid); against one of the same bucket the bid that reaches its x; against a higher bucket none does
    (+inf). The fraction costs digits (relative step near x of about bucket * 2e-16 * (1 + x)^2 / x): use
    float64.
    """

    thresholds: tuple[float, ...] = (0.3, 0.6)
    within: FusionRule = field(default_factory=lambda: Product(rel=0.0))

    def __post_init__(self) -> None:
        if not self.thresholds or list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError(f"thresholds must be one or more rising numbers, got {self.thresholds}")

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = array_namespace(bid, pctr, rel)
        inner = self.within.score(bid, pctr, rel)
        eligible = inner > -inf
        x = xp.where(eligible, inner, 0.0)
        # Capped below 1, lest rounding lift a huge score into the next bucket.
        return xp.where(eligible, self._bucket(rel) + xp.clip(x / (1.0 + x), max=1.0 - 2.0**-48), -inf)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = array_namespace(target, pctr, rel)
        above = target - self._bucket(rel)  # in [0, 1): a rival of the same bucket
        fraction = xp.clip(above, min=0.0, max=1.0 - 2.0**-48)
        rival = xp.where(above >= 0, fraction / (1.0 - fraction), -inf)
        return xp.where(above >= 1, inf, self.within.bid_for_score(rival, pctr, rel))

    def _bucket(self, rel: AnyArray) -> AnyArray:
        xp = array_namespace(rel)
        bucket = xp.zeros_like(rel)
        for threshold in self.thresholds:
            bucket = bucket + xp.where(rel >= threshold, 1.0, 0.0)
        return bucket


@dataclass(frozen=True, slots=True)
class ByArm:
    """Several rules in one market, for experiments on a part of the traffic: `arm` I[Q, 1] picks each query's."""

    rules: tuple[FusionRule, ...]
    arm: AnyArray

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return self._picked([rule.score(bid, pctr, rel) for rule in self.rules])

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return self._picked([rule.bid_for_score(target, pctr, rel) for rule in self.rules])

    def _picked(self, each: list[AnyArray]) -> AnyArray:
        xp = array_namespace(*each)
        chosen = each[0]
        for number, other in enumerate(each[1:], start=1):
            chosen = xp.where(self.arm == number, other, chosen)
        return chosen


RULES: Mapping[str, type[Any]] = MappingProxyType(
    {"product": Product, "gate": Gate, "linear": Linear, "tiers": Tiers}
)


def rule_type(name: str) -> type[Any]:
    """The rule registered under `name`; ValueError with the nearest name otherwise."""
    if name in RULES:
        return RULES[name]
    near = difflib.get_close_matches(name, RULES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown fusion rule {name!r}: known are {', '.join(RULES)}{hint}")


def check_rule(rule: FusionRule) -> list[str]:
    """Try a rule on a grid of bids, click rates and relevances; say in words what GSP could not live with.

    An empty list means that nothing was found: scores are finite or -inf, rise strictly in the bid, stay
    eligible as the bid rises, depend on the own ad alone, leave their arguments as they were, and
    `bid_for_score` is their inverse (the least bid that reaches a score; for -inf the least eligible bid).
    """
    if not isinstance(rule, FusionRule):
        return ["the rule must have the methods score(bid, pctr, rel) and bid_for_score(target, pctr, rel)"]
    try:
        with np.errstate(all="ignore"):
            return _score_faults(rule, _grid()) or _inverse_faults(rule, _grid())
    except Exception as error:  # a stranger's rule may raise anything, and the answer is owed in words
        return [f"the rule raised {type(error).__name__}: {error}"]


class _Ads(NamedTuple):
    """Every column is one ad, its bid rising from top to bottom."""

    bid: FloatArray
    pctr: FloatArray
    rel: FloatArray


def _grid() -> _Ads:
    pctr, rel = np.meshgrid([0.001, 0.02, 0.13, 0.6], [0.0, 0.07, 0.31, 0.5, 0.83, 1.0])
    bid = np.geomspace(0.01, 100.0, 41)[:, None]
    return _Ads(*(part.copy() for part in np.broadcast_arrays(bid, pctr.ravel(), rel.ravel())))


def _score_faults(rule: FusionRule, ads: _Ads) -> list[str]:
    score = np.asarray(rule.score(*ads))
    if score.shape != ads.bid.shape or not np.issubdtype(score.dtype, np.floating):
        return [
            f"score must return floats of the shape {ads.bid.shape} it got, not {score.dtype} {score.shape}"
        ]
    eligible = score > -inf
    if not eligible.any() and not np.isnan(score).any():
        return ["no ad is ever eligible: every score is -inf"]
    faults = []
    if not all(np.array_equal(given, kept) for given, kept in zip(ads, _grid(), strict=True)):
        return ["score changes the arrays that it is given"]
    if not np.array_equal(score, rule.score(*ads), equal_nan=True):
        faults.append(
            "score answers the same question differently: it must not draw random numbers or remember"
        )
    else:
        turned = np.asarray(rule.score(*(part[::-1, ::-1].copy() for part in ads)))[::-1, ::-1]
        alone = np.asarray(rule.score(*(part[:1, :1].copy() for part in ads)))
        if not (np.array_equal(turned, score, equal_nan=True) and np.array_equal(alone, score[:1, :1])):
            faults.append(
                "an ad's score depends on the other ads or their order, not on its own numbers only"
            )
    return faults + _where(
        ads,
        (np.isnan(score), "score is not a number (an ineligible ad must score -inf)"),
        (score == inf, "score is +inf"),
        (eligible[:-1] & ~eligible[1:], "an eligible ad becomes ineligible by bidding more"),
        (
            eligible[:-1] & eligible[1:] & (score[1:] <= score[:-1]),
            "the score does not rise strictly in the bid",
        ),
    )


def _inverse_faults(rule: FusionRule, ads: _Ads) -> list[str]:
    pctr, rel = ads.pctr, ads.rel
    score = rule.score(*ads)
    eligible = score > -inf
    rival = np.roll(score, (7, 5), axis=(0, 1))  # the score of another ad, with another bid
    entry, own, needed = (
        np.asarray(rule.bid_for_score(target, pctr, rel))
        for target in (np.full_like(score, -inf), np.where(eligible, score, 0.0), rival)
    )
    if any(bid.shape != score.shape or np.isnan(bid).any() for bid in (entry, own, needed)):
        return ["bid_for_score must return one number per ad, +inf where no bid suffices, and never NaN"]
    some = np.isfinite(needed) & (needed < 1e6)
    above = rule.score(np.where(some, needed * (1 + 1e-6) + 1e-12, 1.0), pctr, rel)
    below = rule.score(np.where(some, needed * (1 - 1e-6), 1.0), pctr, rel)
    return _where(
        ads,
        (
            eligible & ~np.isclose(own, ads.bid, rtol=1e-6, atol=0.0),
            "bid_for_score does not give the score's bid",
        ),
        (
            eligible & ~((entry >= 0) & (entry <= ads.bid * (1 + 1e-6))),
            "bid_for_score(-inf) is not the least eligible bid: negative, or above an eligible bid",
        ),
        (some & (above < rival), "the bid from bid_for_score does not reach its target"),
        # Not so of a bid that is needed to be eligible at all: it may beat the target with room to spare.
        (some & (below >= rival) & (below > -inf) & (needed > entry), "a lower bid reaches the target too"),
        (
            ~np.isfinite(needed) & eligible & (score >= rival),
            "bid_for_score is +inf though the target is reached",
        ),
    )


def _where(ads: _Ads, *findings: tuple[Any, str]) -> list[str]:
    faults = []
    for bad, what in findings:
        if bad.any():
            at = tuple(np.argwhere(bad)[0])
            faults.append(f"{what}: bid {ads.bid[at]:.4g}, pctr {ads.pctr[at]:.4g}, rel {ads.rel[at]:.4g}")
    return faults


def _power(base: AnyArray, exponent: float) -> AnyArray:
    # 1 and 0 are the usual exponents, and a power takes twenty times a product's time.
    if exponent == 1.0:
        return base
    return base**exponent if exponent != 0.0 else array_namespace(base).ones_like(base)
