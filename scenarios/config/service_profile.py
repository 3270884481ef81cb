"""A service profile: how long the scorer takes for batches of so many pairs, measured, as a file.

Scenarios name the file in `serving.profile`. Its points, not its name, become part of the scenario, so that a
result is bound to what was measured.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from scenarios.config.settings import Settings
from simulator.serving import Point, check_profile


def _usable(points: tuple[Point, ...]) -> tuple[Point, ...]:
    check_profile(points)
    return points


class ProfileFile(Settings):
    """What `relbid profile` writes."""

    kind: Literal["service profile"]
    schema_version: Literal[1] = Field(alias="schema")
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
