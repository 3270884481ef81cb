"""What the machine is that this runs on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cores() -> int:
    """How many processes, or threads, can work at once, where the user does not say how many."""
    import psutil

    allowed = getattr(psutil.Process(), "cpu_affinity", None)  # macOS binds no process to cores
    return len(allowed()) if allowed is not None else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, if the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
