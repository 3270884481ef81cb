"""Notes that a reader keeps beside results, in one file of the results folder: `.notes.json`.

Not in the results' own folders, which a new run of a scenario replaces.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from relevance.files import read_json
from scenarios import StoreError, write_whole_file

FILE = ".notes.json"
LONGEST = 200


def read(root: Path) -> Mapping[str, str]:
    """Notes by the names of the results' folders; a damaged file holds none."""
    try:
        found = read_json(root / FILE, dict, StoreError)
    except StoreError:
        return {}
    return {str(name): str(note) for name, note in found.items()}


def write(root: Path, folder: str, note: str) -> None:
    """Keep a note; an empty one is removed.

    Raises:
        StoreError: the file cannot be written.
    """
    notes = {**read(root), folder: " ".join(note.split())[:LONGEST]}
    kept = {name: text for name, text in notes.items() if text}
    write_whole_file(root / FILE, json.dumps(kept, ensure_ascii=False, indent=1) + "\n")


def titles(root: Path, folders: Sequence[Path]) -> dict[str, str]:
    """What each result, experiment or sweep is called, by its folder: its name, and its note or its time."""
    notes = read(root)
    return {folder.name: _title(folder, notes.get(folder.name, "")) for folder in folders}


def _title(folder: Path, note: str) -> str:
    name = folder.name.rpartition("-")[0] or folder.name
    tables = (folder / table for table in ("points.parquet", "replay.parquet", "replicates.parquet"))
    table = next((path for path in tables if path.exists()), None)
    if table is None:
        return name
    written = time.localtime(table.stat().st_mtime)
    return f"{name}: {note}" if note else f"{name}, {time.strftime('%Y-%m-%d %H:%M', written)}"
