"""How long a sweep takes, before it is run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scenarios.markets.kind import Progress
from scenarios.studies.replicates import prepare_for, relevances_for
from scenarios.studies.sweeps.folder import read_status, sweep_folder
from scenarios.studies.sweeps.search import check_installed
from scenarios.studies.sweeps.sweep import Sweep, samples, simulations
from scenarios.studies.sweeps.sweep_worker import Shared, metrics_of
from scenarios.studies.sweeps.worlds import worlds


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sweep asks for, before it is run."""

    points: int
    seeds: int
    done: int
    """As of an earlier run of this very sweep."""
    worlds: int
    models: tuple[str, ...]
    """Scorers whose relevance is needed."""
    job_s: float
    """Seconds that one takes: an earlier run's, or measured on the first and the last point."""

    @property
    def jobs(self) -> int:
        """Simulations: points times seeds."""
        return self.points * self.seeds

    def left_s(self, workers: int) -> float:
        """Seconds of simulation that are left."""
        return (self.jobs - self.done) * self.job_s / workers


def estimate(
    sweep: Sweep,
    out: Path,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Estimate:
    """How long a sweep takes, without running it: two points are simulated, ranked without relevance.

    Raises:
        PluginError, ScenarioError, StoreError, TableError: see `scenarios.prepare`.
        UserError: the sweep is a search and Optuna is missing.
    """
    if sweep.file.searches:
        check_installed(sweep.file)
    tried = samples(sweep)
    models = tuple(dict.fromkeys(point.scenario.scorer for point in tried))
    groups = worlds(tried)
    status = read_status(sweep_folder(out, sweep))
    if status is not None and status.rate_per_s:
        job_s = status.workers / status.rate_per_s
    else:
        points = next(iter(groups.values()))
        scenarios = [
            point.scenario.model_copy(update={"scorer": "none"}) for point in (points[0], points[-1])
        ]
        prepared = prepare_for(scenarios[0], scenarios, cache=out, progress=progress)
        shared = Shared(prepared, relevances_for(prepared, scenarios))
        began = clock()
        for scenario in scenarios:
            metrics_of(scenario, shared)
        job_s = (clock() - began) / len(scenarios)
    done = 0 if status is None else status.done
    seeds = len(sweep.seeds)
    return Estimate(simulations(sweep) // seeds, seeds, done, len(groups), models, job_s)
