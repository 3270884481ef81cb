"""Values that no field wants, by class, written as YAML, JSON or an argument of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

DIGITS = "9" * 5000
DEEP = 100_000
"""Levels of a nested text that ends a reader which calls itself."""

YAML_VALUES: Mapping[str, tuple[str, ...]] = {
    "wrong type": ("wrong",),  # replaced by what the field is not, see `wrong_type`
    "nan": (".nan", "NaN"),
    "infinity": (".inf", "-.inf"),
    "negative": ("-1", "-0.5", "-1e-9"),
    "zero": ("0", "0.0"),
    "huge": ("1e300", "1" + "0" * 30, "1e9", "4294967297"),
    "5,000 digits": (DIGITS, "0." + DIGITS, "1e" + DIGITS),
    "hexadecimal": ("0x1F", "0x" + "f" * 4200),
    "empty": ('""', "[]", "{}"),
    "nested": ("[" * 8 + "]" * 8, "[" * 300 + "]" * 300, "{a: {b: {c: 1}}}"),
    "other encoding": ('"\\uD800"', '"\\0"', '"caf\u00e9\u202e"'),
    "null": ("null", "~"),
    "long": ('"' + "x" * 5000 + '"',),
}
JSON_VALUES: Mapping[str, tuple[str, ...]] = {
    **YAML_VALUES,
    "nan": ("NaN",),
    "infinity": ("Infinity", "-Infinity", "1e999"),
    "hexadecimal": ("0x1F", '"0x1F"'),
    "nested": ("[" * 8 + "]" * 8, "[" * DEEP, "[" * DEEP + "]" * DEEP, '{"a": {"b": {"c": 1}}}'),
    "other encoding": ('"\\uD800"', '"\\u0000"', '"caf\u00e9\u202e"'),
    "null": ("null",),
}
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "wrong type": ("many", "true", "1,2", "{a: 1}"),
    "nan": ("nan",),
    "infinity": ("inf", "-inf"),
    "negative": ("-1", "-0.5"),
    "zero": ("0", "0.0"),
    "huge": ("1e300", str(2**70), "99999"),
    "5,000 digits": (DIGITS,),
    "hexadecimal": ("0x1F",),
    "empty": ("", " "),
    "nested": ("[[[[]]]]", "[" * 300),
    "other encoding": ("caf\udce9", "\u202e", "a\nb"),
    "null": ("null",),
    "long": ("x" * 5000,),
}

_SAMPLES: Mapping[str, str] = {
    "number": '"many"', "integer": "1.5", "string": "12.5", "boolean": '"maybe"', "array": "{a: 1}",
    "object": "[1, 2]", "null": "[[1]]",
}  # fmt: skip


def wrong_type(kinds: set[str]) -> str:
    """A value of another type than a field has."""
    for kind, text in _SAMPLES.items():
        if kind in kinds and not (kind == "integer" and "number" in kinds):
            return text.replace("{a: 1}", '{"a": 1}')
    return "[[1]]"


@cache
def plain(text: str) -> Any:
    """What a YAML reader makes of one of the texts above, for a comparison with a declared range."""
    import yaml

    if text.lstrip("-").startswith(("1e", "0.")) or text in ("1e300", "1e9"):
        try:
            return float(text)
        except ValueError:
            return None
    if len(text) > 1000:
        if text.isdigit():
            return float("inf")
        return text[:1000] if text.startswith('"') else {"deep": text[:10]}
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {"unreadable": text[:10]}
