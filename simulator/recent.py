"""Rows of arrays that are kept for a bounded number of keys; the least recently used leave first."""

from collections import OrderedDict
from typing import Any

import numpy as np

from simulator.arrays import AnyArray, IntArray


class RecentRows:
    """Rows of the `capacity` keys that were used last. Their memory is fixed, whatever comes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._place: OrderedDict[int, int] = OrderedDict()  # least recently used first
        self._tables: list[Any] = []

    def find(self, key: IntArray) -> IntArray:
        """Where the rows of distinct keys I[n] lie, I[n]; -1 if they are not kept. They count as used."""
        place = [self._place.get(one, -1) for one in key.tolist()]
        for one, at in zip(key.tolist(), place, strict=True):
            if at >= 0:
                self._place.move_to_end(one)
        return np.array(place, dtype=np.int64)

    def at(self, place: IntArray) -> list[AnyArray]:
        """The rows at places I[n] that `find` has given: one array [n, ...] of each kind that was put."""
        return [table[place] for table in self._tables]

    def put(self, key: IntArray, *rows: AnyArray) -> None:
        """Keep rows of distinct keys I[n], an array [n, ...] of each kind; of too many, the last."""
        if not self._capacity or not key.size:
            return
        if not self._tables:
            self._tables = [_like(kind, self._capacity) for kind in rows]
        key, rows = key[-self._capacity :], tuple(kind[-self._capacity :] for kind in rows)
        place = np.array([self._room_for(one) for one in key.tolist()], dtype=np.int64)
        for table, kind in zip(self._tables, rows, strict=True):
            table[place] = kind

    def _room_for(self, key: int) -> int:
        place = self._place.pop(key, None)
        if place is None:
            full = len(self._place) == self._capacity
            place = self._place.popitem(last=False)[1] if full else len(self._place)
        self._place[key] = place
        return place


def _like(rows: AnyArray, n: int) -> AnyArray:
    """Room for n rows of this kind, on the same device; it costs nothing until it is written to."""
    shape = (n, *rows.shape[1:])
    return np.empty(shape, rows.dtype) if isinstance(rows, np.ndarray) else rows.new_empty(shape)
