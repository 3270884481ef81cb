"""All that a scenario asks for: its own run, its comparison and its sweep, on one market with one luck."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from relevance.errors import ScorerError
from scenarios.load import dump_scenario
from scenarios.market import Prepared, Progress, Relevance, check_scorers, prepare, relevance_of, settle
from scenarios.parquet import write_parquet
from scenarios.replay.market import Auctions
from scenarios.replay.scenario import named_log
from scenarios.schema import Scenario
from scenarios.store import INCOMPLETE, alone, result_folder, whole_folder, write_result
from scenarios.sweep import settle_points


@dataclass(frozen=True, slots=True)
class RunResult:
    """What `relbid run` stores: the own run's metrics and log, and one row of `points` per settled point."""

    scenario: Scenario
    metrics: dict[str, float]
    points: pl.DataFrame
    log: pl.DataFrame


def run_to_folder(
    scenario: Scenario, out: Path, *, sweep: bool = True, progress: Progress | None = None
) -> tuple[RunResult, Path]:
    """Run a scenario and write its result folder, alone at it; returns the result and the folder.

    Where a scorer of one's own fails, what was finished is kept beside the folder's place, under a name that
    no reader of results takes for a whole one: `<name>-<hash>.incomplete/` (see `keep_incomplete`).

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    folder = result_folder(out, scenario)
    with alone(folder):
        result = run_scenario(scenario, cache=out, sweep=sweep, progress=progress, keep=incomplete(folder))
        write_result(out, scenario, result.metrics, result.points, result.log)
        shutil.rmtree(incomplete(folder), ignore_errors=True)
    return result, folder


def run_scenario(
    scenario: Scenario,
    *,
    cache: Path | None = None,
    sweep: bool = True,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> RunResult:
    """Run a scenario.

    Args:
        cache: the results folder, under which frames and scores are kept; None keeps nothing.
        sweep: False leaves the sweep out.
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
    points = settle_points(prepared, relevances, sweep=sweep, progress=progress)
    own = settle(prepared, relevances[scenario.scorer])
    log = own.log.impressions()
    if isinstance(prepared.source, Auctions):
        log = named_log(own.log, prepared.source)
    return RunResult(scenario, own.metrics, points, log)


def incomplete(folder: Path) -> Path:
    """Where what a run had finished is kept if it fails."""
    return folder.with_name(folder.name + INCOMPLETE)


def keep_incomplete(
    folder: Path,
    prepared: Prepared,
    relevances: Mapping[str, Relevance],
    scorer: str,
    error: ScorerError,
    *,
    sweep: bool = True,
) -> None:
    """Keep what a run had finished when a scorer failed.

        incomplete.json     which scorers are finished, which one failed, at what, and after how many pairs
        scenario.yaml       the scenario
        finished.parquet    the rows of points.parquet for the finished scorers, if any is
        scores.parquet      query, ad and score of the pairs that the scorer had finished, if any

    Raises:
        StoreError: it cannot be written.
    """
    query, column = np.nonzero(prepared.candidate >= 0)
    ad, score = prepared.candidate[query, column], error.done
    done = np.zeros(query.size, dtype=bool) if score is None else ~np.isnan(score)
    facts = {
        "incomplete": True,
        "finished": list(relevances),
        "failed": scorer,
        "error": str(error),
        "pairs_scored": int(done.sum()),
        "pairs": int(query.size),
    }
    with whole_folder(folder) as part:
        (part / "incomplete.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (part / "scenario.yaml").write_text(dump_scenario(prepared.scenario), encoding="utf-8")
        if relevances:
            finished = replace(prepared, scenario=_only(prepared.scenario, relevances))
            write_parquet(settle_points(finished, relevances, sweep=sweep), part / "finished.parquet")
        if score is not None and done.any():
            corpus = prepared.world.corpus
            ids = corpus.ad_ids()
            columns = {
                "query": [corpus.query_text[i] for i in query[done].tolist()],
                "ad": [ids[i] for i in ad[done].tolist()],
                "score": score[done],
            }
            write_parquet(pl.DataFrame(columns), part / "scores.parquet")


def _only(scenario: Scenario, scorers: Mapping[str, object]) -> Scenario:
    """A scenario as far as some of its scorers go."""
    compare = tuple(name for name in scenario.compare if name in scorers)
    swept = scenario.sweep
    if swept is not None:
        names = tuple(name for name in swept.scorers if name in scorers)
        swept = swept.model_copy(update={"scorers": names}) if names else None
    own = scenario.scorer if scenario.scorer in scorers else next(iter(scorers))
    return scenario.model_copy(update={"scorer": own, "compare": compare, "sweep": swept})
