"""Simulated markets, whose metrics are kept on disk by a hash of all that decides them.

Experiments and sweeps simulate many markets on few worlds. A world is prepared and its pairs are scored once,
and processes read both from a file. The metrics of each market lie in a file of their own: with what each
query brought where an experiment asks for that, which a sweep of the same market reads, too.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pickle
import re
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from relevance.pretrained import pretrained_of
from scenarios.config.scenario import Scenario
from scenarios.errors import StoreError
from scenarios.markets.kind import Progress
from scenarios.markets.plug_ins import code_of
from scenarios.markets.prepared import Prepared, Relevance, needs_tables
from scenarios.markets.scoring import relevance_of
from scenarios.markets.simulation import market_of, prepare, simulate
from scenarios.markets.size import check_size
from scenarios.storage import cache as disk
from scenarios.storage.whole import whole_path
from scenarios.studies.designs import ArmRun, budget_split, full, query_split
from scenarios.studies.model_scores import keep_scores
from scenarios.studies.study import Task, Worker
from simulator.measures.market_metrics import with_rates
from simulator.measures.query_totals import QueryTotals

PLUG_IN = re.compile(r'"([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)"')
"""module:attr as a text in JSON."""

MARKET_CODE = ("simulator", "scenarios.config", "scenarios.markets", "scenarios.studies")
"""Packages that take part when a market is simulated and measured."""

WITH_QUERIES = ".npz"
"""Suffix of the files that hold what each query brought, beside the metrics; the others are JSON."""

_DAMAGED = (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)

ModelKey = tuple[str, str]


class Job(NamedTuple):
    """What is simulated at once."""

    kind: str
    """full: the whole market of one scenario. simulated: the same of a table, with those metrics
    that are known there. query_split, budget_split: one market that scenarios share, see `designs`."""
    seed: int
    scenarios: tuple[Any, ...]
    """Scenarios; in a task their places in the list of scenarios that it reads."""
    queries: bool = False
    """Whether what each query brought is kept beside the metrics, see `read_queries`."""


@dataclass(frozen=True, slots=True)
class SharedWorld:
    """What the markets of one world share: the world without its frames, and the scores of its pairs."""

    prepared: Prepared
    relevances: Mapping[ModelKey, Relevance]


class ReplicateWorker(Worker[list[dict[str, float]]]):
    """Simulates markets. Results are metrics with totals per thousand queries, by arm."""

    @staticmethod
    def read(task: Task) -> list[dict[str, float]] | None:
        """The kept metrics of a task, whose data is a `Job`."""
        return read_metrics(task.out, len(task.data.scenarios))

    def make(self, task: Task) -> bytes:
        """Simulate a task, which reads a `SharedWorld` and a list of scenarios."""
        shared, scenarios = (self.held[path] for path in task.reads)
        job: Job = task.data
        job = job._replace(scenarios=tuple(scenarios[place] for place in job.scenarios))
        if not job.queries:
            return json.dumps(simulate_job(job, shared)).encode()
        runs, file = run_job(job, shared), io.BytesIO()
        metrics = np.frombuffer(json.dumps([run.metrics for run in runs]).encode(), dtype=np.uint8)
        totals = {
            f"{name}_{arm}": values
            for arm, run in enumerate(runs)
            for name, values in run.queries()._asdict().items()
        }
        np.savez_compressed(file, metrics=metrics, **totals)
        return file.getvalue()


def read_metrics(path: Path, n_arms: int = 1) -> list[dict[str, float]] | None:
    """The kept metrics of a job, by arm; None where there are none, or they are damaged."""
    for file in dict.fromkeys((path, path.with_suffix(WITH_QUERIES))):
        try:
            found: list[dict[str, float]] = json.loads(_metrics_in(file))
            if len(found) == n_arms:
                return [dict(metrics) for metrics in found]
        except _DAMAGED:
            continue
    return None


def _metrics_in(path: Path) -> bytes:
    if path.suffix != WITH_QUERIES:
        return path.read_bytes()
    with np.load(path) as found:
        return bytes(found["metrics"].tobytes())


def read_queries(path: Path) -> list[QueryTotals]:
    """What each query brought, by arm, as a task with `Job.queries` has kept it.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        with np.load(path) as found:
            arms = sum(name.startswith("query_") for name in found.files)
            return [
                QueryTotals(*(found[f"{name}_{arm}"] for name in QueryTotals._fields)) for arm in range(arms)
            ]
    except _DAMAGED as error:
        raise StoreError(f"is damaged ({error})", file=path, remedy="remove it and try again") from None


def simulate_job(job: Job, shared: SharedWorld) -> list[dict[str, float]]:
    """The metrics of a job, by arm."""
    if job.kind == "simulated":
        return [
            with_rates(
                simulate(replace(shared.prepared, scenario=one), shared.relevances[model_of(one)]).metrics
            )
            for one in _seeded(job)
        ]
    return [run.metrics for run in run_job(job, shared)]


def run_job(job: Job, shared: SharedWorld) -> list[ArmRun]:
    """What happens in the arms of a job that is not `simulated`."""
    scenarios = _seeded(job)
    markets = [market_of(shared.prepared, shared.relevances[model_of(one)], one) for one in scenarios]
    if job.kind == "query_split":
        return query_split(markets)
    if job.kind == "budget_split":
        return budget_split(markets)
    return [full(market) for market in markets]


def _seeded(job: Job) -> list[Scenario]:
    return [scenario.model_copy(update={"seed": job.seed}) for scenario in job.scenarios]


class World:
    """A prepared world, and the tasks of markets on it."""

    def __init__(self, shared: SharedWorld, work: Path, kept: Path) -> None:
        """Nothing is written yet.

        Args:
            work: a folder for what the tasks share, of which no other world makes use.
            kept: the folder of metrics.
        """
        self._shared = replace(shared, prepared=shared.prepared.without_frames())
        self._work, self._kept = work, kept
        self._common = digest_of(shared.prepared)
        self._scores = {key: _digest(one.table) for key, one in shared.relevances.items()}
        self._code: dict[str, str] = {}
        self._unwritten: dict[Path, list[Scenario]] = {}
        self._lists = 0

    def covers(self, scenarios: Iterable[Scenario]) -> bool:
        """Whether all that scenarios of this world need was prepared."""
        return all(
            model_of(one) in self._scores
            and set(one.serving.cheap_scorers) <= set(self._shared.prepared.cheap)
            for one in scenarios
        )

    def tasks(self, jobs: Iterable[Job]) -> list[Task]:
        """The tasks of jobs, in their order. `share` has to be called before they are done."""
        reads = (self._work / "world.pickle", self._work / f"scenarios-{self._lists}.pickle")
        self._lists += 1
        scenarios: list[Scenario] = []
        known: dict[int, tuple[int, str]] = {}  # number and what decides it, by id
        found = []
        for job in jobs:
            for one in job.scenarios:
                if id(one) not in known:
                    known[id(one)] = len(scenarios), self._decides(one)
                    scenarios.append(one)
            numbers, decided_by = zip(*(known[id(one)] for one in job.scenarios), strict=True)
            key = _key(job.kind, job.seed, decided_by)
            path = self._kept / f"{key}{WITH_QUERIES if job.queries else '.json'}"
            found.append(Task(key, path, job._replace(scenarios=numbers), reads))
        self._unwritten[reads[1]] = scenarios
        return found

    def path_of(self, scenario: Scenario, kind: str = "simulated") -> Path:
        """Where the metrics of the market of one scenario are kept; `kind` as of a job."""
        return self._kept / f"{_key(kind, scenario.seed, [self._decides(scenario)])}.json"

    def share(self, tasks: Sequence[Task]) -> None:
        """Write down what tasks share with others, where that is not done yet."""
        for path in dict.fromkeys(path for task in tasks for path in task.reads):
            if not path.exists():
                with whole_path(path, flush=False) as part:
                    part.write_bytes(pickle.dumps(self._unwritten.get(path, self._shared), protocol=5))
        self._unwritten.clear()

    def _decides(self, scenario: Scenario) -> str:
        """All that decides the metrics of a scenario's market but its seed."""
        unused = {"seed": 0, "compare": (), "days_compared": 1, "sweep": None}
        bare = scenario.model_copy(update={"name": "replicate", **unused})
        text = bare.model_dump_json()
        own = PLUG_IN.findall(text)
        self._code |= {name: code_of(name) for name in own if name not in self._code}
        code = (self._code[name] for name in own)
        return "|".join((text, self._scores[model_of(scenario)], self._common, *code))


def _key(kind: str, seed: int, decided_by: Iterable[str]) -> str:
    text = "|".join((kind, str(seed), *decided_by))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def share_world(
    scenarios: Sequence[Scenario],
    base: Scenario | None = None,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> SharedWorld:
    """Prepare scenarios that share a world: pairs, and relevance by each scorer in use.

    Args:
        base: is prepared in the place of the first one.

    Raises:
        CheckpointError, PluginError, ScenarioError, ScorerError, StoreError, TableError: see
            `scenarios.prepare` and `scenarios.relevance_of`.
    """
    for other in scenarios:
        if other.serving.scoring == "live":
            raise needs_tables(other)
        check_size(other)
    prepared = prepare(base or scenarios[0], cache=cache, progress=progress)
    names = {name for other in scenarios for name in other.serving.cheap_scorers} - set(prepared.cheap)
    cheap = {
        name: relevance_of(prepared, name, cache=cache, progress=progress).score for name in sorted(names)
    }
    prepared = replace(prepared, cheap={**prepared.cheap, **cheap})
    models = {model_of(other): other for other in scenarios}
    if cache is not None:
        keep_scores(prepared, list(models.values()), cache, progress)
    found: dict[ModelKey, Relevance] = {}
    for key, other in models.items():
        own = replace(prepared, scenario=other)
        scored = relevance_of(own, other.scorer, cache=cache, progress=progress)
        # Grade probabilities are for people who look at single pairs.
        found[key] = replace(scored, grade_probabilities=None)
    return SharedWorld(prepared, found)


def share_scored(
    prepared: Prepared, relevances: Mapping[str, Relevance], scenarios: Iterable[Scenario]
) -> SharedWorld:
    """What scenarios share that are prepared and scored already, by their scorers' relevances."""
    return SharedWorld(
        prepared,
        {model_of(one): replace(relevances[one.scorer], grade_probabilities=None) for one in scenarios},
    )


def model_of(scenario: Scenario) -> ModelKey:
    """What decides the relevance of a scenario's pairs, beside the pairs."""
    neural = scenario.scorer == "hcmrm" or pretrained_of(scenario.scorer)
    return scenario.scorer, scenario.hcmrm.model_dump_json() if neural else ""


def replicates_folder(cache: Path) -> Path:
    """Where metrics are kept under the results folder."""
    return cache / disk.FOLDER / "replicates"


def plug_ins(scenario: Scenario) -> tuple[str, ...]:
    """The module:attr of one's own code that a scenario names."""
    return tuple(PLUG_IN.findall(scenario.model_dump_json()))


def digest_of(prepared: Prepared) -> str:
    """What the markets of a prepared world have in common: the code, and what was read or scored before."""
    parts = [_market_code(), *sorted(prepared.cheap)]
    arrays = [prepared.candidate, *(table for _, table in sorted(prepared.cheap_tables.items()))]
    return "|".join([*parts, *map(_digest, arrays)])


@functools.cache
def _market_code() -> str:
    return "|".join(disk.code_hash(sys.modules[name]) for name in MARKET_CODE)


def _digest(array: NDArray[Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=12).hexdigest()
