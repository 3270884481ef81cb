"""HCMRM without padding, in half or quarter precision: how a GPU scores pairs.

The tokens of all texts of a batch stand one behind another, the texts of one ad together. Every dense layer
is then one matrix product over the tokens that there are. Self-attention stays within a text and
cross-attention within an ad, so an ad's keys and values are projected once and all of its texts read them
without a copy. (FlashAttention calls such sequences "varlen"; Portes et al. 2023, MosaicBERT, arXiv
2312.17482, and ModernBERT, arXiv 2412.13663, call it unpadding.)

T tokens, P texts, A ads, V visual tokens an ad, d the hidden size, v the visual size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn

from relevance.arrays import IntArray
from relevance.hcmrm.layers import TextLayer
from relevance.hcmrm.model import HCMRM, Known, TextBatch
from relevance.hcmrm.visual_tokens import OfAds

Precision = Literal["float32", "float16", "bfloat16", "float8"]
"""Of weights and activations. float8: weights and what is multiplied with them in e4m3, with a scale for each
row; all else in bfloat16."""

FLOAT8 = torch.float8_e4m3fn
FLOAT8_MAX = 448.0
AD_TILE = 64
"""The most tokens of an ad's texts that a program of the GPU takes."""
LONGEST_TEXT = 128
"""Tokens up to which a program takes a whole text."""
GRAPH_TOKENS = 2**14
"""Batches of at most so many tokens are replayed as CUDA graphs: to launch their kernels one by one would
take longer than the kernels do."""
GRAPHS = 128
"""The most graphs that are kept, each for one set of shapes."""


class Layout(NamedTuple):
    """Where the tokens of P texts of A ads stand, int32; starts end with the total."""

    place: Tensor  # [T] of each token in the padded batch, read row by row
    text_start: Tensor  # [P + 1] the first token of each text
    ad_start: Tensor  # [A + 1] the first token of each ad's texts
    ad_text: Tensor  # [A + 1] the first text of each ad
    ad_of_text: Tensor  # [P] ascending
    tiles: Tensor  # [M, 2] pieces of ads' texts: the ad, and the first token (kernels.attend_ads)
    text_tiles: Tensor  # likewise of the texts' first tokens: the ad, and the first text
    longest: int  # tokens of a text

    @staticmethod
    def of(length: IntArray, width: int, ad_of_text: IntArray) -> Layout:
        """The layout, on the host, of texts with I[P] tokens in a padded batch [P, width].

        Args:
            ad_of_text: I[P] ascending from 0 without a gap.
        """
        text_start, ad_text = (
            np.concatenate(([0], np.cumsum(part))) for part in (length, np.bincount(ad_of_text))
        )
        row = np.repeat(np.arange(length.size), length)
        place = row * width + np.arange(row.size) - text_start[row]
        ad_start = text_start[ad_text]
        parts = place, text_start, ad_start, ad_text, ad_of_text, _tiles(ad_start), _tiles(ad_text)
        tensors = (torch.from_numpy(x.astype(np.int32)) for x in parts)
        return Layout._make((*tensors, int(length.max(initial=1))))


Shapes = tuple[tuple[int, ...], ...]


class PackedBatch(NamedTuple):
    """P texts and their layout in one tensor, which one copy brings to the device."""

    numbers: Tensor  # int32, the parts one after another
    shapes: Shapes  # of the parts; then (longest,)

    @staticmethod
    def of(text: TextBatch, layout: Layout) -> PackedBatch:
        """Put the parts together."""
        parts = *text, *layout[:-1]
        shapes = *(tuple(part.shape) for part in parts), (layout.longest,)
        return PackedBatch(torch.cat([part.flatten().int() for part in parts]), shapes)

    def parts(self) -> tuple[TextBatch, Layout]:
        """Views of the parts."""
        sizes = [prod(shape) for shape in self.shapes[:-1]]
        views = [
            part.view(shape) for part, shape in zip(self.numbers.split(sizes), self.shapes[:-1], strict=True)
        ]
        return TextBatch(*views[:3]), Layout._make((*views[3:], self.shapes[-1][0]))

    @property
    def n_tokens(self) -> int:
        return self.shapes[3][0]

    @property
    def n_ads(self) -> int:
        return self.shapes[5][0] - 1


def _tiles(start: IntArray) -> IntArray:
    """Pieces of at most AD_TILE of what starts at I[A + 1]: [M, 2], the ad and the piece's first."""
    pieces = -(-np.diff(start) // AD_TILE)
    ad = np.repeat(np.arange(pieces.size), pieces)
    number = np.arange(ad.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return np.stack((ad, start[ad] + AD_TILE * number), axis=1)


class Matrix(NamedTuple):
    """A dense layer. With `scale`, the weights are float8 and a row is this times what it says."""

    weight: Tensor  # [out, in]
    bias: Tensor  # [out]
    scale: Tensor | None = None  # float32 [1, out]

    @staticmethod
    def of(*layers: nn.Module, float8: bool) -> Matrix:
        """One layer, or several of the same input side by side."""
        weight, bias = (torch.cat(parts) for parts in zip(*((x.weight, x.bias) for x in layers), strict=True))
        if not float8:
            return Matrix(weight, bias)
        rows = rows_in_float8(weight)
        return Matrix(rows.values, bias, rows.scale.T.contiguous())

    def part(self, start: int, stop: int) -> Matrix:
        """Some of its outputs."""
        scale = None if self.scale is None else self.scale[:, start:stop]
        return Matrix(self.weight[start:stop], self.bias[start:stop], scale)


class Rows(NamedTuple):
    """Vectors in float8: `values` [..., n] times `scale` float32 [..., 1]."""

    values: Tensor
    scale: Tensor


def rows_in_float8(x: Tensor) -> Rows:
    """Each row of [..., n] in float8, its largest number at the largest that float8 has."""
    scale = x.abs().amax(dim=-1, keepdim=True).float().clamp(min=1e-12) / FLOAT8_MAX
    return Rows((x.float() / scale).to(FLOAT8), scale)


def multiply(x: Tensor | Rows, matrix: Matrix, *, gelu: bool = False) -> Tensor:
    """[T, in] -> [T, out], in bfloat16 where the matrix is float8.

    With `gelu` (not of float8), its tanh form on a GPU, computed inside the product. It differs from the
    exact one by less than 5e-4, which is less than half precision keeps of numbers from 0.125 on.
    """
    if isinstance(x, Rows):
        weight, scale, dtype = matrix.weight, matrix.scale, matrix.bias.dtype
        assert scale is not None
        if x.values.is_cuda:
            y = torch._scaled_mm(
                x.values, weight.T, x.scale, scale, bias=matrix.bias, out_dtype=dtype, use_fast_accum=True
            )
        else:
            y = (x.values.float() @ weight.float().T * x.scale * scale).to(dtype) + matrix.bias
        return y
    if gelu and x.is_cuda:
        return torch._addmm_activation(matrix.bias, x, matrix.weight.T, use_gelu=True)
    y = functional.linear(x, matrix.weight, matrix.bias)
    return functional.gelu(y) if gelu else y


def attend_texts(
    query: Tensor, key: Tensor, value: Tensor, q_start: Tensor, k_start: Tensor, longest: tuple[int, int]
) -> Tensor:
    """Attention within sequences: [Tq, heads, n] to [Tk, heads, n], whose sequences start at int32 [S + 1].

    Args:
        longest: at least the longest sequence of queries, and of keys.
    """
    if query.is_cuda:
        if max(longest) > LONGEST_TEXT:
            return varlen_attn(query, key, value, q_start, k_start, *longest)  # type: ignore[return-value]
        from relevance.hcmrm import kernels

        return kernels.attend_texts(query, key, value, q_start, k_start, longest)
    mixed = torch.zeros_like(query)  # one sequence at a time: a reference
    for (q, q_end), (k, k_end) in zip(pairwise(q_start.tolist()), pairwise(k_start.tolist()), strict=True):
        mixed[q:q_end] = _attend(query[q:q_end], key[k:k_end], value[k:k_end])
    return mixed


def attend_ads(query: Tensor, keys: Tensor, row: Tensor, start: Tensor, tiles: Tensor) -> Tensor:
    """Attention from the tokens of each ad's texts [T, heads, n] to the keys of the ad: [T, heads, n].

    Args:
        keys: [R, V, 2 d] of R ads, keys and then values.
        row: int64 [A], where each ad's are.
        start: int32 [A + 1], the first token of each ad's texts; `tiles`: those of `Layout`.
    """
    if query.is_cuda:
        from relevance.hcmrm import kernels

        return kernels.attend_ads(query, keys, row, start, tiles)
    mixed = torch.zeros_like(query)
    for ad, (first, end) in zip(row.tolist(), pairwise(start.tolist()), strict=True):
        mixed[first:end] = _attend(query[first:end], *_split(keys[ad], 2, query.shape[1]))
    return mixed


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1)


def add_norm(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """The post-norm of BERT: LayerNorm(x + y)."""
    return functional.layer_norm(x + y, weight.shape, weight, bias, eps)


def gelu_rows(x: Tensor) -> Rows:
    """The GELU of `multiply`, and its float8."""
    return rows_in_float8(functional.gelu(x, approximate="tanh"))


def add_norm_rows(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Rows]:
    """The same, and its float8 for the product that follows."""
    normed = add_norm(x, y, weight, bias, eps)
    return normed, rows_in_float8(normed)


class Between(NamedTuple):
    """What is computed between the products. On a GPU `kernels.py` does it."""

    add_norm: Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]
    add_norm_rows: Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Rows]]
    rows_in_float8: Callable[[Tensor], Rows]
    gelu_rows: Callable[[Tensor], Rows]


IN_TORCH = Between(add_norm, add_norm_rows, rows_in_float8, gelu_rows)
"""The same in plain torch: on a processor, and what the kernels are compared with."""


class Cross(NamedTuple):
    """The matrices of a cross-attention."""

    query: Matrix
    key_value: Matrix
    output: Matrix
    norm: nn.LayerNorm


class Layer(NamedTuple):
    """The matrices of a text layer, or with `cross` of a fusion layer."""

    n_heads: int
    query_key_value: Matrix  # side by side
    output: Matrix
    norm: nn.LayerNorm
    cross: Cross | None
    inner: Matrix
    outer: Matrix
    last_norm: nn.LayerNorm

    @staticmethod
    def of(layer: TextLayer, *, float8: bool) -> Layer:
        """Share, join or quantise the weights of a layer."""
        own, seen = layer.attention, layer.cross
        cross = None
        if seen is not None and layer.cross_norm is not None:
            query, key_value, output = (
                Matrix.of(x, float8=float8) for x in (seen.query, seen.key_value, seen.output)
            )
            cross = Cross(query, key_value, output, layer.cross_norm)
        return Layer(
            own.n_heads,
            Matrix.of(own.query, own.key_value, float8=float8),
            Matrix.of(own.output, float8=float8),
            layer.attention_norm,
            cross,
            Matrix.of(layer.mlp[0], float8=float8),
            Matrix.of(layer.mlp[2], float8=float8),
            layer.mlp_norm,
        )


class PackedModel:
    """An HCMRM that reads query and keywords in one sequence, ready to score batches without padding.

    Attributes:
        model: the model in half precision, whose embeddings, markers and head are used as they are.
        between: what is computed between the products; another may be set before the first batch.
    """

    def __init__(self, model: HCMRM, precision: Precision) -> None:
        """Raises ValueError for a model of two towers."""
        if model.ad_projection is not None:
            raise ValueError("two towers have no packed form; score them in float32")
        self.model, self.float8 = model, precision == "float8"
        self._text, self._fusion = (
            [Layer.of(layer, float8=self.float8) for layer in layers if isinstance(layer, TextLayer)]
            for layers in (model.text_encoder.layers, model.fusion_layers)
        )
        self._meaning = model.meaning() if model.config.word_markers else None
        self.between = IN_TORCH
        if model.device.type == "cuda":
            from relevance.hcmrm import kernels

            names = Between._fields
            self.between = Between(*(getattr(kernels, name) for name in names))
        self._graphs: OrderedDict[Shapes, _Graph] = OrderedDict()

    @torch.inference_mode()
    def keys(self, visual: Tensor) -> Tensor:
        """Keys and values of A ads for every fusion layer: visual tokens [A, V, v] -> [A, layers, V, 2 d]."""
        rows = self._rows(visual.flatten(0, 1))
        of_layers = [multiply(rows, layer.cross.key_value) for layer in self._fusion if layer.cross]
        return torch.stack([x.unflatten(0, visual.shape[:2]) for x in of_layers], dim=1)

    @torch.inference_mode()
    def __call__(self, batch: PackedBatch, of_ads: OfAds, row: Tensor, *, in_place: bool = False) -> Tensor:
        """Logits of P pairs, float32 [P, logits of the grade head].

        Args:
            of_ads: what is kept of R ads, with `keys` as their visual part.
            row: int64 [A], where those of the batch are.
            in_place: `of_ads` are the same tensors in every call. A graph reads where its first call read.
        """
        row = functional.pad(row, (0, batch.n_ads - len(row)))
        if not (in_place and row.is_cuda and batch.n_tokens <= GRAPH_TOKENS):
            return self.forward(batch, of_ads, row)
        key = batch.shapes
        if key not in self._graphs:
            if len(self._graphs) >= GRAPHS:
                self._graphs.popitem(last=False)
            pool = next(iter(self._graphs.values())).graph.pool() if self._graphs else None
            self._graphs[key] = _Graph(self.forward, batch, of_ads, row, pool)
        self._graphs.move_to_end(key)
        return self._graphs[key](batch.numbers, row)

    def forward(self, batch: PackedBatch, of_ads: OfAds, row: Tensor) -> Tensor:
        """The same, kernel by kernel."""
        text, layout = batch.parts()
        model = self.model
        known = Known(of_ads.words, self._meaning)
        marks = model.marks(text, of_ads.visual, row[layout.ad_of_text], known)
        x = model.text_encoder.embed(text, marks).flatten(0, 1)[layout.place]
        rows = self._rows(x)
        for layer in self._text:
            x, rows = self._layer(layer, x, rows, layout)
        last = len(self._fusion) - 1
        for number, layer in enumerate(self._fusion):
            keys = of_ads.visual[:, number], row
            x, rows = self._layer(layer, x, rows, layout, keys, first_only=number == last)
        return functional.linear(x.float(), model.grade_head.weight.float(), model.grade_head.bias.float())

    def _layer(
        self,
        layer: Layer,
        x: Tensor,
        rows: Tensor | Rows,
        layout: Layout,
        keys: tuple[Tensor, Tensor] | None = None,
        *,
        first_only: bool = False,
    ) -> tuple[Tensor, Tensor | Rows]:
        """X [T, d], and the same as the products take it -> likewise; [P, d] of the first tokens alone."""
        d, heads, longest = x.shape[1], layer.n_heads, layout.longest
        starts, ad_start, tiles = layout.text_start, layout.ad_start, layout.tiles
        if first_only:
            first = layout.text_start[:-1]
            key, value = _split(multiply(rows, layer.query_key_value.part(d, 3 * d)), 2, heads)
            x = x[first]
            rows = Rows(rows.values[first], rows.scale[first]) if isinstance(rows, Rows) else x
            (query,) = _split(multiply(rows, layer.query_key_value.part(0, d)), 1, heads)
            starts = torch.arange(len(x) + 1, dtype=torch.int32, device=x.device)
            ad_start, tiles, most = layout.ad_text, layout.text_tiles, 1
        else:
            query, key, value = _split(multiply(rows, layer.query_key_value), 3, heads)
            most = longest
        mixed = attend_texts(query, key, value, starts, layout.text_start, (most, longest)).flatten(1)
        x, rows = self._added(x, multiply(self._rows(mixed), layer.output), layer.norm)
        if layer.cross is not None and keys is not None:
            (query,) = _split(multiply(rows, layer.cross.query), 1, heads)
            mixed = attend_ads(query, *keys, ad_start, tiles).flatten(1)
            x, rows = self._added(x, multiply(self._rows(mixed), layer.cross.output), layer.cross.norm)
        if self.float8:
            inner: Tensor | Rows = self.between.gelu_rows(multiply(rows, layer.inner))
        else:
            inner = multiply(rows, layer.inner, gelu=True)
        return self._added(x, multiply(inner, layer.outer), layer.last_norm)

    def _rows(self, x: Tensor) -> Tensor | Rows:
        """As the products take it."""
        return self.between.rows_in_float8(x) if self.float8 else x

    def _added(self, x: Tensor, y: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor | Rows]:
        weights = norm.weight, norm.bias, norm.eps
        if self.float8:
            return self.between.add_norm_rows(x, y, *weights)
        normed = self.between.add_norm(x, y, *weights)
        return normed, normed


def _split(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """[T, parts * d] -> `parts` times [T, heads, d / heads]."""
    return x.view(len(x), parts, heads, -1).unbind(1)


class _Graph:
    """One recorded run for inputs of certain shapes, which later inputs are copied into."""

    def __init__(
        self,
        forward: Callable[..., Tensor],
        batch: PackedBatch,
        of_ads: OfAds,
        row: Tensor,
        pool: Any,
    ) -> None:
        self._batch, self._row = batch._replace(numbers=batch.numbers.clone()), row.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):  # libraries choose and allocate on their first call
                forward(self._batch, of_ads, self._row)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self._output = forward(self._batch, of_ads, self._row)

    def __call__(self, numbers: Tensor, row: Tensor) -> Tensor:
        self._batch.numbers.copy_(numbers, non_blocking=True)
        self._row.copy_(row, non_blocking=True)
        self.graph.replay()
        return self._output.clone()


def in_few_shapes(text: TextBatch, layout: Layout) -> tuple[TextBatch, Layout]:
    """A small batch with padding behind it, so that few shapes occur; nobody reads what is computed of it.

    Shapes follow from two numbers, of texts and of tokens a text. The padding's texts and ads have no tokens;
    its tokens, of which there is at least one for the empty texts to start at, belong to no text.
    """
    p, n = text.input_ids.shape
    a, t = len(layout.ad_start) - 1, layout.place.numel()
    if t > GRAPH_TOKENS:
        return text, layout
    width, texts = -(-n // 16) * 16, _step(p)
    tokens = texts * (t // texts // 4 + 1) * 4
    place = layout.place // n * width + layout.place % n

    def starts(start: Tensor, more: int) -> Tensor:
        return torch.cat((start, start[-1:].expand(more)))

    def tiles(tile: Tensor, most: int) -> Tensor:  # an ad has a part-filled piece at most
        return functional.pad(tile, (0, 0, 0, most - len(tile)), value=-1)

    padded = Layout(
        functional.pad(place, (0, tokens - t)),
        starts(layout.text_start, texts - p),
        starts(layout.ad_start, texts - a),
        starts(layout.ad_text, texts - a),
        functional.pad(layout.ad_of_text, (0, texts - p)),
        tiles(layout.tiles, texts + tokens // AD_TILE),
        tiles(layout.text_tiles, texts + texts // AD_TILE),
        width,
    )
    return text.each(lambda part: functional.pad(part, (0, width - n, 0, texts - p))), padded


def _step(n: int) -> int:
    """The next of 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ...: at most a quarter more."""
    unit = 2 ** (max(n - 1, 7).bit_length() - 3)
    return max(8, -(-n // unit) * unit)
