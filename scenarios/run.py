"""All that a scenario asks for: its own run, its comparison and its sweep, on one market with one luck."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from scenarios.market import Progress, check_scorers, prepare, relevance_of, settle
from scenarios.replay.market import Auctions
from scenarios.replay.scenario import named_log
from scenarios.schema import Scenario
from scenarios.sweep import settle_points


@dataclass(frozen=True, slots=True)
class RunResult:
    """What `relbid run` stores: the own run's metrics and log, and one row of `points` per settled point."""

    scenario: Scenario
    metrics: dict[str, float]
    points: pl.DataFrame
    log: pl.DataFrame


def run_scenario(
    scenario: Scenario, *, cache: Path | None = None, sweep: bool = True, progress: Progress | None = None
) -> RunResult:
    """Run a scenario.

    Args:
        cache: the results folder, under which frames and scores are kept; None keeps nothing.
        sweep: False leaves the sweep out.

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    scorers = [scenario.scorer, *scenario.compare]
    if sweep and scenario.sweep is not None:
        scorers += scenario.sweep.scorers
    check_scorers(scenario, scorers)
    prepared = prepare(scenario, cache=cache, progress=progress)
    relevances = {
        scorer: relevance_of(prepared, scorer, cache=cache, progress=progress)
        for scorer in dict.fromkeys(scorers)
    }
    points = settle_points(prepared, relevances, sweep=sweep, progress=progress)
    own = settle(prepared, relevances[scenario.scorer])
    log = own.log.impressions()
    if isinstance(prepared.source, Auctions):
        log = named_log(own.log, prepared.source)
    return RunResult(scenario, own.metrics, points, log)
