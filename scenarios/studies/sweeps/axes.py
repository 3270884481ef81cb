"""The values of one field of a sweep: a list, a range, a log range, or a distribution."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from scenarios.config.settings import Settings
from scenarios.studies.sweeps import samplers

MOST_POINTS = 100_000
LEVELS = 1000
"""Steps of equal size, or of an equal factor, in which a search moves through a distribution."""

Numbers = tuple[float, float]


def wrong(message: str, field: str = "", because: str = "") -> PydanticCustomError:
    """A refusal; where the file leaves the field out, the line is that of the field to blame."""
    where = {"field": field, "because": because} if field else {}
    return PydanticCustomError("sweep", "{message}", {"message": message, **where})


def as_axis(value: Any) -> Any:
    """A list is an axis by its values; lists become tuples, as strict reading wants them here."""
    if isinstance(value, list):
        return {"choice": tuple(value)}
    if isinstance(value, dict):
        return {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
    raise wrong("needs a list of values, or a block such as {from: 0, to: 1, step: 0.1}")


class AxisSettings(Settings):
    """The values of one field: a list or `choice`; a range; or a distribution."""

    choice: Annotated[tuple[JsonValue, ...], Field(min_length=1)] | None = None
    """Any values; a design that draws points takes each equally often."""
    low: float | None = Field(default=None, alias="from")
    to: float | None = None
    step: Annotated[float, Field(gt=0)] | None = None
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
        between = self.uniform or self.loguniform or (self.low, self.to)
        if "choice" not in given:
            low, high = between
            if low is None or high is None or not low < high:
                raise wrong("must rise from the first number to the second")
            if ("log" in given or "loguniform" in given) and low <= 0:
                raise wrong("needs numbers above 0, since it takes their logarithm")
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
            found = samplers.steps(self.low, self.to, self.step)
        else:
            assert self.count is not None
            found = samplers.log_steps(self.low, self.to, self.count)
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
            found = samplers.log_steps(low, high, LEVELS + 1)
            # Short numbers, since they end up in scenario files.
            found = tuple(min(max(float(f"{value:.6g}"), low), high) for value in found)
        else:
            found = samplers.steps(low, high, (high - low) / LEVELS)
        return tuple(dict.fromkeys(map(self._number, found)))

    def _number(self, value: float) -> float | int:
        return round(value) if self.whole else samplers.tidy(value)
