"""The values of one field of a sweep: a list, a range, a log range, or a distribution.

Points spread over a box of fields: Latin hypercube, McKay, Beckman and Conover 1979, "A comparison of three
methods for selecting values of input variables"; Sobol, Owen's scrambled (t, m, s)-nets, as in
scipy.stats.qmc.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, JsonValue, model_validator

from scenarios.config.settings import Settings, wrong
from scenarios.errors import quoted
from simulator.arrays import FloatArray

MOST_POINTS = 100_000
LEVELS = 1000
"""Steps of equal size, or of an equal factor, in which a search moves through a distribution."""

Number = Annotated[float, Field(ge=-1e12, le=1e12)]
Numbers = tuple[Number, Number]


def as_axis(value: Any) -> Any:
    """A list is an axis by its values; lists become tuples, as strict reading wants them here."""
    if isinstance(value, list):
        return {"choice": tuple(value)}
    if isinstance(value, dict):
        known = {field.alias or name for name, field in AxisSettings.model_fields.items()}
        if (
            value
            and not known & value.keys()
            and all(isinstance(part, list | dict) for part in value.values())
        ):
            key = next(iter(value))
            raise wrong(
                f"needs the field's whole name as one key: with a dot before {quoted(key)}, "
                f"such as auction.reserve, and the values after it"
            )
        return {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
    raise wrong("needs a list of values, or a block such as {from: 0, to: 1, step: 0.1}")


class AxisSettings(Settings):
    """The values of one field: a list or `choice`; a range; or a distribution."""

    choice: Annotated[tuple[JsonValue, ...], Field(min_length=1)] | None = None
    """Any values; a design that draws points takes each equally often."""
    low: Number | None = Field(default=None, alias="from")
    to: Number | None = None
    step: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """A range: from, from + step, ... up to `to`."""
    count: Annotated[int, Field(ge=2, le=MOST_POINTS)] | None = None
    """A log range: so many values from `from` to `to`, by equal factors."""
    log: Literal[True] | None = None
    uniform: Numbers | None = None
    """Between two numbers, for designs that draw points."""
    loguniform: Numbers | None = None
    """Between two numbers above 0, uniform in the logarithm."""
    whole: bool = False
    """Rounded to whole numbers."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = set(self.model_dump(by_alias=True, exclude_none=True)) - {"whole"}
        ranges = ({"from", "to", "step"}, {"from", "to", "count", "log"})
        if given not in (*ranges, {"choice"}, {"uniform"}, {"loguniform"}):
            raise wrong(
                "needs a list, {from, to, step}, {from, to, count, log: true}, {uniform: [low, high]} or "
                f"{{loguniform: [low, high]}}, got {', '.join(sorted(given)) or 'nothing'}"
            )
        if self.whole and "choice" in given:
            raise wrong("a list holds the numbers that it holds; leave whole out", "whole")
        between = self.uniform or self.loguniform or (self.low, self.to)
        if "choice" not in given:
            low, high = between
            if low is None or high is None or not low < high:
                raise wrong("must rise from the first number to the second")
            if ("log" in given or "loguniform" in given) and low <= 0:
                raise wrong("needs numbers above 0, since it takes their logarithm")
            if ("log" in given or "loguniform" in given) and math.isinf(high / low):
                raise wrong("has ends that lie too far apart for their ratio to be a number")
            if self.whole and not self.countable and math.ceil(low) > math.floor(high):
                raise wrong(f"there is no whole number from {low:g} to {high:g}; leave whole out", "whole")
            if self.step is not None and (high - low) / self.step > MOST_POINTS:
                raise wrong(f"has more than {MOST_POINTS} values; take a larger step")
        return self

    @property
    def countable(self) -> bool:
        return self._spread is None

    @property
    def _spread(self) -> tuple[float, float, bool] | None:
        """The ends of a distribution, and whether it is uniform in the logarithm."""
        if self.uniform is not None:
            return *self.uniform, False
        return None if self.loguniform is None else (*self.loguniform, True)

    def values(self) -> tuple[JsonValue, ...]:
        """All values, each once.

        Raises:
            ValueError: it is a distribution, which has no end of them.
        """
        if self.choice is not None:
            return self.choice
        if not self.countable:
            raise ValueError("a distribution cannot be listed")
        assert self.low is not None
        assert self.to is not None
        if self.step is not None:
            found = steps(self.low, self.to, self.step)
        else:
            assert self.count is not None
            found = log_steps(self.low, self.to, self.count)
        return tuple(dict.fromkeys(map(self._number, found)))

    def at(self, u: float) -> JsonValue:
        """The value at the quantile u in [0, 1)."""
        if self._spread is None:
            values = self.values()
            return values[int(u * len(values))]
        low, high, log = self._spread
        if log:
            return self._number(low * math.exp(u * math.log(high / low)))
        # Whole numbers are equally likely, the two at the ends too.
        wide = 0.5 if self.whole else 0.0
        return self._number(low - wide + u * (high - low + 2 * wide))

    def levels(self) -> tuple[JsonValue, ...]:
        """The values that a search moves through: all of them, or a distribution in LEVELS steps."""
        if self._spread is None:
            return self.values()
        low, high, log = self._spread
        if self.whole and high - low < LEVELS:
            return tuple(range(math.ceil(low), math.floor(high) + 1))
        if log:
            found = log_steps(low, high, LEVELS + 1)
            # Short numbers, since they end up in scenario files.
            found = tuple(min(max(float(f"{value:.6g}"), low), high) for value in found)
        else:
            found = steps(low, high, (high - low) / LEVELS)
        return tuple(dict.fromkeys(map(self._number, found)))

    def _number(self, value: float) -> float | int:
        return round(value) if self.whole else tidy(value)


def unit_points(method: str, dimensions: int, n: int, seed: int) -> FloatArray:
    """Points F[n, dimensions] of the unit cube by `latin_hypercube` or `sobol` (n a power of 2)."""
    from scipy.stats import qmc  # takes its time to import

    if method == "sobol":
        points = qmc.Sobol(dimensions, scramble=True, rng=seed).random_base2(n.bit_length() - 1)
    else:
        points = qmc.LatinHypercube(dimensions, rng=seed).random(n)
    cube: FloatArray = np.clip(points, 0.0, math.nextafter(1.0, 0.0))
    return cube


def steps(low: float, high: float, step: float) -> tuple[float, ...]:
    """low, low + step, ... up to high, with no dust of rounding."""
    n = math.floor((high - low) / step + 1e-9)
    return tuple(tidy(low + i * step) for i in range(n + 1))


def log_steps(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` values from low to high, each the same factor above the one before."""
    ratio = math.log(high / low)
    return tuple(tidy(low * math.exp(ratio * i / (count - 1))) for i in range(count))


def tidy(value: float) -> float:
    """Rounded to 12 significant digits."""
    return float(f"{value:.12g}")
