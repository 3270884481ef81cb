"""Files of the folder that travels to a machine with a GPU: pickled and compressed."""

from __future__ import annotations

import lzma
import pickle
from pathlib import Path
from typing import Any


def write(path: Path, what: Any) -> None:
    """Write an object; `read` reads it."""
    with lzma.open(path, "wb", preset=1) as file:
        pickle.dump(what, file)


def read(path: Path) -> Any:
    """What `write` wrote."""
    with lzma.open(path, "rb") as file:
        return pickle.load(file)
