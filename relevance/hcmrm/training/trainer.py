"""The stages of a training as one stream of steps; train.py says what each stage is for."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from relevance.arrays import BoolArray, FloatArray, FrameArray, IntArray
from relevance.corpus import Corpus, LabelledCorpus, Labels
from relevance.errors import CheckpointError
from relevance.hcmrm.checkpoint import Checkpoint
from relevance.hcmrm.model import HCMRM, Known, TextBatch
from relevance.hcmrm.model_config import SIZES, HCMRMConfig
from relevance.hcmrm.scorer import HcmrmScorer
from relevance.hcmrm.text_batch import parts_by_length
from relevance.hcmrm.training.frozen_pairs import AT_ONCE, FrozenPairs, score_frozen
from relevance.hcmrm.training.losses import clamp_temperature, shuffled_loss
from relevance.hcmrm.training.pretraining import Pretraining, TrainingTexts, autocast
from relevance.hcmrm.training.ranks import Ranks
from relevance.hcmrm.training.train_config import (
    ALIGN,
    FINETUNE,
    PARTS,
    TEXT_SIZES,
    WORDS,
    TrainConfig,
    TrainError,
    check_shape,
)
from relevance.hcmrm.tree import FOUR_GRADES, GradeTree


class Trainer:
    """Model, optimiser and moving average, and the stages as one stream of steps."""

    def __init__(
        self,
        data: LabelledCorpus,
        pool: Labels,
        labels: Labels,
        config: TrainConfig,
        device: str,
        ranks: Ranks | None = None,
        kept: FrozenPairs | None = None,
        texts: TrainingTexts | None = None,
    ) -> None:
        """Nothing is trained yet.

        Args:
            pool: all training pairs, whose texts may be read.
            labels: those whose grades are used.
            kept: what a frozen text encoder said of pairs of this corpus in other trainings.
            texts: those of another training that reads the same ones alike; None: they are read here.
        """
        self.config, self.device, self.ranks = config, torch.device(device), ranks or Ranks()
        tree = GradeTree.for_grades(np.unique(pool.grade).tolist())
        known = {} if tree == FOUR_GRADES else {"grade_tree": tree.branches}
        try:
            start = Checkpoint.load(Path(config.init)) if config.init else None
        except CheckpointError as error:
            raise error.but(field="init") from error
        sizes = {**(_sizes_of(start.model) if start else TEXT_SIZES[config.text]), **known, **config.model}
        shape = HCMRMConfig(**sizes)
        check_shape(shape)
        n_frames, edge = data.corpus.frames.shape[1:3]
        if (
            not start
            and shape.use_frames
            and shape.backbone == "vit"
            and n_frames
            and edge != shape.image_size
        ):
            reason = f"must be {edge}, as the corpus's frames have"
            raise TrainError(reason, field="model.image_size", value=str(shape.image_size))
        # The first frames, if an ad has more than the model reads.
        self.frames = data.corpus.frames[:, : shape.n_frames]
        self.groups = PairsByAd(labels, branches=config.reads_branches)
        self.texts = texts or texts_of(data, config, start)
        if ALIGN in config.stages and config.align_steps and config.align_batch > len(self.texts.ads):
            most = f"must be at most {len(self.texts.ads)}, the ads that take part in pre-training"
            raise TrainError(most, field="align_batch", value=str(config.align_batch))

        torch.manual_seed(config.seed)
        tokens = len(self.texts.tokenizer)
        if (given := config.model.get("vocab_size", tokens)) != tokens:
            raise TrainError(f"model.vocab_size {given}: the vocabulary has {tokens} tokens; leave it out")
        sizes = {"vocab_size": tokens, **sizes}
        albef = config.itm_weight > 0.0 or config.learn_temperature
        self.model = _new_model(sizes, grade_head=config.loss, match_head=albef)
        if self.model.temperature is not None:
            nn.init.constant_(self.model.temperature, config.temperature)
        if start is not None:
            _check_fit(start, self.texts, self.frames, config.init)
            _start_from(self.model, start.model, config.init)
        for part in config.frozen:
            getattr(self.model, part).requires_grad_(False)
        self.model.to(self.device)  # type: ignore[arg-type]
        self.pretraining = Pretraining(self.model, self.texts, self.frames, config, self.ranks)
        self.kept = (
            (kept or FrozenPairs(self.texts.tables)) if _reads_once(self.model.config, config) else None
        )
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self._place = self.pretraining.place
        self.stage, self.step = WORDS, 0
        self.optimizer = self._optimizer(config.word_rate)

    def steps(self) -> Iterator[tuple[str, int, int, float]]:
        """(stage, step just done, steps of the stage, loss), until all stages are done.

        With early stopping, step 0 of the fine-tuning comes before its first step, with the loss 0.
        """
        c = self.config
        plan = (
            (WORDS, c.word_steps, c.word_rate, self._word_loss),
            (ALIGN, c.align_steps, c.align_rate, self._align_loss),
            (FINETUNE, c.finetune_steps, c.rate, self._grade_loss),
        )
        reached = [stage for stage, *_ in plan].index(self.stage)
        for number, (stage, steps, rate, loss_of) in enumerate(plan):
            if number < reached or stage not in c.stages:
                continue  # done before the stop, or not asked for
            if self.stage != stage:
                self.stage, self.step = stage, 0
                if stage == FINETUNE:
                    self._fit_prior()
                self.optimizer = self._optimizer(rate)
                if stage == FINETUNE and c.patience:
                    yield stage, 0, steps, 0.0
            while self.step < steps:
                rng = np.random.default_rng((c.seed, number, self.step))
                torch.manual_seed(int(rng.integers(2**62)))
                for group in self.optimizer.param_groups:
                    group["lr"] = rate * group.get("scale", 1.0) * _schedule(self.step, steps, c.warm_up)
                self.model.train()
                self.optimizer.zero_grad(set_to_none=True)
                loss = loss_of(rng)
                loss.backward()
                self.ranks.sum_gradients(self._parameters())
                torch.nn.utils.clip_grad_norm_(self._parameters(), 1.0)
                self.optimizer.step()
                if c.learn_temperature and self.model.temperature is not None:
                    clamp_temperature(self.model.temperature)
                self.step += 1
                self._update_average()
                yield stage, self.step, steps, float(self.ranks.summed(loss))

    def checkpoint(self, training: dict[str, Any]) -> Checkpoint:
        """A checkpoint of the moving average, with what it needs to read texts."""
        model = copy.deepcopy(self.model).cpu()
        weights = {**self.model.state_dict(), **self.average}
        model.load_state_dict({name: value.cpu() for name, value in weights.items()}, strict=True)
        return Checkpoint(model.eval(), self.texts.tokenizer, self.texts.keywords, training)  # type: ignore[no-untyped-call]

    def score(self, labels: Labels, corpus: Corpus) -> FloatArray:
        """Ranking scores of pairs [P] by the moving average."""
        checkpoint = self.checkpoint({})
        if self.kept is not None and not self.model.config.use_frames:
            return score_frozen(checkpoint.model, self.kept, labels.query, labels.ad)
        scorer = HcmrmScorer(checkpoint, corpus, device=str(self.device), tables=self.texts.tables)
        return scorer.score(labels.query, labels.ad)

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "pretraining": self.pretraining.state(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "stage": self.stage,
            "step": self.step,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.stage, self.step = state["stage"], state["step"]
        self.optimizer = self._optimizer(self.config.rate)  # its rates are set at every step
        self.model.load_state_dict(state["model"])
        self.pretraining.load_state(state["pretraining"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]

    def _fit_prior(self) -> None:
        """Weigh the prior's numbers by some of the labels, while nothing else of the model ranks yet."""
        prior = self.model.prior
        if prior is None or self.model.grade_head.weight.any():
            return
        self.model.train(False)  # until the next step
        labels = self.groups.labels
        rng = np.random.default_rng((self.config.seed, FITTED))
        chosen = np.sort(rng.permutation(len(labels))[:FITTED])
        kept, read = self.kept or FrozenPairs(self.texts.tables), []
        for start in range(0, len(chosen), AT_ONCE):
            rows = chosen[start : start + AT_ONCE]
            read.append(kept.of(self.model, labels.query[rows], labels.ad[rows])[1].numbers)
        numbers = self._place(torch.cat([part for part in read if part is not None]))
        grade = self._place(labels.grade[chosen])
        prior.fit(numbers, lambda logits: self.model.grades.loss(logits, grade))
        for name, parameter in prior.head.named_parameters():
            self.average[f"prior.head.{name}"].copy_(parameter.detach())

    def _word_loss(self, rng: np.random.Generator) -> Tensor:
        labels = self.groups.labels
        pair = rng.integers(0, len(labels), self.config.word_batch)
        pair = pair[self.ranks.mine(len(pair))]
        share = self.ranks.share(len(pair))
        return share * self._topic_loss(labels.query[pair], labels.ad[pair], labels.grade[pair])

    def _topic_loss(self, query: IntArray, ad: IntArray, grade: IntArray) -> Tensor:
        query_ids, keyword_ids = self.texts.tables.query[query], self.texts.tables.keywords[ad]
        logits = self.model.topic_logits(self._place(query_ids), self._place(keyword_ids))
        least = 2 if self.config.reads_branches else 1
        return functional.binary_cross_entropy_with_logits(logits, self._place(grade >= least).float())

    def _align_loss(self, rng: np.random.Generator) -> Tensor:
        return self.pretraining.loss(self.step, rng)

    def _grade_loss(self, rng: np.random.Generator) -> Tensor:
        c = self.config
        n_ads = min(c.ads_per_step, len(self.groups.ads))  # few labels may name fewer
        ads = np.sort(rng.choice(self.groups.ads, n_ads, replace=False))
        early = self.step < c.positive_first * c.finetune_steps
        row, pair = self.groups.draw(ads, c.pairs_per_ad, np.array(c.first_mix if early else c.mix), rng)
        query, grade = self.groups.labels.query[pair], self.groups.labels.grade[pair]

        hidden_frames = rng.random(len(ads)) < c.frame_dropout
        hidden_words = (rng.random(len(pair)) < c.keyword_dropout) & ~hidden_frames[row]
        if not self.model.config.use_frames:
            hidden_words[:] = False
        if not self.model.config.use_keywords:
            hidden_words[:] = True
            hidden_frames[:] = False
        half = _draw_halves(len(pair), c.word_dropout, rng) if c.word_dropout else None
        own = self.ranks.mine(len(ads))
        ads, hidden_frames = ads[own], hidden_frames[own]
        kept = (row >= own.start) & (row < own.stop)
        query, grade, hidden_words, row = query[kept], grade[kept], hidden_words[kept], row[kept] - own.start
        share = self.ranks.share(len(row))
        frames = self._place(self.frames[ads])
        markers = self.model.config.match_markers
        known = None
        if self.kept is not None:
            text, known = self.kept.of(self.model, query, ads[row])
            known = Known(*(part if part is None else self._place(part) for part in known))
        else:
            text = self.texts.tables.pairs(query, ads[row], markers=markers, without_keywords=hidden_words)
        hidden = None if half is None else self._place(self._hidden_tokens(text, half[kept]))
        with autocast(self.device, c.bf16):
            visual = self.model.visual_tokens(frames, self._place(hidden_frames))
            logits = self._logits(text.each(self._place), visual, self._place(row), known, hidden)
        loss = self.model.grades.loss(logits, self._place(grade))
        if c.shuffle_weight:
            whole = ~hidden_words & ~hidden_frames[row] & (grade >= 2)
            loss = loss + c.shuffle_weight * self._shuffled_loss(query[whole], row[whole], ads, visual, rng)
        if c.topic_weight:
            loss = loss + c.topic_weight * self._topic_loss(query, ads[row], grade)
        loss = loss * share
        if c.word_weight and self.model.config.use_frames:
            bag = torch.zeros(len(ads), len(self.texts.tokenizer), device=self.device)
            strong = grade >= (2 if c.reads_branches else 3)
            tokens = self._place(self.texts.tables.query[query[strong]])
            bag[self._place(row[strong])[:, None].expand_as(tokens), tokens] = 1.0
            bag[:, self.texts.tokenizer.all_special_ids] = 0.0
            loss = loss + c.word_weight * self.pretraining.read_off_loss(visual, bag)
            if c.rehearsal_ads:
                loss = loss + c.word_weight * self.pretraining.rehearsal_loss(c.rehearsal_ads, rng)
        return loss

    def _logits(
        self, text: TextBatch, visual: Tensor, row: Tensor, known: Known | None, hidden: Tensor | None
    ) -> Tensor:
        """Logits of the pairs of a step. On a processor short and long ones apart, to compute less padding.

        Args: as of `HCMRM.fuse`.
        """
        whole = self.device.type != "cpu" or known is not None or hidden is not None or len(row) < 2
        if whole:
            return self.model(text, visual, row, known, hidden=hidden)
        parts = parts_by_length(text, 2)
        logits = torch.cat([self.model(part, visual, row[rows]) for rows, part in parts])
        return logits[torch.cat([rows for rows, _ in parts]).argsort()]

    def _hidden_tokens(self, text: TextBatch, half: NDArray[np.uint64]) -> BoolArray:
        """The tokens, bool [P, N], that are in the hidden half of the words of their pair."""
        ids = text.input_ids.numpy()
        return _in_half(ids, half) & ~np.isin(ids, self.texts.tokenizer.all_special_ids)

    def _shuffled_loss(
        self, query: IntArray, row: IntArray, ads: IntArray, visual: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Modality shuffling of P positive pairs; `row` is the place of each pair's ad among `ads`.

        The other ad is one of the same step that shares no informative keyword with the pair's own. Zero
        where no pair has such an ad.
        """
        bag = self.texts.bags(ads)
        other, kept = _draw_others(((bag @ bag.T) > 0).numpy(), row, rng)
        swap_text = rng.random(len(row)) < {"frames": 0.0, "text": 1.0, "both": 0.5}[self.config.shuffle]
        if not kept.any():
            return torch.zeros((), device=self.device)
        told, shown = np.where(swap_text, other, row)[kept], np.where(swap_text, row, other)[kept]
        markers = self.model.config.match_markers
        text = self.texts.tables.pairs(query[kept], ads[told], markers=markers)
        with autocast(self.device, self.config.bf16):
            logits = self.model(text.each(self._place), visual, self._place(shown))
        return shuffled_loss(logits, self.model.grades)

    def _parameters(self) -> list[nn.Parameter]:
        return [*self.model.parameters(), *self.pretraining.pqvm_head.parameters()]

    def _optimizer(self, rate: float) -> torch.optim.AdamW:
        c, model = self.config, self.model
        named = [(p, not _is_public(name)) for name, p in model.named_parameters() if p.requires_grad]
        named += [(p, True) for p in self.pretraining.pqvm_head.parameters()]
        groups = [
            {
                "params": [p for p, new in named if new in head and (p.ndim >= 2) == matrices],
                "weight_decay": c.weight_decay if matrices else 0.0,
                "scale": c.head_rate if True in head else 1.0,
            }
            for head in ([{True, False}] if c.head_rate == 1.0 else [{False}, {True}])
            for matrices in (True, False)
        ]
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))

    def _update_average(self) -> None:
        # Early on the average follows fast, so that it does not remember the random start.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        moving = [(name, value) for name, value in self.model.named_parameters() if value.requires_grad]
        with torch.no_grad():  # all at once: on a GPU, each call costs as much as its work
            torch._foreach_lerp_(
                [self.average[name] for name, _ in moving], [value for _, value in moving], 1.0 - decay
            )


def texts_of(data: LabelledCorpus, config: TrainConfig, start: Checkpoint | None = None) -> TrainingTexts:
    """The texts of a corpus as a training reads them; labels, losses and steps do not change them.

    Args:
        start: the checkpoint that the training starts from, whose vocabulary is taken over.
    """
    sizes = {**(_sizes_of(start.model) if start else TEXT_SIZES[config.text]), **config.model}
    return TrainingTexts.build(
        data.corpus,
        data.pretraining_ads(config.unlabelled, np.random.default_rng((config.seed, 94))),
        np.unique(data.labels.of("train").query),
        config.vocab_size,
        extractor=config.text,
        text_tokens=HCMRMConfig(**sizes).text_tokens,
        known=start,
        common=config.pqvm_common,
    )


def _new_model(sizes: Mapping[str, Any], **heads: Any) -> HCMRM:
    """A model with these heads, and otherwise the default random start: arms start from equal encoders."""
    default = HCMRM(HCMRMConfig(**sizes))
    if all(getattr(default.config, name) == value for name, value in heads.items()):
        return default
    model = HCMRM(HCMRMConfig(**{**heads, **sizes}))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    equal = {name: value for name, value in default.state_dict().items() if value.shape == shapes.get(name)}
    model.load_state_dict(equal, strict=False)
    return model


FITTED = 4000
"""The most labelled pairs that decide how the prior's numbers are weighed at the start."""


def _reads_once(sizes: HCMRMConfig, config: TrainConfig) -> bool:
    """Whether the text encoder gives the same for a pair in every step of the fine-tuning."""
    changing = config.keyword_dropout or config.word_dropout or sizes.frame_markers or sizes.word_markers
    fits = sizes.use_keywords and not sizes.match_markers and sizes.fusion == "early"
    return "text_encoder" in config.frozen and not changing and fits


def _is_public(name: str) -> bool:
    """Whether a weight may come from a public model: those of its layers, without cross-attention."""
    return name.startswith(PARTS) and ".cross" not in name and ".markers." not in name


NEW_HEADS = ("grade_head.", "match_head.", "temperature", "ad_projection.", "prior.")
"""Parts of a model that start anew if the checkpoint lacks them or has others."""


def _sizes_of(model: HCMRM) -> dict[str, Any]:
    """All sizes and switches of a model, except its heads."""
    names = sorted({*SIZES} - {"grade_head", "match_head"})
    return {name: getattr(model.config, name) for name in names}


def _check_fit(start: Checkpoint, texts: TrainingTexts, frames: FrameArray, folder: str) -> None:
    """Whether a checkpoint can read the corpus at all.

    Raises:
        TrainError: its frames are of another shape, or its vocabulary is of another language.
    """
    shape, edge = start.model.config, frames.shape[2]
    if shape.use_frames and frames.shape[1] and edge != shape.image_size:
        raise TrainError(f"{folder}: reads frames of {shape.image_size} pixels, the corpus has {edge}")
    tokens = texts.tables.keywords[texts.ads]
    unknown = (tokens == texts.tokenizer.unk_token_id).sum() / max(1, (tokens != 0).sum())
    if unknown > 0.5:
        raise TrainError(
            f"{folder}: its vocabulary does not know {unknown:.0%} of the tokens of this corpus; "
            "start from a checkpoint of such texts, or without --init"
        )


def _start_from(model: HCMRM, start: HCMRM, folder: str) -> None:
    """Copy the weights of `start`; NEW_HEADS that it lacks or that are of another kind stay as they are.

    Raises:
        TrainError: a tensor has no counterpart of its shape.
    """
    if model.config.prior_layers not in (0, start.config.prior_layers):
        raise TrainError(
            f"model.prior_layers {model.config.prior_layers}: {folder} has {start.config.prior_layers}; "
            "take as many, or 0 for none"
        )
    kind = ("grade_head", "grade_tree", "fusion")
    alike = all(getattr(model.config, name) == getattr(start.config, name) for name in kind)
    if model.prior is not None and not alike:
        nn.init.zeros_(model.grade_head.weight)  # the prior ranks alone until the training
        nn.init.zeros_(model.grade_head.bias)
    own, given = model.state_dict(), start.state_dict()
    for name in sorted(own.keys() | given.keys()):
        there, here = (tuple(x[name].shape) if name in x else "missing" for x in (given, own))
        new = name.startswith(NEW_HEADS)
        if there == here and (alike or not name.startswith(("grade_head.", "prior.head."))):
            own[name].copy_(given[name])
        elif not new:
            raise TrainError(
                f"{folder}: '{name}' is {there} in the checkpoint and {here} in this training; leave its "
                "sizes as they are, or start from another checkpoint"
            )


class PairsByAd:
    """Labelled pairs sorted by ad, to draw several pairs of one ad with a wanted mix of grades.

    With `branches` the mix is of positive and negative pairs, and grades decide nothing.
    """

    def __init__(self, labels: Labels, *, branches: bool = False) -> None:
        self.branches = branches
        order = np.argsort(labels.ad, kind="stable") if branches else np.lexsort((labels.grade, labels.ad))
        self.labels = labels.take(order)
        self.ads, self.first, self.count = np.unique(self.labels.ad, return_index=True, return_counts=True)

    def draw(
        self, ads: IntArray, per_ad: int, mix: FloatArray, rng: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        """Up to `per_ad` different pairs of each ad: (position in `ads`, index of the pair), each [P].

        Args:
            mix: wanted shares of the grades, [4].
        """
        if self.branches:
            mix = np.add.reduceat(mix, (0, 2))
        rows, pairs = [], []
        for row, at in enumerate(np.searchsorted(self.ads, ads)):
            index = np.arange(self.first[at], self.first[at] + self.count[at])
            kind = self.labels.grade[index] // (2 if self.branches else 1)
            weight = mix[kind] / np.bincount(kind, minlength=len(mix))[kind]
            # Gumbel top-k: a weighted draw without replacement.
            key = np.log(np.maximum(weight, 1e-12)) + rng.gumbel(size=len(index))
            chosen = index[np.argsort(-key)[:per_ad]]
            rows.append(np.full(len(chosen), row))
            pairs.append(chosen)
        return np.concatenate(rows), np.concatenate(pairs)


def _draw_halves(n: int, share: float, rng: np.random.Generator) -> NDArray[np.uint64]:
    """A random half of all words for each of `n` pairs, as a multiplier [n]; 0 (no word) with 1 - `share`."""
    odd = rng.integers(2**64, size=n, dtype=np.uint64) | np.uint64(1)
    return np.where(rng.random(n) < share, odd, np.uint64(0))


def _in_half(ids: IntArray, half: NDArray[np.uint64]) -> BoolArray:
    """Whether words [P, N] are in the half of their pair [P]; a word is so on both sides or on neither.

    The highest bit of a product (multiply-shift hashing, Dietzfelbinger et al. 1997).
    """
    return (ids.astype(np.uint64) * half[:, None]) >> np.uint64(63) == 1


def _draw_others(alike: BoolArray, row: IntArray, rng: np.random.Generator) -> tuple[IntArray, BoolArray]:
    """For each of P pairs another ad of the step: its place [P], and whether there is one at all.

    Args:
        alike: bool [A, A], ads that are about the same thing; none of them takes the other's place.
        row: [P], the place of each pair's own ad.
    """
    allowed = ~alike[row]
    allowed[np.arange(len(row)), row] = False
    place = np.where(allowed, rng.random(allowed.shape), -1.0).argmax(axis=1)
    return place, np.greater(allowed.sum(axis=1), 0)


def _schedule(step: int, steps: int, warm_up: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
