"""Array types of the simulator and its unit of account.

Shapes in docstrings: U distinct queries, Q arrivals (or the queries of a batch), K candidates, S slots, A
ads, N advertisers; "..." is any batch shape. Candidate padding is -1. Time is in seconds.
"""

from math import prod
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
GradeArray: TypeAlias = NDArray[np.int8]
BoolArray: TypeAlias = NDArray[np.bool_]
AnyArray: TypeAlias = Any  # a NumPy array or a torch tensor: what array_api_compat.array_namespace accepts

MICROS = 1_000_000  # micros in one unit of currency


def to_micros(amount: ArrayLike) -> IntArray:
    """Currency units [...] -> whole micros I[...]; rounding keeps order, so price <= bid survives it."""
    return np.rint(np.multiply(amount, MICROS)).astype(np.int64)


def namespace(*arrays: AnyArray) -> Any:
    """The functions for arrays of one kind: NumPy itself, or what array_api_compat has for others.

    NumPy 2 keeps to the array API standard by itself, and detecting it again in every function costs as
    much as a small batch's auction.

    Raises:
        TypeError: no argument is an array, or one is something else, such as a list.
    """
    for array in arrays:
        if type(array) is not np.ndarray:
            try:
                return array_namespace(*arrays)
            except TypeError:
                kinds = ", ".join(type(array).__name__ for array in arrays)
                raise TypeError(
                    f"expected NumPy arrays or torch tensors, got {kinds}: wrap lists and numbers in "
                    "numpy.asarray, or use simulator.auction.run_auction, which takes them as they are"
                ) from None
    return np


def as_float(array: AnyArray) -> AnyArray:
    """The array itself if it holds floats; whole numbers as float64, which a bid of 10 may be given as."""
    if type(array) is np.ndarray:
        return array if array.dtype.kind == "f" else array.astype(np.float64)
    xp = namespace(array)
    return array if xp.isdtype(array.dtype, "real floating") else xp.astype(array, xp.float64)


def taken_places(column: AnyArray, k: int) -> AnyArray:
    """Where columns I[..., S] of tables F[..., k] stand in these read row by row, I[..., S].

    Column 0 stands in for -1 (nobody), so the caller has to mask what is read there.
    """
    xp = namespace(column)
    *rows, _ = column.shape
    start = xp.arange(0, prod(rows) * k, k, device=device(column))
    return xp.where(column > 0, column, 0) + xp.reshape(start, (*rows, 1))


def take_at(values: AnyArray, place: AnyArray) -> AnyArray:
    """Values F[..., K] at places I[..., S]: what take_along_axis gives, five times as fast."""
    if isinstance(values, np.ndarray):
        return values.reshape(-1).take(place)
    xp = namespace(values)
    return xp.reshape(xp.take(xp.reshape(values, (-1,)), xp.reshape(place, (-1,)), axis=0), place.shape)


def keep_freed_memory() -> None:
    """Ask the C library not to give memory back to the system after every batch of queries.

    Getting it again costs a page fault per 4 kB, more than the auctions. glibc keeps up to twice the size of
    the largest array that was ever freed (M_TRIM_THRESHOLD moves with it, up to 64 MB), so one of 31 MB is
    freed here; nothing is written to it. Without glibc this does nothing.
    """
    np.empty(31 * 2**20, dtype=np.uint8)
