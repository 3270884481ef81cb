"""From key frames to visual tokens. A ads, B or F frames, v visual size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from relevance.hcmrm.layers import Linear, VisualBlock
from relevance.hcmrm.model_config import HCMRMConfig


class FrameEncoder(nn.Module):
    """What all visual encoders have in common: they give a frame's class token and its patch tokens.

    An encoder adds `encode` and the learnt `frame_position` [1, F, 1, v].
    """

    frame_position: nn.Parameter

    def __init__(self, config: HCMRMConfig) -> None:
        super().__init__()
        self.layout: nn.Module | None = None
        self.mean, self.deviation = config.pixel_mean, config.pixel_deviation
        self.grid = config.image_size // config.patch_size
        self.pooled = None if config.frame_tokens is None else int(config.frame_tokens**0.5)

    def pixels(self, frames: Tensor) -> Tensor:
        """Normalised pixels of B frames: uint8 [B, H, W, 3] -> [B, 3, H, W]."""
        pixels = frames.permute(0, 3, 1, 2).float() / 255.0
        mean, deviation = (
            pixels.new_tensor(x)[:, None, None] if isinstance(x, Sequence) else x
            for x in (self.mean, self.deviation)
        )
        return ((pixels - mean) / deviation).to(self.frame_position.dtype)

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> [B, 1 + patches, v], the class token first."""
        raise NotImplementedError

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 [A, F, H, W, 3] -> [A, F, 1 + frame_tokens, v], the class token first."""
        a, f = frames.shape[:2]
        tokens = self.encode(self.pixels(frames.flatten(0, 1)))
        summary, patches = tokens[:, :1], tokens[:, 1:]
        if self.layout is not None:
            summary = summary + self.layout(patches.flatten(1))[:, None]
        if self.pooled is not None:
            square = patches.transpose(1, 2).unflatten(2, (self.grid, self.grid))
            patches = nn.functional.adaptive_avg_pool2d(square, self.pooled).flatten(2).transpose(1, 2)
        kept = torch.cat((summary, patches), dim=1).unflatten(0, (a, f))
        return kept + self.frame_position[:, :f]


class VisualEncoder(FrameEncoder):
    """A ViT over each frame. It gives a frame's class token and its patch tokens, pooled or all."""

    def __init__(self, config: HCMRMConfig) -> None:
        super().__init__(config)
        size, grid = config.visual_size, self.grid
        self.patch = nn.Conv2d(3, size, config.patch_size, stride=config.patch_size)
        channels = (3, *config.conv_stem)
        convolutions: list[nn.Module] = []
        for before, after in pairwise(channels):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            convolutions += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        self.stem = nn.Sequential(*convolutions[:-1]) if convolutions else None
        self.class_token = nn.Parameter(torch.zeros(1, 1, size))
        self.position = nn.Parameter(torch.zeros(1, 1 + grid * grid, size))
        self.frame_position = nn.Parameter(torch.zeros(1, config.n_frames, 1, size))
        self.blocks = nn.ModuleList(
            VisualBlock(
                size, config.visual_heads, config.visual_intermediate_size, norm_eps=config.visual_norm_eps
            )
            for _ in range(config.visual_layers)
        )
        self.norm = nn.LayerNorm(size, eps=config.visual_norm_eps)
        self.layout = Linear(grid * grid * size, size) if config.layout_token else None

    def encode(self, pixels: Tensor) -> Tensor:
        """The ViT alone: normalised pixels [B, 3, H, W] -> [B, 1 + patches, v], the class token first."""
        patches = self.patch(pixels)
        if self.stem is not None:
            patches = patches + self.stem(pixels)
        class_token = self.class_token.expand(len(pixels), -1, -1)
        tokens = torch.cat((class_token, patches.flatten(2).transpose(1, 2)), dim=1) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)
