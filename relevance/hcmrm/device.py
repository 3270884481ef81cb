"""Where torch computes, and with how many threads."""

from __future__ import annotations

import torch

from relevance.errors import CheckpointError


def use_device(device: str, threads: int | None = None) -> None:
    """Check a device, and set the number of processor threads of this process (None leaves it as it is).

    Raises:
        CheckpointError: this machine, or this build of torch, has no such device.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise CheckpointError(
            f"device '{device}': torch finds no GPU here; take 'cpu', or install a CUDA build of torch"
        )
    if threads is not None:
        torch.set_num_threads(threads)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16.

    A processor without them computes it in software, which takes many times as long as float32.
    """
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def device_name(device: str) -> str:
    """What a device calls itself; processors have no better name here than `cpu`."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
