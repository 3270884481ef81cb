"""Weights of other projects: files of named tensors, and a model that is filled from them.

Files are read as tensors alone, safetensors or torch files with `weights_only`; neither runs code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from relevance.errors import CheckpointError, cut, in_words, quoted
from relevance.files import check_file, read_json
from relevance.hcmrm.model import HCMRM
from relevance.hcmrm.model_config import HCMRMConfig

Names = dict[str, tuple[str, ...]]
"""Name of a module here -> names of the modules whose tensors it is made of, stacked row-wise."""

NOT_NEEDED = ("position_ids", "pooler.", "cls.", "head.", "classifier.", "_conv_head.", "_bn1.", "_fc.")
"""Parts of the sources that this model has no use for: pooling, and the heads of other tasks."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Named tensors of one file, all of them float32."""

    path: Path
    tensors: Mapping[str, Tensor]
    prefix: str = ""
    """What the file has before the names of this part of its tensors."""

    @staticmethod
    def read(path: Path) -> Weights:
        """Read a file of tensors: safetensors, or anything else as a torch file without code.

        Raises:
            CheckpointError: it is missing, damaged, or holds other things than tensors.
        """
        check_file(path, CheckpointError, "give the file with the weights")
        try:
            if path.suffix == ".safetensors":
                content: Any = load_file(path)
            else:
                content = torch.load(path, map_location="cpu", weights_only=True)
        except SafetensorError as error:
            raise CheckpointError(f"{path}: damaged ({in_words(error)}); download it again") from error
        except Exception as error:  # a foreign file may fail in any way; none of them runs its code
            raise CheckpointError(
                "holds no weights that can be read",  # the library's reasons are about its own code
                file=path,
                remedy="give a file of weights, of safetensors or of torch's own kind with tensors alone",
            ) from error
        if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
            content = content["model"]
        if not isinstance(content, Mapping):
            raise CheckpointError(
                "holds no named tensors",
                file=path,
                remedy="save the weights of the whole model by their names",
            )
        tensors = {
            str(name).removeprefix("module."): value.float() if value.is_floating_point() else value
            for name, value in content.items()
            if isinstance(value, Tensor)
        }
        for name, value in tensors.items():
            if value.layout is not torch.strided or value.device.type != "cpu":
                raise CheckpointError(
                    f"'{name}' is no plain table of numbers",
                    file=path,
                    remedy="save it dense, with its values",
                )
        return Weights(path, tensors)

    def part(self, *prefixes: str) -> Weights:
        """The tensors under the first of these prefixes that has any, without it."""
        for prefix in prefixes:
            found = {
                name.removeprefix(prefix): tensor
                for name, tensor in self.tensors.items()
                if name.startswith(prefix)
            }
            if found:
                return Weights(self.path, found, self.prefix + prefix)
        raise CheckpointError(f"{self.path}: has no tensor '{prefixes[0]}*'; is it of another model?")

    def shape(self, name: str, *sizes: int | None) -> tuple[int, ...]:
        """Shape of one tensor, which must have these sizes (None: any)."""
        if name not in self.tensors:
            raise CheckpointError(f"{self.path}: lacks the tensor '{self.prefix}{name}'")
        shape = tuple(self.tensors[name].shape)
        fits = len(shape) == len(sizes) and all(
            want in (None, have) for have, want in zip(shape, sizes, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in sizes)
            raise CheckpointError(
                f"{self.path}: '{self.prefix}{name}' has the shape {list(shape)}, needs [{wanted}]"
            )
        return shape

    def layers(self, prefix: str) -> int:
        """How many numbered layers `prefix.0`, `prefix.1`, ... there are."""
        numbers = {
            int(name.removeprefix(f"{prefix}.").split(".")[0])
            for name in self.tensors
            if name.startswith(f"{prefix}.")
        }
        if not numbers or numbers != set(range(len(numbers))):
            raise CheckpointError(
                f"{self.path}: layers '{self.prefix}{prefix}.N' must be numbered from 0, "
                f"got {sorted(numbers)}"
            )
        return len(numbers)


def write_tensors(tensors: Mapping[str, Tensor], path: Path, header: Mapping[str, str]) -> None:
    """Write a safetensors file.

    Raises:
        OSError: it cannot be written; the library reports a full disk as an error of its own.
    """
    try:
        save_file(dict(tensors), path, metadata=dict(header))
    except SafetensorError as error:
        raise OSError(str(error)) from error


class Filling:
    """A model to fill. It checks that tensors fit its parameters, and remembers which tensors were used."""

    def __init__(self, config: HCMRMConfig) -> None:
        if wrong := config.misfit():
            raise CheckpointError(wrong)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # parameters that no source fills start the same every time
            self._model = HCMRM(config)
        with torch.no_grad():
            self._model.visual_encoder.frame_position.zero_()  # ALBEF knows one image
            self._model.grade_head.weight.zero_()
            self._model.grade_head.bias.zero_()
        self._state = self._model.state_dict()
        self._used: dict[int, set[str]] = {}

    def put(self, name: str, source: Weights, *tensors: str) -> None:
        """Fill a parameter from tensors, stacked row-wise."""
        own = self._state[name]
        rows = own.shape[0] // len(tensors) if own.ndim else 0
        for i, tensor in enumerate(tensors):
            if tensor in source.tensors and source.tensors[tensor].numel() == own.numel() == 1:
                self._fill(own, source, tensor, source.tensors[tensor].reshape(own.shape))
                continue
            source.shape(tensor, *(rows, *own.shape[1:]))
            self._fill(own[i * rows : (i + 1) * rows], source, tensor, source.tensors[tensor])

    def put_rows(self, name: str, source: Weights, tensor: str, rows: slice) -> None:
        """Fill a parameter from some rows of a tensor."""
        self._fill(self._state[name], source, tensor, source.tensors[tensor][rows])

    def put_positions(self, source: Weights, tensor: str) -> None:
        """Fill the position embeddings, interpolated where the image has another size."""
        own, config = self._state["visual_encoder.position"], self._model.config
        resized = resize_positions(source.tensors[tensor], config.image_size // config.patch_size)
        self._fill(own, source, tensor, resized)

    def put_all(
        self,
        prefix: str,
        source: Weights,
        source_prefix: str,
        names: Names,
        kinds: Sequence[str] = ("weight", "bias"),
    ) -> None:
        """Fill weights and biases of several modules; both prefixes end with their dot."""
        for kind in kinds:
            for name, parts in names.items():
                tensors = (f"{source_prefix}{part}.{kind}" for part in parts)
                self.put(f"{prefix}{name}.{kind}", source, *tensors)

    def check_all_used(self, *sources: Weights) -> None:
        """Refuse a source with tensors left over: it is a model that computes something else."""
        for source in sources:
            left = [
                name
                for name in source.tensors.keys() - self._used.get(id(source), set())
                if not name.startswith(NOT_NEEDED)
                and not name.endswith(("position_ids", "num_batches_tracked"))
            ]
            if left:
                raise CheckpointError(
                    f"{source.path}: '{source.prefix}{min(left)}' has no place in this model "
                    f"({len(left)} such tensors); is it of another model?"
                )

    def model(self) -> HCMRM:
        return self._model.eval()  # type: ignore[no-untyped-call]

    def _fill(self, own: Tensor, source: Weights, tensor: str, value: Tensor) -> None:
        if own.is_floating_point() and not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"'{source.prefix}{tensor}' holds numbers of the kind {kind}, which no weights have",
                file=source.path,
                remedy="give the weights as they were trained, not packed or rounded",
            )
        if not torch.isfinite(value).all():
            raise CheckpointError(
                f"{source.path}: '{source.prefix}{tensor}' holds values that are not finite"
            )
        with torch.no_grad():
            own.copy_(value)
        self._used.setdefault(id(source), set()).add(tensor)


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """Sizes from a folder's config.json, which must describe a model that HCMRM can be.

    Raises:
        CheckpointError: it is missing, damaged, or of another kind.
    """
    path = folder / "config.json"
    config = read_json(path, dict, CheckpointError, "give a folder of save_pretrained")
    wanted = {
        "model_type": kind,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "position_embedding_type": "absolute",
    }
    for field, value in wanted.items():
        if config.get(field, value) != value:
            shown, only = (
                quoted(one) if isinstance(one, str) else cut(json.dumps(one))
                for one in (config[field], value)
            )
            raise CheckpointError(f"{path}: '{field}' is {shown}; only {only} can be imported")
    for field, kind_of, most in (("num_attention_heads", int, 1024), ("layer_norm_eps", float, 1.0)):
        if type(config.get(field)) is not kind_of or not 0 < config[field] <= most:  # true is no number
            words = f"needs '{field}', a number above 0 and at most {most}"
            raise CheckpointError(words, file=path, remedy="give a folder of save_pretrained")
    found: dict[str, Any] = config
    return found


def check_heads(config: Mapping[str, Any], width: int, folder: Path) -> None:
    """Refuse a number of attention heads that does not divide the width of a folder's weights.

    Raises:
        CheckpointError: names the file and the field.
    """
    heads = config["num_attention_heads"]
    if width % heads:
        raise CheckpointError(
            f"{heads} heads do not divide the width of the weights, {width}",
            file=folder / "config.json",
            field="num_attention_heads",
            remedy="download the folder again",
        )


def folder_weights(folder: Path) -> Weights:
    """The weights in a folder of the transformers format.

    Raises:
        CheckpointError: they are missing or damaged.
    """
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            weights = Weights.read(folder / name)
            # BERT's first public checkpoints name their layer norms as TensorFlow did.
            renamed = {
                name.replace(".gamma", ".weight").replace(".beta", ".bias"): tensor
                for name, tensor in weights.tensors.items()
            }
            return Weights(weights.path, renamed)
    raise CheckpointError(
        f"{folder}: has neither model.safetensors nor pytorch_model.bin; give a whole folder"
    )


def resize_positions(position: Tensor, grid: int) -> Tensor:
    """Position embeddings [1, 1 + g * g, v] of a square of patches for another: [1, 1 + grid * grid, v].

    Bicubic, corners not aligned, the class token's kept: as ALBEF and timm do.
    """
    old = math.isqrt(position.shape[1] - 1)
    if old == grid:
        return position
    square = position[:, 1:].unflatten(1, (old, old)).permute(0, 3, 1, 2)
    square = functional.interpolate(square, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat((position[:, :1], square.permute(0, 2, 3, 1).flatten(1, 2)), dim=1)
