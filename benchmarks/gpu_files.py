"""Files of the folder that travels to a machine with a GPU, and the figures that come back."""

from __future__ import annotations

import json
import lzma
import pickle
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from relevance.hcmrm.device import device_name


def write(path: Path, what: Any) -> None:
    """Write an object, pickled and compressed; `read` reads it."""
    with lzma.open(path, "wb", preset=1) as file:
        pickle.dump(what, file)


def read(path: Path) -> Any:
    """What `write` wrote."""
    with lzma.open(path, "rb") as file:
        return pickle.load(file)


def write_figures(bundle: Path, device: str, path: Path, found: Mapping[str, Any]) -> None:
    """Write figures with device, versions and date, and the commit that the bundle was made of."""
    note = bundle / "commit"
    stamp = {
        "device": device_name(device),
        "commit": note.read_text(encoding="utf-8").strip() if note.is_file() else commit(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    path.write_text(json.dumps({**found, **stamp}, indent=1, default=str) + "\n", encoding="utf-8")


def commit() -> str | None:
    """The commit of the code, if it is known."""
    if shutil.which("git") is None:
        return None
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
