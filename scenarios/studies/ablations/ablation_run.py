"""Run an ablation, or what is missing of it.

Seed after seed, so that what is there early can be compared. Every distinct pre-training is run once: those
of a seed together with the cells of the seed before, so that no core is idle.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from scenarios.markets.kind import Progress
from scenarios.markets.simulation import prepare
from scenarios.models.labelled import corpus_folder, training_corpus
from scenarios.storage.cache import FOLDER
from scenarios.storage.whole import check_writable
from scenarios.studies.ablations.ablation import Ablation
from scenarios.studies.ablations.ablation_worker import (
    AblationWorker,
    SharedByCells,
    Training,
    is_trained,
)
from scenarios.studies.ablations.cells import (
    Cell,
    Measured,
    cells_folder,
    cells_of,
    checkpoint_names,
    digest_of_scenario,
    of_ablation,
    read_cells,
)
from scenarios.studies.run_study import Study, StudyOptions, run_study
from scenarios.studies.study import StudyPlan, Task, remove_parts
from simulator.world import LabelledWorlds
from simulator.world.labels import ALL_SPLITS

Kept = Measured | Path
"""What is kept of a cell, or the pre-trained weights."""


def run_ablation(
    ablation: Ablation,
    out: Path,
    *,
    progress: Progress | None = None,
    **options: Unpack[StudyOptions],
) -> int:
    """Train and measure all cells that are not there yet; returns how many of them failed.

    What an earlier run has finished is not repeated, whatever ended that run; what failed is tried again.

    Args:
        out: the results folder, under which the corpus, pre-trained weights and cells are kept.
        options: see `scenarios.studies.run_study.run_study`. A status counts what its stage names. All
            machines of a Ray cluster need the results folder.
        progress: called while the corpus is made.

    Raises:
        StoreError: the folder cannot be written, or another command is at work in it.
    """
    if ablation.file.keep is not None:
        check_writable(Path(ablation.file.keep), "name another folder in the ablation's 'keep'")
    plan = AblationPlan(ablation, out, progress)
    options["retry_failed"] = True
    study = run_study(plan, cells_folder(out, ablation), **options)
    return sum(not task.data.weights_alone for task in study.failed.values())


def estimate_ablation(ablation: Ablation, out: Path) -> tuple[int, int, float | None]:
    """What an ablation asks for, without running it.

    Returns:
        Trainings; how many of them are done; and the processor seconds that those took on average, None where
        there are none.
    """
    found = of_ablation(ablation, read_cells(cells_folder(out, ablation))).values()
    spent = [sum(cell.cost.values()) for cell in found]
    return len(cells_of(ablation)), len(spent), sum(spent) / len(spent) if spent else None


class AblationPlan(StudyPlan[Kept]):
    """The pre-trainings of the first seed, then its cells and the pre-trainings of the second, and so on."""

    command = "ablate"
    worker = AblationWorker
    stage = "cells"

    def __init__(self, ablation: Ablation, out: Path, progress: Progress | None = None) -> None:
        self.total = len(cells_of(ablation))
        self._ablation, self._out, self._progress = ablation, out, progress

    def batches(self, study: Study[Kept]) -> Iterator[Sequence[Task]]:
        remove_parts(cells_folder(self._out, self._ablation))
        tasks = cell_tasks(self._ablation, self._out, self._progress)
        by_seed: dict[int, list[Task]] = {}
        for task in tasks:
            by_seed.setdefault(task.data.cell.seed, []).append(task)
        to_train = {
            seed: [task for task in cells if self.worker.read(task) is None]
            for seed, cells in by_seed.items()
        }
        seeds = [seed for seed, missing in to_train.items() if missing]
        weights = {seed: _pretrainings(to_train[seed]) for seed in seeds}
        for first in seeds[:1]:
            study.stage(f"pre-trainings of seed {first}", len(weights[first]))
            yield study.missing(weights[first])
        for seed, after in itertools.zip_longest(seeds, seeds[1:]):
            # The next seed's pre-trainings stand at the end: they are few, and alone would leave cores idle.
            following = weights[after] if after is not None else ()
            also = f", pre-trainings of seed {after}" if following else ""
            study.stage(f"cells of seed {seed}{also}", len(by_seed[seed]) + len(following))
            yield study.missing((*by_seed[seed], *following))

    def about(self, task: Task) -> Mapping[str, Any]:
        cell: Cell = task.data.cell
        return {"seed": cell.seed, "settings": dict(cell.settings)}


def cell_tasks(ablation: Ablation, out: Path, progress: Progress | None = None) -> list[Task]:
    """A task for every cell. What cells share is made first: corpora, and the market's key frames."""
    folds = {seed: ablation.fold_of(seed) for seed in {cell.seed for cell in cells_of(ablation)}}
    shared = {fold: _share(ablation, fold, out, progress) for fold in dict.fromkeys(folds.values())}
    folder, scenario = cells_folder(out, ablation), digest_of_scenario(ablation.scenario)
    root, names = ablation.file.keep, checkpoint_names(ablation)
    tasks = []
    for cell in cells_of(ablation):
        own = shared[folds[cell.seed]]
        key = cell.key(scenario, own.fingerprint)
        kept = None if root is None else Path(root) / names[cell.id]
        tasks.append(Task(key, folder / f"{key}.json", Training(own, cell, weights_path(cell, own), kept)))
    return tasks


def _share(
    ablation: Ablation, fold: int | None, out: Path, progress: Progress | None = None
) -> SharedByCells:
    """What the cells that leave out this fold share."""
    scenario, own = ablation.scenario, (ablation.scenario.world.seed,)
    if ablation.train_worlds == own:
        train = test = LabelledWorlds(own, fold, scenario.world, ALL_SPLITS)
    else:
        train = LabelledWorlds(ablation.train_worlds, fold, scenario.world)
        test = LabelledWorlds(own, fold, scenario.world, ("validation", "test"))
    data = training_corpus(out, train, progress)
    training_corpus(out, test, progress)
    prepare(scenario, cache=out, progress=progress)
    return SharedByCells(
        scenario, out, corpus_folder(out, train), corpus_folder(out, test), data.fingerprint()
    )


def _pretrainings(missing: Sequence[Task]) -> tuple[Task, ...]:
    """Those that missing cells start from and that are to be run, each once."""
    to_train = (task for task in missing if task.data.weights and not is_trained(task.data))
    return tuple({task.data.weights: pretraining(task) for task in to_train}.values())


def pretraining(task: Task) -> Task:
    """The task of the weights that a cell starts from."""
    training: Training = task.data
    assert training.weights is not None
    key = training.cell.pretraining_key(training.shared.fingerprint)
    return Task(key, training.weights, training._replace(weights_alone=True))


def weights_path(cell: Cell, shared: SharedByCells) -> Path | None:
    """Where a cell's pre-trained weights belong; None where it has no pre-training."""
    if not cell.pretrained:
        return None
    key = cell.pretraining_key(shared.fingerprint)
    return shared.out / FOLDER / "ablations" / f"pretrained-{key}.safetensors"
