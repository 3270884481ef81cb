"""How long a study takes, before it is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scenarios.config.scenario import Scenario
from scenarios.markets.kind import Progress
from scenarios.studies.replicates import Job, share_world, simulate_job
from scenarios.studies.study import Status


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sweep or an experiment asks for, before it is run."""

    points: int
    """Simulations of each seed."""
    seeds: int
    done: int
    """Simulations that an earlier run of this very study has finished."""
    worlds: int
    models: tuple[str, ...]
    """Scorers whose relevance is needed."""
    job_s: float
    """Seconds that one simulation takes."""

    @property
    def jobs(self) -> int:
        return self.points * self.seeds

    def left_s(self, workers: int) -> float:
        """Seconds of simulation that are left."""
        return (self.jobs - self.done) * self.job_s / workers


def seconds_of_one(
    scenarios: Sequence[Scenario],
    status: Status | None,
    cache: Path,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds that one simulation takes: an earlier run's, or measured on the first and the last scenario.

    Args:
        scenarios: of one world; they are ranked without relevance, so that nothing has to be scored.
        status: of an earlier run.
        cache: the results folder.

    Raises:
        PluginError, ScenarioError, StoreError, TableError: see `scenarios.prepare`.
    """
    if status is not None and status.rate_per_s:
        return status.workers / status.rate_per_s
    tried = [one.model_copy(update={"scorer": "none"}) for one in (scenarios[0], scenarios[-1])]
    shared = share_world(tried, cache=cache, progress=progress)
    began = clock()
    for scenario in tried:
        simulate_job(Job("full", scenario.seed, (scenario,)), shared)
    return (clock() - began) / len(tried)
