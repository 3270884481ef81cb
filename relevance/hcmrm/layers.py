"""The parts of the two encoders: attention, the pre-norm block of ViT, the post-norm layer of BERT.

In training on a CPU, attention is written out instead of calling `scaled_dot_product_attention`: its backward
pass is faster for sequences of some thirty tokens. d is the hidden size, N and M are numbers of tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from relevance.hcmrm.model_config import HCMRMConfig


class Linear(nn.Linear):
    """A linear layer that computes float32 products on a CPU with oneDNN, if no gradient is wanted.

    torch takes MKL for them, which is less than half as fast as oneDNN on AMD's processors. Results are the
    same but for rounding.
    """

    def forward(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        """[..., in] -> [..., out], with a GELU after it if `gelu`."""
        in_onednn = (
            x.is_cpu
            and x.dtype == self.weight.dtype == torch.float32
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and torch.backends.mkldnn.is_available()
        )
        if in_onednn and x.numel():
            after, how = ("gelu", "none") if gelu else ("none", "")
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, after, [], how)
        y = super().forward(x)
        return nn.functional.gelu(y) if gelu else y


class Attention(nn.Module):
    """Multi-head attention from N tokens to M others; keys and values may be projected once and shared.

    `fused`: whether `scaled_dot_product_attention` computes it; None: on a GPU, or without gradients.
    """

    fused: bool | None = None

    def __init__(self, size: int, n_heads: int, source_size: int | None = None) -> None:
        """`source_size`: width of the tokens that are attended to, where it is another than `size`."""
        super().__init__()
        self.size, self.n_heads = size, n_heads
        self.query = Linear(size, size)
        self.key_value = Linear(source_size or size, 2 * size)
        self.output = Linear(size, size)

    def project(self, source: Tensor) -> Tensor:
        """Keys and values of `source` [B, M, source size]: [2, B, heads, M, d / heads]."""
        b, m = source.shape[:2]
        heads = self.key_value(source).view(b, m, 2, self.n_heads, self.size // self.n_heads)
        return heads.permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, key_value: Tensor, bias: Tensor | None = None) -> Tensor:
        """From x [B, N, d] to projected keys and values; `bias` [B, 1, 1, M] is added to the logits."""
        b, n, d = x.shape
        key, value = key_value[0], key_value[1]
        query = self.query(x).view(b, n, self.n_heads, d // self.n_heads).transpose(1, 2)
        fused = not (x.is_cpu and torch.is_grad_enabled()) if self.fused is None else self.fused
        if fused:
            mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        else:
            logits = query @ key.transpose(-1, -2) / math.sqrt(d // self.n_heads)
            mixed = (logits if bias is None else logits + bias).softmax(dim=-1) @ value
        return self.output(mixed.transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Sequential):
    """Two linear layers with the exact (erf) GELU between them."""

    def __init__(self, size: int, inner: int) -> None:
        super().__init__(Linear(size, inner), nn.GELU(), Linear(inner, size))

    def forward(self, x: Tensor) -> Tensor:
        """[..., size] -> [..., size]."""
        return self[2](self[0](x, gelu=True))


class VisualBlock(nn.Module):
    """Pre-norm transformer block, as in ViT."""

    def __init__(self, size: int, n_heads: int, inner: int, *, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size, eps=norm_eps)
        self.attention = Attention(size, n_heads)
        self.norm2 = nn.LayerNorm(size, eps=norm_eps)
        self.mlp = Mlp(size, inner)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, d] -> [B, N, d]."""
        normed = self.norm1(x)
        x = x + self.attention(normed, self.attention.project(normed))
        return x + self.mlp(self.norm2(x))


class TextLayer(nn.Module):
    """Post-norm layer, as in BERT; with `cross`, a cross-attention between self-attention and MLP.

    `cross` is the width of the tokens that it attends to. With `gated` the cross-attention starts without any
    effect: a learnt number, at first 0, mixes what it gives with what it was given.
    """

    def __init__(
        self,
        size: int,
        n_heads: int,
        inner: int,
        *,
        cross: int | None,
        dropout: float,
        gated: bool = False,
        norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        self.attention = Attention(size, n_heads)
        self.attention_norm = nn.LayerNorm(size, eps=norm_eps)
        self.cross = Attention(size, n_heads, cross) if cross else None
        self.cross_norm = nn.LayerNorm(size, eps=norm_eps) if cross else None
        self.cross_gate = nn.Parameter(torch.zeros(1)) if cross and gated else None
        self.mlp = Mlp(size, inner)
        self.mlp_norm = nn.LayerNorm(size, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        visual: Tensor | None = None,
        ad_of_pair: Tensor | None = None,
        *,
        first_only: bool = False,
    ) -> Tensor:
        """[P, N, d] -> [P, N, d].

        Args:
            bias: [P, 1, 1, N], -inf at padding.
            visual: tokens of the frames [A, V, visual size] of the A ads of the batch, for a layer
                with cross-attention.
            ad_of_pair: the ad of each text, [P]. Keys and values are projected once an ad.
            first_only: compute the first token alone, [P, 1, d]; the others give keys and values.
        """
        key_value = self.attention.project(x)
        if first_only:
            x = x[:, :1]
        x = self.attention_norm(x + self.dropout(self.attention(x, key_value, bias)))
        if self.cross is not None and self.cross_norm is not None:
            if visual is None or ad_of_pair is None:
                raise ValueError("a fusion layer needs the frames' tokens and the ad of each pair")
            key_value = self.cross.project(visual)[:, ad_of_pair]
            crossed = self.cross_norm(x + self.dropout(self.cross(x, key_value)))
            x = crossed if self.cross_gate is None else x + self.cross_gate * (crossed - x)
        return self.mlp_norm(x + self.dropout(self.mlp(x)))


def attention_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive form of a padding mask [P, N] (1 = token): [P, 1, 1, N]."""
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return bias.masked_fill(mask == 0, torch.finfo(dtype).min)[:, None, None, :]


def text_layers(config: HCMRMConfig, count: int, *, cross: bool) -> nn.ModuleList:
    """`count` layers of the config's sizes, with cross-attention to the frames' tokens or without."""
    sizes = config.hidden_size, config.num_heads, config.intermediate_size
    return nn.ModuleList(
        TextLayer(
            *sizes,
            cross=config.visual_size if cross else None,
            dropout=config.dropout,
            gated=config.cross_gate,
            norm_eps=config.text_norm_eps,
        )
        for _ in range(count)
    )
