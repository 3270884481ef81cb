"""Run an experiment, or what is missing of it: each market of one or several arms on a day is a task."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
import polars as pl

from scenarios.config.load import Source, dump_scenario
from scenarios.errors import ScenarioError, UserError
from scenarios.markets.kind import Progress
from scenarios.markets.scoring import check_scorers
from scenarios.storage import cache as disk
from scenarios.storage.parquet import write_parquet
from scenarios.storage.whole import whole_folder
from scenarios.studies.estimate import Estimate, seconds_of_one
from scenarios.studies.experiments import statistics
from scenarios.studies.experiments.experiment import (
    SPLITS,
    Plan,
    check_compared,
    day_seed,
    dump_experiment,
    in_world,
)
from scenarios.studies.experiments.query_effects import QueryEffects
from scenarios.studies.experiments.summary import interference, query_levels, summarise, top_queries
from scenarios.studies.replicates import (
    Job,
    ReplicateWorker,
    SharedWorld,
    World,
    plug_ins,
    read_queries,
    replicates_folder,
    share_world,
)
from scenarios.studies.run_study import Study, StudyOptions, run_study
from scenarios.studies.study import StudyPlan, Task, nullable, read_status, remove_parts
from scenarios.studies.study_file import MOST_SIMULATIONS, check_part
from simulator.arrays import FloatArray
from simulator.measures.market_metrics import SEAT_METRICS
from simulator.measures.query_totals import COLUMNS

OTHER_DRAWS = 1_000_000_000_003
"""Distance between the seeds of the arms of an `independent` replicate."""

Replicate = list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """One row of `replicates` per (design, world, training, seed, arm)."""

    plan: Plan
    replicates: pl.DataFrame
    summary: pl.DataFrame
    """Per (design, arm, metric): see `scenarios.studies.experiments.summary.summarise`."""
    interference: pl.DataFrame
    """Per (design, arm, metric): what a split says, the truth, and the error with its interval."""
    queries: pl.DataFrame
    """Per (design, arm, metric): the ten queries that explain most of the difference, with their shares."""
    levels: pl.DataFrame
    """Per (design, arm, metric): the interval over queries of the arm's own figure, low and high."""
    effective_queries: float
    """1 / sum of squared shares of traffic, the mean over worlds."""
    seeds: tuple[int, ...]
    reached: bool
    """Whether the wanted half-width took no more than `max_seeds`."""

    @property
    def with_scorers(self) -> pl.DataFrame:
        """The summary, with the arms' scorers in the place of their names."""
        scorers = {arm: scenario.scorer for arm, scenario in self.plan.arms.items()}
        return self.summary.with_columns(pl.col("arm").replace(scorers)).rename({"arm": "scorer"})


def run_experiment(
    plan: Plan,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    shared: SharedWorld | None = None,
    **options: Unpack[StudyOptions],
) -> ExperimentResult:
    """Run an experiment, or what is missing of it.

    Args:
        cache: the results folder, under which frames, scores and finished replicates are kept; None keeps
            nothing.
        options: see `scenarios.studies.run_study.run_study`; one worker by default. With one of the engine
            "local" everything is done in this process, and whatever a replicate raises is raised here.
        progress: called for what is prepared, and without a `report` for replicates, too.
        shared: the scenario's own world where it is prepared and scored already.

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
        experiment = ExperimentPlan(plan, cache, root, progress, shared)
        folder, place = study_folder(root, plan), experiment_folder(root, plan)
        study = run_study(experiment, folder, place=place, **options)
    return experiment.result(study)


class Place(NamedTuple):
    """A replicate: a world, a training, and the seed of the day in that world."""

    world: int | None
    training: int
    seed: int


class ExperimentPlan(StudyPlan[Replicate]):
    """All replicates, world by world; of an experiment with `until`, those of the pilot before."""

    command = "experiment"
    worker = ReplicateWorker
    stage = "replicates"

    def __init__(
        self,
        plan: Plan,
        cache: Path | None,
        root: Path,
        progress: Progress | None = None,
        shared: SharedWorld | None = None,
    ) -> None:
        self._plan, self._cache, self._root, self._progress = plan, cache, root, progress
        self._shared = shared
        self._seeds, self._reached = plan.seeds, True
        self._pilot: int | None = None
        self._tasks: dict[tuple[Place, Job], Task] = {}  # of jobs whose scenarios are names of arms
        self._named: dict[str, tuple[Place, Job]] = {}  # the other way round, by keys
        self._queries = QueryEffects(plan.experiment.baseline, plan.experiment.metrics)
        self.total = sum(len(self._jobs(world, plan.experiment.designs)) for world in plan.worlds)

    def batches(self, study: Study[Replicate]) -> Iterator[Sequence[Task]]:
        plan, experiment = self._plan, self._plan.experiment
        remove_parts(replicates_folder(self._root))
        # Nothing says when the code of a plug-in has changed.
        plugged = any(plug_ins(scenario) for scenario in plan.arms.values())
        kept = study.work / "replicates" if plugged else replicates_folder(self._root)
        for number, seed in enumerate(plan.worlds):
            scenarios = [
                plan.scenario_of(arm, seed, training)
                for arm in plan.arms
                for training in range(plan.n_trainings)
            ]
            shared = self._shared or share_world(
                scenarios, in_world(plan.scenario, seed), cache=self._cache, progress=self._progress
            )
            world = World(shared, study.work / f"world-{number}", kept)
            if (until := experiment.until) is not None:
                yield self._missing(seed, experiment.designs[:1], world, study)
                study.check()
                self._pilot, wanted = len(self._seeds), self._wanted_seeds(study.results)
                self._reached = wanted <= until.max_seeds
                first = self._seeds[0]
                self._seeds = tuple(range(first, first + min(wanted, until.max_seeds)))
            yield self._missing(seed, experiment.designs, world, study)
            if not study.failed:  # of a failed replicate nothing is known
                corpus = shared.prepared.source.corpus
                self._add_queries(seed, None if corpus is None else corpus.query_text)
        study.check()

    def about(self, task: Task) -> Mapping[str, Any]:
        place, job = self._named[task.key]
        return {"kind": job.kind, "arms": job.scenarios, **place._asdict(), "seed": job.seed}

    def result(self, study: Study[Replicate]) -> ExperimentResult:
        plan, rows = self._plan, []
        for design in plan.experiment.designs:
            for world in plan.worlds:
                for place, job in self._jobs(world, [design]):
                    found = study.results[self._tasks[place, job].key]
                    for arm, metrics in zip(job.scenarios, found, strict=True):
                        seed = day_seed(world, place.seed)
                        about = {"world": world, "training": place.training + 1, "seed": seed, "arm": arm}
                        rows.append({"design": design, **about, **metrics})
        replicates = pl.DataFrame(rows, schema_overrides={"world": pl.Int64}, infer_schema_length=None)
        return ExperimentResult(
            plan,
            replicates,
            summarise(plan, replicates, self._queries, self._pilot),
            interference(plan, replicates),
            top_queries(plan, self._queries),
            query_levels(plan, self._queries),
            self._queries.effective,
            self._seeds,
            self._reached,
        )

    def _jobs(self, world: int | None, designs: Sequence[str]) -> list[tuple[Place, Job]]:
        """What is simulated in a world, all jobs of a day after one another; arms by their names."""
        return [
            (Place(world, training, seed), job)
            for training in range(self._plan.n_trainings)
            for seed in self._seeds
            for design in designs
            for job in jobs_of(self._plan, design, day_seed(world, seed))
        ]

    def _missing(
        self, seed: int | None, designs: Sequence[str], world: World, study: Study[Replicate]
    ) -> list[Task]:
        """The tasks of a world that are missing."""
        named, plan = self._jobs(seed, designs), self._plan
        tasks = world.tasks(
            job._replace(scenarios=tuple(plan.scenario_of(arm, seed, at.training) for arm in job.scenarios))
            for at, job in named
        )
        for one, task in zip(named, tasks, strict=True):
            self._tasks[one] = task
            self._named.setdefault(task.key, one)
        worlds = len({place.world for place, _ in self._tasks})
        study.stage(self.stage, len(self._named) * len(plan.worlds) // worlds)
        missing = study.missing(tasks)
        world.share(missing)
        return missing

    def _add_queries(self, world: int | None, texts: Sequence[str] | None) -> None:
        """Add up what each query of a world brought, by design and arm."""
        totals: dict[tuple[str, str], FloatArray] = {}
        for design in self._plan.experiment.designs:
            for at, job in self._jobs(world, [design]):
                for arm, found in zip(job.scenarios, read_queries(self._tasks[at, job].out), strict=True):
                    size = int(found.query[-1]) + 1 if found.query.size else 0
                    known = totals.get((design, arm), np.zeros((0, len(COLUMNS))))
                    size = max(size, len(known) if texts is None else len(texts))
                    grown = np.zeros((size, len(COLUMNS)))
                    grown[: len(known)] = known
                    totals[design, arm] = grown + found.table(size)
        size = max(map(len, totals.values()))
        wide = {arm: np.pad(table, ((0, size - len(table)), (0, 0))) for arm, table in totals.items()}
        self._queries.add(world, wide, texts or [f"query {number}" for number in range(size)])

    def _wanted_seeds(self, results: Mapping[str, Replicate]) -> int:
        """Seeds that the pilot says are needed, for the arm that needs the most."""
        until, experiment = self._plan.experiment.until, self._plan.experiment
        assert until is not None
        pilot = self._jobs(None, experiment.designs[:1])

        def values(arm: str) -> FloatArray:
            tasks = [self._tasks[at, job] for at, job in pilot if job.scenarios == (arm,)]
            return np.array([results[task.key][0][until.metric] for task in tasks])

        baseline, wanted = values(experiment.baseline), 0
        for arm in map(values, self._plan.others):
            change = until.of == "change"
            spread = statistics.linearised_change(baseline, arm)[0] if change else arm - baseline
            wanted = max(
                wanted, statistics.seeds_for_half_width(spread, until.half_width, experiment.confidence)
            )
        return wanted


def check_experiment(plan: Plan, file: Path | None = None) -> None:
    """Find out before the work whether scorers and metrics can be had at all.

    Args:
        file: the experiment's file, which messages name; its name where there is none.

    Raises:
        ScenarioError: they cannot; it names the arm.
    """
    check_compared(plan.experiment, Source(plan.experiment.name, {}))
    where = file or plan.experiment.name
    of_seats = [metric for metric in plan.experiment.metrics if metric in SEAT_METRICS]
    worlds, seeds = len(plan.worlds), len(plan.seeds)
    sides = len(plan.arms) * len(plan.experiment.designs) * plan.n_trainings
    if (n := worlds * seeds * sides) > MOST_SIMULATIONS:
        counted = f"{worlds:,} worlds x {seeds:,} days x {sides:,} simulations of each"
        reason = f"{counted} is {n:,}, at most {MOST_SIMULATIONS:,}"
        raise ScenarioError(reason, file=where, field="worlds and seeds", remedy="take fewer")
    for arm in plan.arms:
        if of_seats and not plan.arms[arm].bidders.seats.policy:
            reason = f"{of_seats[0]} needs advertisers with a seat; set bidders.seats.policy"
            raise ScenarioError(reason, file=where, field=f"arms.{arm}")
        for training in range(plan.n_trainings):
            scenario = plan.scenario_of(arm, training=training)
            try:
                check_part(plan.scenario, scenario)
                check_scorers(scenario, [scenario.scorer])
            except UserError as error:
                raise ScenarioError(error, file=where, field=f"arms.{arm}") from error


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
    points, done = len(jobs) * plan.n_trainings * len(plan.worlds), 0 if status is None else status.done
    return Estimate(points, len(plan.seeds), done, len(plan.worlds), models, job_s)


def jobs_of(plan: Plan, design: str, seed: int) -> list[Job]:
    """What is simulated for one replicate of a design; arms by their names."""
    if design in SPLITS:
        return [Job(design, seed, tuple(plan.arms), queries=True)]
    apart = OTHER_DRAWS if design == "independent" else 0
    return [Job("full", seed + apart * place, (arm,), queries=True) for place, arm in enumerate(plan.arms)]


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
            "effective_queries": nullable(result.effective_queries),
            "queries": nullable(result.queries.to_dicts()),
        },
        indent=2,
    )
    with whole_folder(folder) as part:
        for name, text in texts.items():
            (part / name).write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        write_parquet(result.replicates, part / "replicates.parquet")
    return folder
