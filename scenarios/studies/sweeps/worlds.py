"""What the points of a sweep share: worlds, prepared and scored once, and handed to processes by a file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scenarios.config.scenario import PREPARED, Scenario
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.storage.whole import whole_path
from scenarios.studies.replicates import (
    ModelKey,
    code_of,
    decides,
    digest_of,
    digest_of_scores,
    model_of,
    plug_ins,
    prepare_for,
    relevances_for,
    replicate_key,
    replicates_folder,
)
from scenarios.studies.sweeps.sweep import Point
from scenarios.studies.sweeps.sweep_worker import Shared, Task


class Worlds:
    """Makes the tasks of points."""

    def __init__(self, work: Path, cache: Path, *, keep: bool, progress: Progress | None = None) -> None:
        """For one run of a sweep.

        Args:
            work: folder of what is handed to the processes.
            cache: the results folder.
            keep: whether points of a world may come again.
            progress: called for what is prepared.
        """
        self._work, self._cache, self._keep, self._progress = work, cache, keep, progress
        self._known: dict[str, _World] = {}
        self._packed = 0

    def tasks(self, points: Sequence[Point], seeds: Sequence[int]) -> Iterator[list[Task]]:
        """The tasks of points, world by world. What they share is there once `pack` was called for one.

        Raises:
            CheckpointError, PluginError, ScenarioError, ScorerError, StoreError: see `share`.
        """
        for name, members in worlds(points).items():
            world = self._world(name, members)
            yield [
                Task(key, point.index, scenario, world.bundle, replicates_folder(self._cache) / f"{key}.json")
                for key, point, scenario in keyed(members, seeds, world.prepared, world.relevances)
            ]
            if not self._keep:
                del self._known[name]

    def pack(self, task: Task) -> None:
        """Write down what a task shares with others of its world, if that is not done yet."""
        if not task.shared.exists():
            world = next(world for world in self._known.values() if world.bundle == task.shared)
            with whole_path(task.shared) as part:
                part.write_bytes(pickle.dumps(Shared(world.prepared, world.relevances), protocol=5))

    def _world(self, name: str, points: list[Point]) -> _World:
        known = self._known.get(name)
        if known is None or not known.covers(points):
            met = [*(known.points if known else ()), *points]
            prepared, relevances = share(met, cache=self._cache, progress=self._progress)
            bundle = self._work / f"{self._packed}.pickle"
            self._packed += 1
            known = self._known[name] = _World(met, prepared.without_frames(), relevances, bundle)
        return known


@dataclass(frozen=True, slots=True)
class _World:
    points: list[Point]  # those that it was prepared for
    prepared: Prepared
    relevances: Mapping[ModelKey, Relevance]
    bundle: Path

    def covers(self, points: Iterable[Point]) -> bool:
        """Whether all that other points of this world need is there."""
        return all(
            model_of(point.scenario) in self.relevances
            and set(point.scenario.serving.cheap_scorers) <= set(self.prepared.cheap)
            for point in points
        )


def worlds(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Points by what decides which pairs there are."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(_world_of(point.scenario), []).append(point)
    return found


def share(
    points: Sequence[Point], *, cache: Path | None, progress: Progress | None = None
) -> tuple[Prepared, Mapping[ModelKey, Relevance]]:
    """Prepare what the points of one world share.

    Raises:
        CheckpointError, PluginError, ScenarioError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    scenarios = [point.scenario for point in points]
    prepared = prepare_for(scenarios[0], scenarios, cache=cache, progress=progress)
    relevances = relevances_for(prepared, scenarios, cache=cache, progress=progress)
    # Grade probabilities are for people who look at single pairs.
    return prepared, {key: replace(one, grade_probabilities=None) for key, one in relevances.items()}


def keyed(
    points: Iterable[Point],
    seeds: Sequence[int],
    prepared: Prepared,
    relevances: Mapping[ModelKey, Relevance],
) -> Iterator[tuple[str, Point, Scenario]]:
    """(key, point, scenario with its seed) of every point and seed of one world."""
    common = digest_of(prepared)
    scores = {key: digest_of_scores(one) for key, one in relevances.items()}
    code: dict[str, str] = {}
    for point in points:
        scenario = point.scenario
        own = plug_ins(scenario)
        code |= {name: code_of(name) for name in own if name not in code}
        kind = "full" if prepared.source.has_texts else "simulated"
        decided = decides(scenario, scores[model_of(scenario)], common, *(code[name] for name in own))
        for seed in seeds:
            yield (
                replicate_key(kind, seed, decided),
                point,
                scenario.model_copy(update={"seed": seed}),
            )


def _world_of(scenario: Scenario) -> str:
    blocks = [scenario.pctr.model, *(scenario.model_dump(mode="json")[name] for name in PREPARED)]
    return json.dumps(blocks, sort_keys=True)
