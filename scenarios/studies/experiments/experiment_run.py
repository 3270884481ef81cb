"""Run an experiment, or what is missing of it: each market of one or several arms and a seed is a task."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl

from scenarios.config.load import Source, dump_scenario
from scenarios.markets.kind import Progress
from scenarios.markets.scoring import check_scorers
from scenarios.storage import cache as disk
from scenarios.storage.parquet import write_parquet
from scenarios.storage.whole import whole_folder
from scenarios.studies.estimate import Estimate, seconds_of_one
from scenarios.studies.experiments import statistics
from scenarios.studies.experiments.experiment import SPLITS, Plan, check_compared, dump_experiment
from scenarios.studies.experiments.summary import interference, summarise
from scenarios.studies.replicates import (
    Job,
    ReplicateWorker,
    World,
    plug_ins,
    replicates_folder,
    share_world,
)
from scenarios.studies.run_study import Study, StudyOptions, run_study
from scenarios.studies.study import StudyPlan, Task, nullable, read_status, remove_parts
from simulator.arrays import FloatArray

OTHER_DRAWS = 1_000_003
"""Distance between the seeds of the arms of an `independent` replicate."""

Replicate = list[dict[str, float]]


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
    plan: Plan,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    **options: Unpack[StudyOptions],
) -> ExperimentResult:
    """Run an experiment, or what is missing of it.

    Args:
        cache: the results folder, under which frames, scores and finished replicates are kept; None keeps
            nothing.
        options: see `scenarios.studies.run_study.run_study`; one worker by default. With one of the engine
            "local" everything is done in this process, and whatever a replicate raises is raised here.
        progress: called for what is prepared, and without a `report` for replicates, too.

    Raises:
        ScenarioError: it asks for a metric that there is not.
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`; or another
            command is running this experiment in `cache`.
        StudyError: replicates have failed in processes of their own.
        UserError: the engine is Ray and that is missing.
    """
    check_experiment(plan)
    if options.setdefault("workers", 1) == 1 and options.get("engine", "local") == "local":
        options["engine"] = "here"
    if progress is not None and options.get("report") is None:
        options["report"] = lambda at: progress(at.stage, at.done + at.failed, at.total)
    with contextlib.ExitStack() as held:
        root = cache or Path(held.enter_context(tempfile.TemporaryDirectory()))
        experiment = ExperimentPlan(plan, cache, root, progress)
        folder, place = study_folder(root, plan), experiment_folder(root, plan)
        study = run_study(experiment, folder, place=place, **options)
    return experiment.result(study)


class ExperimentPlan(StudyPlan[Replicate]):
    """All replicates; of an experiment with `until`, those of the pilot before."""

    command = "experiment"
    worker = ReplicateWorker
    stage = "replicates"

    def __init__(self, plan: Plan, cache: Path | None, root: Path, progress: Progress | None = None) -> None:
        self.total = sum(len(jobs_of(plan, design, 0)) for design in plan.experiment.designs) * len(
            plan.seeds
        )
        self._plan, self._cache, self._root, self._progress = plan, cache, root, progress
        self._seeds, self._reached = plan.seeds, True
        self._pilot: int | None = None
        self._keys: dict[Job, str] = {}  # of jobs whose scenarios are names of arms
        self._jobs: dict[str, Job] = {}

    def batches(self, study: Study[Replicate]) -> Iterator[Sequence[Task]]:
        plan, experiment = self._plan, self._plan.experiment
        remove_parts(replicates_folder(self._root))
        arms = list(plan.arms.values())
        shared = share_world(arms, plan.scenario, cache=self._cache, progress=self._progress)
        # Nothing says when the code of a plug-in has changed.
        plugged = any(plug_ins(scenario) for scenario in arms)
        kept = study.work / "replicates" if plugged else replicates_folder(self._root)
        world = World(shared, study.work / "world", kept)
        if (until := experiment.until) is not None:
            yield self._missing(experiment.designs[:1], world, study)
            study.check()
            self._pilot, wanted = len(self._seeds), self._wanted_seeds(study.results)
            self._reached = wanted <= until.max_seeds
            first = self._seeds[0]
            self._seeds = tuple(range(first, first + min(wanted, until.max_seeds)))
        yield self._missing(experiment.designs, world, study)
        study.check()

    def about(self, task: Task) -> Mapping[str, Any]:
        job = self._jobs[task.key]
        return {"kind": job.kind, "arms": job.scenarios, "seed": job.seed}

    def result(self, study: Study[Replicate]) -> ExperimentResult:
        plan = self._plan
        replicates = pl.DataFrame(
            [
                {"design": design, "seed": seed, "arm": arm, **metrics}
                for design in plan.experiment.designs
                for seed in self._seeds
                for job in jobs_of(plan, design, seed)
                for arm, metrics in zip(job.scenarios, study.results[self._keys[job]], strict=True)
            ],
            infer_schema_length=None,
        )
        return ExperimentResult(
            plan,
            replicates,
            summarise(plan, replicates, self._pilot),
            interference(plan, replicates),
            self._seeds,
            self._reached,
        )

    def _missing(self, designs: Sequence[str], world: World, study: Study[Replicate]) -> list[Task]:
        """The tasks that are missing, all those of a seed after one another."""
        jobs = [
            job for seed in self._seeds for design in designs for job in jobs_of(self._plan, design, seed)
        ]
        arms = self._plan.arms
        tasks = world.tasks(job._replace(scenarios=tuple(arms[one] for one in job.scenarios)) for job in jobs)
        for job, task in zip(jobs, tasks, strict=True):
            self._keys[job] = task.key
            self._jobs.setdefault(task.key, job)
        study.stage(self.stage, len(self._jobs))
        missing = study.missing(tasks)
        world.share(missing)
        return missing

    def _wanted_seeds(self, results: Mapping[str, Replicate]) -> int:
        """Seeds that the pilot says are needed, for the arm that needs the most."""
        until, experiment = self._plan.experiment.until, self._plan.experiment
        assert until is not None

        def values(arm: str) -> FloatArray:
            keys = [self._keys[Job("full", seed, (arm,))] for seed in self._seeds]
            return np.array([results[key][0][until.metric] for key in keys])

        baseline, wanted = values(experiment.baseline), 0
        for arm in map(values, self._plan.others):
            pilot = statistics.linearised_change(baseline, arm)[0] if until.of == "change" else arm - baseline
            wanted = max(
                wanted, statistics.seeds_for_half_width(pilot, until.half_width, experiment.confidence)
            )
        return wanted


def check_experiment(plan: Plan) -> None:
    """Find out before the work whether scorers and metrics can be had at all.

    Raises:
        ScenarioError, CheckpointError, PluginError: see `run_experiment`.
    """
    check_compared(plan.experiment, Source(plan.experiment.name, {}))
    for scenario in plan.arms.values():
        check_scorers(scenario, [scenario.scorer])


def estimate_experiment(plan: Plan, out: Path, *, progress: Progress | None = None) -> Estimate:
    """How long an experiment takes, without running it; of one with `until` the pilot and no more.

    Raises:
        PluginError, ScenarioError, StoreError, TableError: see `scenarios.prepare`.
    """
    status = read_status(study_folder(out, plan))
    jobs = {job for design in plan.experiment.designs for job in jobs_of(plan, design, 0)}
    scenarios = list(plan.arms.values())
    models = tuple(dict.fromkeys(scenario.scorer for scenario in scenarios))
    job_s = seconds_of_one(scenarios, status, out, progress)
    return Estimate(len(jobs), len(plan.seeds), 0 if status is None else status.done, 1, models, job_s)


def jobs_of(plan: Plan, design: str, seed: int) -> list[Job]:
    """What is simulated for one replicate of a design; arms by their names."""
    if design in SPLITS:
        return [Job(design, seed, tuple(plan.arms))]
    apart = OTHER_DRAWS if design == "independent" else 0
    return [Job("full", seed + apart * place, (arm,)) for place, arm in enumerate(plan.arms)]


def experiment_folder(root: Path, plan: Plan) -> Path:
    """Where the result of an experiment belongs: its name and a hash of all that it asks for."""
    digest = hashlib.blake2b("".join(_texts(plan).values()).encode(), digest_size=4).hexdigest()
    return root / f"{plan.experiment.name}-{digest}"


def study_folder(root: Path, plan: Plan) -> Path:
    """Where progress and failures of an experiment are kept, since its result is written at the end."""
    return root / disk.FOLDER / "experiments" / experiment_folder(root, plan).name


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
            "summary": nullable(result.summary.to_dicts()),
            "interference": nullable(result.interference.to_dicts()),
        },
        indent=2,
    )
    with whole_folder(folder) as part:
        for name, text in texts.items():
            (part / name).write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        write_parquet(result.replicates, part / "replicates.parquet")
    return folder
