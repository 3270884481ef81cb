"""The state of a training as a safetensors file: tensors, and their arrangement as JSON in its header.

Unlike a pickle, it never runs code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from relevance.errors import CheckpointError, in_words
from relevance.files import check_file, parsed_json
from relevance.hcmrm.tensors import write_tensors


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state of dicts, lists, tuples, tensors, numbers and texts, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    shape = json.dumps(_taken_apart(state, tensors))
    part = path.with_suffix(".tmp")
    write_tensors(tensors, part, {"state": shape})
    part.replace(path)


def read_state(path: Path, device: str = "cpu") -> dict[str, Any]:
    """Read a state back.

    Raises:
        CheckpointError: the file is damaged, or something else.
    """
    anew = "remove it, and the training starts anew"
    check_file(path, CheckpointError, anew)
    try:
        with safe_open(path, "pt", device=device) as file:
            shape = parsed_json(file.metadata()["state"], dict)
            state = _put_together(shape, file)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"damaged ({in_words(error)})", file=path, remedy=anew) from error
    if not isinstance(state, dict):
        raise CheckpointError("damaged (holds no named values)", file=path, remedy=anew)
    return state


def _taken_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON of a value, in which keys of `tensors` stand for the tensors."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _taken_apart(one, tensors)] for key, one in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_taken_apart(one, tensors) for one in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a state cannot hold {type(value).__name__}")


def _put_together(value: Any, file: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, inner)] = value.items()
    if kind == "tensor":
        tensor: torch.Tensor = file.get_tensor(inner)
        return tensor
    if kind == "dict":
        return {key: _put_together(one, file) for key, one in inner}
    parts = [_put_together(one, file) for one in inner]
    return tuple(parts) if kind == "tuple" else parts
