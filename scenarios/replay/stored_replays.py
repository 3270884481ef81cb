"""Replays that `relbid replay` has stored, see `scenarios.replay.replay_run.write_replay`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from relevance.files import read_json
from scenarios.errors import StoreError, cut
from scenarios.replay.replay_run import COLUMNS, TEXTS, Origin, Replay
from scenarios.storage.whole import newest_first

if TYPE_CHECKING:
    import polars as pl

_AGAIN = "run relbid replay again"


def list_replays(root: Path | str) -> list[Path]:
    """Folders of stored replays under a root, newest first."""
    return newest_first(root, "*/replay.parquet")


def read_replay(folder: Path | str) -> Replay:
    """A stored replay.

    Raises:
        StoreError: it is missing, damaged, or of another version.
    """
    from scenarios.storage.parquet import read_stored

    path = Path(folder) / "replay.json"
    if not path.exists():
        raise StoreError("not the folder of a replay (it has no replay.json)", file=folder, remedy=_AGAIN)
    facts = read_json(path, dict, StoreError, _AGAIN)
    source, days = _fact(path, facts, "table", str), _fact(path, facts, "days", int)
    warnings = _texts(path, facts, "warnings")
    examination = _fact(path, facts, "examination", list)
    if not all(type(one) in (int, float) and 0 <= one <= 1 for one in examination):
        raise StoreError("must be numbers from 0 to 1", file=path, field="examination", remedy=_AGAIN)
    origin = _fact(path, facts, "examination_is", str)
    if origin not in get_args(Origin):
        raise StoreError(f"means nothing: {cut(origin)}", file=path, field="examination_is", remedy=_AGAIN)
    points = _checked(Path(folder) / "replay.parquet", read_stored(Path(folder) / "replay.parquet", _AGAIN))
    return Replay(source, points, tuple(map(float, examination)), origin, days, warnings)


def _checked(path: Path, points: pl.DataFrame) -> pl.DataFrame:
    """Points that have all columns, each of its kind, and the log as their first row."""
    import polars as pl

    for name in COLUMNS:
        wanted = pl.String if name in TEXTS else pl.Float64
        if points.schema.get(name) != wanted:
            raise StoreError(f"must be a column of {wanted}", file=path, field=name, remedy=_AGAIN)
    if points["kind"].to_list()[:1] != ["log"] or not set(points["kind"][1:]) <= {"replay"}:
        reason = "must be log in the first row and replay in all others"
        raise StoreError(reason, file=path, field="kind", remedy=_AGAIN)
    queries = points["queries"][0]
    if queries is None or not math.isfinite(queries) or queries < 1:
        raise StoreError("must be at least 1 in the first row", file=path, field="queries", remedy=_AGAIN)
    return points


def _fact(path: Path, facts: dict[str, Any], name: str, kind: type) -> Any:
    if type(facts.get(name)) is not kind:
        raise StoreError(f"must be a {kind.__name__}", file=path, field=name, remedy=_AGAIN)
    return facts[name]


def _texts(path: Path, facts: dict[str, Any], name: str) -> tuple[str, ...]:
    found = _fact(path, facts, name, list)
    if not all(isinstance(one, str) for one in found):
        raise StoreError("must be texts", file=path, field=name, remedy=_AGAIN)
    return tuple(found)
