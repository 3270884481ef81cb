"""Keyed randomness: a draw depends on seed, station and the item that it is for, never on earlier draws.

Two arms of an experiment therefore share their draws, and batching changes nothing. The streams come from
Philox, a counter-based generator (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1,
2, 3"): the counter of a row is its index, so a row is read without drawing those before it.
"""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from simulator.arrays import FloatArray

_WORDS_PER_BLOCK = 4  # one Philox counter gives four 64-bit words, and a double takes one
_HALF_STEP = 2.0**-54  # moves the uniforms k / 2^53 off 0, where the normal quantile is infinite


def uniforms(seed: int, station: str, start: int, count: int, width: int) -> FloatArray:
    """Uniforms on [0, 1) of rows start .. start + count - 1, F[count, width].

    Row i depends only on (seed, station, i), however the rows are batched. It also depends on how many blocks
    of four `width` needs, so ask for the full width every time and use a part of it.
    """
    blocks = -(-width // _WORDS_PER_BLOCK)
    generator = np.random.Generator(np.random.Philox(key=_key(seed, station), counter=start * blocks))
    return generator.random((count, blocks * _WORDS_PER_BLOCK))[:, :width]


def row_uniforms(seed: int, station: str, rows: NDArray[np.integer], width: int) -> FloatArray:
    """The rows I[n] (near one another) of `uniforms`, F[n, width]."""
    if rows.size == 0:
        return np.empty((0, width))
    first, last = int(rows.min()), int(rows.max())
    drawn = uniforms(seed, station, first, last - first + 1, width)
    return drawn if bool((rows[1:] - rows[:-1] == 1).all()) else drawn[rows - first]


def normals(seed: int, station: str, start: int, count: int, width: int) -> FloatArray:
    """Standard normals F[count, width], keyed like `uniforms` (by inversion: one uniform makes one)."""
    return _normal_quantile(uniforms(seed, station, start, count, width))


def pair_uniforms(
    seed: int, station: str, first: NDArray[np.integer], second: NDArray[np.integer]
) -> FloatArray:
    """Uniforms F[...] on [0, 1) keyed by pairs of numbers I[...], such as (query, ad); they broadcast.

    Each number is folded in with the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
    """
    key = _key(seed, station)
    hashed = _mix(_mix(_mix(first.astype(np.uint64)) ^ key[0]) + second.astype(np.uint64)) ^ key[1]
    return (_mix(hashed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pair_normals(
    seed: int, station: str, first: NDArray[np.integer], second: NDArray[np.integer]
) -> FloatArray:
    """Standard normals F[...], keyed like `pair_uniforms`."""
    return _normal_quantile(pair_uniforms(seed, station, first, second))


def generator(seed: int, station: str) -> np.random.Generator:
    """A generator for draws that are made once, before a run starts."""
    return np.random.Generator(np.random.Philox(key=_key(seed, station)))


def text_key(text: str) -> int:
    """A 64-bit number that stands for a text; the same on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _key(seed: int, station: str) -> NDArray[np.uint64]:
    return np.frombuffer(blake2b(f"{seed}/{station}".encode(), digest_size=16).digest(), dtype=np.uint64)


def _mix(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    word = word + np.uint64(0x9E3779B97F4A7C15)  # arrays wrap around silently, as it should
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _normal_quantile(u: FloatArray) -> FloatArray:
    quantile: FloatArray = ndtri(u + _HALF_STEP)
    return quantile
