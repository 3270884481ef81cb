"""What a process of an ablation does: pre-train, fine-tune and measure one cell after another.

Cells that differ in their fine-tuning alone start from the same weights, those after the word and the align
stage, which lie in `<results>/.cache/ablations` by a hash of what decides them. The word stage reads labels:
other amounts of labels, and worse ones, have weights of their own. All runs on one thread: two processes
of one thread each do more than one of two.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import relevance
import simulator
from relevance.corpus import LabelledCorpus
from relevance.errors import CheckpointError
from scenarios.config.scenario import Scenario
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.simulation import prepare, simulate
from scenarios.storage.cache import code_hash
from scenarios.storage.whole import writing
from scenarios.studies.ablations.cells import Cell, Measured, digest_of_scenario, every_setting, read_cell
from scenarios.studies.ablations.measures import Slices, measure
from scenarios.studies.study import Task, Worker
from simulator.measures.market_metrics import with_rates

if TYPE_CHECKING:
    from relevance.hcmrm import Checkpoint


@dataclass(frozen=True, slots=True)
class SharedByCells:
    """What all cells have in common."""

    scenario: Scenario
    out: Path
    """The results folder, whose cache has the key frames."""
    corpus: Path
    """Folder of the labelled corpus that is trained on."""
    test: Path
    """Folder of the one that is tested on; it may be the same."""
    fingerprint: str


class Training(NamedTuple):
    """A cell, or the pre-training of its weights alone."""

    shared: SharedByCells
    cell: Cell
    weights: Path | None
    """Where its pre-trained weights lie, or are to lie; None for a cell without pre-training."""
    kept: Path | None = None
    """Where its checkpoint is kept; None: nowhere."""
    weights_alone: bool = False


class AblationWorker(Worker["Measured | Path"]):
    """Pre-trains weights; trains and measures cells. Keeps what it has loaded last."""

    def __init__(self) -> None:
        from relevance.hcmrm.device import use_device

        super().__init__()
        use_device("cpu", threads=1)
        self._loaded: tuple[SharedByCells, _Loaded] | None = None

    @staticmethod
    def read(task: Task) -> Measured | Path | None:
        """The kept cell of a task, or the path of its weights if they are there."""
        training: Training = task.data
        if training.weights_alone:
            return task.out if task.out.exists() else None
        if training.kept is not None and not (training.kept / "model.safetensors").exists():
            return None
        return read_cell(task.out)

    def make(self, task: Task) -> bytes:
        """Train what a task asks for, whose data is a `Training`."""
        training: Training = task.data
        if self._loaded is None or self._loaded[0] != training.shared:
            self._loaded = None
            self._loaded = training.shared, _Loaded.of(training.shared)
        loaded = self._loaded[1]
        if not training.weights_alone:
            return measured(training, loaded).to_json().encode()
        from relevance.hcmrm.training.pretrained import pretrain

        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / task.out.name
            pretrain(training.cell.pretraining_config, loaded.data, weights)
            return weights.read_bytes()


@dataclass(frozen=True, slots=True)
class _Loaded:
    data: LabelledCorpus
    test: LabelledCorpus
    prepared: Prepared
    slices: Slices

    @staticmethod
    def of(shared: SharedByCells) -> _Loaded:
        data = LabelledCorpus.load(shared.corpus)
        test = data if shared.test == shared.corpus else LabelledCorpus.load(shared.test)
        prepared = prepare(shared.scenario, cache=shared.out)
        return _Loaded(data, test, prepared, Slices.of(test, prepared.world))


def is_trained(training: Training) -> bool:
    """Whether the kept checkpoint of a cell is of this very training, wherever it was made, as on a GPU."""
    if training.kept is None or not (training.kept / "model.safetensors").exists():
        return False
    try:
        record = json.loads((training.kept / "training.json").read_text(encoding="utf-8"))
        source = json.loads((training.shared.corpus / "source.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    wanted = asdict(training.cell.config) | {"corpora": [source]}
    same: dict[str, Any] = json.loads(json.dumps(wanted))
    del same["bf16"]  # in a record: whether the device had it
    # As `Measured.still_means`: a setting that has come since was off.
    return (
        isinstance(record, dict)
        and "corpora" in record
        and all(record.get(name, value) == value for name, value in same.items())
    )


def trained(training: Training, data: LabelledCorpus) -> tuple[Checkpoint, float, float]:
    """A cell's checkpoint; pre-trained weights are made first where they are missing or unfit.

    Returns:
        The checkpoint, and the seconds of its pre-training and its fine-tuning.
    """
    from relevance.hcmrm.training.pretrained import finetune, pretrain
    from relevance.hcmrm.training.train import training_record

    config, began = training.cell.config, time.process_time()
    try:
        done = finetune(config, data, training.weights)
    except CheckpointError:
        assert training.weights is not None
        pretrain(training.cell.pretraining_config, data, training.weights)
        began = time.process_time()
        done = finetune(config, data, training.weights)
    took = time.process_time() - began
    seconds = done.pretraining_s + took
    record = training_record(config, data, "cpu", done.trainer.step, seconds, done.log)
    model = done.trainer.checkpoint(record)
    if training.kept is not None:
        with writing(training.kept):
            model.save(training.kept)
    return model, done.pretraining_s, took


def measured(training: Training, loaded: _Loaded) -> Measured:
    """Measure a cell, whose checkpoint is trained unless it is there already."""
    from relevance.hcmrm import Checkpoint, HcmrmScorer

    cell, data, test = training.cell, loaded.data, loaded.test
    if training.kept is not None and is_trained(training):
        model = Checkpoint.load(training.kept)
        pretraining_s, finetuning_s = 0.0, float(model.training["seconds"])
    else:
        model, pretraining_s, finetuning_s = trained(training, data)
    began = time.process_time()
    scorer = HcmrmScorer(model, test.corpus)
    metrics = {}
    for split in cell.splits:
        labels = test.labels.of(split)
        score, probabilities = scorer.read(labels.query, labels.ad)
        metrics[split] = measure(labels, score, probabilities, loaded.slices.parts(labels))
    tested = time.process_time()
    market = market_of(model, cell.seed, loaded.prepared)
    cost = {
        "pretraining_s": pretraining_s,
        "finetuning_s": finetuning_s,
        "testing_s": tested - began,
        "market_s": time.process_time() - tested,
    }
    return Measured(
        cell,
        digest_of_scenario(training.shared.scenario),
        training.shared.fingerprint,
        code_hash(relevance) + code_hash(simulator),
        every_setting(cell),
        metrics,
        market,
        cost,
    )


def market_of(model: Checkpoint, seed: int, prepared: Prepared) -> dict[str, float]:
    """The market's metrics where this model ranks, on the day of a seed; totals per thousand queries."""
    from relevance.hcmrm import HcmrmScorer

    query, column = np.nonzero(prepared.candidate >= 0)
    score = np.zeros(prepared.candidate.shape)
    score[query, column] = HcmrmScorer(model, prepared.world.corpus).score(
        query, prepared.candidate[query, column]
    )
    scenario = prepared.scenario.model_copy(update={"seed": seed})
    return with_rates(simulate(replace(prepared, scenario=scenario), Relevance("hcmrm", score)).metrics)
