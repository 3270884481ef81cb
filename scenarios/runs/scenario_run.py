"""All that a scenario asks for: its own run, its comparison and its sweep, on one market with equal draws."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from relevance.errors import ScorerError
from scenarios.config.scenario import Scenario
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Relevance
from scenarios.markets.scoring import check_scorers, relevance_of
from scenarios.markets.simulation import prepare, simulate
from scenarios.runs.points import simulate_points
from scenarios.runs.results import result_folder, write_result
from scenarios.runs.unfinished import incomplete, keep_incomplete
from scenarios.storage.log_file import LogFile
from scenarios.storage.whole import alone, staging


@dataclass(frozen=True, slots=True)
class RunResult:
    """What `relbid run` stores: the own run's metrics and log, and one row of `points` per simulated point.

    The log is a file where `run_scenario` was told to write one.
    """

    scenario: Scenario
    metrics: dict[str, float]
    points: pl.DataFrame
    log: pl.DataFrame | Path


def run_to_folder(
    scenario: Scenario, out: Path, *, sweep: bool = True, progress: Progress | None = None
) -> tuple[RunResult, Path]:
    """Run a scenario, with a lock on its result folder, and write that; returns the result and the folder.

    Where a scorer of one's own fails, what was finished is kept beside the folder's place, under a name that
    no reader of results takes for a complete one: `<name>-<hash>.incomplete/` (see `keep_incomplete`).

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    folder = result_folder(out, scenario)
    with alone(folder, "run"), staging(out) as part:
        result = run_scenario(
            scenario,
            cache=out,
            sweep=sweep,
            log_path=part / "log.parquet",
            progress=progress,
            keep=incomplete(folder),
        )
        write_result(out, scenario, result.metrics, result.points, result.log)
        shutil.rmtree(incomplete(folder), ignore_errors=True)
    return result, folder


def run_scenario(
    scenario: Scenario,
    *,
    cache: Path | None = None,
    sweep: bool = True,
    log_path: Path | None = None,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> RunResult:
    """Run a scenario.

    Args:
        cache: the results folder, under which frames and scores are kept; None keeps nothing.
        sweep: False leaves the sweep out.
        log_path: a file for the own run's log, written part by part, so that memory does not grow with it.
        keep: a folder for what is finished where a scorer of one's own fails; None keeps nothing.

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    scorers = [scenario.scorer, *scenario.compare]
    if sweep and scenario.sweep is not None:
        scorers += scenario.sweep.scorers
    check_scorers(scenario, scorers)
    prepared = prepare(scenario, cache=cache, progress=progress)
    relevances: dict[str, Relevance] = {}
    for scorer in dict.fromkeys(scorers):
        try:
            relevances[scorer] = relevance_of(prepared, scorer, cache=cache, progress=progress)
        except ScorerError as error:
            if keep is None:
                raise
            keep_incomplete(keep, prepared, relevances, scorer, error, sweep=sweep)
            raise ScorerError(f"{error}\n  what was finished until then is in {keep}/") from error

    named = prepared.source.named
    own_relevance = relevances[scenario.scorer]
    log: pl.DataFrame | Path
    if log_path is None:
        own = simulate(prepared, own_relevance)
        log = named(own.log)
    else:
        log = log_path
        with LogFile(log_path) as file:
            own = simulate(prepared, own_relevance, sink=lambda part: file.write(named(part)))
            if not file.begun:  # nothing was shown
                file.write(named(own.log))
    metrics = own.metrics
    del own  # its market is as large as the traffic, and the points have another
    points = simulate_points(prepared, relevances, sweep=sweep, own=metrics, progress=progress)
    return RunResult(scenario, metrics, points, log)
