"""A fusion rule written as an expression in b (bid), q (predicted click rate) and r (relevance).

    sum     = product {("+" | "-") product}
    product = signed {("*" | "/") signed}
    signed  = ("-" | "+") signed | power
    power   = atom [("^" | "**") signed]
    atom    = number | "b" | "q" | "r" | "(" sum ")" | function "(" sum {"," sum} ")"

with the functions min, max (two arguments or more), exp, log and sqrt (one). Names may be written in capital
letters and in full (NAMES), signs as in a textbook or full-width as Chinese keyboards type them (SIGNS).
Nothing of a text is ever run as code: it is read into a tree, which is evaluated on arrays.
"""

import math
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from math import inf
from typing import Annotated, Any, NamedTuple

import numpy as np
from array_api_compat import device

from simulator.arrays import AnyArray, as_float, namespace

MAX_LENGTH, MAX_DEPTH = 500, 40
LEAST_BID, MOST_BID = 1e-9, 1e9
"""Currency per click; the inverse looks between them."""
STEPS = 50
"""Halvings of log(MOST_BID / LEAST_BID), after which less than 4e-14 of the bid is left open."""

VARIABLES = ("b", "q", "r")
NAMES: Mapping[str, str] = {
    **{name: name for name in VARIABLES},
    "bid": "b", "pctr": "q", "ctr": "q", "rel": "r", "relevance": "r",
}  # fmt: skip
"""The variables by every name that is understood, in small letters."""
SIGNS = str.maketrans("\u00d7\u00b7\u22c5\u2219\u2217\u2715\u00f7\u2212\u2013\u02c6\u3001", "******/--^,")
"""Signs that are written for those of the grammar: times, dots, a division sign, minus, a caret, a comma."""
OPERATORS: Mapping[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "^": operator.pow,
    "negative": operator.neg,
}  # fmt: skip
FUNCTIONS: Mapping[str, tuple[int, int]] = {
    "min": (2, 20),
    "max": (2, 20),
    "exp": (1, 1),
    "log": (1, 1),
    "sqrt": (1, 1),
}
"""The least and the most arguments of each."""


READING_FAULTS: Mapping[str, str] = {
    "too_long": "an expression has at most {most} characters",
    "too_deep": "nested too deeply",
    "too_large": "the number is too large",
    "no_bid": "the expression does not contain b, so no bid would matter",
    "unknown_name": "unknown name {name!r}; there are b, q, r and {functions}",
    "one_argument": "{name} takes one argument, got {n}",
    "arguments": "{name} takes {least} to {most} arguments, got {n}",
    "no_operator": "expected an operator or the end, got {got!r}",
    "no_value": "expected a number, b, q, r, a function or (, got {got!r}",
    "no_value_at_end": "expected a number, b, q, r, a function or (, but the expression ends",
    "not_it": "expected {expected}, got {got!r}",
    "not_it_at_end": "expected {expected}, but the expression ends",
}
"""Why an expression cannot be read, by the kind of the fault: sentences with the names of their values."""


class FormulaError(ValueError):
    """An expression cannot be read; the message says where.

    `kind` is a key of READING_FAULTS, `reason` its sentence with the `values`.
    """

    def __init__(self, expression: str, position: int, kind: str, **values: object) -> None:
        self.expression, self.position = expression, position
        self.kind, self.values = kind, values
        self.reason = READING_FAULTS[kind].format(**values)
        super().__init__(f"character {position + 1}: {self.reason}")

    @property
    def pointer(self) -> str:
        """The expression with a caret below the character in question, on two lines."""
        return f"{self.expression}\n{' ' * self.position}^"


class Node(NamedTuple):
    """A number ("number", value), a variable, or an operation on parts."""

    kind: str
    value: float = 0.0
    parts: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Formula:
    """The rule that an expression spells, such as "b * q * r^0.5".

    An ad is eligible where the expression is a number, and where bidding more raises it at all: no bid moves
    b * q * r at r = 0. There is no closed form for the inverse, which halves the range of bids instead;
    so the score must rise in the bid, which `fusion.check_rule` tries.

    Raises:
        FormulaError: the expression cannot be read, or does not contain b.
    """

    expression: Annotated[
        str, "Of + - * / ^, parentheses, min, max, exp, log and sqrt; the score must rise in b."
    ] = "b * q * r"
    tree: Node = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", parse(self.expression))

    def score(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = namespace(bid, pctr, rel)
        bid, pctr, rel = as_float(bid), as_float(pctr), as_float(rel)
        return xp.where(self._moves(pctr, rel), self._value(bid, pctr, rel), -inf)

    def bid_for_score(self, target: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        xp = namespace(target, pctr, rel)
        target, pctr, rel = as_float(target), as_float(pctr), as_float(rel)
        target, pctr, rel = xp.broadcast_arrays(target, pctr, rel)

        def reaches(log_bid: AnyArray) -> AnyArray:
            value = self._value(xp.exp(log_bid), pctr, rel)
            return (value >= target) & (value > -inf)

        low = xp.full_like(target, math.log(LEAST_BID))
        high = xp.full_like(target, math.log(MOST_BID))
        at_once, at_all = reaches(low), reaches(high) & self._moves(pctr, rel)
        for _ in range(STEPS):
            middle = 0.5 * (low + high)
            enough = reaches(middle)
            low, high = xp.where(enough, low, middle), xp.where(enough, middle, high)
        return xp.where(at_all, xp.where(at_once, 0.0, xp.exp(high)), inf)

    @property
    def affine(self) -> bool:
        return _degree(self.tree) <= 1

    def _value(self, bid: AnyArray, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        """The expression, -inf where it is no number."""
        xp = namespace(bid, pctr, rel)
        with np.errstate(all="ignore"):
            value = _evaluate(self.tree, {"b": bid, "q": pctr, "r": rel}, xp)
        return xp.where(xp.isnan(value), -inf, value)

    def _moves(self, pctr: AnyArray, rel: AnyArray) -> AnyArray:
        """Whether the highest bid scores more than the lowest."""
        xp = namespace(pctr, rel)
        low, high = (self._value(xp.full_like(pctr, bid), pctr, rel) for bid in (LEAST_BID, MOST_BID))
        return high > low


def parse(expression: str) -> Node:
    """Read an expression.

    Raises:
        FormulaError: it cannot be read, or does not contain b.
    """
    if len(expression) > MAX_LENGTH:
        raise FormulaError(expression, MAX_LENGTH, "too_long", most=MAX_LENGTH)
    reader = _Reader(expression)
    tree = reader.sum(0)
    if reader.text:
        raise reader.error("no_operator", got=reader.text)
    if not _degree(tree):
        raise FormulaError(expression, 0, "no_bid")
    return tree


def plain_signs(expression: str) -> str:
    """The expression with the signs of the grammar, character for character, so that positions stay."""
    translated = expression.translate(SIGNS)
    narrow = (unicodedata.normalize("NFKC", character) for character in translated)
    return "".join(
        plain if len(plain) == 1 and plain.isascii() and _wide(character) else character
        for character, plain in zip(translated, narrow, strict=True)
    )


def _wide(character: str) -> bool:
    """Whether it is a full-width form; a superscript 2, say, must not become the 2 that it resembles."""
    return "\uff01" <= character <= "\uff5e" or character == "\u3000"


_TOKEN = re.compile(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[A-Za-z_]\w*|\*\*|.|$)", re.S)


class _Reader:
    """Recursive descent over an expression; `text` is the token that comes next, "" at the end."""

    def __init__(self, expression: str) -> None:
        self.expression, self.start, self.end, self.text = expression, 0, 0, ""
        self.plain = plain_signs(expression)
        self.advance()

    def advance(self) -> None:
        found = _TOKEN.match(self.plain, self.end)
        assert found is not None  # the pattern takes anything
        self.start, self.end, self.text = found.start(1), found.end(), found[1]

    def error(self, kind: str, position: int | None = None, **values: object) -> FormulaError:
        at = self.start if position is None else position
        return FormulaError(self.expression, at, kind, **values)

    def other_than(self, kind: str, **values: object) -> FormulaError:
        """Something else stands here, or the expression ends."""
        if self.text:
            return self.error(kind, None, got=self.text, **values)
        return self.error(f"{kind}_at_end", None, **values)

    def sum(self, depth: int) -> Node:
        return self._chain(("+", "-"), self.product, depth)

    def product(self, depth: int) -> Node:
        return self._chain(("*", "/"), self.signed, depth)

    def _chain(self, operators: tuple[str, ...], part: Callable[[int], Node], depth: int) -> Node:
        left = part(depth)
        while self.text in operators:
            kind = self.text
            self.advance()
            left = Node(kind, parts=(left, part(depth)))
        return left

    def signed(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.error("too_deep")
        if self.text not in ("-", "+"):
            return self.power(depth)
        sign = self.text
        self.advance()
        inner = self.signed(depth + 1)
        return inner if sign == "+" else Node("negative", parts=(inner,))

    def power(self, depth: int) -> Node:
        base = self.atom(depth)
        if self.text not in ("^", "**"):
            return base
        self.advance()
        return Node("^", parts=(base, self.signed(depth + 1)))

    def atom(self, depth: int) -> Node:
        text, start = self.text, self.start
        if text == "(":
            self.advance()
            inner = self.sum(depth + 1)
            self._expect(")")
            return inner
        if text[:1].isdecimal() or (text[:1] == "." and len(text) > 1):
            self.advance()
            if not math.isfinite(float(text)):
                raise self.error("too_large", start)
            return Node("number", float(text))
        if variable := NAMES.get(text.lower()):
            self.advance()
            return Node(variable)
        if text.lower() in FUNCTIONS:
            return self._call(text.lower(), start, depth)
        if re.match(r"[A-Za-z_]", text):
            raise self.error("unknown_name", start, name=text, functions=", ".join(FUNCTIONS))
        raise self.other_than("no_value")

    def _call(self, name: str, start: int, depth: int) -> Node:
        self.advance()
        self._expect("(")
        parts = [self.sum(depth + 1)]
        while self.text == ",":
            self.advance()
            parts.append(self.sum(depth + 1))
        self._expect(")")
        least, most = FUNCTIONS[name]
        if not least <= len(parts) <= most:
            kind = "one_argument" if most == 1 else "arguments"
            raise self.error(kind, start, name=name, least=least, most=most, n=len(parts))
        return Node(name, parts=tuple(parts))

    def _expect(self, text: str) -> None:
        if self.text != text:
            raise self.other_than("not_it", expected=text)
        self.advance()


def _evaluate(node: Node, variables: Mapping[str, AnyArray], xp: Any) -> AnyArray:
    if node.kind in VARIABLES:
        return variables[node.kind]
    if node.kind == "number":
        like = variables["b"]
        return xp.asarray(node.value, dtype=like.dtype, device=device(like))
    parts = [_evaluate(part, variables, xp) for part in node.parts]
    if node.kind in ("min", "max"):
        return reduce(getattr(xp, f"{node.kind}imum"), parts)
    return (OPERATORS.get(node.kind) or getattr(xp, node.kind))(*parts)


def _degree(node: Node) -> float:
    """0 where b does not occur, 1 where the value is affine in b, infinite otherwise."""
    if node.kind == "b":
        return 1
    degrees = [_degree(part) for part in node.parts]
    if not any(degrees):
        return 0
    match node.kind:
        case "+" | "-" | "negative":
            return max(degrees)
        case "*":
            return sum(degrees) if sum(degrees) <= 1 else inf
        case "/":
            return degrees[0] if degrees[1] == 0 else inf
    return inf
