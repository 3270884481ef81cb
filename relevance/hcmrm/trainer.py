"""The stages of a training as one stream of steps; what each stage is for says `train`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from relevance.corpus import LabelledCorpus, Labels

from .checkpoint import Checkpoint
from .config import HCMRMConfig
from .losses import GRADE_HEADS, bag_of_words_loss, shuffled_loss
from .model import HCMRM
from .pretraining import Pretraining, TrainingTexts, autocast, to_device
from .text import SPECIAL_TOKENS

if TYPE_CHECKING:
    from .train import TrainConfig

IntArray = NDArray[np.int64]

WORDS, ALIGN, FINETUNE = "words", "align", "finetune"


class Trainer:
    """Model, optimiser and moving average, and the stages as one stream of steps."""

    def __init__(
        self, data: LabelledCorpus, pool: Labels, labels: Labels, config: TrainConfig, device: str
    ) -> None:
        """`pool`: all training pairs, whose texts may be read; `labels`: those whose grades are used."""
        self.config, self.device = config, torch.device(device)
        self.frames = data.corpus.frames
        self.groups = PairsByAd(labels)
        self.texts = TrainingTexts.build(
            data.corpus, data.pretraining_ads(), np.unique(pool.query), config.vocab_size
        )

        torch.manual_seed(config.seed)
        sizes = {"vocab_size": len(self.texts.tokenizer), **config.model}
        self.model = _new_model(sizes, grade_head=config.loss, match_head=config.itm_weight > 0.0)
        self.model.to(self.device)  # type: ignore[arg-type]
        self.pretraining = Pretraining(self.model, self.texts, self.frames, config)
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.stage, self.step = WORDS, 0
        self.optimizer = self._optimizer(config.word_rate)

    def steps(self) -> Iterator[tuple[str, int, int, float]]:
        """(stage, step just done, steps of the stage, loss), until all stages are through."""
        c = self.config
        plan = (
            (WORDS, c.word_steps, c.word_rate, self._word_loss),
            (ALIGN, c.align_steps, c.align_rate, self._align_loss),
            (FINETUNE, c.finetune_steps, c.rate, self._grade_loss),
        )
        reached = [stage for stage, *_ in plan].index(self.stage)
        for number, (stage, steps, rate, loss_of) in enumerate(plan):
            if number < reached:
                continue  # done before the stop
            if self.stage != stage:
                self.stage, self.step = stage, 0
                self.optimizer = self._optimizer(rate)
            while self.step < steps:
                rng = np.random.default_rng((c.seed, number, self.step))
                torch.manual_seed(int(rng.integers(2**62)))
                for group in self.optimizer.param_groups:
                    group["lr"] = rate * _schedule(self.step, steps, c.warm_up)
                self.model.train()
                self.optimizer.zero_grad(set_to_none=True)
                loss = loss_of(rng)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self._parameters(), 1.0)
                self.optimizer.step()
                self.step += 1
                self._update_average()
                yield stage, self.step, steps, float(loss.detach())

    def checkpoint(self, training: dict[str, Any]) -> Checkpoint:
        """The moving average as a model of its own, with what it needs to read texts."""
        model = HCMRM(self.model.config)
        weights = {**self.model.state_dict(), **self.average}
        model.load_state_dict({name: value.cpu() for name, value in weights.items()}, strict=True)
        return Checkpoint(model.eval(), self.texts.tokenizer, self.texts.keywords, training)  # type: ignore[no-untyped-call]

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

    def _word_loss(self, rng: np.random.Generator) -> Tensor:
        labels = self.groups.labels
        pair = rng.integers(0, len(labels), self.config.word_batch)
        return self._topic_loss(labels.query[pair], labels.ad[pair], labels.grade[pair])

    def _topic_loss(self, query: IntArray, ad: IntArray, grade: IntArray) -> Tensor:
        query_ids, keyword_ids = self.texts.tables.query[query], self.texts.tables.keywords[ad]
        ids = (torch.from_numpy(ids).to(self.device) for ids in (query_ids, keyword_ids))
        related = torch.from_numpy((grade >= 1).astype(np.float32)).to(self.device)
        return functional.binary_cross_entropy_with_logits(self.model.topic_logits(*ids), related)

    def _align_loss(self, rng: np.random.Generator) -> Tensor:
        return self.pretraining.loss(self.step, rng)

    def _grade_loss(self, rng: np.random.Generator) -> Tensor:
        c = self.config
        n_ads = min(c.ads_per_step, len(self.groups.ads))  # few labels may name fewer
        ads = np.sort(rng.choice(self.groups.ads, n_ads, replace=False))
        early = self.step < c.positive_first * c.finetune_steps
        row, pair = self.groups.draw(ads, c.pairs_per_ad, np.array(c.first_mix if early else c.mix), rng)
        query, grade = self.groups.labels.query[pair], self.groups.labels.grade[pair]

        frames = torch.from_numpy(np.ascontiguousarray(self.frames[ads])).to(self.device)
        hidden_frames = rng.random(len(ads)) < c.frame_dropout
        hidden_words = (rng.random(len(pair)) < c.keyword_dropout) & ~hidden_frames[row]
        if not self.model.config.use_frames:
            hidden_words[:] = False
        if not self.model.config.use_keywords:
            hidden_words[:] = True
            hidden_frames[:] = False
        markers = self.model.config.match_markers
        text = self.texts.tables.pairs(query, ads[row], markers=markers, without_keywords=hidden_words)
        with autocast(self.device, c.bf16):
            visual = self.model.visual_tokens(frames, torch.from_numpy(hidden_frames).to(self.device))
            rows = torch.from_numpy(row).to(self.device)
            logits = self.model(to_device(text, self.device), visual, rows)
        loss = GRADE_HEADS[c.loss].loss(logits, torch.from_numpy(grade).to(self.device))
        if c.shuffle_weight:
            whole = ~hidden_words & ~hidden_frames[row] & (grade >= 2)
            loss = loss + c.shuffle_weight * self._shuffled_loss(query[whole], row[whole], ads, visual, rng)
        if c.topic_weight:
            loss = loss + c.topic_weight * self._topic_loss(query, ads[row], grade)
        if c.word_weight and self.model.config.use_frames:
            bag = torch.zeros(len(ads), len(self.texts.tokenizer), device=self.device)
            strong = grade == 3
            tokens = torch.from_numpy(self.texts.tables.query[query[strong]]).to(self.device)
            bag.index_put_(
                (torch.from_numpy(row[strong]).to(self.device)[:, None].expand_as(tokens), tokens),
                torch.ones(()),
            )
            bag[:, : len(SPECIAL_TOKENS)] = 0.0
            loss = loss + c.word_weight * bag_of_words_loss(self.model.seen_words(visual), bag)
        return loss

    def _shuffled_loss(
        self, query: IntArray, row: IntArray, ads: IntArray, visual: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Modality shuffling of P positive pairs: `row` is the place of each one's ad among the step's `ads`.

        The other ad is one of the step that shares no informative keyword with the pair's own.
        """
        bag = self.texts.bags[ads]
        other, kept = _draw_others(((bag @ bag.T) > 0).numpy(), row, rng)
        swap_text = rng.random(len(row)) < {"frames": 0.0, "text": 1.0, "both": 0.5}[self.config.shuffle]
        told, shown = np.where(swap_text, other, row)[kept], np.where(swap_text, row, other)[kept]
        markers = self.model.config.match_markers
        text = self.texts.tables.pairs(query[kept], ads[told], markers=markers)
        with autocast(self.device, self.config.bf16):
            logits = self.model(to_device(text, self.device), visual, torch.from_numpy(shown).to(self.device))
        return shuffled_loss(logits, self.config.loss)

    def _parameters(self) -> list[nn.Parameter]:
        return [*self.model.parameters(), *self.pretraining.pqvm_head.parameters()]

    def _optimizer(self, rate: float) -> torch.optim.AdamW:
        matrices = [p for p in self._parameters() if p.ndim >= 2]
        vectors = [p for p in self._parameters() if p.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))

    def _update_average(self) -> None:
        # Early on the average follows fast, so that it does not remember the random start.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                self.average[name].lerp_(parameter, 1.0 - decay)


def _new_model(sizes: Mapping[str, Any], **heads: Any) -> HCMRM:
    """A model whose random start is the default one but for these heads: arms start from equal encoders."""
    default = HCMRM(HCMRMConfig(**sizes))
    if all(getattr(default.config, name) == value for name, value in heads.items()):
        return default
    model = HCMRM(HCMRMConfig(**{**heads, **sizes}))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    equal = {name: value for name, value in default.state_dict().items() if value.shape == shapes.get(name)}
    model.load_state_dict(equal, strict=False)
    return model


class PairsByAd:
    """Labelled pairs sorted by ad, to draw several pairs of one ad with a wanted mix of grades."""

    def __init__(self, labels: Labels) -> None:
        order = np.lexsort((labels.grade, labels.ad))
        self.labels = Labels(labels.query[order], labels.ad[order], labels.grade[order], labels.split[order])
        self.ads, self.first, self.count = np.unique(self.labels.ad, return_index=True, return_counts=True)

    def draw(
        self, ads: IntArray, per_ad: int, mix: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        """Up to `per_ad` different pairs of each ad: (position in `ads`, index of the pair), each [P]."""
        rows, pairs = [], []
        for row, at in enumerate(np.searchsorted(self.ads, ads)):
            index = np.arange(self.first[at], self.first[at] + self.count[at])
            grade = self.labels.grade[index]
            weight = mix[grade] / np.bincount(grade, minlength=4)[grade]
            # Gumbel top-k: a weighted draw without replacement.
            key = np.log(np.maximum(weight, 1e-12)) + rng.gumbel(size=len(index))
            chosen = index[np.argsort(-key)[:per_ad]]
            rows.append(np.full(len(chosen), row))
            pairs.append(chosen)
        return np.concatenate(rows), np.concatenate(pairs)


def _draw_others(
    alike: NDArray[np.bool_], row: IntArray, rng: np.random.Generator
) -> tuple[IntArray, NDArray[np.bool_]]:
    """For each of P pairs another ad of the step: its place [P], and whether there is one at all.

    Args:
        alike: bool [A, A], ads that are about the same and do not stand for another.
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
