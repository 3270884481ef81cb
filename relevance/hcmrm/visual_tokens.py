"""What is computed once for each ad and then kept, in memory of a bounded size."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IntArray = NDArray[np.int64]
Home = Literal["device", "host", "disk"]


class OfAds(NamedTuple):
    """What the model sees of A ads."""

    visual: Tensor  # [A, V, v] tokens of the frames
    words: Tensor | None  # [A, W] words read off them, for a model with frame markers


class VisualTokens:
    """Keeps what a model sees of each ad; the least recently used ads go first where there is no more room.

    Rows of one tensor for each part of `OfAds`, taken at the start: on the device, on the host (pinned where
    there is a GPU, so that rows travel fast), or in a file that is mapped into memory and has no name, so
    that nothing of it is left behind.
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
    ) -> None:
        """Nothing is encoded yet, but for one ad, to see the shapes.

        Args:
            encode: what the model sees of some ads, on the device.
            n_ads: ads that there are, numbered from 0.
            bytes_at_most: bound of what is kept; one ad has room in any case.
            home: where it is kept.
            dtype: in which precision it is kept (`torch.bfloat16` halves it); None: as it is encoded.
            encode_at_once: ads; on a CPU a few, whose pixels fit its caches.
            folder: where the file lies with `home="disk"`; None: the system's folder for such files.

        Raises:
            OSError: the file cannot be made.
        """
        self._encode, self._at_once, self._device = encode, max(1, encode_at_once), torch.device(device)
        example = encode(np.zeros(1, dtype=np.int64))
        self._dtype, kept_as = example.visual.dtype, dtype or example.visual.dtype
        self.bytes_per_ad = kept_as.itemsize * sum(part[0].numel() for part in example if part is not None)
        self.capacity = max(1, min(n_ads, bytes_at_most // self.bytes_per_ad))
        self._rows = _each(
            lambda part: _room(home, (self.capacity, *part.shape[1:]), kept_as, self._device, folder), example
        )
        self._row_of_ad = np.full(n_ads, -1)
        self._ad_of_row = np.full(self.capacity, -1)
        self._last_use = np.zeros(self.capacity, dtype=np.int64)
        self._clock = 0

    def __len__(self) -> int:
        """Ads that are kept."""
        return int(np.count_nonzero(self._ad_of_row >= 0))

    def __contains__(self, ad: int) -> bool:
        return bool(self._row_of_ad[ad] >= 0)

    @property
    def nbytes(self) -> int:
        """What the kept ads take."""
        return len(self) * self.bytes_per_ad

    @torch.inference_mode()
    def of(self, ads: IntArray) -> OfAds:
        """What the model sees of A different ads, on the device; those that are not kept are encoded now.

        Raises:
            ValueError: more ads than have room at once.
        """
        if ads.size > self.capacity:
            raise ValueError(f"{ads.size} ads at once, but only {self.capacity} have room")
        self._clock += 1
        held = self._row_of_ad[ads]
        self._last_use[held[held >= 0]] = self._clock
        missing = ads[held < 0]
        for start in range(0, missing.size, self._at_once):
            self._keep(missing[start : start + self._at_once])
        row = torch.from_numpy(self._row_of_ad[ads])
        return _each(
            lambda part: part[row.to(part.device)].to(self._device, self._dtype, non_blocking=True),
            self._rows,
        )

    def _keep(self, ads: IntArray) -> None:
        """Encode ads into the rows that were used least recently."""
        encoded = self._encode(ads)
        row = np.argpartition(self._last_use, ads.size - 1)[: ads.size]
        gone = self._ad_of_row[row]
        self._row_of_ad[gone[gone >= 0]] = -1
        self._ad_of_row[row], self._row_of_ad[ads] = ads, row
        self._last_use[row] = self._clock
        for part, new in zip(self._rows, encoded, strict=True):
            if part is not None and new is not None:
                part[torch.from_numpy(row).to(part.device)] = new.to(part.device, part.dtype)


def _each(make: Callable[[Tensor], Tensor], of: OfAds) -> OfAds:
    return OfAds(make(of.visual), None if of.words is None else make(of.words))


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
