"""What frozen layers say of labelled pairs. It is computed once for a training, or for several of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from relevance.arrays import FloatArray, IntArray
from relevance.hcmrm.model import HCMRM, Known, TextBatch
from relevance.hcmrm.text import TokenTable
from relevance.hcmrm.training.losses import ranking_score

AT_ONCE = 64
"""Pairs that are read in one pass."""


class FrozenPairs:
    """Keeps the text encoder's output and the prior's numbers of pairs, on the processor.

    It belongs to one corpus, one text encoder and one prior; all models that have these may share it. A pair
    of 24 tokens of a BERT of width 384 takes 37 KB.
    """

    def __init__(self, tables: TokenTable) -> None:
        """Nothing is kept yet; `tables` are the texts of the corpus."""
        self._tables = tables
        self._encoded: dict[tuple[int, int], Tensor] = {}
        self._numbers: dict[tuple[int, int], Tensor] = {}

    def of(self, model: HCMRM, query: IntArray, ad: IntArray) -> tuple[TextBatch, Known]:
        """The texts of P pairs, and what is known of them, on the processor.

        Args:
            model: in evaluation mode or with a frozen text encoder; it reads the pairs that are new.
        """
        pairs = list(zip(query.tolist(), ad.tolist(), strict=True))
        held = self._encoded if model.prior is None else self._numbers
        new = [i for i, pair in enumerate(pairs) if pair not in held]
        new.sort(key=lambda i: int(np.count_nonzero(self._tables.keywords[ad[i]])))  # little padding
        for start in range(0, len(new), AT_ONCE):
            rows = new[start : start + AT_ONCE]
            self._read(model, query[rows], ad[rows])
        text = self._tables.pairs(query, ad, markers=False)
        encoded = torch.zeros(*text.mask.shape, model.config.hidden_size)
        for row, pair in enumerate(pairs):
            kept = self._encoded[pair]
            encoded[row, : len(kept)] = kept
        numbers = None if model.prior is None else torch.stack([self._numbers[pair] for pair in pairs])
        return text, Known(encoded=encoded, numbers=numbers)

    @torch.no_grad()
    def _read(self, model: HCMRM, query: IntArray, ad: IntArray) -> None:
        device = model.no_frame.device
        text = self._tables.pairs(query, ad, markers=False)
        on_device = text.each(lambda part: part.to(device))
        encoded = model.text_encoder(on_device).float().cpu()
        pairs = list(zip(query.tolist(), ad.tolist(), strict=True))
        for pair, row, length in zip(pairs, encoded, text.mask.sum(dim=1).tolist(), strict=True):
            self._encoded[pair] = row[:length].clone()
        if model.prior is not None:
            numbers = model.prior.read(model.text_encoder, on_device).cpu()
            self._numbers.update(zip(pairs, numbers, strict=True))


@torch.inference_mode()
def score_frozen(model: HCMRM, kept: FrozenPairs, query: IntArray, ad: IntArray) -> FloatArray:
    """Ranking scores of P pairs of texts alone, [P] in [0, 1]: those of `HcmrmScorer`, but for rounding.

    Args:
        model: in evaluation mode, without frames.
    """
    score = np.empty(len(query))
    order = np.argsort([np.count_nonzero(kept._tables.keywords[one]) for one in ad], kind="stable")
    device = model.no_frame.device
    for start in range(0, len(order), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        text, known = kept.of(model, query[rows], ad[rows])
        known = Known(*(part if part is None else part.to(device) for part in known))
        visual = model.no_frame.expand(len(rows), -1, -1)
        row = torch.arange(len(rows), device=device)
        logits = model(text.each(lambda part: part.to(device)), visual, row, known)
        score[rows] = ranking_score(logits, model.grades).cpu().numpy()
    return score
