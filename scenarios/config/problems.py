"""Describes what pydantic refuses in a file: the place, the reason and the remedy."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from scenarios.config.yaml_file import MAX_BYTES, KeyPath, dotted, kind_of
from scenarios.errors import ScenarioError, Setting, did_you_mean, listed, quoted

MOST_PROBLEMS = 20
"""So many problems of a file are described; further ones are only counted."""

_COMPARISONS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WANTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
    "dataclass_type": "a block of keys",
}


def refusal(
    error: ValidationError,
    data: Any,
    lines: Mapping[KeyPath, int],
    was_set: Mapping[KeyPath, Setting],
    source: str,
    model: type[BaseModel],
) -> ScenarioError:
    """All problems of a file as one error, in the order of the file.

    Args:
        data: what was validated.
        lines: where its values stand in the file.
        was_set: what was set over the file.
        source: the file's name.
    """
    found = [(_path_of(problem, data), problem) for problem in error.errors()]
    # A list is also called too short when one of its items is refused; the item's own message says it better.
    found = [
        (path, problem)
        for path, problem in found
        if problem["type"] != "too_short"
        or not any(path in tuple(_prefixes(other))[1:] for other, _ in found)
    ]
    found.sort(key=lambda item: line_of(item[0], lines) or MAX_BYTES)
    # What fits no alternative of a field is refused once for each of them.
    several: dict[KeyPath, list[Any]] = {}
    for path, problem in found:
        several.setdefault(path, []).append(problem)
    problems = []
    for path, alternatives in itertools.islice(several.items(), MOST_PROBLEMS):
        described = [_describe(problem, model) for problem in alternatives]
        _, value, remedy = described[0]
        reason = " or ".join(dict.fromkeys(words for words, _, _ in described))
        because = tuple(alternatives[0].get("ctx", {}).get("because", "").split("."))
        problems.append(
            ScenarioError(
                reason,
                file=source,
                line=line_of(path, lines) or line_of(because, lines),
                field=dotted(path) or None,
                value=value,
                remedy=remedy,
                setting=blamed(path, lines, was_set),
            )
        )
    if len(several) == 1:
        return problems[0]
    first = f", of which these are the first {MOST_PROBLEMS}" if len(several) > MOST_PROBLEMS else ""
    return ScenarioError(f"{len(several)} problems{first}", file=source, problems=tuple(problems))


def value_refusal(error: ValidationError) -> ScenarioError:
    """What is wrong with a single value; where it fits no alternative, of the first one."""
    problem = error.errors()[0]
    reason, value, remedy = _describe(problem, BaseModel)
    place = dotted(tuple(part for part in problem["loc"] if isinstance(part, int)))
    return ScenarioError(f"place {place}: {reason}" if place else reason, value=value, remedy=remedy)


def _describe(problem: Any, model: type[BaseModel]) -> tuple[str, str | None, str | None]:
    """One problem in words: the reason, what was given, and the remedy."""
    kind, context, value = problem["type"], problem.get("ctx", {}), problem["input"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        if re.fullmatch(r"\d+", str(problem["loc"][-1])) and value is None:
            remedy = "write 0.05 for 0,05, and 1000 for 1,000"
            return "a comma begins another key here", None, remedy
        return _unknown_key(problem["loc"], model), None, None
    if kind == "missing":
        last = problem["loc"][-1]
        if isinstance(last, int):
            ordinal = ("first", "second", "third")[last] if last < 3 else f"{last + 1}th"
            return f"needs a {ordinal} value", None, None
        return "is missing", None, "add it"
    if kind == "too_short":
        return f"needs at least {context['min_length']} value(s)", None, None
    if kind == "too_long":
        return f"takes at most {context['max_length']} value(s)", f"{len(value):,}", None
    if kind == "string_too_short":
        return "must not be empty", None, None
    if kind == "string_too_long":
        return f"takes at most {context['max_length']} characters", f"{len(value):,}", None
    if kind == "string_pattern_mismatch":
        return _of_pattern(context["pattern"]), _show(value), None
    if kind in _COMPARISONS:
        words, key = _COMPARISONS[kind]
        return f"must be {words} {context[key]:g}", _show(value), None
    if kind == "finite_number":
        return "needs a finite number", _show(value), None
    if kind == "union_tag_invalid":
        known = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        key = context["discriminator"].strip("'")
        tag = value.get(key) if isinstance(value, dict) else None
        if not isinstance(tag, str):
            return f"must be one of {', '.join(known)}", _show(tag), None
        hint = f"{did_you_mean(tag, known)} (there are {', '.join(known)})"
        return f"unknown {key} {quoted(tag)}{hint}", None, None
    if kind == "union_tag_not_found":
        known = (
            _node_at(model.model_json_schema(), problem["loc"]).get("discriminator", {}).get("mapping", ())
        )
        which = f"; it is one of {', '.join(known)}" if known else ""
        return f"needs the key {context['discriminator']} to say which kind it is{which}", None, None
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        expected = context["expected"].replace("True", "true")
        return f"must be {expected}", _show(value) + did_you_mean(str(value), known), None
    if kind in _WANTED:
        return f"needs {_WANTED[kind]}", _show(value), _trap(kind, value)
    message = str(context["error"]) if kind == "value_error" else problem["msg"]
    return message[:1].lower() + message[1:], None, None


def _of_pattern(pattern: str) -> str:
    """What a name must be, in words."""
    [(signs, more)] = re.findall(r"\[A-Za-z0-9([^\]]*)\]\{0,(\d+)\}", pattern)
    may_hold = " ".join("space" if sign == " " else sign for sign in signs)
    return (
        f"must begin with a letter or digit, hold nothing but letters (A to Z), digits and {may_hold}, "
        f"and have at most {int(more) + 1} characters"
    )


def _path_of(problem: Any, data: Any) -> KeyPath:
    """Where a problem is in the data: pydantic's location without the tags of unions, which are not keys."""
    loc, context = problem["loc"], problem.get("ctx", {})
    path: list[str | int] = []
    for position, part in enumerate(loc):
        known = (isinstance(data, dict) and part in data) or (
            isinstance(data, list | tuple) and part in range(len(data))
        )
        named = (
            position == len(loc) - 1
            and isinstance(data, dict)
            and isinstance(part, str)
            and part.isidentifier()  # not "[key]", nor an alternative such as "literal['seed']"
            and "field" not in context
        )
        if known or named:
            path.append(part)
        if known:
            data = data[part]
    if "field" in context:
        path.extend(context["field"].split("."))
    elif problem["type"] == "union_tag_invalid":
        path.append(context["discriminator"].strip("'"))
    return tuple(path)


def blamed(path: KeyPath, lines: Mapping[KeyPath, int], was_set: Mapping[KeyPath, Setting]) -> Setting | None:
    """What was set over the file that holds the value at a path, or that has made the block that it is in."""
    for above in _prefixes(path):
        if above in was_set:
            return was_set[above]
        below = [one for set_path, one in was_set.items() if set_path[: len(above)] == above]
        if above not in lines and below:
            return below[0]
    return None


def _prefixes(path: KeyPath) -> Iterator[KeyPath]:
    """The path itself, then each one above it."""
    return (path[:length] for length in range(len(path), 0, -1))


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of a value, or of the nearest one above it that the file has."""
    return next((lines[prefix] for prefix in _prefixes(path) if prefix in lines), None)


def _unknown_key(loc: Sequence[str | int], model: type[BaseModel]) -> str:
    key = str(loc[-1])
    schema = model.model_json_schema()
    known = _keys_at(schema, loc[:-1])
    if near := did_you_mean(key, known):
        return f"unknown key{near}"
    choice = _node_at(schema, loc[:-2]).get("discriminator") if len(loc) > 1 else None
    where = ""
    if choice is not None and loc[-2] in choice["mapping"]:
        where = f" where {choice['propertyName']} is {quoted(str(loc[-2]))}"
        if others := [tag for tag in choice["mapping"] if key in _keys_at(schema, (*loc[:-2], tag))]:
            return f"unknown key{where}; {quoted(key)} belongs to {listed(others)}"
    homes = [block for block in _keys_at(schema, ()) if key in _keys_at(schema, (block,))]
    if homes and homes[0] not in loc:
        return f"unknown key; {quoted(key)} belongs under '{homes[0]}'"
    return f"unknown key{where}; there are {listed(known)}" if known else "unknown key"


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _node_at(schema: dict[str, Any], loc: Sequence[str | int]) -> dict[str, Any]:
    """What the JSON schema says of a location."""
    node = schema
    for part in loc:
        if part in node.get("discriminator", {}).get("mapping", {}):
            node = {"$ref": node["discriminator"]["mapping"][part]}
        else:
            options = [node, *(_resolved(schema, one) for one in node.get("anyOf", []))]
            inside = "items" if isinstance(part, int) else "additionalProperties"
            node = next(
                (o["properties"][part] for o in options if part in o.get("properties", {})), {}
            ) or next((o[inside] for o in options if isinstance(o.get(inside), dict)), {})
        node = _resolved(schema, node)
    return node


def _keys_at(schema: dict[str, Any], loc: Sequence[str | int]) -> list[str]:
    """Keys that the JSON schema knows at a location."""
    node = _node_at(schema, loc)
    options = [node, *(_resolved(schema, one) for one in node.get("anyOf", []) + node.get("oneOf", []))]
    return list(dict.fromkeys(key for option in options for key in option.get("properties", {})))


def _trap(kind: str, value: object) -> str | None:
    """What to do where a number is written as a text, or a text as a number."""
    if kind in ("float_type", "int_type") and isinstance(value, str):
        plain = value if is_number(value) else (_plainly(value) or "").removeprefix("write ")
        if not is_number(plain) or (kind == "int_type" and not float(plain).is_integer()):
            return None
        return "remove the quotes" if is_number(value) else f"write {plain}"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"write {value:.0f}"
    return "put it in quotes" if kind == "string_type" and isinstance(value, int | float) else None


def _plainly(text: str) -> str | None:
    """How a number is written here that has thousands apart, a per cent sign or a decimal comma."""
    text = text.strip()
    if re.fullmatch(r"\d{1,3}([ ,'_\u00a0\u202f])\d{3}(\1\d{3})*(\.\d+)?", text):
        return f"write {re.sub(r'[^0-9.]', '', text)}"
    number = text.removesuffix("%").rstrip().replace(",", ".")
    if is_number(number) and number != text:
        return f"write {float(number) / 100:g}" if text.endswith("%") else f"write {number}"
    return None


def is_number(text: str) -> bool:
    """Whether a text reads as a finite number once its quotes are gone."""
    return bool(_NUMBER.fullmatch(text.strip())) and math.isfinite(float(text))


def _show(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
    text = kind_of(value)
    return text if len(text) <= 80 else text[:77] + "..."
