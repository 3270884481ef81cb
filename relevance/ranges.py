"""Ranges of settings, declared once in the types of the fields, and checked by `check_ranges`.

A file's reader (pydantic) reads the same types, so that a range stands in one place. Every number has both
ends: what lies outside could not be computed, or would mean nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterator
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen

Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
Spread: TypeAlias = Annotated[float, Ge(0), Le(5)]
"""A standard deviation on the log scale: at 5, a factor of 150 is common."""
Money: TypeAlias = Annotated[float, Ge(0), Le(1e6)]
"""Currency of one click, or of one hour."""
Seconds: TypeAlias = Annotated[float, Ge(0), Le(1e7)]
"""At most 116 days."""
Exponent: TypeAlias = Annotated[float, Ge(0), Le(10)]
Seed: TypeAlias = Annotated[int, Ge(0), Lt(2**63)]


def check_ranges(settings: Any, block: str = "") -> None:
    """Refuse settings outside the ranges that their types declare.

    Args:
        settings: a dataclass.
        block: what stands before the names of fields in messages, such as `traffic`.

    Raises:
        ValueError: names the field, what it must be, and its value.
    """
    for name, bounds, inner, optional in _declared(type(settings)):  # type: ignore[arg-type]
        value = getattr(settings, name)
        if value is None and optional:
            continue
        field = f"{block}.{name}" if block else name
        if fault := next(filter(None, (_fault(value, bound) for bound in bounds)), None):
            raise ValueError(f"{field} must {fault}, got {_short(value)}")
        if inner and not hasattr(value, "__iter__"):
            raise ValueError(f"{field} must be a list, got {_short(value)}")
        for place, one in enumerate(value if inner else ()):
            own = inner[min(place, len(inner) - 1)]
            if fault := next(filter(None, (_fault(one, bound) for bound in own)), None):
                raise ValueError(f"{field}[{place}] must {fault}, got {_short(one)}")


@functools.cache
def _declared(kind: type) -> tuple[tuple[str, tuple[Any, ...], tuple[tuple[Any, ...], ...], bool], ...]:
    """(field, its bounds, those of its items, whether it may be None) of every field that has any."""
    found = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        bounds, inner = tuple(_bounds(hint)), _items(hint)
        if bounds or any(inner):
            found.append((name, bounds, inner, type(None) in get_args(hint)))
    return tuple(found)


def _bounds(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Annotated:
        base, *more = get_args(hint)
        yield from (one for one in more if isinstance(one, Ge | Gt | Le | Lt | MinLen | MaxLen))
        yield from _bounds(base)
        if base in (int, float):
            yield math.isfinite
        if base is int:
            yield _is_whole
    elif get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            yield from _bounds(part)


def _is_whole(value: Any) -> bool:
    return bool(value == math.floor(value))


def _items(hint: Any) -> tuple[tuple[Any, ...], ...]:
    """The bounds of the items of a tuple, one for all or one for each."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        return next(filter(None, map(_items, get_args(hint))), ())
    if get_origin(hint) not in (tuple, list):
        return ()
    return tuple(tuple(_bounds(part)) for part in get_args(hint) if part is not ...)


def _fault(value: Any, bound: Any) -> str | None:
    """What a value must be and is not."""
    try:
        match bound:
            case Ge(ge):
                return None if value >= ge else f"be at least {ge:g}"
            case Gt(gt):
                return None if value > gt else f"be greater than {gt:g}"
            case Le(le):
                return None if value <= le else f"be at most {le:g}"
            case Lt(lt):
                return None if value < lt else f"be less than {lt:g}"
            case MinLen(least):
                return None if len(value) >= least else f"have at least {least} value(s)"
            case MaxLen(most):
                return None if len(value) <= most else f"have at most {most} value(s)"
            case _:
                wanted = "a finite" if bound is math.isfinite else "a whole"
                return None if bound(value) else f"be {wanted} number"
    except (TypeError, OverflowError):
        return "be a list" if isinstance(bound, MinLen | MaxLen) else "be a number"


def check_columns(**columns: Any) -> None:
    """Refuse arguments that are no arrays [P], a finite number of each for each of the same pairs.

    Raises:
        ValueError: names the argument, what it must be, and what it is.
    """
    first, pairs = "", 0
    for name, column in columns.items():
        array = _array(name, column)
        if array.ndim != 1 or array.dtype.kind not in "fiub":
            is_now = f"an array {list(array.shape)} of {array.dtype}"
            raise ValueError(f"{name} must be an array [P] of numbers, is {is_now}")
        if first and len(array) != pairs:
            raise ValueError(f"{name} must have a value for each of {first}'s {pairs}, has {len(array)}")
        first, pairs = first or name, len(array)
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite numbers, holds {array[~np.isfinite(array)][0]}")


def check_within(name: str, column: Any, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse an argument of which a number lies outside [low, high], or is not whole where it must be.

    Raises:
        ValueError: names the argument, what it must be, and what it holds.
    """
    array = _array(name, column)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {_short(column)}")
    wrong = ~((array >= low) & (array <= high))
    if wrong.any():
        raise ValueError(f"{name} must be from {low:g} to {high:g}, got {array[wrong].flat[0]}")
    if whole and array.dtype.kind not in "iub":
        raise ValueError(f"{name} must be whole numbers, is {array.dtype}")


def _array(name: str, value: Any) -> Any:
    try:
        return np.asarray(value)
    except ValueError:  # lists of different lengths
        raise ValueError(f"{name} must be an array of numbers, got {_short(value)}") from None


def check_named(name: str, value: object, known: Collection[str]) -> None:
    """Refuse an argument that is none of the names known."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {_short(value)}")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
