"""The fusion rules that a scenario may name: blocks with the settings of the classes of simulator.fusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from relevance.errors import PluginError
from relevance.protocol import load_object
from scenarios.config.settings import Settings, Share
from simulator import fusion


def _rising(numbers: tuple[float, ...]) -> tuple[float, ...]:
    if list(numbers) != sorted(set(numbers)):
        raise PydanticCustomError("rising", "must rise from one number to the next")
    return numbers


Exponent = Annotated[float, Field(ge=0, le=20)]
BidExponent = Annotated[float, Field(gt=0, le=10)]
Weights = tuple[Annotated[float, Field(ge=0, le=100)], ...]


class ProductRule(Settings):
    """bid^b * pctr^q * relevance^g."""

    rule: Literal["product"] = "product"
    bid: BidExponent = 1.0
    pctr: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Below 1 it squashes the click rate."""
    relevance: Exponent = 1.0
    """0 ignores relevance."""

    def build(self) -> fusion.FusionRule:
        return fusion.Product(bid=self.bid, pctr=self.pctr, rel=self.relevance)


class GateRule(Settings):
    """Only ads at or above a threshold of relevance; among those bid^b * pctr^q."""

    rule: Literal["gate"]
    threshold: Share = 0.3
    within: ProductRule = ProductRule(relevance=0.0)

    def build(self) -> fusion.FusionRule:
        return fusion.Gate(threshold=self.threshold, within=self.within.build())


class SoftGateRule(Settings):
    """bid^b * pctr^q, of which ads below a threshold of relevance keep a share only."""

    rule: Literal["soft_gate"]
    threshold: Share = 0.3
    floor: Annotated[float, Field(gt=0, le=1)] = 0.2
    """The share of its score that an ad below the threshold keeps."""
    within: ProductRule = ProductRule(relevance=0.0)

    def build(self) -> fusion.FusionRule:
        return fusion.SoftGate(threshold=self.threshold, floor=self.floor, within=self.within.build())


class LinearRule(Settings):
    """pctr * (bid - cost * (1 - relevance))."""

    rule: Literal["linear"]
    cost: Annotated[float, Field(ge=0)] = 0.5
    """Currency per click of a wholly irrelevant ad."""

    def build(self) -> fusion.FusionRule:
        return fusion.Linear(cost=self.cost)


class TiersRule(Settings):
    """Relevance in buckets first, then the rule within a bucket."""

    rule: Literal["tiers"]
    thresholds: Annotated[tuple[Share, ...], Field(min_length=1), AfterValidator(_rising)] = (0.3, 0.6)
    within: ProductRule = ProductRule(relevance=0.0)

    def build(self) -> fusion.FusionRule:
        return fusion.Tiers(thresholds=self.thresholds, within=self.within.build())


class ExponentialRule(Settings):
    """bid^b * pctr^q * exp(gain * (relevance - 1))."""

    rule: Literal["exponential"]
    bid: BidExponent = 1.0
    pctr: Annotated[float, Field(ge=0, le=10)] = 1.0
    gain: Exponent = 2.0
    """An ad of relevance 0 keeps exp(-gain) of its score."""

    def build(self) -> fusion.FusionRule:
        return fusion.Exponential(bid=self.bid, pctr=self.pctr, gain=self.gain)


class LearntRule(Settings):
    """bid * exp(f(relevance) + h(log pctr)), linear between knots; `relbid tune` finds the weights."""

    rule: Literal["learnt"]
    rel_knots: Annotated[tuple[Share, ...], Field(min_length=2), AfterValidator(_rising)] = (
        *(0.0, 0.25, 0.5, 0.75, 1.0),
    )
    rel_weights: Weights = (1.0, 0.5, 0.25, 0.25)
    """Rise of the log score from each knot of relevance to the next."""
    pctr_knots: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], AfterValidator(_rising)] = ()
    pctr_weights: Weights = (1.0,)
    """Slope of the log score in log pctr below the first knot, between knots, and above the last."""

    @field_validator("rel_weights", "pctr_weights")
    @classmethod
    def _one_per_piece(cls, weights: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        knots = info.data.get(str(info.field_name).replace("weights", "knots"))
        if knots is None:  # is refused itself
            return weights
        pieces = len(knots) - 1 if info.field_name == "rel_weights" else len(knots) + 1
        if len(weights) != pieces:
            raise PydanticCustomError(
                "pieces", "needs {n} number(s), one for each piece that the knots make", {"n": pieces}
            )
        return weights

    def build(self) -> fusion.FusionRule:
        return fusion.Learnt(self.rel_knots, self.rel_weights, self.pctr_knots, self.pctr_weights)


class FormulaRule(Settings):
    """An expression in b (bid), q (pctr) and r (relevance)."""

    rule: Literal["formula"]
    expression: str = "b * q * r"
    """Of + - * / ^, parentheses, min, max, exp, log and sqrt; the score must rise in b."""

    @field_validator("expression")
    @classmethod
    def _sound(cls, expression: str) -> str:
        try:
            rule = fusion.Formula(expression)
        except fusion.FormulaError as error:
            raise PydanticCustomError("formula", "{message}", {"message": str(error)}) from None
        if faults := fusion.check_rule(rule):
            raise PydanticCustomError("formula", "{message}", {"message": "; ".join(faults)})
        return expression

    def build(self) -> fusion.FusionRule:
        return fusion.Formula(self.expression)


class CustomRule(Settings):
    """A rule of your own, tried by `simulator.fusion.check_rule` before it is used."""

    rule: Literal["custom"]
    object: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
    """module:attr of a rule, or of a class or function that makes one of the `settings`."""
    settings: dict[str, float] = Field(default_factory=dict)

    def build(self) -> fusion.FusionRule:
        """Load the rule and try it.

        Raises:
            PluginError: it cannot be had, or is not fit for an auction.
        """
        found: Any = load_object(self.object, "fusion rule")
        if isinstance(found, type) or not isinstance(found, fusion.FusionRule):
            if not callable(found):
                raise PluginError(
                    f"fusion rule '{self.object}': must be a rule, with score and bid_for_score, or make one"
                )
            try:
                found = found(**self.settings)
            except Exception as error:  # a stranger's code may raise anything
                raise PluginError(
                    f"fusion rule '{self.object}': making it failed ({type(error).__name__}: {error})"
                ) from error
        elif self.settings:
            raise PluginError(f"fusion rule '{self.object}': is made already and takes no settings")
        if faults := fusion.check_rule(found):
            raise PluginError(f"fusion rule '{self.object}': {'; '.join(faults)}")
        rule: fusion.FusionRule = found
        return rule


BuiltInRule: TypeAlias = (
    ProductRule
    | GateRule
    | SoftGateRule
    | LinearRule
    | TiersRule
    | ExponentialRule
    | LearntRule
    | FormulaRule
)
FusionSettings = Annotated[BuiltInRule | CustomRule, Field(discriminator="rule")]

RULE_SETTINGS: Mapping[str, type[Settings]] = {
    "product": ProductRule,
    "gate": GateRule,
    "soft_gate": SoftGateRule,
    "linear": LinearRule,
    "tiers": TiersRule,
    "exponential": ExponentialRule,
    "learnt": LearntRule,
    "formula": FormulaRule,
}
"""The rules of `simulator.fusion.RULES` by the same names."""
