"""Which pairs are scored together: texts of similar length, and pairs of one ad in a row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relevance.arrays import IntArray


def plan_batches(
    ad: IntArray, length: IntArray, *, batch: int, texts_per_ad: int = 1, ads_at_once: int | None = None
) -> Iterator[IntArray]:
    """Cut P pairs into batches: each is int64 [B, G], indices into the list of pairs; a row has one ad.

    Every pair is in one batch. The texts of a batch have similar lengths, and pairs of equal length are
    sorted by ad. (Sorting by ad first would project fewer keys and values, but padding would cost more.) With
    G > 1, an ad's pairs are cut into rows of G of similar length, and its remaining pairs are in batches with
    G = 1.

    Args:
        ad: [P], the ad of each pair.
        length: [P], tokens of its text.
        batch: the most pairs in a batch (but at least one row).
        texts_per_ad: G.
        ads_at_once: after so many ads are done, the next ones follow; None: all at once.
    """
    if min(batch, texts_per_ad, ads_at_once or 1) < 1:
        raise ValueError(f"batch {batch}, texts_per_ad {texts_per_ad}, ads_at_once {ads_at_once}: below 1")
    place = np.lexsort((length, ad))
    first = np.flatnonzero(np.diff(ad[place], prepend=-1))  # where the pairs of each ad begin
    n_pairs = np.diff(first, append=ad.size)
    within = np.arange(ad.size) - np.repeat(first, n_pairs)
    in_row = within < np.repeat(n_pairs // texts_per_ad * texts_per_ad, n_pairs)
    group = np.repeat(np.arange(first.size) // (ads_at_once or max(1, first.size)), n_pairs)
    for number in range(int(group.max(initial=-1)) + 1):
        here = group == number
        yield from _batches(place[here & in_row].reshape(-1, texts_per_ad), ad, length, batch)
        yield from _batches(place[here & ~in_row].reshape(-1, 1), ad, length, batch)


def _batches(rows: IntArray, ad: IntArray, length: IntArray, batch: int) -> Iterator[IntArray]:
    """Rows int64 [R, G] by their longest text, then by ad."""
    if not rows.size:
        return
    order = np.lexsort((ad[rows[:, 0]], length[rows].max(axis=1)))
    at_once = max(1, batch // rows.shape[1])
    for start in range(0, len(rows), at_once):
        yield rows[order[start : start + at_once]]
