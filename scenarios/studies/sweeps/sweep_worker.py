"""What a process of a sweep does: simulate the market of one point and seed, and keep its metrics."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from scenarios.config.scenario import Scenario
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.simulation import simulate
from scenarios.storage.whole import write_whole_file
from scenarios.studies.replicates import ModelKey, model_of, read_replicate
from simulator.measures.market_metrics import with_rates


@dataclass(frozen=True, slots=True)
class Shared:
    """What the points of one world share: the world without its frames, and the scores of its pairs."""

    prepared: Prepared
    relevances: Mapping[ModelKey, Relevance]


@dataclass(frozen=True, slots=True)
class Task:
    """One point and seed."""

    key: str
    point: int
    scenario: Scenario
    """With the seed of the replicate."""
    shared: Path
    """A pickled `Shared`, written by the command itself and removed when it ends."""
    out: Path
    """Where the metrics go, whole or not at all."""


def worker() -> Callable[[Task], None]:
    """A function of tasks that keeps what it has loaded last."""
    loaded: dict[Path, Shared] = {}

    def do(task: Task) -> None:
        # A process killed between writing a result and saying so leaves a task that another one is given.
        if read_replicate(task.out) is not None:
            return
        if task.shared not in loaded:
            loaded.clear()
            loaded[task.shared] = pickle.loads(task.shared.read_bytes())
        write_whole_file(task.out, result_of(task, loaded[task.shared]), flush=False)

    return do


def result_of(task: Task, shared: Shared) -> str:
    """The text that is kept of a point and seed."""
    return json.dumps([metrics_of(task.scenario, shared)])


def metrics_of(scenario: Scenario, shared: Shared) -> dict[str, float]:
    """Metrics of a scenario's market, with totals per thousand queries."""
    prepared = replace(shared.prepared, scenario=scenario)
    return with_rates(simulate(prepared, shared.relevances[model_of(scenario)]).metrics)
