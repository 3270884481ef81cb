"""Weights between the stages of a training, for trainings that share all stages before fine-tuning.

Unlike a checkpoint they have full precision, and neither vocabulary nor keywords: both trainings have the
same corpus, whose texts decide those.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from relevance.corpus import LabelledCorpus
from relevance.errors import CheckpointError
from relevance.files import parsed_json
from relevance.hcmrm.training.pretraining import TrainingTexts
from relevance.hcmrm.training.state_file import read_state, write_state
from relevance.hcmrm.training.train import used_labels
from relevance.hcmrm.training.train_config import TrainConfig
from relevance.hcmrm.training.trainer import Trainer

Log = list[dict[str, Any]]
"""The mean loss of each LOGGED steps of a stage, as JSON has it."""

LOGGED = 100


class Finetuned(NamedTuple):
    """A finished training."""

    trainer: Trainer
    pretraining_s: float
    """Processor seconds that its pre-trained weights took; 0 without such."""
    log: Log
    """Of all stages, those of its pre-trained weights first."""


def pretrain(
    config: TrainConfig,
    data: LabelledCorpus,
    weights: Path,
    device: str = "cpu",
    texts: TrainingTexts | None = None,
) -> None:
    """Run the stages of a training without fine-tuning, and keep what they have learnt.

    Args:
        texts: see `Trainer`.

    Raises:
        OSError: the file cannot be written.
    """
    began = time.process_time()
    trainer = _trainer(config, data, device, texts)
    log = _run(trainer)
    save_weights(trainer, weights, time.process_time() - began, log)


def finetune(
    config: TrainConfig,
    data: LabelledCorpus,
    weights: Path | None,
    device: str = "cpu",
    texts: TrainingTexts | None = None,
) -> Finetuned:
    """Train on the labels, from pre-trained weights where there are any; without, all stages are run.

    Args:
        texts: see `Trainer`.

    Raises:
        CheckpointError: the weights are missing or damaged, or of a model whose code has been changed.
    """
    if weights is None:
        trainer = _trainer(config, data, device, texts)
        return Finetuned(trainer, 0.0, _run(trainer))
    trainer = _trainer(replace(config, word_steps=0, align_steps=0), data, device, texts)
    seconds, log = start_from_weights(trainer, weights)
    return Finetuned(trainer, seconds, [*log, *_run(trainer)])


def _trainer(config: TrainConfig, data: LabelledCorpus, device: str, texts: TrainingTexts | None) -> Trainer:
    pool = data.labels.of("train")
    return Trainer(data, pool, used_labels(pool, config), config, device, texts=texts)


def _run(trainer: Trainer) -> Log:
    log: Log = []
    losses: list[float] = []
    for stage, step, steps, loss in trainer.steps():
        losses.append(loss)
        if step % LOGGED == 0 or step == steps:
            log.append({"stage": stage, "step": step, "loss": round(sum(losses) / len(losses), 5)})
            losses = []
    return log


def save_weights(trainer: Trainer, path: Path, seconds: float, log: Log) -> None:
    """Write a training's present weights, whole or not at all; two processes may do so at once.

    Args:
        seconds: processor time that the training took so far, stored with them as its log is.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".writing-{os.getpid()}-{path.name}")
    write_state(part, {"model": trainer.model.state_dict(), "seconds": seconds, "log": json.dumps(log)})
    part.replace(path)


def start_from_weights(trainer: Trainer, path: Path) -> tuple[float, Log]:
    """Set a new training's weights except its grade head, whose width is the loss's.

    Returns:
        The processor seconds that the weights took, and their log.

    Raises:
        CheckpointError: the file is missing or damaged, or its weights are of another model.
    """
    own = trainer.model.state_dict()
    heads = {name: value for name, value in own.items() if name.startswith("grade_head.")}
    try:
        state = read_state(path)
        trainer.model.load_state_dict({**state["model"], **heads}, strict=True)
        seconds, log = float(state["seconds"]), parsed_json(state.get("log", "[]"), list)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:  # a CheckpointError is a ValueError
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: no weights for this model ({reason}); remove it") from error
    for name, parameter in trainer.model.named_parameters():
        trainer.average[name] = parameter.detach().clone()
    return seconds, log
