"""EfficientNet-Lite0 up to its last feature map (arXiv 1905.11946; Lite: ReLU6, no gates): a visual encoder.

Its weights are public. Images are padded as TensorFlow does ("same"). The batch norms keep the statistics
that they were trained with. B frames of H x W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from relevance.hcmrm.model_config import HCMRMConfig
from relevance.hcmrm.visual_encoder import FrameEncoder

STRIDE = 32
"""Pixels of an edge that one place of the feature map stands for."""
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Expansion, kernel, stride of the first block, channels and blocks of each stage."""
STEM, WIDTH = 32, STAGES[-1][3]
"""Channels after the first convolution, and of the feature map."""


class SameConv(nn.Conv2d):
    """A convolution without bias whose output has ceil(size / stride) places, as TensorFlow pads."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, out, ceil(H / stride), ceil(W / stride)]."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (
            max((math.ceil(size / stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:]
        )
        sides = (width // 2, width - width // 2, height // 2, height - height // 2)
        return super().forward(nn.functional.pad(x, sides))


class Block(nn.Module):
    """Inverted residual: expand the channels, convolve each, project; added to its input if shapes agree."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = before * expansion
        self.expand = SameConv(before, inner, 1, bias=False) if expansion > 1 else None
        self.expand_norm = _norm(inner) if expansion > 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride=stride, groups=inner, bias=False)
        self.depthwise_norm = _norm(inner)
        self.project = SameConv(inner, after, 1, bias=False)
        self.project_norm = _norm(after)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, H / stride, W / stride]."""
        y = x
        if self.expand is not None and self.expand_norm is not None:
            y = nn.functional.relu6(self.expand_norm(self.expand(y)))
        y = nn.functional.relu6(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(y))
        return x + y if self.adds else y


class EfficientNetEncoder(FrameEncoder):
    """The feature map's places as a frame's patch tokens, their mean as its class token."""

    def __init__(self, config: HCMRMConfig) -> None:
        super().__init__(config)
        self.stem, self.stem_norm = SameConv(3, STEM, 3, stride=2, bias=False), _norm(STEM)
        blocks, before = [], STEM
        for expansion, kernel, stride, after, count in STAGES:
            for i in range(count):
                blocks.append(Block(before, after, expansion, kernel, stride if i == 0 else 1))
                before = after
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(WIDTH, eps=config.visual_norm_eps)
        self.position = nn.Parameter(torch.zeros(1, 1 + self.grid**2, WIDTH))
        self.frame_position = nn.Parameter(torch.zeros(1, config.n_frames, 1, WIDTH))

    def train(self, mode: bool = True) -> EfficientNetEncoder:
        """As of any module; the batch norms never take the statistics of a batch."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def features(self, pixels: Tensor) -> Tensor:
        """The feature map: normalised pixels [B, 3, H, W] -> [B, 320, H / 32, W / 32]."""
        x = nn.functional.relu6(self.stem_norm(self.stem(pixels)))
        for block in self.blocks:
            x = block(x)
        return x

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> [B, 1 + patches, 320], the class token first."""
        patches = self.features(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat((patches.mean(dim=1, keepdim=True), patches), dim=1)
        return self.norm(tokens) + self.position


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
