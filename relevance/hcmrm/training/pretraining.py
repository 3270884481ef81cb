"""The align stage: frames and words of the same ads, without any label.

Its losses: in-batch or momentum contrast (ITC), masked words predicted from text and frame (MLM), words read
off the frame, and, if they have a weight, matching with hard negatives (ITM) and pseudo-query-video matching
(PQVM).
A ads of a step, B of a batch, N tokens, V visual tokens, e embedding size, W words.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from relevance.arrays import BoolArray, FrameArray, IntArray
from relevance.corpus import Corpus
from relevance.hcmrm.checkpoint import Checkpoint
from relevance.hcmrm.device import has_bfloat16
from relevance.hcmrm.model import COSINE_SCALE, HCMRM, TextBatch
from relevance.hcmrm.text import TokenTable, join_texts, token_ids, train_tokenizer
from relevance.hcmrm.training.losses import (
    bag_of_words_loss,
    contrastive_loss,
    distilled_cross_entropy,
    matching_loss,
    momentum_contrastive_loss,
)
from relevance.hcmrm.training.pseudo_queries import draw_hard, draw_pseudo_queries, matching_pairs
from relevance.hcmrm.training.ranks import Ranks
from relevance.hcmrm.training.train_config import TrainConfig
from relevance.keywords import KeywordExtractor, fit_extractor

FILLER = 0.03
"""Words in a larger share of the ads are filler: they do not say what an ad is about."""


@dataclass(frozen=True, slots=True)
class TrainingTexts:
    """The texts of a corpus as a training reads them; vocabulary and word counts are of the training ads."""

    ads: IntArray
    """The training ads, with labels or without."""
    tokenizer: PreTrainedTokenizerFast
    keywords: KeywordExtractor
    tables: TokenTable
    sequences: list[tuple[str, ...]]
    """Keyword sequence of every ad."""
    words: list[frozenset[str]]
    """All words of every ad."""
    informative: frozenset[str]
    """Words of the training ads that are not filler."""
    common: BoolArray
    """Tokens that say nothing of an ad, bool [W]: special ones, and those of more than FILLER of the ads."""

    @staticmethod
    def build(
        corpus: Corpus,
        ads: IntArray,
        queries: IntArray,
        vocab_size: int,
        *,
        extractor: str = "tfidf",
        text_tokens: int = 32,
        known: Checkpoint | None = None,
        common: float = FILLER,
    ) -> TrainingTexts:
        """Read the texts; `ads` and `queries` are those of the training.

        Args:
            extractor: a name in `relevance.keywords.EXTRACTORS`.
            text_tokens: longest keyword sequence, in tokens.
            known: a checkpoint whose vocabulary and extractor are taken over.
            common: words in at least this share of the ads are not informative.
        """
        texts = corpus.ad_texts()
        train_texts = [texts[ad] for ad in ads]
        if known:
            keywords, tokenizer = known.keywords, known.tokenizer
        else:
            keywords = fit_extractor(extractor, train_texts)
            every = [*train_texts, *(corpus.query_text[q] for q in queries)]
            tokenizer = train_tokenizer(every, vocab_size, whole_words=extractor == "jieba")
        words = [frozenset(keywords.words(text)) for text in texts]
        sequences = [keywords(text) for text in texts]
        tables = TokenTable.build(tokenizer, corpus.query_text, sequences, max_keywords=text_tokens)
        count = Counter(word for ad in ads for word in words[ad])
        informative = frozenset(word for word, n in count.items() if n < common * len(ads))
        filler = _filler(tables.keywords[ads], len(tokenizer))
        filler[tokenizer.all_special_ids] = True
        return TrainingTexts(ads, tokenizer, keywords, tables, sequences, words, informative, filler)

    def bags(self, ads: IntArray) -> Tensor:
        """Which informative tokens the keywords of ads [A] have: float [A, W]."""
        bag = torch.zeros(len(ads), len(self.common))
        bag.scatter_(1, torch.from_numpy(self.tables.keywords[ads]), 1.0)
        bag[:, torch.from_numpy(self.common)] = 0.0
        return bag


class MomentumEncoders:
    """A slow copy of the model, whose embeddings are soft targets and fill the queues.

    As in ALBEF (arXiv 2107.07651), except that the queues start empty and grow: with random vectors in them
    the contrast collapses.
    """

    def __init__(self, model: HCMRM, decay: float, length: int) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.model.eval()  # type: ignore[no-untyped-call]
        self.decay, self.length = decay, length
        device = model.no_frame.device
        self.frames = torch.zeros(0, model.config.embed_dim, device=device)
        self.texts = torch.zeros(0, model.config.embed_dim, device=device)
        self.ads = torch.zeros(0, dtype=torch.int64)

    @torch.no_grad()
    def follow(self, model: HCMRM) -> None:
        """One step towards the model; running statistics are copied."""
        slow, fast = dict(self.model.named_parameters()), dict(model.named_parameters())
        torch._foreach_lerp_(list(slow.values()), [fast[name] for name in slow], 1.0 - self.decay)
        statistics = dict(model.named_buffers())
        for name, value in self.model.named_buffers():
            value.copy_(statistics[name])

    @torch.no_grad()
    def read(
        self, pictures: Tensor, text: TextBatch, masked: TextBatch, hidden: Tensor, bf16: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of one frame and of the text of B ads, [B, e] each, and logits of hidden words [M, W].

        Args:
            hidden: bool [B, N], the words that are hidden in `masked`.
        """
        row = torch.arange(len(pictures), device=pictures.device)
        with autocast(pictures.device, bf16):
            visual = self.model.visual_tokens(pictures)
            words = self.model.word_logits(self.model.fuse(masked, visual, row)[hidden])
            read = self.model.text_encoder(text)[:, 0]
        seen = class_tokens(self.model, visual, 1)[:, 0]
        return self.model.frame_embedding(seen), self.model.text_embedding(read.float()), words.float()

    def push(self, frames: Tensor, texts: Tensor, ads: IntArray) -> None:
        """Put embeddings [B, e] of these ads into the queues; the oldest beyond their length are dropped."""
        self.frames = torch.cat((frames, self.frames))[: self.length]
        self.texts = torch.cat((texts, self.texts))[: self.length]
        self.ads = torch.cat((torch.from_numpy(ads), self.ads))[: self.length]

    def state(self) -> dict[str, Any]:
        kept = {"frames": self.frames, "texts": self.texts, "ads": self.ads}
        return {"model": self.model.state_dict(), **kept}

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.frames, self.texts, self.ads = state["frames"], state["texts"], state["ads"].cpu()


class Pretraining:
    """Draws the batches of the stage and adds up its losses."""

    def __init__(
        self,
        model: HCMRM,
        texts: TrainingTexts,
        frames: FrameArray,
        config: TrainConfig,
        ranks: Ranks | None = None,
    ) -> None:
        self.model, self.texts, self.frames, self.config = model, texts, frames, config
        self.ranks = ranks or Ranks()
        self.device = model.no_frame.device
        # This stage's own head; fine-tuning starts another one, whatever its loss.
        self.pqvm_head = nn.Linear(model.pair_size, 1).to(self.device)
        if model.pair_size == 1:
            nn.init.constant_(self.pqvm_head.weight, COSINE_SCALE)
        self.slow = MomentumEncoders(model, config.momentum, config.queue) if config.momentum else None

    @property
    def temperature(self) -> float | Tensor:
        """Divides the similarities of the contrast; the model's own if it is learnt."""
        learnt = self.model.temperature if self.config.learn_temperature else None
        return self.config.temperature if learnt is None else learnt

    def state(self) -> dict[str, Any]:
        """What the stage holds beside the model."""
        slow = None if self.slow is None else self.slow.state()
        return {"pqvm_head": self.pqvm_head.state_dict(), "slow": slow}

    def load_state(self, state: dict[str, Any]) -> None:
        self.pqvm_head.load_state_dict(state["pqvm_head"])
        if self.slow is not None:
            self.slow.load_state(state["slow"])

    def loss(self, step: int, rng: np.random.Generator) -> Tensor:
        """The loss of one step, weights included: a scalar. Several processes each compute their share."""
        c, model, ranks = self.config, self.model, self.ranks
        ads = rng.choice(self.texts.ads, c.align_batch, replace=False)
        frame = rng.integers(0, self.frames.shape[1], len(ads))
        order = np.argsort(ads)  # in the order of the file, which a memory map likes
        ads, frame = ads[order], frame[order]
        own = ranks.mine(len(ads))
        pictures = self._pictures(ads[own], frame[own])
        every = self.texts.tables.pairs(None, ads, markers=False).each(self.place)
        masked, hidden = _mask_words(every, c.mask_share, self.texts.tokenizer, rng)
        text, masked = (batch.each(lambda part: part[own]) for batch in (every, masked))
        hidden = hidden[own]
        row = torch.arange(len(pictures), device=self.device)
        with autocast(self.device, c.bf16):
            visual = model.visual_tokens(pictures)
            words = model.word_logits(model.fuse(masked, visual, row)[hidden]).float()
        if self.slow is None and not model.config.use_frames:
            loss = functional.cross_entropy(words, text.input_ids[hidden]) * ranks.share(int(hidden.sum()))
            return loss + c.pqvm_weight * self._pseudo_query_loss(ads, rng) if c.pqvm_weight else loss
        with autocast(self.device, c.bf16):
            read = model.text_encoder(text)[:, 0].float()
        seen = class_tokens(model, visual, 1)[:, 0]
        embedded = ranks.joined(model.frame_embedding(seen)), ranks.joined(model.text_embedding(read))
        target = text.input_ids[hidden]
        bag = self.place(self.texts.bags(ads))
        alike = (bag @ bag.T) > 0

        if self.slow is None:
            loss = functional.cross_entropy(words, target)
            contrast = contrastive_loss(*embedded, alike, self.temperature)
        else:
            if step == 0:
                self.slow.model.load_state_dict(model.state_dict())  # the stage before has moved the words
            self.slow.follow(model)
            *slow, slow_words = self.slow.read(pictures, text, masked, hidden, c.bf16)
            slow_frames, slow_texts = map(ranks.gathered, slow)
            queued = self.place(self.texts.bags(self.slow.ads.numpy()))
            again = torch.from_numpy(ads)[:, None] == self.slow.ads[None, :]
            weight = c.soft_weight * min(1.0, step / max(1, c.soft_ramp))
            loss = distilled_cross_entropy(words, target, slow_words, weight)
            contrast = momentum_contrastive_loss(
                *embedded,
                torch.cat((slow_frames, self.slow.frames)),
                torch.cat((slow_texts, self.slow.texts)),
                torch.cat((alike, ((bag @ queued.T) > 0) | self.place(again)), dim=1),
                self.temperature,
                weight,
            )
            self.slow.push(slow_frames, slow_texts, ads)
        loss = loss * ranks.share(len(target))
        if c.pqvm_weight:
            loss = loss + c.pqvm_weight * self._pseudo_query_loss(ads, rng)
        if not model.config.use_frames:
            return loss
        if c.itm_weight:
            similarity = (embedded[0][own] @ embedded[1][own].T).detach()
            matching = self._hard_matching_loss(text, visual, similarity, alike[own, own], rng)
            loss = loss + c.itm_weight * ranks.share(len(visual)) * matching
        loss = loss + contrast / ranks.count
        if not c.read_off_weight:
            return loss
        # What ads say whose frames are not seen: frame markers compare with it.
        usual = bag_of_words_loss(model.seen_words(model.no_frame), bag.mean(dim=0, keepdim=True))
        return loss + c.read_off_weight * (self.read_off_loss(visual, bag[own]) + usual / ranks.count)

    def rehearsal_loss(self, n_ads: int, rng: np.random.Generator) -> Tensor:
        """Keywords of some ads, read off a frame each, so that fine-tuning does not forget them. A scalar."""
        ads = np.sort(rng.choice(self.texts.ads, min(n_ads, len(self.texts.ads)), replace=False))
        frame = rng.integers(0, self.frames.shape[1], len(ads))
        hidden = rng.random(len(ads)) < self.config.rehearsal_hidden
        own = self.ranks.mine(len(ads))
        with autocast(self.device, self.config.bf16):
            pictures = self._pictures(ads[own], frame[own])
            visual = self.model.visual_tokens(pictures, self.place(hidden[own]))
        return self.read_off_loss(visual, self.place(self.texts.bags(ads[own])))

    def read_off_loss(self, visual: Tensor, bag: Tensor) -> Tensor:
        """Words read off the frames of A ads against those to be predicted: this process's share, a scalar.

        Args:
            visual: `visual_tokens` of the ads, [A, V, v].
            bag: [A, W], as of `bag_of_words_loss`.
        """
        named = self.ranks.share(int((bag.sum(dim=1) > 0).sum()))
        return named * bag_of_words_loss(self.model.seen_words(visual), bag)

    def place(self, values: NDArray[Any] | Tensor) -> Tensor:
        """An array or a tensor, on the device."""
        held = values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
        return held.to(self.device)

    def _pictures(self, ads: IntArray, frame: IntArray) -> Tensor:
        """One frame of each of A ads, on the device: uint8 [A, 1, H, W, 3]."""
        return self.place(self.frames[ads, frame])[:, None]

    def _hard_matching_loss(
        self, text: TextBatch, visual: Tensor, similarity: Tensor, alike: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Image-text matching (ITM) of B ads: with their own text, with a hard one, and the other way round.

        Args:
            similarity: [B, B], of frames and texts.
            alike: bool [B, B], ads that share an informative keyword and so are no negatives of each other.
        """
        b = len(visual)
        allowed = ~alike.cpu().numpy() & ~np.eye(b, dtype=bool)
        near, sharpness = similarity.double().cpu().numpy(), 1.0 / float(self.temperature)
        frame_1, text_1 = draw_hard(near, allowed, sharpness, rng)
        text_2, frame_2 = draw_hard(near.T, allowed.T, sharpness, rng)
        of_text = self.place(np.concatenate((np.arange(b), text_1, text_2)))
        of_frame = self.place(np.concatenate((np.arange(b), frame_1, frame_2)))
        with autocast(self.device, self.config.bf16):
            logits = self.model.match_logits(text.each(lambda part: part[of_text]), visual, of_frame)
        match = (torch.arange(len(of_text), device=self.device) < b).long()
        return functional.cross_entropy(logits, match)

    def _pseudo_query_loss(self, ads: IntArray, rng: np.random.Generator) -> Tensor:
        """Pseudo-query-video matching on some of a step's ads, with pseudo-queries of all of them."""
        c, texts, sizes = self.config, self.texts, self.model.config
        drawn = draw_pseudo_queries([texts.sequences[ad] for ad in ads], texts.informative, 2, rng)
        chosen = np.sort(rng.choice(len(ads), min(c.pqvm_ads, len(ads)), replace=False))
        query_ids = token_ids(texts.tokenizer, [" ".join(words) for words in drawn.words], 16)
        with torch.no_grad():
            vectors = [
                functional.normalize(self.model.text_encoder.word(self.place(ids)).sum(dim=1), dim=-1)
                for ids in (texts.tables.keywords[ads[chosen]], query_ids)
            ]
            similarity = (vectors[0] @ vectors[1].T).double().cpu().numpy()
        row, which, match = matching_pairs(
            drawn, chosen, [texts.words[ad] for ad in ads[chosen]], similarity, c.pqvm_sharpness, rng
        )
        if not len(row):
            return torch.zeros((), device=self.device)  # no ad of the step has an informative word

        without_words, without_text = rng.random((2, len(row)))
        hidden = rng.random(len(chosen)) < c.pqvm_frame_dropout
        if not sizes.use_keywords:
            hidden[:] = False
            without_text[:] = 0.0
        elif not sizes.use_frames:
            hidden[:] = True
        without_text[hidden[row]] = 1.0
        keywords = []
        for i, (ad, query) in enumerate(zip(ads[chosen[row]], which, strict=True)):
            dropped = drawn.words[query] if without_words[i] < c.pqvm_word_dropout else ()
            kept = [word for word in texts.sequences[ad] if word not in dropped]
            keywords.append(" ".join(kept) if without_text[i] >= c.pqvm_text_dropout else "")
        own = self.ranks.mine(len(chosen))
        kept_rows = np.flatnonzero((row >= own.start) & (row < own.stop))
        share = self.ranks.share(len(kept_rows))
        if not len(kept_rows):
            return torch.zeros((), device=self.device)
        row, match = row[kept_rows] - own.start, match[kept_rows]
        text = join_texts(
            query_ids[which[kept_rows]],
            token_ids(texts.tokenizer, [keywords[i] for i in kept_rows], sizes.text_tokens),
            markers=sizes.match_markers,
            cls=texts.tables.cls,
            sep=texts.tables.sep,
        )
        frames = self.place(self.frames[ads[chosen[own]]])
        with autocast(self.device, self.config.bf16):
            visual = self.model.visual_tokens(frames, self.place(hidden[own]))
            read = self.model.pair(text.each(self.place), visual, self.place(row))
        logits = self.pqvm_head(read.float())[:, 0]
        return share * matching_loss(logits, self.place(match))


def class_tokens(model: HCMRM, visual: Tensor, n_frames: int) -> Tensor:
    """The class token of every frame among `visual_tokens`: [A, V, v] -> float32 [A, F, v]."""
    if not model.config.use_frames:
        return visual.float()
    first = int(model.config.empty_token)
    return visual[:, first :: (visual.shape[1] - first) // n_frames].float()


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    """Matrix products in bfloat16, which nearly halves the time of a step. Losses stay in float32.

    Where the device has no instructions for bfloat16, all stays in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16 and has_bfloat16(device))


def _mask_words(
    text: TextBatch, share: float, tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator
) -> tuple[TextBatch, Tensor]:
    """The texts with a share of their words replaced by [MASK], and where: bool [P, N]."""
    ids = text.input_ids
    drawn = torch.from_numpy(rng.random(tuple(ids.shape))).to(ids.device)
    special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
    hidden = (drawn < share) & ~torch.isin(ids, special)
    return text._replace(input_ids=ids.masked_fill(hidden, int(tokenizer.mask_token_id))), hidden


def _filler(keywords: IntArray, vocab_size: int) -> BoolArray:
    """Tokens that more than FILLER of the ads have, bool [W], from the tokens of A ads [A, L]."""
    owner = np.broadcast_to(np.arange(len(keywords))[:, None], keywords.shape)
    different = np.unique(owner * vocab_size + keywords)
    count = np.bincount(different % vocab_size, minlength=vocab_size)
    # As the mean of ones and zeros in float32 has it.
    filler: BoolArray = count.astype(np.float32) / np.float32(len(keywords)) > np.float32(FILLER)
    return filler
