"""Settings of a training, in one place, and what they may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from relevance.errors import TrainError as TrainError, quoted
from relevance.hcmrm.model_config import HCMRMConfig, check_sizes
from relevance.hcmrm.training.losses import GRADE_HEADS
from relevance.hcmrm.tree import GradeTree
from relevance.metrics import RelevanceMetrics
from relevance.ranges import Share, check_ranges

STAGES = WORDS, ALIGN, FINETUNE = "words", "align", "finetune"
TEXT_SIZES: Mapping[str, Mapping[str, int]] = {
    "tfidf": {},
    "plain": {},
    "characters": {},
    "jieba": {},
    "raw": {"text_tokens": 96, "max_positions": 128},
}
"""Ways to read an ad's text, `relevance.keywords.EXTRACTORS`, and the sizes that they need."""

CRITERIA: Mapping[str, Callable[[RelevanceMetrics], float]] = {
    # The branch and the order inside either branch count alike; an AUC of a missing grade is left out.
    "mean_auc": lambda metrics: float(np.nanmean((metrics.auc, metrics.auc_3_2, metrics.auc_1_0))),
    # Positive against negative alone: a criterion that reads no more than binary labels.
    "auc": lambda metrics: metrics.auc,
    # The task itself, an ordered list for each query; no loss of the fine-tuning optimises it directly.
    "ndcg_10": lambda metrics: metrics.ndcg_10,
    # For few labels, of which grades 1 and 2 have too few for AUCs of their own.
    "auc_ndcg": lambda metrics: (metrics.auc + metrics.ndcg_10) / 2,
}
"""Criteria to choose a checkpoint by, more is better."""

AUXILIARIES = GRADES, BRANCHES = "grades", "branches"
"""Grades, or positive and negative alone. A training with the loss `bce` reads branches in any case."""

PARTS = ("text_encoder", "visual_encoder", "fusion_layers")
"""Parts of a model that can be frozen, by the names of its modules."""

SHUFFLES = ("frames", "text", "both")
"""What modality shuffling takes from another ad; both: one of the two, at random."""


Count: TypeAlias = Annotated[int, Ge(0), Le(10**9)]
Steps: TypeAlias = Annotated[int, Ge(0), Le(10**8)]
Batch: TypeAlias = Annotated[int, Ge(1), Le(10**5)]
Rate: TypeAlias = Annotated[float, Ge(0), Le(10)]
"""A learning rate."""
Weight: TypeAlias = Annotated[float, Ge(0), Le(1e4)]
"""Of a loss."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Schedule of a training; steps rather than seconds, so that a run can be repeated."""

    seed: Annotated[int, Ge(0), Lt(2**63)] = 0

    stages: tuple[str, ...] = ("words", "align", "finetune")
    """The stages to run."""
    init: str = ""
    """Folder of a checkpoint whose weights, vocabulary and keywords the training starts from. Heads of
    another kind start anew. Sizes are the checkpoint's unless `model` sets them."""

    labels: Count = 0
    """Labelled training pairs to use, all pairs of some queries; 0: all. Texts and frames of the other
    training ads are still used where no label is needed."""
    label_noise: Share = 0.0
    """Share of those labels that are made wrong (see `relevance.annotation`)."""
    branch_noise: Share = 0.0
    """Share of those labels that get the other grade of their branch."""
    middle_labels: Share = 1.0
    """Share of the labels of grades 1 and 2 to use; those of 0 and 3 are all used."""
    unlabelled: Share = 1.0
    """Share of the ads without labels that pre-training reads; a smaller share is part of a larger one."""

    frozen: tuple[str, ...] = ()
    """Parts of the model that no stage changes, such as text_encoder."""
    head_rate: Annotated[float, Gt(0), Le(1e6)] = 1.0
    """Times `rate` and `align_rate` for the weights that no public model has: heads, and cross-attention."""

    text: str = "tfidf"
    """What is read of an ad's text, a name in `relevance.keywords.EXTRACTORS`."""

    word_steps: Steps = 1500
    word_batch: Batch = 256
    word_rate: Rate = 3e-3

    align_steps: Steps = 1000
    align_batch: Batch = 128
    align_rate: Rate = 2e-3
    temperature: Annotated[float, Ge(0.001), Le(0.5)] = 0.07
    """Divides the contrast's similarities."""
    learn_temperature: bool = False
    """Learn the temperature from that value on, within ALBEF's bounds, 0.001 and 0.5."""
    mask_share: Share = 0.2
    """Share of an ad's words that the masked language model has to predict."""

    read_off_weight: Weight = 1.0
    """Weight of the bag of words that is read off a frame; 0 leaves it out. Not in the paper."""
    itm_weight: Weight = 0.0
    """Weight of image-text matching with hard negatives (ALBEF); 0 leaves it out."""
    momentum: Share = 0.0
    """Decay of the momentum encoders (0.995 in ALBEF), whose embeddings are soft targets of the contrast and
    of the masked words; 0 leaves them out."""
    queue: Annotated[int, Ge(0), Le(10**7)] = 0
    """Embeddings of the momentum encoders to keep as further negatives (65,536 in ALBEF)."""
    soft_weight: Share = 0.4
    """Share of the soft targets, after `soft_ramp` steps."""
    soft_ramp: Steps = 200
    pqvm_weight: Weight = 0.0
    """Weight of pseudo-query-video matching; 0 leaves it out."""
    pqvm_common: Share = 0.03
    """Words in at least this share of the ads are in no pseudo-query."""
    pqvm_ads: Batch = 40
    """Ads of a step that take part, with two matching and up to two other pseudo-queries each."""
    pqvm_sharpness: Annotated[float, Ge(0), Le(500)] = 10.0
    """Hard negatives are drawn with weights exp(sharpness x cosine of pseudo-query and keywords)."""
    pqvm_word_dropout: Share = 0.4
    """Share of the pairs in which the pseudo-query's words are removed from the keywords."""
    pqvm_text_dropout: Share = 0.35
    """Share of the pairs without any keywords."""
    pqvm_frame_dropout: Share = 0.3
    """Share of the ads whose frames are hidden; they keep their keywords. If the words of a pseudo-query are
    removed from those, the pair teaches which words go together: synonyms."""

    loss: str = "hierarchical"
    """Loss of the fine-tuning, a name in `losses.GRADE_HEADS`."""
    auxiliary: str = "grades"
    """What the draws of pairs and the losses beside that one read of a label: a name in `AUXILIARIES`."""
    choose_by: str = "mean_auc"
    """The weights that are best in this on the validation split are kept: a name in `CRITERIA`."""
    finetune_steps: Steps = 3600
    """0: pre-training alone, or the prior alone."""
    ads_per_step: Batch = 20
    pairs_per_ad: Batch = 12
    rate: Rate = 1e-3
    positive_first: Share = 0.1
    """Share of the fine-tuning steps that draw `first_mix`."""
    first_mix: tuple[Share, Share, Share, Share] = (0.04, 0.06, 0.45, 0.45)
    mix: tuple[Share, Share, Share, Share] = (0.28, 0.28, 0.22, 0.22)
    """Shares of the grades 0..3 among the drawn pairs; of branches, the sums of two and two."""
    keyword_dropout: Share = 0.35
    frame_dropout: Share = 0.2
    word_dropout: Share = 0.0
    """Share of the pairs in which half of the words, the same in query and keywords, are hidden and only
    their markers are read. The model then also learns to grade pairs with words that no label names."""
    word_weight: Weight = 0.2
    """Weight of the bag-of-words loss in fine-tuning: the frames of an ad predict the words of the queries
    that grade it 3, or are positive where `auxiliary` reads branches."""

    rehearsal_ads: Annotated[int, Ge(0), Le(10**5)] = 0
    """Ads, with or without labels, of which a frame predicts their own keywords in each fine-tuning step,
    with weight `word_weight`, so that words that no label names are not forgotten."""
    rehearsal_hidden: Share = 0.0
    """Share of those ads whose frames are hidden, so that the model does not forget how often words occur,
    with which frame markers compare."""

    topic_weight: Weight = 0.3
    """Weight of the word stage's loss in fine-tuning; it keeps the topics in the embeddings."""

    shuffle_weight: Weight = 0.0
    """Weight of modality shuffling in fine-tuning (MBVR, arXiv 2204.08182): a positive pair becomes a
    negative one if its ad gets the frames or the text of another ad; 0 leaves it out."""
    shuffle: str = "frames"
    """What an ad gets from another ad, a name in `SHUFFLES`."""

    warm_up: Steps = 100
    weight_decay: Annotated[float, Ge(0), Le(10)] = 0.02
    average: Annotated[float, Ge(0), Lt(1)] = 0.999
    """Decay of the moving average of the weights, which is validated and kept."""
    validate_every: Annotated[int, Ge(1), Le(10**8)] = 250
    validation_pairs: Annotated[int, Ge(1), Le(10**9)] = 4000
    patience: Count = 0
    """Early stopping: the weights that fine-tuning starts with are validated, too, and it ends after so many
    validations in a row without a better one; 0: it does all of its steps."""

    bf16: bool = True
    """Matrix products in bfloat16 where the device has instructions for it; the record says if it had."""
    vocab_size: Annotated[int, Ge(20), Le(10**6)] = 2000
    model: dict[str, Any] = field(default_factory=dict)
    """Differences from the default HCMRMConfig."""

    @property
    def reads_branches(self) -> bool:
        """Whether no part of the training tells the grades of a branch apart, but for a graded loss."""
        return self.auxiliary == BRANCHES or self.loss == "bce"


PUBLIC: Mapping[str, Any] = {
    "stages": (ALIGN, FINETUNE),
    "frozen": ("text_encoder",),
    "head_rate": 20.0,
    "align_steps": 150,
    "align_batch": 24,
    "align_rate": 1e-4,
    "mask_share": 0.15,
    "pqvm_weight": 1.0,
    "pqvm_common": 0.2,
    "pqvm_ads": 12,
    "choose_by": "auc_ndcg",
    "finetune_steps": 64,
    "ads_per_step": 26,
    "pairs_per_ad": 4,
    "rate": 1e-4,
    "positive_first": 0.0,
    "keyword_dropout": 0.0,
    "word_weight": 0.0,
    "topic_weight": 0.0,
    "warm_up": 10,
    "validate_every": 16,
    "patience": 2,
}
"""Differences from the default settings for a training that starts from public weights: few steps, low rates
and early stopping, so that it keeps what they know. The text encoder is frozen."""


def check_shape(shape: HCMRMConfig) -> None:
    """Refuse sizes that do not fit one model, and texts that are longer than the positions that it has.

    Raises:
        TrainError: names the sizes.
    """
    if wrong := shape.misfit():
        raise TrainError(f"model: {wrong}")
    types = 4 if shape.match_markers else 2
    if shape.token_types < types:
        raise TrainError(f"model.token_types {shape.token_types}: needs {types} (match_markers)")
    if shape.frame_tokens is not None and math.isqrt(shape.frame_tokens) ** 2 != shape.frame_tokens:
        raise TrainError(f"model.frame_tokens {shape.frame_tokens}: must be a square number, such as 4 or 9")
    positions = shape.text_tokens + 19  # a query of 16 tokens and three special ones
    if positions > shape.max_positions:
        raise TrainError(f"model.text_tokens {shape.text_tokens}: needs model.max_positions {positions}")


def check_config(config: TrainConfig) -> None:
    """Refuse unknown names and impossible numbers.

    Raises:
        TrainError: names the setting, its value and what it may be.
    """
    try:
        check_ranges(config)
    except ValueError as error:
        raise TrainError(str(error)) from None
    names: dict[str, Collection[str]] = {
        "loss": GRADE_HEADS,
        "auxiliary": AUXILIARIES,
        "choose_by": CRITERIA,
        "shuffle": SHUFFLES,
        "text": TEXT_SIZES,
    }
    for name, known in names.items():
        if getattr(config, name) not in known:
            given = quoted(getattr(config, name))
            raise TrainError(f"{name} {given}: there is no such; take {', '.join(known)}")
    check_sizes(config.model)
    shape = HCMRMConfig(**{**TEXT_SIZES[config.text], **config.model})
    try:
        GradeTree.of(shape.grade_tree)
    except ValueError as error:
        raise TrainError(f"model.grade_tree: {error}") from error
    if not config.init:  # else the trainer checks it, with the checkpoint's sizes
        check_shape(shape)
    unknown = [stage for stage in config.stages if stage not in STAGES]
    if unknown or not config.stages:
        raise TrainError(f"stages {', '.join(unknown) or '(none)'}: take some of {', '.join(STAGES)}")
    unknown = sorted({*config.frozen} - {*PARTS})
    if unknown:
        raise TrainError(f"frozen '{unknown[0]}': there is no such part; take some of {', '.join(PARTS)}")
    for name in ("first_mix", "mix"):
        if not sum(getattr(config, name)) > 0:
            raise TrainError("needs a share above 0", field=name)
    if config.word_dropout and shape.fusion == "two_tower":
        raise TrainError("word_dropout: two towers read no pair as one text; take model.fusion 'early'")
    if config.itm_weight and config.model.get("match_head") is False:
        raise TrainError("model.match_head: must be true, or left out, where itm_weight is above 0")
    if config.shuffle_weight and config.loss == "ranknet":
        raise TrainError("shuffle_weight: the loss 'ranknet' knows no negative pairs; take another loss")
