"""Formulas as one types them, and the blocks `fusion` of a scenario that they stand for.

b*q*r^0.5                         the rule product
b*q*exp(2*(r-1))                  the rule exponential
b*q + 0.1*r                       any other expression: the rule formula
linear(cost=0.5)                  a rule by its name, with those settings that differ from its defaults
tiers(thresholds=[0.3,0.6], within=b*q)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import yaml

from scenarios.config.fusion_rules import RULE_SETTINGS
from scenarios.config.yaml_file import kind_of
from scenarios.errors import ScenarioError
from simulator.rules.formula import FUNCTIONS, MAX_DEPTH, Node, parse

VARIABLES = {"b": "bid", "q": "pctr", "r": "relevance"}
MAX_SETTINGS = 10_000
"""Characters of the settings of a rule by its name; one that was learnt has many."""
NAMED = re.compile(r"\s*([a-z_]+)\s*\((.*)\)\s*", re.DOTALL)

Block = dict[str, Any]


def fusion_block(text: str) -> Block:
    """The block `fusion` that a formula stands for; its numbers are not yet tried.

    Raises:
        FormulaError: the expression cannot be read; the error says at which character.
        ScenarioError: the settings of a rule by its name cannot be read.
    """
    return dict(_block_of(text))


@functools.lru_cache(maxsize=512)
def _block_of(text: str) -> Mapping[str, Any]:
    named = NAMED.fullmatch(text)
    if named and named[1] not in FUNCTIONS and named[1] in (*RULE_SETTINGS, "custom"):
        return _named(named[1], named[2])
    tree = parse(text)
    return _product(tree) or {"rule": "formula", "expression": text.strip()}


@functools.cache
def _defaults(rule: str) -> Mapping[str, Any]:
    if rule not in RULE_SETTINGS:  # of your own
        return {}
    fields = RULE_SETTINGS[rule].model_fields
    defaults = {name: field.get_default() for name, field in fields.items() if name != "rule"}
    return {
        name: getattr(value, "model_dump", lambda value=value: value)() for name, value in defaults.items()
    }


def _named(rule: str, inside: str) -> Block:
    settings = None
    # With an anchor, few letters can be a large value.
    if (
        len(inside) <= MAX_SETTINGS
        and "&" not in inside
        and inside.count("[") + inside.count("{") <= MAX_DEPTH
    ):
        try:
            settings = yaml.safe_load("{" + re.sub(r"\b([a-z_]+)\s*=\s*", r"\1: ", inside) + "}")
        except (yaml.YAMLError, ValueError, RecursionError):  # too many digits, or no such day
            settings = None
    if not isinstance(settings, dict) or None in settings.values():
        raise ScenarioError(f"{rule}(...) needs settings such as name=value", field="fusion")
    if isinstance(settings.get("within"), str):
        settings["within"] = fusion_block(settings["within"])
    if rule == "gate":  # which a page takes apart
        if not isinstance(settings.get("within", {}), Mapping):
            raise ScenarioError("gate(...) needs a rule within", field="fusion")
        if not isinstance(settings.get("threshold", 0.0), int | float):
            raise ScenarioError("gate(...) needs a number as its threshold", field="fusion")
    return {"rule": rule, **settings}


def fusion_text(block: Mapping[str, Any]) -> str:
    """The formula of a block `fusion`, as short as it can be written: the inverse of `fusion_block`.

    Raises:
        ScenarioError: there is no number where a rule has one.
    """
    rule = str(block.get("rule", "product"))
    known = _defaults(rule)
    values = {**known, **{key: value for key, value in block.items() if key != "rule"}}
    if rule == "formula":
        return str(values["expression"])
    if rule in ("product", "exponential"):
        power = [_power("b", values["bid"]), _power("q", values["pctr"])]
        if rule == "product":
            return "*".join(filter(None, [*power, _power("r", values["relevance"])]))
        return "*".join(filter(None, [*power, f"exp({_number(values['gain']):g}*(r-1))"]))
    changed = {
        key: value for key, value in values.items() if key not in known or not _same(value, known[key])
    }
    return f"{rule}({', '.join(f'{key}={_written(value)}' for key, value in changed.items())})"


def _same(value: Any, default: Any) -> bool:
    def plain(one: Any) -> Any:
        if isinstance(one, Mapping):
            return fusion_text(one)
        return [_number(number) for number in one] if isinstance(one, list | tuple) else one

    return bool(plain(value) == plain(default))


def _written(value: Any) -> str:
    if isinstance(value, Mapping) and "rule" in value:
        return fusion_text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _power(variable: str, exponent: object) -> str:
    number = _number(exponent)
    if not number:
        return ""
    return variable if number == 1 else f"{variable}^{_written(number)}"


def _number(value: object) -> float:
    """A number of a block that was typed.

    Raises:
        ScenarioError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScenarioError("needs a number", field="fusion", value=kind_of(value))
    return float(value)


def _product(tree: Node) -> Block | None:
    """The rule product or exponential that an expression is, if it is one."""
    exponents: dict[str, float] = {}
    gain: float | None = None
    for factor in _factors(tree):
        steep = _gain(factor)
        if steep is not None and gain is None:
            gain = steep
            continue
        variable, exponent = _of_power(factor)
        if variable is None or variable in exponents:
            return None
        exponents[variable] = exponent
    if not 0 < exponents.get("b", 0.0) <= 10 or not 0 <= exponents.get("q", 0.0) <= 10:
        return None
    named = {VARIABLES[name]: exponents.get(name, 0.0) for name in VARIABLES}
    if gain is None:
        return {"rule": "product", **named} if 0 <= named["relevance"] <= 20 else None
    if "r" in exponents or not 0 <= gain <= 20:
        return None
    return {"rule": "exponential", "bid": named["bid"], "pctr": named["pctr"], "gain": gain}


def _factors(node: Node) -> list[Node]:
    return [one for part in node.parts for one in _factors(part)] if node.kind == "*" else [node]


def _of_power(node: Node) -> tuple[str | None, float]:
    """(variable, exponent) of `r`, `r^0.5` or `sqrt(r)`; (None, 0) of anything else."""
    if node.kind in VARIABLES:
        return node.kind, 1.0
    if node.kind == "sqrt" and node.parts[0].kind in VARIABLES:
        return node.parts[0].kind, 0.5
    if node.kind == "^" and node.parts[0].kind in VARIABLES and node.parts[1].kind == "number":
        return node.parts[0].kind, node.parts[1].value
    return None, 0.0


def _gain(node: Node) -> float | None:
    """The gain 2 of exp(2*(r-1)); None of anything else."""
    if node.kind != "exp":
        return None
    inner, gain = node.parts[0], 1.0
    if inner.kind == "*" and inner.parts[0].kind == "number":
        gain, inner = inner.parts[0].value, inner.parts[1]
    r_less_1 = (
        inner.kind == "-"
        and inner.parts[0].kind == "r"
        and (inner.parts[1].kind, inner.parts[1].value) == ("number", 1.0)
    )
    return gain if r_less_1 else None
