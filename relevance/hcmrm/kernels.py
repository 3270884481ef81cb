"""What lies between the products of HCMRM on a GPU, in Triton: attention, layer norms, and float8.

Texts have some twenty tokens, a tile of FlashAttention 128; here tiles fit the texts, and the keys of ads are
read where they are kept. Both kernels of attention are FlashAttention's online softmax (Dao 2023, arXiv
2307.08691). The others read each row once. This module imports Triton, which comes with torch's builds for
GPUs.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor
from triton import language as tl

from relevance.hcmrm.packed import AD_TILE, FLOAT8, Rows

KEY_TILE = 64
"""Keys of an ad that `attend_ads` holds at once."""


def attend_texts(
    query: Tensor, key: Tensor, value: Tensor, q_start: Tensor, k_start: Tensor, longest: tuple[int, int]
) -> Tensor:
    """Attention within short sequences: [Tq, heads, n] to [Tk, heads, n] -> [Tq, heads, n].

    Args:
        query, key, value: rows may be apart (`stride(0)`), heads stand side by side; n is 16, 32, 64 or 128.
        q_start, k_start: int32 [S + 1], where the sequences start; the last is the end.
        longest: at least the longest sequence of queries, and of keys; at most
            `packed.LONGEST_TEXT`.
    """
    n_heads, size = query.shape[1:]
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    q_block, k_block = (max(16, triton.next_power_of_2(n)) for n in longest)
    _attend_texts[(len(q_start) - 1, n_heads)](
        query, key, value, out, q_start, k_start,
        query.stride(0), key.stride(0), value.stride(0), out.stride(0), size**-0.5,
        size, q_block, k_block, num_warps=1 if q_block * k_block <= 1024 else 4,
    )  # fmt: skip
    return out


def attend_ads(query: Tensor, keys: Tensor, row: Tensor, start: Tensor, tiles: Tensor) -> Tensor:
    """Attention from the tokens of each ad's texts [T, heads, n] to the keys of the ad -> [T, heads, n].

    Args:
        keys: [R, V, 2 d], of R ads; the keys of all heads, then the values; may be part of a larger tensor.
        row: int64 [A], where each ad's are.
        start: int32 [A + 1], the first token of each ad's texts.
        tiles: int32 [M, 2], pieces of at most AD_TILE tokens that cover all: the ad, and the piece's first
            token; pieces of ad -1 are skipped.
    """
    n_heads, size = query.shape[1:]
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    _attend_ads[(len(tiles), n_heads)](
        query, keys, out, row, start, tiles,
        query.stride(0), keys.stride(0), keys.stride(1), out.stride(0),
        n_heads * size, size**-0.5 * 1.4426950408889634,
        keys.shape[1], size, AD_TILE, KEY_TILE, num_warps=4, num_stages=3,
    )  # fmt: skip
    return out


def add_norm(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm(x + y) of [T, d], summed in float32."""
    return _added(x, y, weight, bias, eps, None)


def add_norm_rows(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Rows]:
    """The same, and its float8."""
    rows = _empty_rows(x)
    return _added(x, y, weight, bias, eps, rows), rows


def rows_in_float8(x: Tensor) -> Rows:
    """[T, n] in float8, see packed.py."""
    return _in_rows(x, gelu=False)


def gelu_rows(x: Tensor) -> Rows:
    """The float8 of the tanh form of the GELU of [T, n]."""
    return _in_rows(x, gelu=True)


def _empty_rows(x: Tensor) -> Rows:
    values = torch.empty(x.shape, dtype=FLOAT8, device=x.device)
    return Rows(values, torch.empty(len(x), 1, dtype=torch.float32, device=x.device))


def _tile(n: int) -> dict[str, int]:
    """Rows of n numbers that one program takes, and its warps."""
    block = triton.next_power_of_2(n)
    return {"WIDTH": n, "BLOCK": block, "ROWS": max(1, 4096 // block), "num_warps": 4}


def _added(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, eps: float, rows: Rows | None) -> Tensor:
    x, y = x.contiguous(), y.contiguous()
    out, tile, t = torch.empty_like(x), _tile(x.shape[1]), len(x)
    values, scale = rows or (out, out)
    _add_norm[(triton.cdiv(t, tile["ROWS"]),)](
        x, y, weight, bias, out, values, scale, t, eps, FLOAT8=rows is not None, **tile
    )
    return out


def _in_rows(x: Tensor, *, gelu: bool) -> Rows:
    x = x.contiguous()
    rows, tile = _empty_rows(x), _tile(x.shape[1])
    _in_float8[(triton.cdiv(len(x), tile["ROWS"]),)](x, *rows, len(x), GELU=gelu, **tile)
    return rows


@triton.jit
def _attend_texts(
    query, key, value, out, q_start, k_start, q_stride, k_stride, v_stride, o_stride, scale,
    SIZE: tl.constexpr, Q_BLOCK: tl.constexpr, K_BLOCK: tl.constexpr,
):  # fmt: skip
    """One text and head."""
    text, head = tl.program_id(0), tl.program_id(1)
    q_first, k_first = tl.load(q_start + text), tl.load(k_start + text)
    q_row, k_row, column = tl.arange(0, Q_BLOCK), tl.arange(0, K_BLOCK), tl.arange(0, SIZE)
    asks = q_row < tl.load(q_start + text + 1) - q_first
    there = k_row < tl.load(k_start + text + 1) - k_first
    q_at, k_at = (q_first + q_row).to(tl.int64)[:, None], (k_first + k_row).to(tl.int64)[:, None]
    here = (head * SIZE + column)[None, :]
    q = tl.load(query + q_at * q_stride + here, mask=asks[:, None], other=0.0)
    k = tl.load(key + k_at * k_stride + here, mask=there[:, None], other=0.0)
    v = tl.load(value + k_at * v_stride + here, mask=there[:, None], other=0.0)
    logits = tl.where(there[None, :], tl.dot(q, tl.trans(k)) * scale, float("-inf"))
    weight = tl.exp(logits - tl.max(logits, axis=1)[:, None])
    weight = weight / tl.sum(weight, axis=1)[:, None]
    mixed = tl.dot(weight.to(v.dtype), v)
    tl.store(out + q_at * o_stride + here, mixed.to(v.dtype), mask=asks[:, None])


@triton.jit
def _attend_ads(
    query, keys, out, row, start, tiles, q_stride, ad_stride, key_stride, o_stride, to_values, scale,
    N_KEYS: tl.constexpr, SIZE: tl.constexpr, Q_TILE: tl.constexpr, K_TILE: tl.constexpr,
):  # fmt: skip
    """One piece of an ad's texts and one head. Softmax to the base 2: log2 e is part of `scale`."""
    piece, head = tl.program_id(0), tl.program_id(1)
    ad = tl.load(tiles + 2 * piece)
    if ad >= 0:
        first, end = tl.load(tiles + 2 * piece + 1), tl.load(start + ad + 1)
        q_row, column = first + tl.arange(0, Q_TILE), tl.arange(0, SIZE)
        asks = q_row < end
        here = (head * SIZE + column)[None, :]
        q_at = q_row.to(tl.int64)[:, None]
        q = tl.load(query + q_at * q_stride + here, mask=asks[:, None], other=0.0)
        base = keys + tl.load(row + ad).to(tl.int64) * ad_stride + here
        largest = tl.full([Q_TILE], float("-inf"), tl.float32)
        total = tl.zeros([Q_TILE], tl.float32)
        mixed = tl.zeros([Q_TILE, SIZE], tl.float32)
        for k_first in range(0, N_KEYS, K_TILE):
            k_row = k_first + tl.arange(0, K_TILE)
            there = k_row < N_KEYS
            at = base + k_row[:, None] * key_stride
            k = tl.load(at, mask=there[:, None], other=0.0)
            logits = tl.where(there[None, :], tl.dot(q, tl.trans(k)) * scale, float("-inf"))
            new = tl.maximum(largest, tl.max(logits, axis=1))
            weight, shrink = tl.exp2(logits - new[:, None]), tl.exp2(largest - new)
            v = tl.load(at + to_values, mask=there[:, None], other=0.0)
            total = total * shrink + tl.sum(weight, axis=1)
            mixed = tl.dot(weight.to(v.dtype), v, mixed * shrink[:, None])
            largest = new
        tl.store(out + q_at * o_stride + here, (mixed / total[:, None]).to(q.dtype), mask=asks[:, None])


@triton.jit
def _store_float8(values, scale, row, at, x, there, here):
    """Rows x [ROWS, BLOCK] and their scales; `there` [ROWS] and `here` [ROWS, BLOCK] exist."""
    largest = tl.max(tl.abs(x), axis=1)
    by = tl.maximum(largest, 1e-12) / 448.0
    tl.store(scale + row, by, mask=there)
    tl.store(values + at, (x / by[:, None]).to(tl.float8e4nv), mask=here)


@triton.jit
def _add_norm(
    x, y, weight, bias, out, values, scale, n_rows, eps,
    FLOAT8: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    there, inside = row < n_rows, column < WIDTH
    here = there[:, None] & inside[None, :]
    at = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    z = tl.load(x + at, mask=here, other=0.0).to(tl.float32)
    z += tl.load(y + at, mask=here, other=0.0).to(tl.float32)
    mean = tl.sum(z, axis=1) / WIDTH
    z = tl.where(here, z - mean[:, None], 0.0)
    deviation = tl.sqrt(tl.sum(z * z, axis=1) / WIDTH + eps)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    normed = z / deviation[:, None] * w[None, :] + b[None, :]
    tl.store(out + at, normed.to(out.dtype.element_ty), mask=here)
    if FLOAT8:
        _store_float8(values, scale, row, at, tl.where(here, normed, 0.0), there, here)


@triton.jit
def _in_float8(
    x, values, scale, n_rows,
    GELU: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, BLOCK)
    there = row < n_rows
    here = there[:, None] & (column < WIDTH)[None, :]
    at = row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    z = tl.load(x + at, mask=here, other=0.0).to(tl.float32)
    if GELU:  # z (1 + tanh(u)) / 2 = z sigmoid(2 u)
        z = z * tl.sigmoid(1.5957691216057308 * (z + 0.044715 * z * z * z))
    _store_float8(values, scale, row, at, z, there, here)
