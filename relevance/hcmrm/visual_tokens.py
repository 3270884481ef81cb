"""What is computed once for each ad and then kept, in memory of a bounded size."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from relevance.arrays import IntArray

Home = Literal["device", "host", "disk"]


class OfAds(NamedTuple):
    """What the model sees of A ads."""

    visual: Tensor  # [A, V, v] tokens of the frames
    words: Tensor | None  # [A, W] words read off them, for a model with frame markers

    def each(self, change: Callable[[Tensor], Tensor]) -> OfAds:
        """The same, with each of its tensors changed."""
        return OfAds(change(self.visual), None if self.words is None else change(self.words))


class VisualTokens:
    """Keeps what a model sees of each ad; the least recently used ads make room for new ones.

    Each part of `OfAds` has one tensor of rows, allocated at the start: on the device, on the host (pinned if
    there is a GPU, for fast copies), or in a file without a name that is mapped into memory, so that no file
    is left behind.
    """

    def __init__(
        self,
        encode: Callable[[IntArray], OfAds],
        n_ads: int,
        *,
        bytes_at_most: int = 2**30,
        home: Home = "device",
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        encode_at_once: int = 32,
        folder: Path | None = None,
        each: Callable[[Callable[[IntArray], OfAds], Iterable[IntArray]], Iterable[OfAds]] = map,
    ) -> None:
        """Nothing is encoded yet, but for one ad, to see the shapes.

        Args:
            encode: computes what the model sees of some ads, on the device.
            n_ads: number of ads, which are numbered from 0.
            bytes_at_most: the most bytes to keep; one ad has room in any case.
            home: where the rows are kept.
            dtype: their precision (`torch.bfloat16` halves the bytes); None: as encoded.
            encode_at_once: ads in one pass; on a CPU a few, whose pixels fit its caches.
            folder: where the file is with `home="disk"`; None: the system's folder for temporary files.
            each: calls `encode` for several passes, in threads for instance, and gives the results in order.

        Raises:
            OSError: the file cannot be made.
        """
        self._encode, self._at_once, self._device = encode, max(1, encode_at_once), torch.device(device)
        self._each = each
        example = encode(np.zeros(1, dtype=np.int64))
        self._dtype, kept_as = example.visual.dtype, dtype or example.visual.dtype
        self.bytes_per_ad = kept_as.itemsize * sum(part[0].numel() for part in example if part is not None)
        self.capacity = max(1, min(n_ads, bytes_at_most // self.bytes_per_ad))
        self._rows = example.each(
            lambda part: _room(home, (self.capacity, *part.shape[1:]), kept_as, self._device, folder)
        )
        self._row_of_ad = np.full(n_ads, -1)
        self._ad_of_row = np.full(self.capacity, -1)
        self._last_use = np.zeros(self.capacity, dtype=np.int64)
        self._clock = 0

    @torch.inference_mode()
    def of(self, ads: IntArray) -> OfAds:
        """What the model sees of A different ads, on the device; ads that are not kept are encoded now.

        Raises:
            ValueError: there is no room for so many ads at once.
        """
        rows, row = self.at(ads)
        return rows.each(
            lambda part: part[row.to(part.device)].to(self._device, self._dtype, non_blocking=True)
        )

    @torch.inference_mode()
    def at(self, ads: IntArray) -> tuple[OfAds, Tensor]:
        """Everything that is kept, where it is kept, and in which rows of it A different ads are: int64 [A].

        Valid until the next call. Raises ValueError as `of` does.
        """
        if ads.size > self.capacity:
            raise ValueError(f"{ads.size} ads at once, but only {self.capacity} have room")
        self._clock += 1
        held = self._row_of_ad[ads]
        self._last_use[held[held >= 0]] = self._clock
        missing = ads[held < 0]
        passes = [missing[at : at + self._at_once] for at in range(0, missing.size, self._at_once)]
        for new, encoded in zip(passes, self._each(self._encode, passes), strict=True):
            self._keep(new, encoded)
        return self._rows, torch.from_numpy(self._row_of_ad[ads])

    def _keep(self, ads: IntArray, encoded: OfAds) -> None:
        """Put ads into the rows that were used least recently."""
        row = np.argpartition(self._last_use, ads.size - 1)[: ads.size]
        gone = self._ad_of_row[row]
        self._row_of_ad[gone[gone >= 0]] = -1
        self._ad_of_row[row], self._row_of_ad[ads] = ads, row
        self._last_use[row] = self._clock
        for part, new in zip(self._rows, encoded, strict=True):
            if part is not None and new is not None:
                part[torch.from_numpy(row).to(part.device)] = new.to(part.device, part.dtype)


def _room(
    home: Home, shape: Sequence[int], dtype: torch.dtype, device: torch.device, folder: Path | None
) -> Tensor:
    if home == "device":
        return torch.empty(*shape, dtype=dtype, device=device)
    if home == "host":
        return torch.empty(*shape, dtype=dtype, pin_memory=device.type == "cuda")
    with tempfile.TemporaryDirectory(dir=folder, prefix="visual-tokens-") as name:
        # The mapping holds the file after its name is gone.
        path = str(Path(name) / "rows")
        return torch.from_file(path, shared=True, size=prod(shape), dtype=dtype).view(*shape)
