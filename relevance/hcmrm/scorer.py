"""HCMRM behind the scorer protocol: frames once an ad, texts in batches of like length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relevance.corpus import Corpus
from relevance.errors import CheckpointError
from relevance.oracle import GRADE_GAIN

from .checkpoint import SHIPPED, Checkpoint
from .losses import ranking_score
from .text import TokenTable

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Progress = Callable[[int, int], None]


class HcmrmScorer:
    """Scores query-ad pairs of one corpus with one checkpoint.

    Visual tokens are computed once for each ad that is asked for, then kept. Pairs are scored in the order of
    their ads and text lengths; that changes speed, and results by rounding (about 1e-6) only.
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
    ) -> None:
        """A scorer.

        Args:
            tables: the corpus tokenised before with this checkpoint's vocabulary, to save doing it again.
            calibration: a name in `checkpoint.calibration`, which makes P(positive) of the score (grade
                probabilities stay the model's own); "none": the ranking score.
        """
        self._device = torch.device(device)
        self._model = checkpoint.model.to(self._device).eval()  # type: ignore[arg-type]
        self._head = self._model.grades
        self._corpus, self._batch = corpus, batch
        self._calibrated = None if calibration == "none" else checkpoint.calibration[calibration]
        self._extract = checkpoint.keywords
        self._sequences = [checkpoint.keywords(text) for text in corpus.ad_texts()]
        self._frames = corpus.frames[:, : self._model.config.n_frames]
        self._tables = tables or TokenTable.build(
            checkpoint.tokenizer,
            corpus.query_text,
            self._sequences,
            max_keywords=self._model.config.text_tokens,
        )
        self._visual: dict[int, Tensor] = {}

    @staticmethod
    def load(
        corpus: Corpus, folder: Path = SHIPPED, *, device: str = "cpu", calibration: str = "none"
    ) -> HcmrmScorer:
        """A scorer from a checkpoint folder.

        Raises:
            CheckpointError: the folder holds no whole checkpoint, or one for more frames or frames of another
                shape, or lacks the calibration.
        """
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
        return HcmrmScorer(checkpoint, corpus, device=device, calibration=calibration)

    def score(self, query: IntArray, ad: IntArray, progress: Progress | None = None) -> FloatArray:
        """Ranking score of each pair: [P], [P] -> [P] in [0, 1].

        Args:
            progress: called with (pairs scored, pairs in all).
        """
        return self.read(query, ad, progress)[0]

    def grade_probabilities(
        self, query: IntArray, ad: IntArray, progress: Progress | None = None
    ) -> FloatArray | None:
        """P(grade) of each pair for the grades 0..3: [P], [P] -> [P, 4]; None if the head has none."""
        return self.read(query, ad, progress)[1]

    def read(
        self, query: IntArray, ad: IntArray, progress: Progress | None = None
    ) -> tuple[FloatArray, FloatArray | None]:
        """`score` and `grade_probabilities` of the pairs from one pass through the model."""
        logits = torch.from_numpy(self._logits(query, ad, progress)).double()
        log_probabilities = self._head.log_probabilities
        if log_probabilities is None:
            return self._worth(ranking_score(logits, self._head).numpy()), None
        probabilities = log_probabilities(logits).exp().numpy()
        return self._worth(probabilities @ np.asarray(GRADE_GAIN)), probabilities

    @property
    @torch.inference_mode()
    def bytes_per_ad(self) -> int:
        """Memory that the kept visual tokens of one ad take."""
        shape = (1, *self._frames.shape[1:])
        tokens = self._model.visual_tokens(torch.zeros(shape, dtype=torch.uint8, device=self._device))
        return tokens.numel() * tokens.element_size()

    @property
    def n_kept(self) -> int:
        """Ads whose visual tokens are kept."""
        return len(self._visual)

    def forget(self) -> None:
        """Drop the kept visual tokens; ads that are asked for again are encoded again."""
        self._visual.clear()

    def keywords(self, ad: IntArray) -> tuple[tuple[str, ...], ...]:
        """The keyword sequences that the model reads for these ads."""
        return tuple(self._sequences[i] for i in ad.tolist())

    def _worth(self, score: FloatArray) -> FloatArray:
        return score if self._calibrated is None else self._calibrated(score)

    @torch.inference_mode()
    def _logits(self, query: IntArray, ad: IntArray, progress: Progress | None) -> NDArray[np.float32]:
        """Logits of the grade head, [P, its width]."""
        query, ad = np.asarray(query, dtype=np.int64), np.asarray(ad, dtype=np.int64)
        self._encode_frames(np.unique(ad))
        length = (self._tables.query != 0).sum(axis=1)[query] + (self._tables.keywords != 0).sum(axis=1)[ad]
        order = np.lexsort((ad, length))
        logits = np.empty((len(query), self._head.logits), dtype=np.float32)
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            ads, ad_of_pair = np.unique(ad[rows], return_inverse=True)
            text = self._tables.pairs(
                query[rows],
                ad[rows],
                markers=self._model.config.match_markers,
                without_keywords=None if self._model.config.use_keywords else np.ones(len(rows), dtype=bool),
            )
            visual = torch.stack([self._visual[i] for i in ads.tolist()])
            on_device = type(text)(*(part.to(self._device) for part in text))
            logits[rows] = (
                self._model(on_device, visual, torch.from_numpy(ad_of_pair).to(self._device)).cpu().numpy()
            )
            if progress is not None:
                progress(min(start + self._batch, len(order)), len(order))
        return logits

    def _encode_frames(self, ads: IntArray) -> None:
        missing = np.array([i for i in ads.tolist() if i not in self._visual], dtype=np.int64)
        for start in range(0, len(missing), self._batch):
            chunk = missing[start : start + self._batch]
            frames = torch.from_numpy(np.ascontiguousarray(self._frames[chunk])).to(self._device)
            self._visual.update(zip(chunk.tolist(), self._model.visual_tokens(frames), strict=True))
