"""The visual side of a model made of public weights: a ViT, EfficientNet-Lite0, or none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relevance.errors import CheckpointError
from relevance.files import read_json
from relevance.hcmrm.efficient_net import STAGES, STEM, STRIDE, WIDTH
from relevance.hcmrm.tensors import Filling, Names, Weights, check_heads, folder_weights, read_config

_VIT_BLOCK: Names = {
    "norm1": ("layernorm_before",),
    "norm2": ("layernorm_after",),
    "attention.query": ("attention.attention.query",),
    "attention.key_value": ("attention.attention.key", "attention.attention.value"),
    "attention.output": ("attention.output.dense",),
    "mlp.0": ("intermediate.dense",),
    "mlp.2": ("output.dense",),
}
NO_FRAMES: Mapping[str, Any] = {
    "use_frames": False,
    "cross_attention": False,
    "visual_layers": 0,
    "visual_size": 8,
    "visual_heads": 1,
    "visual_intermediate_size": 8,
    "image_size": 16,
}
"""Sizes of the visual encoder of a model that reads texts alone; it has one, however small."""


@dataclass(frozen=True, slots=True)
class PublicVision:
    """Sizes of a visual encoder by their names in the config, and what fills it."""

    sizes: Mapping[str, Any]
    put: Callable[[Filling], None]


def read_vision(path: Path | None, image_size: int | None) -> PublicVision:
    """A visual model of public weights.

    Args:
        path, image_size: as `vision` and `image_size` of `importing.import_bert`.

    Raises:
        CheckpointError: a file or a tensor is missing or damaged, or it is a model of another kind.
    """
    if path is None:
        return PublicVision(NO_FRAMES, lambda new: None)
    weights = [path] if path.is_file() else sorted(path.glob("*.pth"))
    if len(weights) == 1 and not (path / "config.json").is_file():
        return _efficient_net(Weights.read(weights[0]), image_size)
    config = read_config(path, "vit")
    vision = folder_weights(path).part("vit.", "")
    patches, positions = "embeddings.patch_embeddings.projection", "embeddings.position_embeddings"
    sizes = vit_sizes(vision, patches, "encoder.layer", "intermediate.dense", positions, image_size)
    check_heads(config, sizes["visual_size"], path)
    mean, deviation = _pixel_statistics(path)

    def put(new: Filling) -> None:
        new.put("visual_encoder.class_token", vision, "embeddings.cls_token")
        new.put_positions(vision, positions)
        new.put_all("visual_encoder.", vision, "", {"patch": (patches,), "norm": ("layernorm",)})
        for i in range(sizes["visual_layers"]):
            new.put_all(f"visual_encoder.blocks.{i}.", vision, f"encoder.layer.{i}.", _VIT_BLOCK)
        new.check_all_used(vision)

    return PublicVision(
        {
            **sizes,
            "visual_heads": config["num_attention_heads"],
            "visual_norm_eps": config["layer_norm_eps"],
            "pixel_mean": mean,
            "pixel_deviation": deviation,
        },
        put,
    )


def _efficient_net(vision: Weights, image_size: int | None) -> PublicVision:
    """EfficientNet-Lite0; pixels of 0..255 are shifted by 127 and divided by 128."""
    vision.shape("_conv_stem.weight", STEM, 3, 3, 3)
    n_blocks = vision.layers("_blocks")
    statistics = ("weight", "bias", "running_mean", "running_var")
    parts = {"depthwise": ("_depthwise_conv", "_bn1"), "project": ("_project_conv", "_bn2")}

    def put(new: Filling) -> None:
        to = "visual_encoder."
        new.put_all(to, vision, "", {"stem": ("_conv_stem",)}, kinds=("weight",))
        new.put_all(to, vision, "", {"stem_norm": ("_bn0",)}, kinds=statistics)
        for i in range(n_blocks):
            expanded = {"expand": ("_expand_conv", "_bn0")} if i else {}
            for name, (convolution, norm) in (expanded | parts).items():
                block, source = f"{to}blocks.{i}.", f"_blocks.{i}."
                new.put_all(block, vision, source, {name: (convolution,)}, kinds=("weight",))
                new.put_all(block, vision, source, {f"{name}_norm": (norm,)}, kinds=statistics)
        new.check_all_used(vision)

    sizes = {
        "backbone": "efficientnet_lite0",
        "visual_size": WIDTH,
        "visual_heads": 1,
        "visual_layers": 0,
        "patch_size": STRIDE,
        "image_size": image_size or 224,
        "pixel_mean": (127 / 255,) * 3,
        "pixel_deviation": (128 / 255,) * 3,
    }
    if n_blocks != sum(count for *_, count in STAGES):
        raise CheckpointError(f"{vision.path}: has {n_blocks} blocks, EfficientNet-Lite0 has 16")
    return PublicVision(sizes, put)


def vit_sizes(
    vision: Weights, patches: str, layers: str, inner: str, positions: str, image_size: int | None
) -> dict[str, int]:
    """Sizes of the visual encoder by their names in the config, from the shapes of the named tensors."""
    v, _, patch, _ = vision.shape(f"{patches}.weight", None, 3, None, None)
    return {
        "visual_size": v,
        "visual_intermediate_size": vision.shape(f"{layers}.0.{inner}.weight", None, v)[0],
        "visual_layers": vision.layers(layers),
        "patch_size": patch,
        "image_size": image_size or _grid(vision, positions, v) * patch,
    }


def _grid(vision: Weights, name: str, v: int) -> int:
    """Patches along an edge, from the number of position embeddings."""
    _, tokens, _ = vision.shape(name, 1, None, v)
    grid = math.isqrt(tokens - 1)
    if grid * grid != tokens - 1:
        raise CheckpointError(
            f"{vision.path}: '{vision.prefix}{name}' has {tokens} rows, needs one more than a square number"
        )
    return grid


def _pixel_statistics(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation that normalise the ViT's pixels; without a file, ViT's own 0.5."""
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    config = read_json(path, dict, CheckpointError, "download the folder again")
    try:
        mean, deviation = (tuple(map(float, config[key])) for key in ("image_mean", "image_std"))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path}: needs three numbers each of image_mean and image_std") from error
    finite = all(map(math.isfinite, (*mean, *deviation)))
    if len(mean) != 3 or len(deviation) != 3 or not finite or min(deviation) <= 0:
        raise CheckpointError(f"{path}: needs three numbers each of image_mean and image_std")
    return mean, deviation
