"""Bounds on the fields and metrics of points: `irrelevant_share <= 0.02`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from scenarios.config.problems import value_refusal
from scenarios.config.settings import Settings, wrong
from scenarios.config.yaml_file import kind_of
from scenarios.errors import ScenarioError, did_you_mean, quoted
from simulator.measures.market_metrics import METRICS, is_share

Bound = Annotated[float, Field(ge=-1e15, le=1e15)]
_WRITTEN = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=|≤|≥)\s*([^\s%]+?)\s*(%?)\s*")


def as_constraint(value: Any) -> Any:
    """What `NAME <= NUMBER` says as a block. A name with a dot in it is a field, another one a metric."""
    if isinstance(value, Mapping | Constraint):
        return value
    found = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise wrong(
            "needs NAME <= NUMBER or NAME >= NUMBER, for instance irrelevant_share <= 0.02, "
            f"got {quoted(value) if isinstance(value, str) else kind_of(value)}"
        )
    name, sign, number, percent = found.groups()
    try:
        bound = float(number) / (100.0 if percent else 1.0)
    except ValueError:
        raise wrong(f"needs a number after {sign}, got {quoted(number)}") from None
    if percent and name in METRICS and not is_share(name):
        raise wrong(f"{name} is no share, so it has no per cent of anything; give a number")
    return {
        "field" if "." in name else "metric": name,
        "at_most" if sign in ("<=", "≤") else "at_least": bound,
    }


def metric_bound(text: str) -> Constraint:
    """A bound on a metric as it is written on a command line.

    Raises:
        ScenarioError: it is no bound, or there is no such metric.
    """
    try:
        bound = Constraint.model_validate(as_constraint(text))
    except ValidationError as error:
        raise value_refusal(error).at(field="--keep") from None
    except PydanticCustomError as error:
        raise ScenarioError(str(error), field="--keep") from None
    if bound.metric not in METRICS:
        raise ScenarioError(
            f"unknown metric {quoted(bound.name)}{did_you_mean(bound.name, METRICS)}", field="--keep"
        )
    return bound


class Constraint(Settings):
    """A bound on a field of the points that are tried, or on a metric of those that are called feasible."""

    field: str | None = None
    """A swept field; points that break the bound are not simulated."""
    metric: str | None = None
    """Its mean over the seeds; points that break the bound are kept, and marked as not feasible."""
    at_most: Bound | None = None
    at_least: Bound | None = None

    @property
    def name(self) -> str:
        return self.field or self.metric or ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.field is None) == (self.metric is None):
            raise wrong("needs either a field or a metric")
        if self.at_most is None and self.at_least is None:
            raise wrong("needs at_most, at_least or both")
        bounds = [bound for bound in (self.at_least, self.at_most) if bound is not None]
        if sorted(bounds) != bounds:
            raise wrong(
                f"at_least {bounds[0]:g} is above at_most {bounds[1]:g}, so that nothing keeps to both"
            )
        unit = METRICS[self.metric].unit if self.metric is not None and self.metric in METRICS else None
        if unit == "share" and (outside := [bound for bound in bounds if not 0 <= bound <= 1]):
            remedy = f"; write {outside[0]:g}% where that is meant" if 2 <= outside[0] <= 100 else ""
            raise wrong(f"{self.metric} is a share, from 0 to 1 or 0% to 100%{remedy}")
        return self

    def holds(self, value: object) -> bool:
        """Whether a value keeps to the bound; a value that is not a number always does."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low <= value <= high

    def excess(self, value: float) -> float:
        """How far a number is beyond the bound, in parts of the bound; below 0 where it keeps to it."""
        bounds = ((self.at_most, 1.0), (self.at_least, -1.0))
        return max(sign * (value - b) / (abs(b) or 1.0) for b, sign in bounds if b is not None)

    def __str__(self) -> str:
        """`irrelevant_share <= 0.02`."""
        if self.at_most is None:
            return f"{self.name} >= {self.at_least:g}"
        low = "" if self.at_least is None else f"{self.at_least:g} <= "
        return f"{low}{self.name} <= {self.at_most:g}"
