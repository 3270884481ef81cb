"""What a search has asked for so far: generations of settings, and the points that these make.

They are kept in `asked.json` of the sweep's folder, each generation before it is simulated. A search that
continues asks for the same points again, even if a newer version of its library would ask for others.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from relevance.files import read_json
from scenarios.errors import ScenarioError, StoreError, cut
from scenarios.storage.whole import write_whole_file
from scenarios.studies.sweeps.sweep import Sweep, SweepPoint, point_of

ASKED = "asked.json"
ANEW = "remove it, and the search asks for its points anew, of which those that are finished are not repeated"

Settings = Mapping[str, JsonValue]
"""Swept field -> value."""
Generation = Sequence[Settings]


class Asked:
    """The points of a search, in the order in which they were first asked for.

    A combination that was asked for before is the same point, and one that makes no scenario is none.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.generations: list[Generation] = []
        self.points: list[SweepPoint] = []
        self._sweep = replace(sweep, points=())
        self._index: dict[str, int | None] = {}

    @property
    def sweep(self) -> Sweep:
        """The sweep with the points so far."""
        return replace(self._sweep, points=tuple(self.points))

    def add(self, generation: Generation) -> list[int | None]:
        """The points of a generation by their indices, None for each that makes no scenario."""
        self.generations.append(generation)
        return [self._point(settings) for settings in generation]

    def _point(self, settings: Settings) -> int | None:
        key = json.dumps(settings, sort_keys=True)
        if key not in self._index:
            try:
                self.points.append(point_of(self._sweep, len(self.points), settings))
                self._index[key] = len(self.points) - 1
            except ScenarioError:
                self._index[key] = None
        return self._index[key]


def read_asked(folder: Path, sweep: Sweep) -> list[Generation]:
    """The generations that a folder's search has asked for; none where it has not begun.

    Raises:
        StoreError: the file is damaged, or of another sweep.
    """
    path = folder / ASKED
    found = read_json(path, list, StoreError, ANEW) if path.exists() else []
    if not all(isinstance(some, list) and all(isinstance(one, dict) for one in some) for some in found):
        raise StoreError("needs lists of settings", file=path, remedy=ANEW)
    settings = itertools.chain.from_iterable(found)
    if (other := next((one for one in settings if one.keys() != set(sweep.fields)), None)) is not None:
        reason = f"holds {cut(json.dumps(other))}, which are no values of this sweep"
        raise StoreError(reason, file=path, remedy=ANEW)
    generations: list[Generation] = found
    return generations


def write_asked(folder: Path, generations: Sequence[Generation]) -> None:
    """Keep what was asked for, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    lines = ",\n".join(json.dumps(list(map(dict, generation))) for generation in generations)
    write_whole_file(folder / ASKED, f"[{lines}]\n")


def with_asked(sweep: Sweep, folder: Path) -> Sweep:
    """A search with the points that its folder says it has asked for.

    Raises:
        StoreError: see `read_asked`.
    """
    asked = Asked(sweep)
    for generation in read_asked(folder, sweep):
        asked.add(generation)
    return asked.sweep
