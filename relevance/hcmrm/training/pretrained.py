"""Weights between the stages of a training, for trainings that share all stages before fine-tuning.

Unlike a checkpoint they have full precision, and neither vocabulary nor keywords: both trainings have the
same corpus, whose texts decide those.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from relevance.corpus import LabelledCorpus
from relevance.errors import CheckpointError
from relevance.hcmrm.training.state_file import read_state, write_state
from relevance.hcmrm.training.train import used_labels
from relevance.hcmrm.training.train_config import TrainConfig
from relevance.hcmrm.training.trainer import Trainer


def pretrain(config: TrainConfig, data: LabelledCorpus, weights: Path, device: str = "cpu") -> None:
    """Run the stages of a training without fine-tuning, and keep what they have learnt.

    Raises:
        OSError: the file cannot be written.
    """
    began = time.process_time()
    trainer = _run(_trainer(config, data, device))
    save_weights(trainer, weights, time.process_time() - began)


def finetune(
    config: TrainConfig, data: LabelledCorpus, weights: Path | None, device: str = "cpu"
) -> tuple[Trainer, float]:
    """Train on the labels, from pre-trained weights where there are any; without, all stages are run.

    Returns:
        The finished training, and the processor seconds that the weights took.

    Raises:
        CheckpointError: the weights are missing or damaged, or of a model whose code has been changed.
    """
    if weights is None:
        return _run(_trainer(config, data, device)), 0.0
    trainer = _trainer(replace(config, word_steps=0, align_steps=0), data, device)
    seconds = start_from_weights(trainer, weights)
    return _run(trainer), seconds


def _trainer(config: TrainConfig, data: LabelledCorpus, device: str) -> Trainer:
    pool = data.labels.of("train")
    return Trainer(data, pool, used_labels(pool, config), config, device)


def _run(trainer: Trainer) -> Trainer:
    for _ in trainer.steps():
        pass
    return trainer


def save_weights(trainer: Trainer, path: Path, seconds: float) -> None:
    """Write a training's present weights, whole or not at all; two processes may do so at once.

    Args:
        seconds: processor time that the training took so far, stored with them.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".writing-{os.getpid()}-{path.name}")
    write_state(part, {"model": trainer.model.state_dict(), "seconds": seconds})
    part.replace(path)


def start_from_weights(trainer: Trainer, path: Path) -> float:
    """Set a new training's weights except its grade head, whose width is the loss's; returns their seconds.

    Raises:
        CheckpointError: the file is missing or damaged, or its weights are of another model.
    """
    own = trainer.model.state_dict()
    heads = {name: value for name, value in own.items() if name.startswith("grade_head.")}
    try:
        state = read_state(path)
        trainer.model.load_state_dict({**state["model"], **heads}, strict=True)
        seconds = float(state["seconds"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:  # a CheckpointError is a ValueError
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: no weights for this model ({reason}); remove it") from error
    for name, parameter in trainer.model.named_parameters():
        trainer.average[name] = parameter.detach().clone()
    return seconds
