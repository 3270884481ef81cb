"""Run an ablation, or what is missing of it.

Seed after seed, so that what is there early can be compared, every distinct pre-training is run once, then
every cell. Each is a task of its own for a pool of processes, and leaves its file whole or not at all: the
numbers depend neither on how many processes there are nor on when they were killed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scenarios.markets.kind import Progress
from scenarios.markets.simulation import prepare
from scenarios.models.training import corpus_folder, training_corpus
from scenarios.storage.cache import FOLDER
from scenarios.storage.whole import remove_stale, write_whole_file
from scenarios.studies import pool
from scenarios.studies.ablations.ablation import Ablation
from scenarios.studies.ablations.ablation_worker import Shared, Task
from scenarios.studies.ablations.cells import Cell, cells_folder, cells_of, digest_of_scenario, read_cell
from scenarios.studies.sweeps.folder import alone_in

WORK = "scenarios.studies.ablations.ablation_worker:worker"


@dataclass(frozen=True, slots=True)
class Status:
    """How far an ablation is, at one of its two stages."""

    stage: str
    total: int
    done: int
    failed: int
    rate_per_s: float | None = None
    left_s: float | None = None


Report = Callable[[Status], None]


def run_ablation(
    ablation: Ablation,
    out: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    report: Report | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Train and measure all cells that are not there yet; returns how many of them failed.

    What an earlier run has finished is not repeated, whatever ended that run; what failed is tried again.

    Args:
        out: the results folder, under which the corpus, pre-trained weights and cells are kept.
        workers: processes; as many as there are cores by default.
        progress: called while the corpus is made.
        report: called whenever a pre-training or a cell is finished.

    Raises:
        StoreError: the folder cannot be written, or another command is at work in it.
    """
    folder = cells_folder(out, ablation)
    workers = workers or pool.cores()
    with alone_in(folder):
        remove_stale(folder)
        for note in (folder / "failures").glob("*.txt"):
            note.unlink()
        shared = share(ablation, out, progress)
        tasks = missing_tasks(ablation, shared)
        run = _Run(folder, workers, report, clock)
        failed = 0
        for seed in dict.fromkeys(task.cell.seed for task in tasks):
            of_seed = [task for task in tasks if task.cell.seed == seed]
            needed = {task.weights: replace(task, out=None) for task in of_seed if task.weights is not None}
            unmade = [task for weights, task in needed.items() if not weights.exists()]
            run.work(f"pre-trainings of seed {seed}", unmade, len(needed))
            total = sum(cell.seed == seed for cell in cells_of(ablation))
            failed += run.work(f"cells of seed {seed}", of_seed, total)
        return failed


@dataclass(frozen=True, slots=True)
class _Run:
    folder: Path
    workers: int
    report: Report | None
    clock: Callable[[], float]

    def work(self, stage: str, tasks: Sequence[Task], total: int) -> int:
        """Do the tasks of one stage and say how far it is; returns how many failed."""
        began, before = self.clock(), total - len(tasks)
        done = failed = 0
        self._say(Status(stage, total, before, 0))
        for task, error in pool.work_through(WORK, [tasks], self.workers):
            if error is None:
                done += 1
            else:
                failed += 1
                text = f"seed {task.cell.seed}, {json.dumps(dict(task.cell.settings))}\n\n{error}\n"
                write_whole_file(self.folder / "failures" / f"{stage.replace(' ', '-')}-{failed}.txt", text)
            rate = (done + failed) / max(self.clock() - began, 1e-9)
            left = (len(tasks) - done - failed) / rate
            self._say(Status(stage, total, before + done, failed, rate, left))
        return failed

    def _say(self, status: Status) -> None:
        if self.report is not None:
            self.report(status)


def share(ablation: Ablation, out: Path, progress: Progress | None = None) -> Shared:
    """Make what all cells share: the labelled corpus, and the key frames of the market's world."""
    scenario = ablation.scenario
    data = training_corpus(out, progress, scenario.world)
    prepare(scenario, cache=out, progress=progress)
    return Shared(scenario, out, corpus_folder(out, scenario.world), data.fingerprint())


def missing_tasks(ablation: Ablation, shared: Shared) -> list[Task]:
    """A task for every cell that is not there yet."""
    folder, scenario = cells_folder(shared.out, ablation), digest_of_scenario(shared.scenario)
    tasks = []
    for cell in cells_of(ablation):
        path = folder / f"{cell.key(scenario, shared.fingerprint)}.json"
        if read_cell(path) is None:
            tasks.append(Task(shared, cell, weights_path(cell, shared), path))
    return tasks


def weights_path(cell: Cell, shared: Shared) -> Path | None:
    """Where a cell's pre-trained weights belong; None where it has no pre-training."""
    if not cell.pretrained:
        return None
    key = cell.pretraining_key(shared.fingerprint)
    return shared.out / FOLDER / "ablations" / f"pretrained-{key}.safetensors"
