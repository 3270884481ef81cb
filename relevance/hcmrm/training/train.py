"""Training of HCMRM from a labelled corpus: topics of words, frames with words, then the grades.

Stage 1, words: word embeddings such that query and keywords of one topic (grade 1 and up) are close. It takes
seconds; without it a training finds the order of 1 before 0 only after thousands of steps. Not in the HCMRM
paper.
Stage 2, align: one random frame and the ad's keywords. Its losses are in-batch contrastive (ITC), masked
language modelling from text and frame (MLM), a bag of keywords read off the frame (not in the paper), and
pseudo-query-video matching (PQVM) on some of the ads with all of their frames. No label is used; the visual
encoder learns shapes and colours.
Stage 3, fine-tune: each step draws some ads and several graded queries of each, so that an ad's frames are
encoded and its keys and values projected once for all of them. The loss is one of `losses.GRADE_HEADS`.
Keywords and frames are dropped at random, so that the model does not rely on one modality. Early on the pairs
are mostly positive, because the order of 3 before 2 takes long to learn. With rehearsal, frames of ads that
have no labels still predict their keywords.

Every batch is drawn from a generator keyed by (seed, stage, step), so a stopped training continues as if it
had never stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from relevance.annotation import exchanged_grades, noisy_grades, thinned_middle, whole_queries
from relevance.corpus import LabelledCorpus, Labels
from relevance.errors import CheckpointError, in_words, quoted
from relevance.files import parsed_json, read_json
from relevance.hcmrm.checkpoint import TRAINING, Checkpoint
from relevance.hcmrm.device import has_bfloat16
from relevance.hcmrm.training.frozen_pairs import FrozenPairs
from relevance.hcmrm.training.ranks import Ranks
from relevance.hcmrm.training.state_file import read_state, write_state
from relevance.hcmrm.training.train_config import (
    CRITERIA,
    FINETUNE,
    WORDS,
    TrainConfig,
    TrainError,
    check_config,
)
from relevance.hcmrm.training.trainer import Trainer
from relevance.hcmrm.tree import GradeTree
from relevance.metrics import RelevanceMetrics, evaluate


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Reported after every step; `validation` after the steps that were validated."""

    stage: str
    step: int
    steps: int
    loss: float
    validation: RelevanceMetrics | None = None


def train(
    data: LabelledCorpus,
    out: Path,
    config: TrainConfig,
    *,
    device: str = "cpu",
    progress: Callable[[TrainProgress], None] = lambda _: None,
    save_every_s: float | None = 60.0,
    ranks: Ranks | None = None,
    kept: FrozenPairs | None = None,
) -> Checkpoint:
    """Train a model into the checkpoint `out`; a training that was stopped there continues.

    Args:
        save_every_s: seconds between two saves of the state that a stopped training continues from; it is
            also saved after each validation. None: never.
        ranks: the processes that train together; the first one validates, reports and writes.
        kept: what a frozen text encoder said of pairs of this corpus in other trainings.

    Raises:
        TrainError: a setting has no meaning; `out` holds the state of a training with other settings; the
            labels lack a split; the weights to start from do not fit.
        CheckpointError: the checkpoint to start from is missing or damaged.
    """
    check_config(config)
    ranks = ranks or Ranks()
    alone = config.loss == "ranknet" or config.patience
    if ranks.count > 1 and (alone or config.align_batch % ranks.count):
        raise TrainError(
            f"{ranks.count} processes: they must divide align_batch, {config.align_batch}; early stopping, "
            "and 'ranknet', which compares all pairs of a batch, need one process"
        )
    train_labels, validation_labels = data.labels.of("train"), data.labels.of("validation")
    reads_grades = {WORDS, FINETUNE} & set(config.stages)
    if reads_grades and not (len(train_labels) and len(validation_labels)):
        raise TrainError(
            "the corpus needs labelled pairs in both the train and the validation split",
            remedy="label more queries, or name the split of each label in the column 'split'",
        )
    started = time.monotonic()
    if "grade_tree" in config.model:
        tree = GradeTree.of(config.model["grade_tree"])
        foreign = sorted(set(np.unique(data.labels.grade).tolist()) - set(tree.grades))
        if foreign:
            raise TrainError(f"model.grade_tree {tree}: the labels have the grade {foreign[0]}, too")
    trainer = Trainer(data, train_labels, used_labels(train_labels, config), config, device, ranks, kept)
    state_file = out / "training-state.safetensors"
    identity = json.dumps([asdict(config), data.fingerprint()])
    log: list[dict[str, Any]] = []
    best = -math.inf
    worse = 0  # validations in a row
    spent = 0.0
    if os.path.lexists(state_file):  # a folder or a broken link is refused before the work
        state = read_state(state_file, device)
        if state.get("config") != identity:
            raise TrainError(
                f"{state_file}: belongs to a training with other settings or another corpus; remove it or "
                "choose another folder"
            )
        try:
            trainer.load_state(state)
            log, best, spent = parsed_json(state["log"], list), float(state["best"]), float(state["spent_s"])
            worse = int(state.get("worse", 0))
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            raise CheckpointError(
                f"damaged ({in_words(error)})",
                file=state_file,
                remedy="remove it, and the training starts anew",
            ) from error
    else:
        out.mkdir(parents=True, exist_ok=True)
    saved = time.monotonic()

    def keep(seconds: float) -> None:
        trainer.checkpoint(training_record(config, data, device, trainer.step, seconds, log)).save(out)

    chosen = _validation_subset(validation_labels, config) if FINETUNE in config.stages else validation_labels
    if FINETUNE in config.stages and config.finetune_steps and np.unique(chosen.grade).size < 2:
        raise TrainError(
            "the labels of the validation split cannot tell models apart, as those of one grade alone",
            field="choose_by",
            value=quoted(config.choose_by),
            remedy="give them other grades, or raise validation_pairs",
        )
    stopped = bool(config.patience) and worse >= config.patience
    for stage, step, steps, loss in () if stopped else trainer.steps():
        done = stage == FINETUNE and step == steps
        if not ranks.first:
            continue
        validation = None
        if stage == FINETUNE and (step % config.validate_every == 0 or done):
            validation = evaluate(chosen.query, chosen.grade, trainer.score(chosen, data.corpus))
            elapsed = spent + time.monotonic() - started
            figures = {name: round(value, 5) for name, value in validation.as_dict().items()}
            log.append({"step": step, "seconds": round(elapsed), **figures})
            criterion = CRITERIA[config.choose_by](validation)
            worse += 1
            if criterion > best:
                best, worse = criterion, 0
                keep(elapsed)
        progress(TrainProgress(stage, step, steps, loss, validation))
        due = validation is not None or time.monotonic() - saved > (save_every_s or 0.0)
        if due and save_every_s is not None:
            saved = time.monotonic()
            state = {
                **trainer.state(),
                "config": identity,
                "log": json.dumps(log),
                "best": best,
                "worse": worse,
                "spent_s": spent + saved - started,
            }
            write_state(state_file, state)
        if config.patience and worse >= config.patience:
            break
    if log and best == -math.inf and ranks.first:
        raise TrainError("the training has no numbers left in its weights", remedy="lower rate")
    if not log and ranks.first:  # nothing was validated, so the last weights are kept
        keep(spent + time.monotonic() - started)
    ranks.wait()
    return Checkpoint.load(out)


def training_record(
    config: TrainConfig,
    data: LabelledCorpus,
    device: str,
    step: int,
    seconds: float,
    log: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What a checkpoint says of its training: settings, sources, the kept step, seconds, validations."""
    return {
        **asdict(config),
        "bf16": config.bf16 and has_bfloat16(torch.device(device)),
        "corpora": sources(config, data),
        "chosen_step": step,
        "seconds": round(seconds),
        "log": list(log),
    }


def sources(config: TrainConfig, data: LabelledCorpus) -> list[dict[str, Any]]:
    """What the weights of a training will have seen.

    `LabelledCorpus.source` of its corpus, after those of the checkpoint that it starts from; empty where a
    corpus does not say.
    """
    before = []
    if config.init:
        record = read_json(Path(config.init) / TRAINING, dict, CheckpointError)
        before = record.get("corpora", [{}])
    own = dict(data.source)
    return [*(one for one in before if one != own), own]


def used_labels(labels: Labels, config: TrainConfig) -> Labels:
    """The training labels that a training uses, some left out and some made wrong as it asks for.

    Raises:
        TrainError: labels cannot be made wrong, since they are all equal.
    """
    if config.labels:
        labels = whole_queries(labels, config.labels, np.random.default_rng((config.seed, 97)))
    if config.label_noise:
        rng = np.random.default_rng((config.seed, 98))
        try:
            grade = noisy_grades(labels.grade, config.label_noise, rng)
        except ValueError as error:
            raise TrainError(f"label_noise {config.label_noise}: {error}") from error
        labels = replace(labels, grade=grade)
    if config.branch_noise:
        rng = np.random.default_rng((config.seed, 96))
        labels = replace(labels, grade=exchanged_grades(labels.grade, config.branch_noise, rng))
    if config.middle_labels < 1.0:
        labels = thinned_middle(labels, config.middle_labels, np.random.default_rng((config.seed, 95)))
    return labels


def _validation_subset(labels: Labels, config: TrainConfig) -> Labels:
    """All pairs of some queries, so that metrics within a query keep their meaning."""
    queries = np.random.default_rng((config.seed, 99)).permutation(np.unique(labels.query))
    per_query = len(labels) / len(queries)
    return labels.take(np.isin(labels.query, queries[: max(1, round(config.validation_pairs / per_query))]))


def main() -> None:
    """`torchrun --nproc_per_node 2 -m relevance.hcmrm.training.train --corpus FOLDER --out FOLDER`.

    The file of `--settings` (JSON) holds fields of TrainConfig. Batch sizes are of all processes together.
    """
    from accelerate import Accelerator

    parser = argparse.ArgumentParser(
        prog="relevance.hcmrm.training.train", description="Train HCMRM on a corpus folder."
    )
    parser.add_argument("--corpus", type=Path, required=True, help="a corpus folder (relbid train --export)")
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint goes")
    parser.add_argument("--settings", type=Path, help="fields of TrainConfig, as a JSON object")
    arguments = parser.parse_args()
    on_cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    ranks = Ranks(accelerator := Accelerator(cpu=on_cpu))  # unless told so, processes on a CPU do not meet
    if ranks.count > 1 and ranks.first:
        print(f"{ranks.count} processes", file=sys.stderr, flush=True)

    def report(at: TrainProgress) -> None:
        if at.step % max(1, at.steps // 20) == 0 or at.step == at.steps:
            print(f"{at.stage} {at.step}/{at.steps}: loss {at.loss:.6f}", file=sys.stderr, flush=True)

    try:
        settings = arguments.settings
        given = {} if settings is None else read_json(settings, dict, TrainError)
        config = replace(TrainConfig(), **given)
        data = LabelledCorpus.load(arguments.corpus)
        train(data, arguments.out, config, device=str(accelerator.device), progress=report, ranks=ranks)
    except (ValueError, TypeError, OSError) as error:
        parser.exit(2, f"relevance.hcmrm.training.train: {error}\n")


if __name__ == "__main__":
    main()
