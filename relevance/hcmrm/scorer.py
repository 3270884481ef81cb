"""HCMRM as a relevance scorer: it encodes frames once an ad, and texts in batches of similar length."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

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
from relevance.hcmrm.text import MAX_QUERY, TokenTable, token_ids
from relevance.hcmrm.training.batching import plan_batches
from relevance.hcmrm.training.losses import ranking_score
from relevance.hcmrm.visual_tokens import Home, OfAds, VisualTokens
from relevance.oracle import GRADE_GAIN

Progress = Callable[[int, int], None]
Precision = Literal["float32", "bfloat16", "float16"]
One = TypeVar("One")
Other = TypeVar("Other")


class Prepared(NamedTuple):
    """A batch of P = B * G pairs, whose text is being copied to the device."""

    rows: IntArray  # [P] places in the list of pairs
    ads: IntArray  # [A] its different ads
    ad_of_row: Tensor  # [B] which of those every G pairs go with
    text: TextBatch  # [P, N]


class HcmrmScorer:
    """Scores query-ad pairs of one corpus with one checkpoint.

    What the model sees of an ad (visual tokens) is computed once and kept, within bounds. Pairs are scored in
    the order of their text lengths and ads (see batching.py), which changes results by rounding (about 1e-6).
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        corpus: Corpus,
        *,
        device: str = "cpu",
        batch: int = 256,
        tables: TokenTable | None = None,
        calibration: str = "none",
        precision: Precision = "float32",
        texts_per_ad: int | None = None,
        memory: int = 2**30,
        keep_on: Home = "device",
        compiled: bool = False,
        compile_backend: str = "inductor",
    ) -> None:
        """Nothing is scored yet.

        Args:
            batch: pairs in one pass through the model.
            tables: the corpus tokenised with this checkpoint's vocabulary, if that is done already.
            calibration: a name in `checkpoint.calibration`, which makes P(positive) of the score (grade
                probabilities stay the model's own); "none": the ranking score.
            precision: of weights and activations; logits are float32. Half precision may swap pairs with
                nearly equal scores: docs/hcmrm.md says how many.
            texts_per_ad: texts of one ad in a row, which share one copy of the keys and values of its frames;
                None: 1 on a CPU, where that copy costs nothing, and 8 on a GPU.
            memory: the most bytes of visual tokens to keep.
            keep_on: where they are kept.
            compiled: pass the model through `torch.compile` with static shapes (with CUDA graphs on a GPU).
                Texts are padded to multiples of 8 tokens and batches to their full size. Compiling takes tens
                of seconds for each shape.
        """
        self._device = torch.device(device)
        self.model = checkpoint.model
        if precision != "float32":
            self.model = copy.deepcopy(self.model).to(getattr(torch, precision))
        self.model = self.model.to(self._device).eval()  # type: ignore[arg-type]
        self._head = self.model.grades
        self._corpus, self._batch, self._tokenizer = corpus, batch, checkpoint.tokenizer
        self._calibrated = None if calibration == "none" else checkpoint.calibration[calibration]
        self._on_gpu, self._compiled = self._device.type == "cuda", compiled
        self.texts_per_ad = texts_per_ad or (8 if self._on_gpu else 1)
        self._forward: Callable[..., Tensor] = self.model
        if compiled:
            mode = "reduce-overhead" if self._on_gpu and compile_backend == "inductor" else None
            self._forward = torch.compile(self.model, backend=compile_backend, mode=mode, dynamic=False)
        self._sequences = [checkpoint.keywords(text) for text in corpus.ad_texts()]
        self._frames = corpus.frames[:, : self.model.config.n_frames]
        self._tables = tables or TokenTable.build(
            checkpoint.tokenizer,
            corpus.query_text,
            self._sequences,
            max_keywords=self.model.config.text_tokens,
        )
        self._memory, self._home = memory, keep_on

    @staticmethod
    def load(
        corpus: Corpus,
        folder: Path = SHIPPED,
        *,
        device: str = "cpu",
        threads: int | None = None,
        calibration: str = "none",
        **options: Any,
    ) -> HcmrmScorer:
        """A scorer from a checkpoint folder; `options` are those of the class.

        Args:
            threads: processor threads of this process from now on; None leaves them as they are.

        Raises:
            CheckpointError: there is no such device; the folder holds no whole checkpoint, or lacks the
                calibration; or the checkpoint reads more frames, or frames of another shape.
        """
        use_device(device, threads)
        checkpoint = Checkpoint.load(folder)
        config = checkpoint.model.config
        reads, has = (config.n_frames, config.image_size, config.image_size), corpus.frames.shape[1:4]
        if config.use_frames and has[0] and (has[0] < reads[0] or has[1:] != reads[1:]):
            raise CheckpointError(
                f"{folder}: reads {reads[0]} frames of {reads[1]}x{reads[2]} pixels, the ads have {has[0]} "
                f"of {has[1]}x{has[2]}; give the world such frames, or train a checkpoint on these"
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
        return self._worth(probabilities @ np.asarray(GRADE_GAIN)), probabilities

    @torch.inference_mode()
    def relevance(self, query: IntArray, candidate: IntArray) -> Tensor:
        """Scores of the candidates [Q, K] of queries [Q], on the device: float64 [Q, K], 0 at padding -1.

        See simulator/stage.py, which ranks and prices them there. (A calibration is computed on the host.)
        """
        row, column = np.nonzero(candidate >= 0)
        logits = self._logits(query[row], candidate[row, column])
        table = torch.zeros(candidate.shape, dtype=torch.float64, device=self._device)
        score = ranking_score(logits, self._head)
        if self._calibrated is not None:
            score = self.place(self._calibrated(score.cpu().numpy()))
        table[self.place(row), self.place(column)] = score
        return table

    def of_queries(self, texts: tuple[str, ...]) -> HcmrmScorer:
        """The same model, ads and kept visual tokens, see `relevance.protocol.AnyQuery`."""
        _ = self.kept  # shared, so it has to be there
        other = copy.copy(self)
        other._tables = replace(self._tables, query=token_ids(self._tokenizer, texts, MAX_QUERY))
        return other

    @torch.inference_mode()
    def frame_markers(self, query: int, ad: IntArray) -> tuple[list[str], FloatArray] | None:
        """What the frames of ads [A] say of the tokens of a query: the N tokens, and markers [A, N].

        A marker is log P(token | frames) - log P(token | no frames), within +-6. None for a model that reads
        no such markers.
        """
        if not self.model.config.frame_markers:
            return None
        tokens = self._tables.query[query]
        tokens = tokens[tokens != 0]
        ads, place = np.unique(ad, return_inverse=True)
        words = self.kept.of(ads).words
        assert words is not None
        found: FloatArray = words[:, self.place(tokens)].double().cpu().numpy()
        names = [str(self._tokenizer.convert_ids_to_tokens(token)) for token in tokens.tolist()]
        return names, found[place]

    def place(self, values: NDArray[Any]) -> Tensor:
        """An array on the device; the host does not wait for the copy."""
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._on_gpu else tensor

    def length(self, query: IntArray, ad: IntArray) -> IntArray:
        """Tokens of the text of each pair, [CLS] and [SEP] included: [P], [P] -> [P]."""
        of_query, of_ad = ((part != 0).sum(axis=1) for part in (self._tables.query, self._tables.keywords))
        length: IntArray = of_query[query] + of_ad[ad] + 3
        return length

    def plan(self, query: IntArray, ad: IntArray) -> Iterator[IntArray]:
        """The batches that pairs [P], [P] are scored in (see batching.py)."""
        if not ad.size:
            return iter(())
        return plan_batches(
            ad,
            self.length(query, ad),
            batch=min(self._batch, self.texts_per_ad * self.kept.capacity),
            texts_per_ad=self.texts_per_ad,
            ads_at_once=self.kept.capacity,
        )

    def text(self, query: IntArray, ad: IntArray) -> TextBatch:
        """What the model reads of each pair, on the host: [P], [P] -> [P, N]."""
        config = self.model.config
        hidden = None if config.use_keywords else np.ones(ad.size, dtype=bool)
        return self._tables.pairs(query, ad, markers=config.match_markers, without_keywords=hidden)

    @cached_property
    def kept(self) -> VisualTokens:
        """The visual tokens that are kept; their room is allocated on first use."""
        return VisualTokens(
            self._encode,
            self._corpus.n_ads,
            bytes_at_most=self._memory,
            home=self._home,
            device=self._device,
            encode_at_once=self._batch if self._on_gpu else 32,
        )

    def _worth(self, score: FloatArray) -> FloatArray:
        return score if self._calibrated is None else self._calibrated(score)

    @torch.inference_mode()
    def _logits(self, query: IntArray, ad: IntArray, progress: Progress | None = None) -> Tensor:
        """Logits of the grade head on the device, [P, its width]."""
        query, ad = np.asarray(query, dtype=np.int64), np.asarray(ad, dtype=np.int64)
        logits = torch.empty(len(query), self._head.logits, device=self._device)
        meaning = self.model.meaning() if self.model.config.word_markers else None
        done = 0
        batches = _ahead(
            lambda rows: self._prepared(query, ad, rows), self.plan(query, ad), in_thread=self._on_gpu
        )
        for batch in batches:
            of_ads = self.kept.of(batch.ads)
            if self._compiled:
                batch, of_ads = self._static(batch, of_ads)
            known = Known(of_ads.words, meaning)
            scored = self._forward(batch.text, of_ads.visual, batch.ad_of_row, known)
            logits[self.place(batch.rows)] = scored[: batch.rows.size]
            done += batch.rows.size
            if progress is not None:
                progress(done, len(query))
        return logits

    def _prepared(self, query: IntArray, ad: IntArray, rows: IntArray) -> Prepared:
        pair = rows.ravel()
        ads, ad_of_row = np.unique(ad[rows[:, 0]], return_inverse=True)
        text = self.text(query[pair], ad[pair]).each(lambda part: self.place(part.numpy()))
        return Prepared(pair, ads, self.place(ad_of_row), text)

    def _encode(self, ads: IntArray) -> OfAds:
        frames = self.place(self._frames[ads])
        visual = self.model.visual_tokens(frames)
        return OfAds(visual, self.model.words_of_frames(visual) if self.model.config.frame_markers else None)

    def _static(self, batch: Prepared, of_ads: OfAds) -> tuple[Prepared, OfAds]:
        """Padded to one of few shapes; nobody reads the scores of the padding."""
        g = batch.rows.size // len(batch.ad_of_row)
        n_rows = max(1, self._batch // g)
        pairs, tokens = n_rows * g - batch.rows.size, -batch.text.input_ids.shape[1] % 8
        text = batch.text.each(lambda part: functional.pad(part, (0, tokens, 0, pairs)))
        text.mask[batch.rows.size :, 0] = 1  # softmax needs a token in every text
        ad_of_row = functional.pad(batch.ad_of_row, (0, n_rows - len(batch.ad_of_row)))
        ads = n_rows - len(of_ads.visual)
        padded = of_ads.each(lambda part: functional.pad(part, (0, 0) * (part.ndim - 1) + (0, ads)))
        return batch._replace(text=text, ad_of_row=ad_of_row), padded


def _ahead(make: Callable[[One], Other], of: Iterable[One], *, in_thread: bool) -> Iterator[Other]:
    """`make` of each; a thread makes the next one while the caller uses this one."""
    if not in_thread:
        yield from map(make, of)
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = None
        for one in of:
            last, coming = coming, thread.submit(make, one)
            if last is not None:
                yield last.result()
        if coming is not None:
            yield coming.result()
