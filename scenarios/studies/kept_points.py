"""The points of a scenario's comparison and sweep as tasks: on all cores, and kept for the next run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scenarios.config.load import scenario_key
from scenarios.config.scenario import Scenario
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.storage import cache as disk
from scenarios.storage.machine import cores
from scenarios.studies.replicates import (
    Job,
    ReplicateWorker,
    SharedWorld,
    World,
    plug_ins,
    replicates_folder,
    share_scored,
)
from scenarios.studies.run_study import Study, run_study
from scenarios.studies.study import StudyPlan, Task, remove_parts
from simulator.measures.market_metrics import without_rates

SMALL = 200_000
"""With fewer queries in all, processes would take longer to start than to simulate them."""


def keep_points(
    prepared: Prepared,
    relevances: Mapping[str, Relevance],
    scenarios: Sequence[Scenario],
    *,
    cache: Path,
    progress: Progress | None = None,
) -> list[dict[str, float]] | None:
    """The metrics of scenarios on one prepared market; None where they are better simulated by the caller.

    These are small ones, those whose pairs are scored live or whose clock is measured, and those with code of
    one's own, of which nothing says when it has changed.

    Args:
        relevances: by scorer.
        cache: the results folder, under which metrics are kept.

    Raises:
        StoreError, StudyError: see `scenarios.studies.run_study.run_study`.
    """
    own, n_queries = prepared.scenario, prepared.source.n_queries(prepared.scenario)
    special = own.serving.scoring == "live" or own.serving.clock == "measured"
    if special or n_queries * len(scenarios) < SMALL or any(map(plug_ins, scenarios)):
        return None
    plan = PointsPlan(share_scored(prepared, relevances, scenarios), scenarios, cache)
    folder = cache / disk.FOLDER / "points" / f"{own.name}-{scenario_key(own)}"
    study = run_study(
        plan,
        folder,
        workers=cores(),
        engine="here" if cores() == 1 else "local",
        retry_failed=True,
        report=None if progress is None else lambda at: progress(at.stage, at.done, at.total),
    )
    return [without_rates(study.results[key][0]) for key in plan.keys]


class PointsPlan(StudyPlan[list[dict[str, float]]]):
    """One task for each scenario."""

    command = "run"
    worker = ReplicateWorker
    stage = "simulating points"

    def __init__(self, shared: SharedWorld, scenarios: Sequence[Scenario], cache: Path) -> None:
        self._shared, self._scenarios, self._cache = shared, scenarios, cache
        self.total = len(scenarios)
        self.keys: list[str] = []
        """Of the scenarios' tasks, in their order."""

    def batches(self, study: Study[list[dict[str, float]]]) -> Iterator[Sequence[Task]]:
        kept = replicates_folder(self._cache)
        remove_parts(kept)
        world = World(self._shared, study.work / "world", kept)
        tasks = world.tasks(Job("simulated", one.seed, (one,)) for one in self._scenarios)
        self.keys = [task.key for task in tasks]
        missing = study.missing(tasks)
        world.share(missing)
        yield missing
        study.check()

    def about(self, task: Task) -> Mapping[str, Any]:
        return {"scorer": self._scenarios[self.keys.index(task.key)].scorer}
