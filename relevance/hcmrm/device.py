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


def device_name(device: str) -> str:
    """What a device calls itself; processors have no better name here than `cpu`."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
