"""Station 4, fusion: one number to rank by, made of bid, predicted click rate and relevance.

A rule is a pair: the score, and its inverse in the bid. GSP charges the least bid that keeps the slot, so
every rule must rise strictly in the bid wherever the ad is eligible; `check_rule` tries that on any rule, a
user's own too. All rules work on NumPy arrays and torch tensors alike. Score -inf means that the ad may not
be shown.

A rule whose score is affine in the bid where the ad is eligible, a * bid + c with a and c made of pctr and
rel alone, may say so with an attribute `affine`, true; without it VCG is refused (see auction.check_vcg).

The annotations of a rule's settings hold the range that a scenario may set, and a sentence about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, log
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

from annotated_types import Ge, Gt, Le, MinLen

from relevance.ranges import Share, check_ranges
from simulator.arrays import AnyArray, namespace
from simulator.rules.formula import Formula as Formula, FormulaError as FormulaError
from simulator.rules.protocol import FusionRule as FusionRule, is_affine as is_affine
from simulator.rules.rule_check import check_rule as check_rule

BidExponent: TypeAlias = Annotated[float, Gt(0), Le(10)]
Weights: TypeAlias = tuple[Annotated[float, Ge(0), Le(100)], ...]


class RuleError(ValueError):
    """A setting of a rule means nothing: its name is `field`, what is wrong with it `reason`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field, self.reason = field, reason


def _check_rising(field: str, numbers: tuple[float, ...]) -> None:
    if any(low >= high for low, high in pairwise(numbers)):
        raise RuleError(field, "must rise from one number to the next")


@dataclass(frozen=True, slots=True)
class Product:
    """bid^b * pctr^q * rel^r, the rule of search ads with relevance; r = 0 ignores relevance.

    q below 1 is "squashing" (Lahaie and Pennock 2007, "Revenue analysis of a family of ranking rules for
    keyword auctions"). An ad with pctr 0 (q > 0) or rel 0 (r > 0) is ineligible: it could not buy any score.
    """

    bid: BidExponent = 1.0
    pctr: Annotated[float, Ge(0), Le(10), "Below 1 it squashes the click rate."] = 1.0
    relevance: Annotated[float, Ge(0), Le(20), "0 ignores relevance."] = 1.0

    def __post_init__(self) -> None:
        check_ranges(self)

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        namespace(bid, pctr, rel)  # refuses lists, which could not be multiplied
        return _weighted(bid, self.bid, _power(pctr, self.pctr) * _power(rel, self.relevance))

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return _bid_of_weighted(target, self.bid, _power(pctr, self.pctr) * _power(rel, self.relevance))

    @property
    def affine(self) -> bool:
        return self.bid == 1.0


@dataclass(frozen=True, slots=True)
class Gate:
    """Only ads with rel >= threshold take part; among those, the rule `within`."""

    threshold: Share = 0.3
    within: FusionRule = field(default_factory=lambda: Product(relevance=0.0))

    def __post_init__(self) -> None:
        check_ranges(self)

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = namespace(bid, pctr, rel)
        return xp.where(rel >= self.threshold, self.within.score(bid, pctr, rel), -inf)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = namespace(target, pctr, rel)
        return xp.where(rel >= self.threshold, self.within.bid_for_score(target, pctr, rel), inf)

    @property
    def affine(self) -> bool:
        return is_affine(self.within)


@dataclass(frozen=True, slots=True)
class SoftGate:
    """The rule `within`, but an ad with rel < threshold keeps only the share `floor` of its score.

    Between Gate (floor towards 0) and no gate (floor 1): a strong bid may still buy its way past the
    threshold, at 1 / floor times the price. The scores within must not be negative.
    """

    threshold: Share = 0.3
    floor: Annotated[float, Gt(0), Le(1), "The share of its score that an ad below the threshold keeps."] = (
        0.2
    )
    within: FusionRule = field(default_factory=lambda: Product(relevance=0.0))

    def __post_init__(self) -> None:
        check_ranges(self)

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return self._kept(rel) * self.within.score(bid, pctr, rel)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return self.within.bid_for_score(target / self._kept(rel), pctr, rel)

    @property
    def affine(self) -> bool:
        return is_affine(self.within)

    def _kept(self, rel: AnyArray) -> AnyArray:
        xp = namespace(rel)
        return xp.where(rel >= self.threshold, xp.ones_like(rel), self.floor)


@dataclass(frozen=True, slots=True)
class Linear:
    """pctr * (bid - cost * (1 - rel)): a click of an ad is charged with the harm of its irrelevance.

    Abrams and Schwarz 2007, "Ad auction design and user experience": a hidden cost per click, here `cost`
    (currency per click of a wholly irrelevant ad) times the irrelevance 1 - rel. An ad that bids below its
    hidden cost would lower the total, so it is ineligible; its least price is the hidden cost.
    """

    cost: Annotated[float, Ge(0), Le(1e6), "Currency per click of a wholly irrelevant ad."] = 0.5

    def __post_init__(self) -> None:
        check_ranges(self)

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = namespace(bid, pctr, rel)
        margin = bid - self.cost * (1.0 - rel)
        return xp.where((margin >= 0) & (pctr > 0), pctr * margin, -inf)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = namespace(target, pctr, rel)
        possible = pctr > 0
        least = xp.clip(target, min=0.0) / xp.where(possible, pctr, 1.0) + self.cost * (1.0 - rel)
        return xp.where(possible, least, inf)

    @property
    def affine(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Exponential:
    """bid^b * pctr^q * exp(gain * (rel - 1)): equal steps of relevance multiply the score by equal factors.

    Log-linear in the relevance where Product is log-linear in its logarithm: an ad of rel 0 keeps the share
    exp(-gain) instead of nothing, so a scorer that is wrong about an ad cannot shut it out. The same as the
    exponential decay of search engines' function scores (Elasticsearch, "function_score", decay function
    `exp` with origin 1).
    """

    bid: BidExponent = 1.0
    pctr: Annotated[float, Ge(0), Le(10)] = 1.0
    gain: Annotated[float, Ge(0), Le(20), "An ad of relevance 0 keeps exp(-gain) of its score."] = 2.0

    def __post_init__(self) -> None:
        check_ranges(self)

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return _weighted(bid, self.bid, self._weight(pctr, rel))

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return _bid_of_weighted(target, self.bid, self._weight(pctr, rel))

    @property
    def affine(self) -> bool:
        return self.bid == 1.0

    def _weight(self, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return _power(pctr, self.pctr) * namespace(rel).exp(self.gain * (rel - 1.0))


@dataclass(frozen=True, slots=True)
class Learnt:
    """bid * exp(f(rel) + h(log pctr)) with f and h rising and linear between knots; the weights are learnt.

    f rises by `rel_weights[j]` from `rel_knots[j]` to the next knot, is flat beyond them, and 0 at the last.
    h has the slope `pctr_weights[j]` in log pctr from `pctr_knots[j - 1]` to `pctr_knots[j]`, the first and
    the last slope without end: no knots and the one weight 1 make a factor pctr. No weight is negative, so
    that neither more relevance nor a higher click rate lowers a score. It contains Exponential and, in the
    click rate, Product.

    A generalised additive model on calibrated inputs (Gupta et al. 2016, "Monotonic calibrated interpolated
    look-up tables"). `scenarios.tune_fusion` chooses the weights for the most revenue under a bound on
    irrelevance, the problem of Zhu, Wang, Yang, Wang, Yan and Chen 2009, "Revenue optimization with relevance
    constraint in sponsored search".
    """

    rel_knots: Annotated[tuple[Share, ...], MinLen(2)] = (0.0, 0.25, 0.5, 0.75, 1.0)
    rel_weights: Annotated[Weights, "Rise of the log score from each knot of relevance to the next."] = (
        1.0,
        0.5,
        0.25,
        0.25,
    )
    pctr_knots: tuple[Annotated[float, Gt(0), Le(1)], ...] = ()
    pctr_weights: Annotated[
        Weights, "Slope of the log score in log pctr below the first knot, between knots, and above the last."
    ] = (1.0,)

    def __post_init__(self) -> None:
        check_ranges(self)
        _check_rising("rel_knots", self.rel_knots)
        _check_rising("pctr_knots", self.pctr_knots)
        pieces = {"rel_weights": len(self.rel_knots) - 1, "pctr_weights": len(self.pctr_knots) + 1}
        for name, n in pieces.items():
            if len(getattr(self, name)) != n:
                raise RuleError(name, f"needs {n} number(s), one for each piece that the knots make")

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return _weighted(bid, 1.0, self._weight(pctr, rel))

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return _bid_of_weighted(target, 1.0, self._weight(pctr, rel))

    @property
    def affine(self) -> bool:
        return True

    def _weight(self, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = namespace(pctr, rel)
        possible = pctr > 0
        log_pctr = xp.log(xp.where(possible, pctr, 1.0))
        log_weight = self.pctr_weights[0] * log_pctr - sum(self.rel_weights)
        for knot, (before, after) in zip(self.pctr_knots, pairwise(self.pctr_weights), strict=True):
            log_weight = log_weight + (after - before) * xp.clip(log_pctr - log(knot), min=0.0)
        for rise, (low, high) in zip(self.rel_weights, pairwise(self.rel_knots), strict=True):
            log_weight = log_weight + rise * xp.clip((rel - low) / (high - low), min=0.0, max=1.0)
        return xp.where(possible, xp.exp(log_weight), 0.0)


@dataclass(frozen=True, slots=True)
class Tiers:
    """Relevance first: ads fall into buckets by rising `thresholds`; `within` ranks those of one bucket.

    With x >= 0 the score within, the whole score is bucket + x / (1 + x): the bucket is its integer part. The
    critical bid: against an ad of a lower bucket the least eligible bid (any bid wins, so the reserve is
    paid); against one of the same bucket the bid that reaches its x; against a higher bucket none does
    (+inf). The fraction costs digits (relative step near x of about bucket * 2e-16 * (1 + x)^2 / x): use
    float64.
    """

    thresholds: Annotated[tuple[Share, ...], MinLen(1)] = (0.3, 0.6)
    within: FusionRule = field(default_factory=lambda: Product(relevance=0.0))

    def __post_init__(self) -> None:
        check_ranges(self)
        _check_rising("thresholds", self.thresholds)

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = namespace(bid, pctr, rel)
        inner = self.within.score(bid, pctr, rel)
        eligible = inner > -inf
        x = xp.where(eligible, inner, 0.0)
        # Capped below 1, lest rounding lift a huge score into the next bucket.
        return xp.where(eligible, self._bucket(rel) + xp.clip(x / (1.0 + x), max=1.0 - 2.0**-48), -inf)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = namespace(target, pctr, rel)
        above = target - self._bucket(rel)  # in [0, 1): a rival of the same bucket
        fraction = xp.clip(above, min=0.0, max=1.0 - 2.0**-48)
        rival = xp.where(above >= 0, fraction / (1.0 - fraction), -inf)
        return xp.where(above >= 1, inf, self.within.bid_for_score(rival, pctr, rel))

    def _bucket(self, rel: AnyArray) -> AnyArray:
        xp = namespace(rel)
        bucket = xp.zeros_like(rel)
        for threshold in self.thresholds:
            bucket = bucket + xp.where(rel >= threshold, 1.0, 0.0)
        return bucket


@dataclass(frozen=True, slots=True)
class ByArm:
    """Several rules in one market, for experiments on a part of the traffic: `arm` I[Q, 1] picks them."""

    rules: tuple[FusionRule, ...]
    arm: AnyArray

    def __post_init__(self) -> None:
        check_ranges(self)

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return self._picked([rule.score(bid, pctr, rel) for rule in self.rules])

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        return self._picked([rule.bid_for_score(target, pctr, rel) for rule in self.rules])

    @property
    def affine(self) -> bool:
        return all(is_affine(rule) for rule in self.rules)

    def _picked(self, each: list[AnyArray]) -> AnyArray:
        xp = namespace(*each)
        chosen = each[0]
        for number, other in enumerate(each[1:], start=1):
            chosen = xp.where(self.arm == number, other, chosen)
        return chosen


RULES: Mapping[str, type[Any]] = MappingProxyType(
    {
        "product": Product,
        "gate": Gate,
        "soft_gate": SoftGate,
        "linear": Linear,
        "tiers": Tiers,
        "exponential": Exponential,
        "learnt": Learnt,
        "formula": Formula,
    }
)


def _weighted(bid: AnyArray, exponent: float, weight: AnyArray) -> AnyArray:
    """bid^exponent x weight; -inf where the weight is 0, for such an ad could not buy any score."""
    xp = namespace(bid, weight)
    return xp.where(weight > 0, _power(bid, exponent) * weight, -inf)


def _bid_of_weighted(target: AnyArray, exponent: float, weight: AnyArray) -> AnyArray:
    """The inverse of `_weighted` in the bid."""
    xp = namespace(target, weight)
    eligible = weight > 0
    least = _power(xp.clip(target, min=0.0) / xp.where(eligible, weight, 1.0), 1.0 / exponent)
    return xp.where(eligible, least, inf)


def _power(base: AnyArray, exponent: float) -> AnyArray:
    # 1 and 0 are the usual exponents, and a power takes twenty times a product's time.
    if exponent == 1.0:
        return base
    return base**exponent if exponent != 0.0 else namespace(base).ones_like(base)
