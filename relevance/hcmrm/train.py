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

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from relevance.corpus import LabelledCorpus, Labels
from relevance.keywords import TfIdfKeywords
from relevance.metrics import RelevanceMetrics, evaluate

from .checkpoint import Checkpoint
from .config import HCMRMConfig
from .losses import GRADE_HEADS, bag_of_words_loss, contrastive_loss, matching_loss
from .model import HCMRM, TextBatch
from .pseudo_queries import draw_pseudo_queries, matching_pairs
from .scorer import HcmrmScorer
from .text import MASK, SPECIAL_TOKENS, TokenTable, join_texts, token_ids, train_tokenizer

IntArray = NDArray[np.int64]

WORDS, ALIGN, FINETUNE = "words", "align", "finetune"

FILLER = 0.03
"""Words of a larger share of the ads say nothing of what an ad is about."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Schedule of a training; steps rather than seconds, so that a run can be repeated."""

    seed: int = 0

    word_steps: int = 1500
    word_batch: int = 256
    word_rate: float = 3e-3

    align_steps: int = 1000
    align_batch: int = 128
    align_rate: float = 2e-3
    temperature: float = 0.07
    mask_share: float = 0.2
    """Of the words of an ad that the masked language model has to foretell."""

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
    frame_dropout: float = 0.1
    word_weight: float = 0.2
    """Weight of the bag-of-words loss in fine-tuning: the frames of an ad foretell the words of queries
    it is strong for."""

    topic_weight: float = 0.3
    """Weight of the word stage's loss in fine-tuning, where it keeps the topics in the embeddings."""

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
) -> Checkpoint:
    """Train a model into the checkpoint `out`; a training that was stopped there goes on where it was.

    Raises:
        TrainError: `out` holds the state of a training with other settings, or the labels lack a split.
    """
    train_labels, validation_labels = data.labels.of("train"), data.labels.of("validation")
    if not len(train_labels) or not len(validation_labels):
        raise TrainError("the corpus needs labelled pairs in both the train and the validation split")
    for name, known in (("loss", GRADE_HEADS), ("choose_by", CRITERIA)):
        if getattr(config, name) not in known:
            raise TrainError(f"{name} '{getattr(config, name)}': there is no such; take {', '.join(known)}")
    started = time.monotonic()
    trainer = _Trainer(data, train_labels, config, device)
    state_file = out / "training-state.pt"
    log: list[dict[str, Any]] = []
    best = -math.inf
    spent = 0.0
    if state_file.is_file():
        state = torch.load(state_file, weights_only=True, map_location=device)
        if state["config"] != json.dumps(asdict(config)):
            raise TrainError(
                f"{state_file}: belongs to a training with other settings; remove it or choose another folder"
            )
        trainer.load_state(state)
        log, best, spent = json.loads(state["log"]), state["best"], state["spent_s"]
    else:
        out.mkdir(parents=True, exist_ok=True)
    saved = time.monotonic()

    chosen = _validation_subset(validation_labels, config)
    for stage, step, steps, loss in trainer.steps():
        done = stage == FINETUNE and step == steps
        validation = None
        if stage == FINETUNE and (step % config.validate_every == 0 or done):
            scorer = HcmrmScorer(trainer.checkpoint({}), data.corpus, device=device, tables=trainer.tables)
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
                "config": json.dumps(asdict(config)),
                "log": json.dumps(log),
                "best": best,
                "spent_s": spent + saved - started,
            }
            torch.save(state, state_file.with_suffix(".tmp"))
            state_file.with_suffix(".tmp").replace(state_file)
    return Checkpoint.load(out)


class _Trainer:
    """Model, optimiser and moving average, and the two stages as one stream of steps."""

    def __init__(self, data: LabelledCorpus, labels: Labels, config: TrainConfig, device: str) -> None:
        self.config, self.device = config, torch.device(device)
        self.frames = data.corpus.frames
        self.train_ads = np.unique(labels.ad)
        self.groups = _PairsByAd(labels)
        texts = data.corpus.ad_texts()
        train_texts = [texts[ad] for ad in self.train_ads]
        self.keywords = TfIdfKeywords.fit(train_texts)
        train_queries = [data.corpus.query_text[q] for q in np.unique(labels.query)]
        self.tokenizer = train_tokenizer([*train_texts, *train_queries], config.vocab_size)
        self.sequences = [self.keywords(text) for text in texts]
        n = len(train_texts)
        self.informative_idf = math.log((1 + n) / (1 + FILLER * n)) + 1.0
        self.words_of_ad = [frozenset(text.lower().split()) for text in texts]
        self.tables = TokenTable.build(self.tokenizer, data.corpus.query_text, self.sequences)
        self.bags = _bags_of_words(self.tables.keywords, len(self.tokenizer), self.train_ads)

        torch.manual_seed(config.seed)
        sizes = {"vocab_size": len(self.tokenizer), **config.model}
        self.model = _new_model(sizes, config.loss)
        self.model.to(self.device)  # type: ignore[arg-type]
        # Of the pre-training alone; fine-tuning starts a head of its own, whatever its loss.
        self.pqvm_head = nn.Linear(self.model.config.hidden_size, 1).to(self.device)
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
        return Checkpoint(model.eval(), self.tokenizer, self.keywords, training)  # type: ignore[no-untyped-call]

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "pqvm_head": self.pqvm_head.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "stage": self.stage,
            "step": self.step,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.stage, self.step = state["stage"], state["step"]
        self.optimizer = self._optimizer(self.config.rate)  # its rates are set at every step
        self.model.load_state_dict(state["model"])
        self.pqvm_head.load_state_dict(state["pqvm_head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]

    def _word_loss(self, rng: np.random.Generator) -> Tensor:
        labels = self.groups.labels
        pair = rng.integers(0, len(labels), self.config.word_batch)
        return self._topic_loss(labels.query[pair], labels.ad[pair], labels.grade[pair])

    def _topic_loss(self, query: IntArray, ad: IntArray, grade: IntArray) -> Tensor:
        query_ids, keyword_ids = self.tables.query[query], self.tables.keywords[ad]
        ids = (torch.from_numpy(ids).to(self.device) for ids in (query_ids, keyword_ids))
        related = torch.from_numpy((grade >= 1).astype(np.float32)).to(self.device)
        return functional.binary_cross_entropy_with_logits(self.model.topic_logits(*ids), related)

    def _align_loss(self, rng: np.random.Generator) -> Tensor:
        ads = rng.choice(self.train_ads, self.config.align_batch, replace=False)
        frame = rng.integers(0, self.frames.shape[1], len(ads))
        order = np.argsort(ads)  # in the order of the file, which a memory map likes
        ads, frame = ads[order], frame[order]
        pictures = torch.from_numpy(np.ascontiguousarray(self.frames[ads, frame])).to(self.device)[:, None]
        text = self._to_device(self.tables.pairs(None, ads, markers=False))
        masked, hidden = _mask_words(text, self.config.mask_share, rng)
        with self._autocast():
            visual = self.model.visual_tokens(pictures)
            fused = self.model.fuse(masked, visual, torch.arange(len(ads), device=self.device))
            words = self.model.word_logits(fused[hidden]).float()
            read = self.model.text_encoder(text)[:, 0].float()
        loss = functional.cross_entropy(words, text.input_ids[hidden])
        if self.config.pqvm_weight:
            loss = loss + self.config.pqvm_weight * self._match_loss(ads, rng)
        if not self.model.config.use_frames:
            return loss
        seen = self._class_tokens(visual, 1)[:, 0]
        bag = self.bags[ads].to(self.device)
        contrast = contrastive_loss(
            functional.normalize(self.model.frame_projection(seen), dim=-1),
            functional.normalize(self.model.text_projection(read), dim=-1),
            (bag @ bag.T) > 0,
            self.config.temperature,
        )
        return loss + contrast + bag_of_words_loss(self.model.keyword_head(seen), bag)

    def _match_loss(self, ads: IntArray, rng: np.random.Generator) -> Tensor:
        """Pseudo-query-video matching on some of a step's ads; all of them lend their pseudo-queries."""
        c = self.config
        drawn = draw_pseudo_queries([self.sequences[ad] for ad in ads], self._is_informative, 2, rng)
        chosen = np.sort(rng.choice(len(ads), min(c.pqvm_ads, len(ads)), replace=False))
        query_ids = token_ids(self.tokenizer, [" ".join(words) for words in drawn.words], 16)
        with torch.no_grad():
            vectors = [
                functional.normalize(self.model.text_encoder.word(ids.to(self.device)).sum(dim=1), dim=-1)
                for ids in map(torch.from_numpy, (self.tables.keywords[ads[chosen]], query_ids))
            ]
            similarity = (vectors[0] @ vectors[1].T).double().cpu().numpy()
        texts = [self.words_of_ad[ad] for ad in ads[chosen]]
        row, which, match = matching_pairs(drawn, chosen, texts, similarity, c.pqvm_sharpness, rng)
        if not len(row):
            return torch.zeros((), device=self.device)  # no ad of the step has an informative word

        without_words, without_text = rng.random((2, len(row)))
        texts_read = [
            self._keywords_without(
                ads[chosen[r]],
                drawn.words[w] if without_words[i] < c.pqvm_word_dropout else (),
                nothing=bool(without_text[i] < c.pqvm_text_dropout and self.model.config.use_frames),
            )
            for i, (r, w) in enumerate(zip(row, which, strict=True))
        ]
        keyword_ids = token_ids(self.tokenizer, texts_read, 32)
        text = join_texts(query_ids[which], keyword_ids, markers=self.model.config.match_markers)
        frames = torch.from_numpy(np.ascontiguousarray(self.frames[ads[chosen]])).to(self.device)
        with self._autocast():
            visual = self.model.visual_tokens(frames)
            fused = self.model.fuse(self._to_device(text), visual, torch.from_numpy(row).to(self.device))
        logits = self.pqvm_head(fused[:, 0].float())[:, 0]
        return matching_loss(logits, torch.from_numpy(match).to(self.device))

    def _keywords_without(self, ad: int, words: tuple[str, ...], *, nothing: bool) -> str:
        return "" if nothing else " ".join(word for word in self.sequences[ad] if word not in words)

    def _is_informative(self, word: str) -> bool:
        return self.keywords.idf.get(word, self.keywords.unseen) > self.informative_idf

    def _grade_loss(self, rng: np.random.Generator) -> Tensor:
        c = self.config
        ads = np.sort(rng.choice(self.groups.ads, c.ads_per_step, replace=False))
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
        text = self._to_device(
            self.tables.pairs(
                query, ads[row], markers=self.model.config.match_markers, without_keywords=hidden_words
            )
        )
        with self._autocast():
            visual = self.model.visual_tokens(frames, torch.from_numpy(hidden_frames).to(self.device))
            logits = self.model(text, visual, torch.from_numpy(row).to(self.device))
        loss = GRADE_HEADS[c.loss].loss(logits, torch.from_numpy(grade).to(self.device))
        if c.topic_weight:
            loss = loss + c.topic_weight * self._topic_loss(query, ads[row], grade)
        if c.word_weight and self.model.config.use_frames:
            bag = torch.zeros(len(ads), len(self.tokenizer), device=self.device)
            strong = grade == 3
            tokens = torch.from_numpy(self.tables.query[query[strong]]).to(self.device)
            bag.index_put_(
                (torch.from_numpy(row[strong]).to(self.device)[:, None].expand_as(tokens), tokens),
                torch.ones(()),
            )
            bag[:, : len(SPECIAL_TOKENS)] = 0.0
            classes = self._class_tokens(visual, frames.shape[1]).mean(dim=1)
            loss = loss + c.word_weight * bag_of_words_loss(self.model.keyword_head(classes), bag)
        return loss

    def _class_tokens(self, visual: Tensor, n_frames: int) -> Tensor:
        """The class token of every frame among `visual_tokens`: [A, V, v] -> float32 [A, F, v]."""
        first = int(self.model.config.empty_token)
        return visual[:, first :: (visual.shape[1] - first) // n_frames].float()

    def _to_device(self, text: Any) -> Any:
        return type(text)(*(part.to(self.device) for part in text))

    def _autocast(self) -> torch.autocast:
        """Matrix products in bfloat16: a step takes a little over half the time. Losses stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16)

    def _parameters(self) -> list[nn.Parameter]:
        return [*self.model.parameters(), *self.pqvm_head.parameters()]

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


def _mask_words(text: TextBatch, share: float, rng: np.random.Generator) -> tuple[TextBatch, Tensor]:
    """The texts with a share of their words replaced by [MASK], and where: bool [P, N]."""
    ids = text.input_ids
    drawn = torch.from_numpy(rng.random(tuple(ids.shape))).to(ids.device)
    hidden = (drawn < share) & (ids >= len(SPECIAL_TOKENS))
    return text._replace(input_ids=ids.masked_fill(hidden, MASK)), hidden


def _new_model(sizes: Mapping[str, Any], loss: str) -> HCMRM:
    """A model whose random start is the default one but for the head: losses start from equal encoders."""
    model = HCMRM(HCMRMConfig(**sizes))
    if loss == model.config.grade_head:
        return model
    other = HCMRM(HCMRMConfig(**sizes, grade_head=loss))
    equal = {name: value for name, value in model.state_dict().items() if not name.startswith("grade_head")}
    other.load_state_dict(equal, strict=False)
    return other


class _PairsByAd:
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


def _bags_of_words(keywords: IntArray, vocab_size: int, ads: IntArray) -> Tensor:
    """Which informative tokens each ad's keywords have, not filler: float [A, W]."""
    bag = torch.zeros(len(keywords), vocab_size)
    bag.scatter_(1, torch.from_numpy(keywords), 1.0)
    bag[:, : len(SPECIAL_TOKENS)] = 0.0
    bag[:, bag[ads].mean(dim=0) > FILLER] = 0.0
    return bag


def _validation_subset(labels: Labels, config: TrainConfig) -> Labels:
    """The pairs of some whole queries, so that metrics within a query keep their meaning."""
    queries = np.random.default_rng((config.seed, 99)).permutation(np.unique(labels.query))
    per_query = len(labels) / len(queries)
    kept = np.isin(labels.query, queries[: max(1, round(config.validation_pairs / per_query))])
    return Labels(labels.query[kept], labels.ad[kept], labels.grade[kept], labels.split[kept])


def _schedule(step: int, steps: int, warm_up: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
