"""Experiments: arms over one scenario, replicated over seeds.

The world, its candidates and each scorer's relevance are computed once for all replicates. A replicate's
metrics are kept on disk as soon as they are there, by a hash of all that decides them, so that an experiment
that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from scenarios.config.load import Source, dump_scenario
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.scoring import check_scorers
from scenarios.markets.simulation import market_of
from scenarios.storage.parquet import write_parquet
from scenarios.storage.whole import alone, whole_folder, write_whole_file
from scenarios.studies.experiments import statistics
from scenarios.studies.experiments.designs import budget_split, full, query_split
from scenarios.studies.experiments.experiment import SPLITS, Plan, check_metrics, dump_experiment
from scenarios.studies.experiments.summary import interference, summarise
from scenarios.studies.replicates import (
    decides,
    digest_of,
    digest_of_scores,
    model_of,
    plug_ins,
    prepare_for,
    read_replicate,
    relevances_for,
    replicate_key,
    replicates_folder,
)
from simulator.market import Market

OTHER_LUCK = 1_000_003
"""Distance between the seeds of the arms of an `independent` replicate."""


class Job(NamedTuple):
    """What is simulated at once: the whole market of an arm ("full"), or one market split between arms."""

    kind: str
    arms: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """One row of `replicates` per (design, seed, arm); one row of `summary` per (design, arm, metric)."""

    plan: Plan
    replicates: pl.DataFrame
    summary: pl.DataFrame
    interference: pl.DataFrame
    """Per (design, arm, metric): what a split says, the truth, and the error with its interval."""
    seeds: tuple[int, ...]
    reached: bool
    """Whether the wanted half-width took no more than `max_seeds`."""


def run_experiment(
    plan: Plan, *, cache: Path | None = None, progress: Progress | None = None
) -> ExperimentResult:
    """Run an experiment, or what is missing of it.

    Args:
        cache: the results folder, under which frames, scores and finished replicates are kept; None keeps
            nothing.

    Raises:
        ScenarioError: it asks for a metric that there is not.
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`; or another
            command is running this experiment in `cache`.
    """
    with contextlib.nullcontext() if cache is None else alone(experiment_folder(cache, plan)):
        return _run(plan, cache, progress)


def _run(plan: Plan, cache: Path | None, progress: Progress | None) -> ExperimentResult:
    check_experiment(plan)
    prepared = prepare_for(plan.scenario, plan.arms.values(), cache=cache, progress=progress)
    found = relevances_for(prepared, plan.arms.values(), cache=cache, progress=progress)
    relevances = {arm: found[model_of(scenario)] for arm, scenario in plan.arms.items()}
    jobs = _Jobs(plan, prepared, relevances, cache)

    def run(seeds: Sequence[int], designs: Sequence[str]) -> None:
        for done, seed in enumerate(seeds, start=1):
            for design in designs:
                for job in jobs_of(plan, design, seed):
                    jobs.metrics(job)
            if progress is not None:
                progress("replicates", done, len(seeds))

    seeds, designs, pilot, reached = plan.seeds, plan.experiment.designs, None, True
    if (until := plan.experiment.until) is not None:
        run(seeds, designs[:1])
        pilot, wanted = len(seeds), _wanted_seeds(plan, jobs)
        reached = wanted <= until.max_seeds
        seeds = tuple(range(seeds[0], seeds[0] + min(wanted, until.max_seeds)))
    run(seeds, designs)

    replicates = pl.DataFrame(
        [
            {"design": design, "seed": seed, "arm": arm, **metrics}
            for design in designs
            for seed in seeds
            for job in jobs_of(plan, design, seed)
            for arm, metrics in jobs.metrics(job).items()
        ],
        infer_schema_length=None,
    )
    return ExperimentResult(
        plan, replicates, summarise(plan, replicates, pilot), interference(plan, replicates), seeds, reached
    )


def check_experiment(plan: Plan) -> None:
    """Find out before the work whether scorers and metrics can be had at all.

    Raises:
        ScenarioError, CheckpointError, PluginError: see `run_experiment`.
    """
    check_metrics(plan.experiment, Source(plan.experiment.name, {}))
    for scenario in plan.arms.values():
        check_scorers(scenario, [scenario.scorer])


def jobs_of(plan: Plan, design: str, seed: int) -> list[Job]:
    """What is simulated for one replicate of a design."""
    if design in SPLITS:
        return [Job(design, tuple(plan.arms), seed)]
    apart = OTHER_LUCK if design == "independent" else 0
    return [Job("full", (arm,), seed + apart * place) for place, arm in enumerate(plan.arms)]


class _Jobs:
    """Simulates jobs, each once, identical arms too: those of an earlier call are read from disk."""

    def __init__(
        self, plan: Plan, prepared: Prepared, relevances: Mapping[str, Relevance], cache: Path | None
    ) -> None:
        self._plan, self._prepared, self._relevances = plan, prepared, relevances
        self._done: dict[str, list[dict[str, float]]] = {}
        # Nothing says when the code of a plug-in has changed.
        plugged = any(plug_ins(scenario) for scenario in plan.arms.values())
        self._folder = None if cache is None or plugged else replicates_folder(cache)
        common = digest_of(prepared)
        self._decides = {
            arm: decides(scenario, digest_of_scores(relevances[arm]), common)
            for arm, scenario in plan.arms.items()
        }

    def metrics(self, job: Job) -> dict[str, dict[str, float]]:
        """Arm -> metrics."""
        key = self._key(job)
        if key not in self._done:
            path = None if self._folder is None else self._folder / f"{key}.json"
            kept = None if path is None else read_replicate(path, len(job.arms))
            self._done[key] = found = kept or self._simulate(job)
            if kept is None and path is not None:
                write_whole_file(path, json.dumps(found))
        return dict(zip(job.arms, self._done[key], strict=True))

    def _key(self, job: Job) -> str:
        return replicate_key(job.kind, job.seed, *(self._decides[arm] for arm in job.arms))

    def _simulate(self, job: Job) -> list[dict[str, float]]:
        markets = [self._market(arm, job.seed) for arm in job.arms]
        if job.kind == "query_split":
            return query_split(markets)
        if job.kind == "budget_split":
            return budget_split(markets)
        return [full(market) for market in markets]

    def _market(self, arm: str, seed: int) -> Market:
        scenario = self._plan.arms[arm].model_copy(update={"seed": seed})
        return market_of(self._prepared, self._relevances[arm], scenario)


def experiment_folder(root: Path, plan: Plan) -> Path:
    """Where the result of an experiment belongs: its name and a hash of all that it asks for."""
    digest = hashlib.blake2b("".join(_texts(plan).values()).encode(), digest_size=4).hexdigest()
    return root / f"{plan.experiment.name}-{digest}"


def _texts(plan: Plan) -> dict[str, str]:
    return {"experiment.yaml": dump_experiment(plan), "scenario.yaml": dump_scenario(plan.scenario)}


def write_experiment(root: Path, result: ExperimentResult) -> Path:
    """Write a result folder and return it. An earlier result of the same experiment is replaced.

    Raises:
        StoreError: the folder cannot be written; nothing half-written stays behind.
    """
    plan = result.plan
    folder, texts = experiment_folder(root, plan), _texts(plan)
    texts["summary.json"] = json.dumps(
        {
            "name": plan.experiment.name,
            "seeds": list(result.seeds),
            "half_width_reached": result.reached,
            "summary": _rows(result.summary),
            "interference": _rows(result.interference),
        },
        indent=2,
    )
    with whole_folder(folder) as part:
        for name, text in texts.items():
            (part / name).write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        write_parquet(result.replicates, part / "replicates.parquet")
    return folder


def _wanted_seeds(plan: Plan, jobs: _Jobs) -> int:
    """Seeds that the pilot says are needed, for the arm that needs the most."""
    until = plan.experiment.until
    assert until is not None
    baseline, *others = (
        np.array([jobs.metrics(Job("full", (arm,), seed))[arm][until.metric] for seed in plan.seeds])
        for arm in (plan.experiment.baseline, *plan.others)
    )
    wanted = 0
    for arm in others:
        pilot = statistics.linearised_change(baseline, arm)[0] if until.of == "change" else arm - baseline
        wanted = max(
            wanted, statistics.seeds_for_half_width(pilot, until.half_width, plan.experiment.confidence)
        )
    return wanted


def _rows(table: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        for row in table.iter_rows(named=True)
    ]
