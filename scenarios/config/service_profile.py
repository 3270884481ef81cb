"""A service profile: how long the scorer takes for batches of so many pairs, measured, as a file.

Scenarios name the file in `serving.profile`. Its points, not its name, become part of the scenario, so that a
result is bound to what was measured.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from scenarios.config.settings import SchemaVersion, Settings, out_of_range
from simulator.serving import Point, check_profile


def _usable(points: tuple[Point, ...]) -> tuple[Point, ...]:
    check_profile(points)
    return points


class ProfileFile(Settings):
    """What `relbid profile` writes."""

    kind: Literal["service profile"]
    schema_version: SchemaVersion = Field(alias="schema")
    scorer: str
    scenario: str
    """Name of the scenario whose queries and ads were scored."""
    machine: Annotated[dict[str, str], Field(max_length=100)]
    """Processor, device, threads and versions."""
    repeats: Annotated[int, Field(ge=1, le=10**6)]
    points: Annotated[tuple[Point, ...], Field(min_length=2, max_length=1000), AfterValidator(_usable)]
    """(pairs in a batch, median seconds), the seconds never falling."""
    quartiles: tuple[Point, ...]
    """Lower and upper quartile of the seconds at each point."""

    @model_validator(mode="after")
    def _quartiles_belong_to_points(self) -> Self:
        if len(self.quartiles) != len(self.points):
            reason = f"{len(self.quartiles)} pairs for {len(self.points)} points; there is one for each"
            raise out_of_range("quartiles", reason)
        if any(low > high for low, high in self.quartiles):
            raise out_of_range("quartiles", "a lower quartile is above its upper one")
        return self
