"""Token sequences of query and ad, together and apart. P sequences of N tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class TextBatch(NamedTuple):
    """P token sequences, each int64 [P, N]; `mask` is 1 at tokens and 0 at padding."""

    input_ids: Tensor
    mask: Tensor
    token_type: Tensor

    def each(self, change: Callable[[Tensor], Tensor]) -> TextBatch:
        """The batch whose three parts are changed alike: moved, padded, or some of their rows taken."""
        return TextBatch(*map(change, self))


def parts_by_length(text: TextBatch, n_parts: int) -> list[tuple[Tensor, TextBatch]]:
    """The texts in parts of like length, without padding that a whole part has: rows, int64, and texts."""
    length = text.mask.sum(dim=1)
    parts = []
    for rows in length.argsort(stable=True).chunk(n_parts):
        width = int(length[rows].amax()) if len(rows) else 0
        parts.append((rows, TextBatch(*(part[rows, :width] for part in text))))
    return parts


def split_pairs(text: TextBatch) -> tuple[TextBatch, TextBatch]:
    """`[CLS] query [SEP] keywords [SEP]` as two texts, `[CLS] query [SEP]` and `[CLS] [SEP] keywords [SEP]`.

    Match markers are removed, since they say what the two have in common.
    """
    there, of_query, place = _sides(text)
    ends = (place == 0) | (place == of_query.sum(dim=1, keepdim=True) - 1)  # [CLS] and the first [SEP]
    query, ad = (
        _only(text, kept, int(kept.sum(dim=1).max())) for kept in (of_query, there & (ends | ~of_query))
    )
    return query, ad


def texts_apart(text: TextBatch, longest_query: int) -> tuple[TextBatch, TextBatch]:
    """The same pairs as two texts that are read alone, [CLS] query [SEP] and [CLS] keywords [SEP].

    Their widths follow from N alone, so that a pair is computed alike in every batch.

    Args:
        longest_query: the most tokens of a query, [CLS] and [SEP] included.
    """
    there, of_query, place = _sides(text)
    query = _only(text, of_query, min(there.shape[1], longest_query))
    ad = _only(text, there & ((place == 0) | ~of_query), there.shape[1])
    return query, ad._replace(token_type=torch.zeros_like(ad.token_type))


def _sides(text: TextBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Which tokens are there and which are the query's, bool [P, N] each, and the place of each, [N]."""
    there = text.mask == 1
    place = torch.arange(there.shape[1], device=there.device)
    return there, there & (text.token_type % 2 == 0), place


def _only(text: TextBatch, kept: Tensor, width: int) -> TextBatch:
    """The tokens that are kept, in their order, padded to a width and without match markers."""
    order = kept.int().argsort(dim=1, descending=True, stable=True)[:, :width]
    mask = kept.gather(1, order).long()
    return TextBatch(
        text.input_ids.gather(1, order) * mask, mask, text.token_type.gather(1, order) % 2 * mask
    )
