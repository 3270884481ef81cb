"""The fusion rules that a scenario may name: blocks with the settings of the classes of simulator.fusion.

The blocks are derived: fields, defaults and ranges stand in `simulator.fusion`, beside the rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, Union, get_type_hints

from pydantic import AfterValidator, Field, create_model, model_validator

from relevance.errors import PluginError
from relevance.plug_in import Plugin, misfit
from relevance.protocol import FORM, load_object, names_object
from scenarios.config.settings import Settings, out_of_range, wrong
from simulator import fusion
from simulator.rules.own_rule import OwnRule


class RuleSettings(Settings):
    """A block of the settings of a rule of `simulator.fusion.RULES`."""

    rule: str

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A setting of the rule."""

    def build(self) -> fusion.FusionRule:
        values = {name: getattr(self, name) for name in type(self).model_fields if name != "rule"}
        if "within" in values:
            values["within"] = values["within"].build()
        rule: fusion.FusionRule = fusion.RULES[self.rule](**values)
        return rule

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        try:
            rule = self.build()
        except fusion.RuleError as error:
            raise out_of_range(error.field, error.reason) from None
        except fusion.FormulaError as error:
            raise out_of_range("expression", str(error)) from None
        if isinstance(rule, fusion.Formula) and (faults := fusion.check_rule(rule)):
            raise out_of_range("expression", "; ".join(faults))
        return self


def _of_the_form(name: str) -> str:
    if not names_object(name):
        raise wrong(FORM)
    return name


class CustomRule(Settings):
    """A rule of your own, tried by `simulator.fusion.check_rule` before it is used."""

    rule: Literal["custom"]
    object: Annotated[str, AfterValidator(_of_the_form)]
    """module:attr of a rule, or of a class or function that makes one of the `settings`."""
    settings: dict[str, Annotated[float, Field(ge=-1e9, le=1e9)]] = Field(default_factory=dict)

    def build(self) -> fusion.FusionRule:
        """Load the rule and try it.

        Raises:
            PluginError: it cannot be had, or is not fit for an auction.
        """
        found: Any = load_object(self.object, "fusion rule")
        plugin = Plugin(f"fusion rule '{self.object}'")

        def is_rule() -> bool:  # which asks it for its methods, and a method may be a property
            return bool(plugin.ask("cannot be had:", isinstance, found, fusion.FusionRule))

        if isinstance(found, type) or not is_rule():
            if not callable(found):
                raise PluginError(
                    "must be a rule, with score and bid_for_score, or make one", file=plugin.name
                )
            if trouble := misfit(found, self.settings):
                raise PluginError(trouble, file=plugin.name)
            found = plugin.ask("making it failed:", found, **self.settings)
        elif self.settings:
            raise PluginError("is made already and takes no settings", file=plugin.name)
        rule = OwnRule(found, plugin) if is_rule() else found
        if faults := fusion.check_rule(rule, repr(self.object)):
            raise PluginError(f"fusion rule '{self.object}': {'; '.join(faults)}")
        return rule


def _derived() -> dict[str, type[RuleSettings]]:
    """The block of each rule. The rule product is the default, and the one within others by default.

    A gate takes any rule that has none within itself; what soft gates and tiers make of scores below 0 is not
    defined, so product alone stands within those.
    """
    found: dict[str, type[RuleSettings]] = {}
    hold_others = {name for name, rule in fusion.RULES.items() if "within" in rule.__dataclass_fields__}
    for name, rule in sorted(fusion.RULES.items(), key=lambda item: item[0] in hold_others):
        hints = get_type_hints(rule, include_extras=True)
        fields: dict[str, Any] = {"rule": (Literal[name], "product" if name == "product" else ...)}
        for field in dataclasses.fields(rule):
            hint, default = hints[field.name], field.default
            if hint is fusion.FusionRule:
                within: Any = field.default_factory
                hint, default = found["product"], found["product"](rule="product", **asdict(within()))
                if name == "gate":
                    hint = Annotated[
                        Union[tuple(found[one] for one in fusion.RULES if one in found)],  # noqa: UP007
                        Field(discriminator="rule"),
                    ]
            if field.init:
                texts = [text for text in getattr(hint, "__metadata__", ()) if isinstance(text, str)]
                fields[field.name] = (hint, Field(default, description=" ".join(texts) or None))
        about = str(rule.__doc__).split("\n")[0]
        found[name] = create_model(
            f"{rule.__name__}Rule", __base__=RuleSettings, __doc__=about, __module__=__name__, **fields
        )
    return {name: found[name] for name in fusion.RULES}


RULE_SETTINGS: Mapping[str, type[RuleSettings]] = _derived()
"""The blocks of the rules of `simulator.fusion.RULES`, by the same names."""
globals().update({settings.__name__: settings for settings in RULE_SETTINGS.values()})  # where pickle looks
ProductRule, LearntRule = RULE_SETTINGS["product"], RULE_SETTINGS["learnt"]

if TYPE_CHECKING:
    FusionSettings: TypeAlias = RuleSettings | CustomRule
else:
    FusionSettings = Annotated[Union[(*RULE_SETTINGS.values(), CustomRule)], Field(discriminator="rule")]
