"""HCMRM as a relevance scorer: it encodes frames once an ad, and pairs in batches.

A GPU in half precision scores batches without padding (`packed.py`). Everything else pads the texts of a
batch. On a processor the score of a pair is the same to the last bit in whatever batch it comes: a text is
padded to a length that follows from its own, no product has a single row (another kernel would compute it),
and one thread computes a batch. More threads compute more batches at once.
"""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from relevance.arrays import FloatArray, IntArray
from relevance.corpus import Corpus
from relevance.errors import CheckpointError
from relevance.hcmrm.checkpoint import SHIPPED, Checkpoint
from relevance.hcmrm.device import use_device
from relevance.hcmrm.model import Known, TextBatch
from relevance.hcmrm.packed import Layout, PackedBatch, PackedModel, Precision, in_few_shapes
from relevance.hcmrm.text import PairTokens, TokenStore, TokenTable
from relevance.hcmrm.training.losses import ranking_score
from relevance.hcmrm.visual_tokens import Home, OfAds, VisualTokens
from relevance.oracle import GRADE_GAIN

Progress = Callable[[int, int], None]

GAINS: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {"gain": GRADE_GAIN, "positive": (0.0, 0.0, 1.0, 1.0)}
)
"""What a grade is worth in the ranking score, the sum of P(grade) times it: the expected gain, or
P(positive). A model with no P(grade) has one score, whatever the name."""
PAIRS_AT_ONCE = 2**14
"""Pairs whose texts are tokenised and sorted into batches together."""
LENGTH_STEP = 2
"""Padded texts have a multiple of so many tokens."""
ADS_AT_ONCE = 32
"""Ads whose frames a processor encodes in one pass: their pixels fit its caches."""


class Padded(NamedTuple):
    """P texts with padding."""

    text: TextBatch
    ad_of_text: Tensor  # int64 [P]


class Batch(NamedTuple):
    """P pairs, on their way to the device."""

    rows: IntArray  # [P] places in the list of pairs
    ads: IntArray  # [A] its different ads
    texts: PackedBatch | Padded


class HcmrmScorer:
    """Scores query-ad pairs of one corpus with one checkpoint.

    Texts are tokenised, and frames encoded, when a pair first needs them. Both are kept within bounds, the
    least recently used leave first. So the queries of a corpus may be any sequence that gives a text for a
    number; only those that are asked for are looked at.

    Attributes:
        model: the model on its device, in its precision.
        packed: what scores batches without padding; None where texts are padded.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        corpus: Corpus,
        *,
        device: str = "cpu",
        batch: int | None = None,
        threads: int = 1,
        tables: TokenTable | None = None,
        calibration: str = "none",
        score: str = "gain",
        precision: Precision = "float32",
        memory: int | None = None,
        keep_on: Home = "device",
    ) -> None:
        """Nothing is scored yet.

        Args:
            batch: the most pairs in one pass through the model; None: 256, or 8,192 on a GPU.
            threads: of a processor. They change no score.
            tables: the corpus tokenised with this checkpoint's vocabulary, if that is done already.
            calibration: a name in `checkpoint.calibration`, which makes P(positive) of the score (grade
                probabilities stay the model's own); "none": the ranking score.
            score: the ranking score of a model with P(grade), a name in `GAINS`.
            precision: of weights and activations; logits are float32. Half precision may swap pairs with
                nearly equal scores: docs/hcmrm.md says how many. float8 is for the products alone, on a GPU.
            memory: the most bytes to keep of what the model sees of ads. That is their visual tokens, or
                without padding their keys and values; None: 1 GiB, or 16 GiB on a GPU.
            keep_on: where they are kept.
        """
        self._device = torch.device(device)
        self._on_gpu = self._device.type == "cuda"
        self.model = checkpoint.model
        if precision != "float32":
            half = torch.bfloat16 if precision == "float8" else getattr(torch, precision)
            self.model = copy.deepcopy(self.model).to(half)  # type: ignore[arg-type]
        self.model = self.model.to(self._device).eval()  # type: ignore[arg-type]
        self._head = self.model.grades
        self._gain = GAINS[score]
        self._corpus, self._batch = corpus, batch or (8192 if self._on_gpu else 256)
        self._calibrated = None if calibration == "none" else checkpoint.calibration[calibration]
        self.packed: PackedModel | None = None
        if precision == "float8" and not self.model.packs:
            raise CheckpointError("precision float8: cannot compute this model; take bfloat16 or float16")
        if precision == "float8" or (precision != "float32" and self._on_gpu and self.model.packs):
            self.packed = PackedModel(self.model, precision)
        self._tokenizer = checkpoint.tokenizer
        self._meaning = self.model.meaning().detach() if self.model.config.word_markers else None
        self._frames = corpus.frames[:, : self.model.config.n_frames]
        self._texts: TokenStore | TokenTable = tables or TokenStore(
            checkpoint.tokenizer,
            lambda query: corpus.query_text[query],
            lambda ad: " ".join(checkpoint.keywords(corpus.ad_text(ad))),
            max_keywords=self.model.config.text_tokens,
        )
        self._memory = memory or (2**34 if self._on_gpu else 2**30)
        self._home, self._threads = keep_on, threads

    @staticmethod
    def load(
        corpus: Corpus,
        folder: Path = SHIPPED,
        *,
        device: str = "cpu",
        calibration: str = "none",
        **options: Any,
    ) -> HcmrmScorer:
        """A scorer from a checkpoint folder; `options` are those of the class.

        Raises:
            CheckpointError: there is no such device; the folder holds no whole checkpoint, or lacks the
                calibration; or the checkpoint reads more frames, or frames of another shape.
        """
        use_device(device)
        checkpoint = Checkpoint.load(folder)
        config = checkpoint.model.config
        reads, has = (config.n_frames, config.image_size, config.image_size), corpus.frames.shape[1:4]
        if config.use_frames and has[0] and (has[0] < reads[0] or has[1:] != reads[1:]):
            raise CheckpointError(
                f"{folder}: reads {reads[0]} frames of {reads[1]}x{reads[2]} pixels, the ads of the corpus "
                f"have {has[0]} of {has[1]}x{has[2]}; give them such frames, or train a checkpoint on these"
            )
        if calibration != "none" and calibration not in checkpoint.calibration:
            raise CheckpointError(
                f"{folder}: has no calibration '{calibration}'; fit it with "
                f"'relbid calibrate --checkpoint {folder}', or take calibration 'none'"
            )
        return HcmrmScorer(checkpoint, corpus, device=device, calibration=calibration, **options)

    def score(self, query: IntArray, ad: IntArray, progress: Progress | None = None) -> FloatArray:
        """Ranking score of each pair: [P], [P] -> [P] in [0, 1].

        Args:
            progress: called with (pairs scored, pairs in all).
        """
        return self.read(query, ad, progress)[0]

    def read(
        self, query: IntArray, ad: IntArray, progress: Progress | None = None
    ) -> tuple[FloatArray, FloatArray | None]:
        """Ranking score [P] and P(grade) [P, 4] of the pairs; None for the latter if the head has none."""
        logits = self._logits(query, ad, progress).cpu().double()
        log_probabilities = self._head.log_probabilities
        if log_probabilities is None:
            return self._worth(ranking_score(logits, self._head).numpy()), None
        probabilities = log_probabilities(logits).exp().numpy()
        # Not a matrix product, whose last digits would depend on the number of rows.
        return self._worth((probabilities * np.asarray(self._gain)).sum(axis=1)), probabilities

    @torch.inference_mode()
    def relevance(self, query: IntArray, candidate: IntArray) -> Tensor:
        """Scores of the candidates [Q, K] of queries [Q], on the device: float64 [Q, K], 0 at padding -1.

        See simulator/stage.py, which ranks and prices them there. (A calibration is computed on the host.)
        """
        row, column = np.nonzero(candidate >= 0)
        table = torch.zeros(candidate.shape, dtype=torch.float64, device=self._device)
        if self._calibrated is not None or not self._on_gpu:
            score = self.place(self.score(query[row], candidate[row, column]))
        else:
            score = ranking_score(self._logits(query[row], candidate[row, column]), self._head, self._gain)
        table[self.place(row), self.place(column)] = score
        return table

    def of_queries(self, texts: tuple[str, ...]) -> HcmrmScorer:
        """The same model, ads and kept visual tokens, see `relevance.protocol.AnyQuery`."""
        _ = self.kept  # shared, so it has to be there
        other = copy.copy(self)
        other._texts = self._texts.with_queries(self._tokenizer, texts)
        return other

    @torch.inference_mode()
    def frame_markers(self, query: int, ad: IntArray) -> tuple[list[str], FloatArray] | None:
        """What the frames of ads [A] say of the tokens of a query: the N tokens, and markers [A, N].

        A marker is log P(token | frames) - log P(token | no frames), within +-6. None for a model that reads
        no such markers.
        """
        if not self.model.config.frame_markers:
            return None
        tokens = self._texts.of(np.array([query]), ad[:1]).query[0]
        tokens = tokens[tokens != 0]
        ads, place = np.unique(ad, return_inverse=True)
        words = self.kept.of(ads).words
        assert words is not None
        found: FloatArray = words[:, self.place(tokens)].double().cpu().numpy()
        names = [str(self._tokenizer.convert_ids_to_tokens(token)) for token in tokens.tolist()]
        return names, found[place]

    def place(self, values: NDArray[Any]) -> Tensor:
        """An array on the device; the host does not wait for the copy."""
        return self._send(torch.from_numpy(np.ascontiguousarray(values)))

    def length(self, query: IntArray, ad: IntArray) -> IntArray:
        """Tokens of the text of each pair, [CLS] and [SEP] included: [P], [P] -> [P]."""
        return self._texts.of(query, ad).length()

    def plan(self, query: IntArray, ad: IntArray) -> Iterator[IntArray]:
        """The batches that pairs [P], [P] are scored in: places in the list of pairs."""
        return self._plan(ad, self.length(query, ad))

    def _plan(self, ad: IntArray, length: IntArray) -> Iterator[IntArray]:
        """The batches of pairs of ads [P], whose texts have so many tokens [P]."""
        if not len(ad):
            return
        if self.packed is not None:
            order = np.lexsort((length, ad))
            number = np.cumsum(np.diff(ad[order], prepend=-1) != 0) - 1  # of the ad
            group = number // self.kept.capacity
            for rows in np.split(order, np.flatnonzero(np.diff(group)) + 1):
                yield from (rows[start : start + self._batch] for start in range(0, len(rows), self._batch))
            return
        padded, batch = _padded_length(length), min(self._batch, self.kept.capacity)
        for tokens in np.unique(padded):
            rows = np.flatnonzero(padded == tokens)
            rows = rows[np.argsort(ad[rows], kind="stable")]  # keys and values are projected once an ad
            yield from (rows[start : start + batch] for start in range(0, len(rows), batch))

    def text(self, query: IntArray, ad: IntArray) -> TextBatch:
        """What the model reads of each pair, on the host: [P], [P] -> [P, N]."""
        return self._joined(self._texts.of(query, ad))

    def _joined(self, tokens: PairTokens) -> TextBatch:
        config = self.model.config
        hidden = None if config.use_keywords else np.ones(len(tokens.query), dtype=bool)
        return tokens.text(markers=config.match_markers, without_keywords=hidden)

    @cached_property
    def kept(self) -> VisualTokens:
        """The visual tokens that are kept; their room is allocated on first use."""
        return VisualTokens(
            self._encode,
            self._corpus.n_ads,
            bytes_at_most=self._memory,
            home=self._home,
            device=self._device,
            encode_at_once=256 if self._on_gpu else ADS_AT_ONCE,
            each=self._each,
        )

    def _worth(self, score: FloatArray) -> FloatArray:
        return score if self._calibrated is None else self._calibrated(score)

    def _send(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._on_gpu else tensor

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """One thread prepares batches for a GPU; on a processor each thread computes with one core."""
        if self._on_gpu:
            return ThreadPoolExecutor(1)
        return ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))

    def _each(self, work: Callable[[IntArray], OfAds], parts: Iterable[IntArray]) -> Iterable[OfAds]:
        """`work` of each part; on a processor by all threads."""
        return map(work, parts) if self._on_gpu else self._pool.map(work, parts)

    @torch.inference_mode()
    def _logits(self, query: IntArray, ad: IntArray, progress: Progress | None = None) -> Tensor:
        """Logits of the grade head on the device, [P, its width]."""
        query, ad = np.asarray(query, dtype=np.int64), np.asarray(ad, dtype=np.int64)
        logits = torch.empty(len(query), self._head.logits, device=self._device)
        done = 0
        for start in range(0, len(query), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            for rows, scored in self._scored(query[part], ad[part]):
                logits[self.place(rows + start)] = scored[: rows.size]
                done += rows.size
                if progress is not None:
                    progress(done, len(query))
        return logits

    def _scored(self, query: IntArray, ad: IntArray) -> Iterator[tuple[IntArray, Tensor]]:
        """Places of pairs and their logits, batch by batch."""
        tokens = self._texts.of(query, ad)

        def prepare(rows: IntArray) -> Batch:
            return self._prepared(tokens, ad, rows)

        plan = self._plan(ad, tokens.length())
        if self._on_gpu:
            for batch in _ahead(self._pool, prepare, plan, 1):
                yield batch.rows, self._forward(batch, *self._seen(batch))
            return
        waiting: deque[tuple[IntArray, Future[Tensor]]] = deque()
        for batch in map(prepare, plan):
            waiting.append((batch.rows, self._pool.submit(self._forward, batch, *self._seen(batch))))
            if len(waiting) > 2 * self._threads:
                rows, scored = waiting.popleft()
                yield rows, scored.result()
        for rows, scored in waiting:
            yield rows, scored.result()

    def _prepared(self, tokens: PairTokens, ad: IntArray, rows: IntArray) -> Batch:
        """The batch of some of the pairs."""
        read = rows if len(rows) > 1 else rows.repeat(2)  # no product has a single row
        ads, inverse = np.unique(ad[read], return_inverse=True)
        text = self._joined(tokens.take(read))
        width = text.mask.shape[1]
        if self.packed is not None:
            layout = Layout.of(text.mask.sum(dim=1).numpy(), width, inverse)
            if self._on_gpu:
                text, layout = in_few_shapes(text, layout)
            packed = PackedBatch.of(text, layout)
            return Batch(rows, ads, packed._replace(numbers=self._send(packed.numbers)))
        more = int(_padded_length(np.array(width))) - width
        text = text.each(lambda part: self._send(functional.pad(part, (0, more))))
        return Batch(rows, ads, Padded(text, self._send(torch.from_numpy(inverse))))

    def _seen(self, batch: Batch) -> tuple[OfAds, Tensor]:
        """What the model sees of ads, and in which rows of it those of a batch are."""
        if self.packed is not None and self._home == "device":
            of_ads, row = self.kept.at(batch.ads)  # read where they are kept
            return of_ads, self._send(row)
        return self.kept.of(batch.ads), torch.arange(len(batch.ads), device=self._device)

    @torch.inference_mode()
    def _forward(self, batch: Batch, of_ads: OfAds, row: Tensor) -> Tensor:
        if isinstance(batch.texts, PackedBatch):
            assert self.packed is not None
            return self.packed(batch.texts, of_ads, row, in_place=self._home == "device")
        text, ad_of_text = batch.texts
        if len(batch.ads) == 1:
            of_ads = of_ads.each(lambda part: part.repeat(2, *[1] * (part.ndim - 1)))
        known = Known(of_ads.words, self._meaning)
        logits: Tensor = self.model(text, of_ads.visual, ad_of_text, known)
        return logits

    @torch.inference_mode()
    def _encode(self, ads: IntArray) -> OfAds:
        frames = self.place(self._frames[ads if len(ads) > 1 else ads.repeat(2)])
        exact: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self._on_gpu and self.model.dtype == torch.float32:
            # Convolutions would else have ten bits in their factors (TF32).
            exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with exact:
            visual = self.model.visual_tokens(frames)
        words = self.model.words_of_frames(visual) if self.model.config.frame_markers else None
        seen = visual if self.packed is None else self.packed.keys(visual)
        return OfAds(seen, words).each(lambda part: part[: len(ads)])


def _padded_length(length: IntArray) -> IntArray:
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def _ahead(
    pool: ThreadPoolExecutor, make: Callable[[IntArray], Batch], of: Iterable[IntArray], n: int
) -> Iterator[Batch]:
    """`make` of each, in a thread that is `n` ahead of the caller."""
    coming: deque[Future[Batch]] = deque()
    for one in of:
        coming.append(pool.submit(make, one))
        if len(coming) > n:
            yield coming.popleft().result()
    while coming:
        yield coming.popleft().result()
