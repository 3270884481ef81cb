"""How many servers a market needs, by simulation, and what the next one is worth.

The number of servers is doubled until the wanted percentile of the latency is within the target, and then
bisected. Every number is simulated on the same days (seeds), so two numbers are compared day by day.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from scenarios.config.load import PROFILE, dump_scenario, override, read_file
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.kind import Progress
from scenarios.markets.registry import source_of
from scenarios.markets.scoring import check_scorers
from scenarios.storage import cache as disk
from scenarios.storage.parquet import write_parquet
from scenarios.storage.whole import whole_folder
from scenarios.studies.experiments.statistics import Comparison, compare, t_interval
from scenarios.studies.replicates import (
    Job,
    ReplicateWorker,
    World,
    plug_ins,
    replicates_folder,
    share_world,
)
from scenarios.studies.run_study import EngineName, Report, Study, run_study
from scenarios.studies.study import StudyPlan, Task, nullable, remove_parts
from simulator.arrays import FloatArray

Days: TypeAlias = list[dict[str, float]]
"""Metrics of one number of servers, by day."""

COMPARED = ("revenue_rpm", "irrelevant_share")
"""What a server is worth in."""


class Target(NamedTuple):
    """So many per cent of the queries are answered within so many seconds, and not by the fallback."""

    latency_s: float
    percentile: int = 99
    """One that a run measures: 50, 95 or 99."""

    @property
    def metric(self) -> str:
        return f"latency_p{self.percentile}_s"

    def is_kept(self, days: Days) -> bool:
        """Whether the means over the days keep it."""
        latency, late = mean_of(days, self.metric), mean_of(days, "timeout_share")
        return latency <= self.latency_s and late <= 1.0 - self.percentile / 100.0


class Machine(NamedTuple):
    """A kind of server; `scenario` says how long it takes and who scores on it."""

    name: str
    scenario: Scenario
    price_per_hour: float | None = None

    def with_servers(self, servers: int) -> Scenario:
        return override(self.scenario, {"serving.servers": servers})


@dataclass(frozen=True, slots=True)
class Capacity:
    """What is asked."""

    machines: tuple[Machine, ...]
    target: Target
    seeds: tuple[int, ...]
    most: int = 256
    """No more servers are tried."""


class Step(NamedTuple):
    """One number of servers, beside the next smaller one that was simulated."""

    servers: int
    days: Days
    kept: bool
    against: int | None
    """That number; None for the smallest."""
    worth: Mapping[str, Comparison]
    """By metric of COMPARED: what the servers more than that bring, day by day."""
    cost_per_million: float | None
    """Of queries, in the currency of the price."""


@dataclass(frozen=True, slots=True)
class MachineResult:
    """What was found for one kind of server."""

    machine: Machine
    steps: tuple[Step, ...]
    """By rising number of servers."""

    @property
    def needed(self) -> Step | None:
        """The smallest number that keeps the target; None where no number does."""
        return next((step for step in self.steps if step.kept), None)

    @property
    def next(self) -> Step | None:
        """One server more than needed."""
        needed = self.needed
        wanted = None if needed is None else needed.servers + 1
        return next((step for step in self.steps if step.servers == wanted), None)


@dataclass(frozen=True, slots=True)
class CapacityResult:
    """What was asked, and what was found for each kind of server."""

    asked: Capacity
    machines: tuple[MachineResult, ...]


def capacity_of(
    scenario: Scenario,
    target: Target,
    *,
    profiles: Sequence[Path] = (),
    prices: Sequence[float] = (),
    seeds: int = 5,
    most: int = 256,
) -> Capacity:
    """What to ask of a scenario.

    Args:
        profiles: files of `relbid profile`, each another kind of server, which ranks by the profile's scorer.
            None: the scenario's own block `serving`.
        prices: of a server per hour, one for each kind, or one for all. None: `serving.price_per_hour`.
        seeds: days, the scenario's own and those of the seeds after it; a market without other days has one.

    Raises:
        ScenarioError: a profile cannot be read, or is named twice; a batch takes no time, so there is nothing
            to plan; or the prices are not as many as the kinds.
    """
    plain = override(
        scenario,
        {"sweep": None, "compare": [], "serving.scoring": "table", "serving.clock": "profile"},
    )
    if twice := next((path for n, path in enumerate(profiles) if path in profiles[:n]), None):
        raise ScenarioError("is named twice", file=twice, field="--profile", remedy="name it once")
    kinds = [(path.stem, _with_profile(plain, path)) for path in profiles] or [(scenario.name, plain)]
    names = [name for name, _ in kinds]
    if len(set(names)) < len(names):
        kinds = [(str(path), found) for path, (_, found) in zip(profiles, kinds, strict=True)]
    if len(prices) not in (0, 1, len(kinds)):
        raise ScenarioError(
            f"{len(prices)} prices for {len(kinds)} kinds of servers",
            field="--price-per-hour",
            remedy="give one price for all, or one for each",
        )
    for _, found in kinds:
        if not found.serving.batch_s(1, 1):
            raise ScenarioError(
                "a batch takes a server no time, so one server is enough",
                file=scenario.place,
                field="serving",
                remedy="set a service time in it, or name a profile with --profile",
            )
    paid: list[float | None] = list(prices) or [scenario.serving.price_per_hour]
    paid = paid * len(kinds) if len(paid) == 1 else paid
    machines = tuple(Machine(name, one, price) for (name, one), price in zip(kinds, paid, strict=True))
    n_days = seeds if source_of(scenario).has_other_days else 1
    return Capacity(machines, target, tuple(range(scenario.seed, scenario.seed + n_days)), most)


def _with_profile(scenario: Scenario, path: Path) -> Scenario:
    profile, source = read_file(path, PROFILE)
    try:
        return override(scenario, {"serving.profile": str(path), "scorer": profile.scorer})
    except ScenarioError as error:
        raise error.at(*source.at("scorer")) from None


def next_servers(tried: Mapping[int, Days], target: Target, most: int) -> int | None:
    """The number of servers to simulate next; None where that is enough.

    Args:
        tried: the days of each number that was simulated.
    """
    if not tried:
        return 1
    kept = [n for n in tried if target.is_kept(tried[n])]
    largest = max(tried)
    if not kept:
        half = tried.get(largest // 2)
        idle = half is not None and [_waits(day, target) for day in half] == [
            _waits(day, target) for day in tried[largest]
        ]
        return None if idle or largest >= most else min(2 * largest, most)
    needed = min(kept)
    failing = max((n for n in tried if n < needed), default=0)
    if needed - failing > 1:
        return (failing + needed) // 2
    return needed + 1 if needed + 1 not in tried and needed < most else None


def _waits(day: Mapping[str, float], target: Target) -> tuple[float, float]:
    return day[target.metric], day["timeout_share"]


def run_capacity(
    asked: Capacity,
    out: Path,
    *,
    workers: int | None = None,
    engine: EngineName = "local",
    progress: Progress | None = None,
    report: Report | None = None,
) -> CapacityResult:
    """Simulate what is missing; stopped, the same call continues.

    Args:
        out: the results folder, under which frames, scores and finished days are kept.
        workers, engine, report: see `scenarios.studies.run_study.run_study`.

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
        StudyError: days have failed in processes of their own.
    """
    for machine in asked.machines:
        check_scorers(machine.scenario, [machine.scenario.scorer])
    folder = capacity_folder(out, asked)
    plan = CapacityPlan(asked, out, progress)
    run_study(
        plan,
        out / disk.FOLDER / "capacity" / folder.name,
        place=folder,
        workers=workers,
        engine=engine,
        retry_failed=True,
        report=report,
    )
    return CapacityResult(
        asked,
        tuple(
            MachineResult(machine, steps_of(machine, plan.tried[machine.name], asked.target))
            for machine in asked.machines
        ),
    )


class CapacityPlan(StudyPlan[Days]):
    """For each kind of server, days of one number of servers after the other."""

    command = "capacity"
    worker = ReplicateWorker
    stage = "days"

    def __init__(self, asked: Capacity, out: Path, progress: Progress | None = None) -> None:
        self._asked, self._out, self._progress = asked, out, progress
        self.total = len(asked.machines) * len(asked.seeds)
        self.tried: dict[str, dict[int, Days]] = {machine.name: {} for machine in asked.machines}
        """Days of each number of servers, by the machine's name."""
        self._what: dict[str, tuple[str, int, int]] = {}

    def batches(self, study: Study[Days]) -> Iterator[Sequence[Task]]:
        """See `StudyPlan.batches`."""
        asked, kept = self._asked, replicates_folder(self._out)
        remove_parts(kept)
        scenarios = [machine.scenario for machine in asked.machines]
        shared = share_world(scenarios, cache=self._out, progress=self._progress)
        if any(plug_ins(scenario) for scenario in scenarios):  # nothing says when their code has changed
            kept = study.work / "replicates"
        world = World(shared, study.work / "world", kept)
        kind = "full" if source_of(scenarios[0]).has_texts else "simulated"
        while True:
            wanted = {
                machine.name: (machine, servers)
                for machine in asked.machines
                if (servers := next_servers(self.tried[machine.name], asked.target, asked.most)) is not None
            }
            if not wanted:
                return
            jobs = {
                name: [Job(kind, seed, (machine.with_servers(servers),)) for seed in asked.seeds]
                for name, (machine, servers) in wanted.items()
            }
            tasks = {name: world.tasks(own) for name, own in jobs.items()}
            for name, own in tasks.items():
                for seed, task in zip(asked.seeds, own, strict=True):
                    self._what[task.key] = name, wanted[name][1], seed
            study.stage(self.stage, len(self._what))
            missing = study.missing([task for own in tasks.values() for task in own])
            world.share(missing)
            yield missing
            study.check()
            for name, own in tasks.items():
                days = [study.results[task.key][0] for task in own]
                self.tried[name][wanted[name][1]] = days

    def about(self, task: Task) -> Mapping[str, Any]:
        """Which kind of server, how many, and the day."""
        machine, servers, seed = self._what[task.key]
        return {"machine": machine, "servers": servers, "seed": seed}


def steps_of(machine: Machine, tried: Mapping[int, Days], target: Target) -> tuple[Step, ...]:
    """The numbers of servers that were simulated, each beside the one before."""
    steps: list[Step] = []
    hours = machine.scenario.traffic.horizon_s * machine.scenario.traffic.days / 3600.0
    for servers in sorted(tried):
        days, before = tried[servers], steps[-1] if steps else None
        worth = {
            metric: compare(values_of(before.days, metric), values_of(days, metric))
            for metric in COMPARED
            if before is not None
        }
        price, queries = machine.price_per_hour, mean_of(days, "queries")
        steps.append(
            Step(
                servers,
                days,
                target.is_kept(days),
                None if before is None else before.servers,
                worth,
                None if price is None or not queries else servers * price * hours / queries * 1e6,
            )
        )
    return tuple(steps)


def values_of(days: Days, metric: str) -> FloatArray:
    """A metric F[D] by day; NaN where it is not known."""
    return np.array([day.get(metric, np.nan) for day in days], dtype=np.float64)


def mean_of(days: Days, metric: str) -> float:
    """The mean of a metric over the days."""
    return float(values_of(days, metric).mean())


def capacity_folder(out: Path, asked: Capacity) -> Path:
    """Where the result belongs: the scenario's name and a hash of all that is asked."""
    parts = [dump_scenario(machine.scenario) for machine in asked.machines]
    parts += [str(machine.price_per_hour) for machine in asked.machines]
    parts += [str(asked.target), str(asked.seeds), str(asked.most)]
    digest = hashlib.blake2b("|".join(parts).encode(), digest_size=4).hexdigest()
    return out / f"{asked.machines[0].scenario.name}-capacity-{digest}"


def write_capacity(out: Path, result: CapacityResult, answer: str) -> Path:
    """Write a result folder and return it: capacity.json, days.parquet, and the scenario of each machine.

    Args:
        answer: in words.

    Raises:
        StoreError: the folder cannot be written; nothing half-written stays behind.
    """
    folder, asked = capacity_folder(out, result.asked), result.asked
    found = {
        "target": asked.target._asdict(),
        "seeds": list(asked.seeds),
        "answer": answer,
        "machines": [
            {
                "name": one.machine.name,
                "price_per_hour": one.machine.price_per_hour,
                "needed": None if one.needed is None else one.needed.servers,
                "steps": [_written(step, asked.target) for step in one.steps],
            }
            for one in result.machines
        ],
    }
    days = pl.DataFrame(
        [
            {"machine": one.machine.name, "servers": step.servers, "seed": seed, **metrics}
            for one in result.machines
            for step in one.steps
            for seed, metrics in zip(asked.seeds, step.days, strict=True)
        ],
        infer_schema_length=None,
    )
    with whole_folder(folder) as part:
        (part / "capacity.json").write_text(json.dumps(nullable(found), indent=2) + "\n", encoding="utf-8")
        for number, one in enumerate(result.machines, start=1):
            needed, machine = one.needed, one.machine
            scenario = machine.scenario if needed is None else machine.with_servers(needed.servers)
            name = "scenario.yaml" if len(result.machines) == 1 else f"scenario-{number}.yaml"
            (part / name).write_text(dump_scenario(scenario), encoding="utf-8")
        write_parquet(days, part / "days.parquet")
    return folder


def _written(step: Step, target: Target) -> dict[str, Any]:
    return {
        "servers": step.servers,
        "kept": step.kept,
        **{
            metric: dict(zip(("mean", "low", "high"), t_interval(values_of(step.days, metric)), strict=True))
            for metric in (target.metric, "timeout_share", *COMPARED)
        },
        "against": step.against,
        "worth": {metric: asdict(found) for metric, found in step.worth.items()},
        "cost_per_million": step.cost_per_million,
    }
