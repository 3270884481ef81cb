"""Training of HCMRM from a labelled corpus: topics of words, frames with words, then the grades.

Stage 1, words: word embeddings such that query and keywords of one topic (grade 1 and up) are close. Seconds;
without it the order of 1 before 0 is found only after thousands of steps. Not in the HCMRM paper.
Stage 2, align: one random frame and the ad's keywords. In-batch contrastive (ITC), masked language modelling
with the frame in sight (MLM), a bag of keywords read off the frame (the last not in the paper), and on some
of the ads, with all of their frames, pseudo-query-video matching (PQVM). No label is used; the visual encoder
gets its shapes and colours.
Stage 3, fine-tune: some ads and several graded queries of each a step, so that an ad's frames are encoded and
its keys and values projected once for all of them; one of the losses of `losses.GRADE_HEADS`; keywords and
frames dropped at random so that neither modality becomes the only one. Early on the pairs are mostly
positive: the order of 3 before 2 takes long to be found.

Every batch is drawn from a generator keyed by (seed, stage, step): a resumed training goes on as if it had
never stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from relevance.annotation import noisy_grades, whole_queries
from relevance.corpus import LabelledCorpus, Labels
from relevance.metrics import RelevanceMetrics, evaluate

from .checkpoint import Checkpoint
from .config import FUSIONS, HCMRMConfig
from .losses import GRADE_HEADS
from .ranks import Ranks
from .scorer import HcmrmScorer
from .state_file import read_state, write_state
from .trainer import FINETUNE, STAGES, TEXT_SIZES, WORDS, InitError, Trainer
from .tree import GradeTree


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Schedule of a training; steps rather than seconds, so that a run can be repeated."""

    seed: int = 0

    stages: tuple[str, ...] = ("words", "align", "finetune")
    """Those that are run; the others are left out, as with no steps."""
    init: str = ""
    """Folder of a checkpoint whose weights, vocabulary and keywords the training starts from. Heads of
    another kind start anew. Sizes are the checkpoint's unless `model` says otherwise."""

    labels: int = 0
    """Labelled training pairs that are used, those of some whole queries; 0: all. Texts and frames of the
    other training ads still serve where no label is needed."""
    label_noise: float = 0.0
    """Share of those labels that are made wrong (see `relevance.annotation`)."""

    text: str = "tfidf"
    """What is read of an ad's text, a name in `relevance.keywords.EXTRACTORS`."""

    word_steps: int = 1500
    word_batch: int = 256
    word_rate: float = 3e-3

    align_steps: int = 1000
    align_batch: int = 128
    align_rate: float = 2e-3
    temperature: float = 0.07
    """Divides the contrast's similarities."""
    learn_temperature: bool = False
    """Learn it from there on, within ALBEF's bounds, 0.001 and 0.5."""
    mask_share: float = 0.2
    """Of the words of an ad that the masked language model has to foretell."""

    itm_weight: float = 0.0
    """Weight of image-text matching with hard negatives (ALBEF); 0 leaves it out."""
    momentum: float = 0.0
    """Decay of the momentum encoders (ALBEF has 0.995), whose embeddings are soft targets of the contrast and
    of the masked words; 0 leaves them out."""
    queue: int = 0
    """Embeddings of the momentum encoders that are kept as further negatives (ALBEF has 65,536)."""
    soft_weight: float = 0.4
    """Share of the soft targets, after `soft_ramp` steps."""
    soft_ramp: int = 200
    pqvm_weight: float = 0.0
    """Weight of pseudo-query-video matching; 0 leaves it out."""
    pqvm_ads: int = 40
    """Of the ads of a step, with two matching and up to two other pseudo-queries each."""
    pqvm_sharpness: float = 10.0
    """Hard negatives are drawn with weights exp(sharpness x cosine of pseudo-query and keywords)."""
    pqvm_word_dropout: float = 0.4
    """Share of the pairs whose pseudo-query's words are taken out of the keywords."""
    pqvm_text_dropout: float = 0.35
    """Share of the pairs without any keywords."""
    pqvm_frame_dropout: float = 0.3
    """Share of the ads without any frames; those keep their keywords. With the words of a pseudo-query taken
    out of them, what is left to learn is which words go together: synonyms."""

    loss: str = "hierarchical"
    """Of the fine-tuning, a name in `losses.GRADE_HEADS`."""
    choose_by: str = "mean_auc"
    """What the kept weights are best in, on the validation split: a name in `CRITERIA`."""
    finetune_steps: int = 3600
    ads_per_step: int = 20
    pairs_per_ad: int = 12
    rate: float = 1e-3
    positive_first: float = 0.1
    """Share of the fine-tuning that is spent on `first_mix`."""
    first_mix: tuple[float, float, float, float] = (0.04, 0.06, 0.45, 0.45)
    mix: tuple[float, float, float, float] = (0.28, 0.28, 0.22, 0.22)
    """Shares of the grades 0..3 among the drawn pairs."""
    keyword_dropout: float = 0.35
    frame_dropout: float = 0.2
    word_weight: float = 0.2
    """Weight of the bag-of-words loss in fine-tuning: the frames of an ad foretell the words of queries
    it is strong for."""

    rehearsal_ads: int = 0
    """Ads, with labels or without, of which a frame foretells their own keywords in each fine-tuning step, as
    heavy as `word_weight`: words that no label names are not to be forgotten."""

    topic_weight: float = 0.3
    """Weight of the word stage's loss in fine-tuning, where it keeps the topics in the embeddings."""

    shuffle_weight: float = 0.0
    """Weight of modality shuffling in fine-tuning (MBVR, arXiv 2204.08182): positive pairs become negative
    ones when their ad shows another ad's frames, or carries its text; 0 leaves it out."""
    shuffle: str = "frames"
    """What is taken from another ad, a name in `SHUFFLES`."""

    warm_up: int = 100
    weight_decay: float = 0.02
    average: float = 0.999
    """Decay of the moving average of the weights, which is what is validated and kept."""
    validate_every: int = 250
    validation_pairs: int = 4000

    bf16: bool = True
    vocab_size: int = 2000
    model: dict[str, Any] = field(default_factory=dict)
    """Differences from the default HCMRMConfig."""


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Reported after every step; `validation` only where there was one."""

    stage: str
    step: int
    steps: int
    loss: float
    validation: RelevanceMetrics | None = None


CRITERIA: Mapping[str, Callable[[RelevanceMetrics], float]] = {
    # Asks for the branch and for the order inside either branch alike.
    # Where nobody gave some grade, what there is counts.
    "mean_auc": lambda metrics: float(np.nanmean((metrics.auc, metrics.auc_3_2, metrics.auc_1_0))),
    # The task itself, an ordered list for each query: no loss of the fine-tuning optimises it.
    "ndcg_10": lambda metrics: metrics.ndcg_10,
}
"""Criteria to choose a checkpoint by, more is better."""

SHUFFLES = ("frames", "text", "both")
"""What modality shuffling takes from another ad; both: either in half of the pairs."""


class TrainError(ValueError):
    """The training cannot start or go on; the message says why and what to do."""


def train(
    data: LabelledCorpus,
    out: Path,
    config: TrainConfig,
    *,
    device: str = "cpu",
    progress: Callable[[TrainProgress], None] = lambda _: None,
    save_every_s: float = 60.0,
    ranks: Ranks | None = None,
) -> Checkpoint:
    """Train a model into the checkpoint `out`; a training that was stopped there goes on where it was.

    Args:
        ranks: the processes that train together; the first one validates, reports and writes.

    Raises:
        TrainError: a setting means nothing; `out` holds the state of a training with other settings; the
            labels lack a split; the weights to start from do not fit.
        CheckpointError: the checkpoint to start from is missing or damaged.
    """
    check_config(config)
    ranks = ranks or Ranks()
    if ranks.count > 1 and (config.loss == "ranknet" or config.align_batch % ranks.count):
        raise TrainError(
            f"{ranks.count} processes: they must divide align_batch, {config.align_batch}, and 'ranknet' "
            "compares all pairs of a batch, so it needs one process"
        )
    train_labels, validation_labels = data.labels.of("train"), data.labels.of("validation")
    reads_grades = {WORDS, FINETUNE} & set(config.stages)
    if reads_grades and not (len(train_labels) and len(validation_labels)):
        raise TrainError("the corpus needs labelled pairs in both the train and the validation split")
    started = time.monotonic()
    if "grade_tree" in config.model:
        tree = GradeTree.of(config.model["grade_tree"])
        foreign = sorted(set(np.unique(data.labels.grade).tolist()) - set(tree.grades))
        if foreign:
            raise TrainError(f"model.grade_tree {tree.branches}: the labels have the grade {foreign[0]}, too")
    try:
        trainer = Trainer(data, train_labels, used_labels(train_labels, config), config, device, ranks)
    except InitError as error:
        raise TrainError(str(error)) from error
    state_file = out / "training-state.safetensors"
    identity = json.dumps([asdict(config), data.corpus.fingerprint()])
    log: list[dict[str, Any]] = []
    best = -math.inf
    spent = 0.0
    if state_file.is_file():
        state = read_state(state_file, device)
        if state["config"] != identity:
            raise TrainError(
                f"{state_file}: belongs to a training with other settings or another corpus; remove it or "
                "choose another folder"
            )
        trainer.load_state(state)
        log, best, spent = json.loads(state["log"]), state["best"], state["spent_s"]
    else:
        out.mkdir(parents=True, exist_ok=True)
    saved = time.monotonic()

    chosen = _validation_subset(validation_labels, config) if FINETUNE in config.stages else validation_labels
    for stage, step, steps, loss in trainer.steps():
        done = stage == FINETUNE and step == steps
        if not ranks.first:
            continue
        validation = None
        if stage == FINETUNE and (step % config.validate_every == 0 or done):
            scorer = HcmrmScorer(
                trainer.checkpoint({}), data.corpus, device=device, tables=trainer.texts.tables
            )
            validation = evaluate(chosen.query, chosen.grade, scorer.score(chosen.query, chosen.ad))
            elapsed = spent + time.monotonic() - started
            log.append(
                {
                    "step": step,
                    "seconds": round(elapsed),
                    **{k: round(v, 5) for k, v in validation.as_dict().items()},
                }
            )
            criterion = CRITERIA[config.choose_by](validation)
            if criterion > best:
                best = criterion
                training = {**asdict(config), "chosen_step": step, "seconds": round(elapsed), "log": log}
                trainer.checkpoint(training).save(out)
        progress(TrainProgress(stage, step, steps, loss, validation))
        if validation is not None or time.monotonic() - saved > save_every_s:
            saved = time.monotonic()
            state = {
                **trainer.state(),
                "config": identity,
                "log": json.dumps(log),
                "best": best,
                "spent_s": spent + saved - started,
            }
            write_state(state_file, state)
    if FINETUNE not in config.stages and ranks.first:
        # Nothing was validated: what there is at the end is kept.
        spent += time.monotonic() - started
        record = {**asdict(config), "chosen_step": trainer.step, "seconds": round(spent), "log": log}
        trainer.checkpoint(record).save(out)
    ranks.wait()
    return Checkpoint.load(out)


def check_config(config: TrainConfig) -> None:
    """Refuse names that nobody knows and numbers that mean nothing.

    Raises:
        TrainError: names the setting, its value and what it may be.
    """
    names: dict[str, Collection[str]] = {
        "loss": GRADE_HEADS,
        "choose_by": CRITERIA,
        "shuffle": SHUFFLES,
        "text": TEXT_SIZES,
    }
    for name, known in names.items():
        if getattr(config, name) not in known:
            raise TrainError(f"{name} '{getattr(config, name)}': there is no such; take {', '.join(known)}")
    shape = HCMRMConfig(**{**TEXT_SIZES[config.text], **config.model})
    if shape.fusion not in FUSIONS:
        raise TrainError(f"model.fusion '{shape.fusion}': there is no such; take {', '.join(FUSIONS)}")
    try:
        GradeTree.of(shape.grade_tree)
    except ValueError as error:
        raise TrainError(f"model.grade_tree: {error}") from error
    positions = shape.text_tokens + 19  # a query of 16 tokens and three special ones
    if positions > shape.max_positions:
        raise TrainError(f"model.text_tokens {shape.text_tokens}: needs model.max_positions {positions}")
    unknown = [stage for stage in config.stages if stage not in STAGES]
    if unknown or not config.stages:
        raise TrainError(f"stages {', '.join(unknown) or '(none)'}: take some of {', '.join(STAGES)}")
    if not 0.001 <= config.temperature <= 0.5:
        raise TrainError(f"temperature {config.temperature}: must lie in [0.001, 0.5]")
    if config.labels < 0:
        raise TrainError(f"labels {config.labels}: must be a number of pairs, or 0 for all")
    if not 0.0 <= config.label_noise <= 1.0:
        raise TrainError(f"label_noise {config.label_noise}: must be a share in [0, 1]")
    if config.shuffle_weight and config.loss == "ranknet":
        raise TrainError("shuffle_weight: the loss 'ranknet' knows no negative pairs; take another loss")


def used_labels(labels: Labels, config: TrainConfig) -> Labels:
    """The training labels that a training uses, with the mistakes that it is told to make in them.

    Raises:
        TrainError: labels cannot be wrong, since they are all equal.
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
    return labels


def _validation_subset(labels: Labels, config: TrainConfig) -> Labels:
    """The pairs of some whole queries, so that metrics within a query keep their meaning."""
    queries = np.random.default_rng((config.seed, 99)).permutation(np.unique(labels.query))
    per_query = len(labels) / len(queries)
    kept = np.isin(labels.query, queries[: max(1, round(config.validation_pairs / per_query))])
    return Labels(labels.query[kept], labels.ad[kept], labels.grade[kept], labels.split[kept])


def main() -> None:
    """`accelerate launch -m relevance.hcmrm.train --corpus FOLDER --out FOLDER [--settings FILE.json]`.

    The settings file holds fields of TrainConfig. Batch sizes are of all processes together.
    """
    from accelerate import Accelerator

    parser = argparse.ArgumentParser(
        prog="relevance.hcmrm.train", description="Train HCMRM on a corpus folder."
    )
    parser.add_argument("--corpus", type=Path, required=True, help="a corpus folder (relbid train --export)")
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint goes")
    parser.add_argument("--settings", type=Path, help="fields of TrainConfig, as a JSON object")
    arguments = parser.parse_args()
    accelerator = Accelerator()
    ranks = Ranks(accelerator)

    def report(at: TrainProgress) -> None:
        if at.step % max(1, at.steps // 20) == 0 or at.step == at.steps:
            print(f"{at.stage} {at.step}/{at.steps}: loss {at.loss:.6f}", file=sys.stderr, flush=True)

    try:
        given = (
            {} if arguments.settings is None else json.loads(arguments.settings.read_text(encoding="utf-8"))
        )
        config = replace(TrainConfig(), **given)
        data = LabelledCorpus.load(arguments.corpus)
        train(data, arguments.out, config, device=str(accelerator.device), progress=report, ranks=ranks)
    except (ValueError, TypeError, OSError) as error:
        parser.exit(2, f"relevance.hcmrm.train: {error}\n")


if __name__ == "__main__":
    main()
