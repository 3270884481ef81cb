"""The folder of a sweep, `<results>/sweeps/<name>-<hash>/`.

    sweep.yaml        the sweep; `relbid sweep` on it goes on with this folder's points
    asked.json        of a search: the points that it has asked for, by generations
    scenario.yaml     what all points share
    progress.json     how far it is; written whole again and again while it runs
    points.parquet    one row per finished point and seed; brought up to date while it runs
    failures/         a text for every point and seed that failed
    report.html       what `relbid report` makes of it
The metrics of single points lie in the cache beside the results, by a hash of all that decides them, so that
sweeps with points in common share them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from scenarios.config.load import dump_scenario
from scenarios.errors import StoreError
from scenarios.runs.points import undominated
from scenarios.storage.parquet import ParquetError, read_parquet, write_parquet
from scenarios.storage.whole import TEMPORARY, whole_path
from scenarios.studies.sweeps.asked import with_asked
from scenarios.studies.sweeps.sweep import Sweep, dump_sweep, is_ordered, load_sweep

SWEEPS = "sweeps"


@dataclass(frozen=True, slots=True)
class Status:
    """How far a sweep is, in points times seeds. Times in seconds, `started` since 1970."""

    state: str
    """preparing, running, done or stopped; of a command that was killed, what it was before."""
    total: int
    done: int
    failed: int
    reused: int
    """Of those done, how many an earlier run had finished."""
    workers: int
    pid: int
    started: float
    elapsed_s: float
    rate_per_s: float | None = None
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep's folder holds.

    `replicates` has one row per point and seed: point, seed, the swept fields (a value that is neither number
    nor text as JSON), and all metrics. `points` has one row per point with the means over its seeds, the
    standard errors of the objectives, e.g. revenue_rpm_se and irrelevant_share_se (null for a single seed),
    `seeds` (how many), `feasible` (whether it keeps to the constraints) and `pareto` (it is feasible, and no
    other feasible point is better in one objective and as good in all others).
    """

    folder: Path
    sweep: Sweep
    points: pl.DataFrame
    replicates: pl.DataFrame
    failures: tuple[Mapping[str, Any], ...]
    """key, point, seed, settings and error of each."""


def sweep_folder(root: Path, sweep: Sweep) -> Path:
    """Where a sweep belongs: its name and a hash of all that it asks for."""
    text = dump_sweep(sweep) + dump_scenario(sweep.scenario)
    return root / SWEEPS / f"{sweep.name}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep a second command out of a sweep's folder.

    Raises:
        StoreError: one is at work in it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder with --out"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(
                f"{folder}: another relbid sweep is at work in it; wait for it, or stop it"
            ) from None
        yield


def write_status(folder: Path, status: Status) -> None:
    """Write progress.json, whole or not at all."""
    with whole_path(folder / "progress.json") as part:
        part.write_text(json.dumps(asdict(status)) + "\n", encoding="utf-8")


def read_status(folder: Path | str) -> Status | None:
    """How far the sweep of a folder is; None where nothing has begun."""
    try:
        return Status(**json.loads((Path(folder) / "progress.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_replicates(
    folder: Path, sweep: Sweep, found: Mapping[tuple[int, int], Mapping[str, float]]
) -> None:
    """Write points.parquet: metrics by (point, seed), in that order whatever order they came in."""
    if not found:
        return
    values = field_values(sweep)
    rows: list[dict[str, Any]] = [
        {
            "point": point,
            "seed": seed,
            **{field: values[field][point] for field in values},
            **found[point, seed],
        }
        for point, seed in sorted(found)
    ]
    table = pl.DataFrame(rows, infer_schema_length=None)
    with whole_path(folder / "points.parquet") as part:
        write_parquet(table, part)


def field_values(sweep: Sweep) -> dict[str, list[float] | list[str]]:
    """Swept field -> its value at each point: numbers, or texts where one that it can take is none."""
    found: dict[str, list[float] | list[str]] = {}
    for field, axis in sweep.file.over.items():
        values: list[Any] = [point.settings[field] for point in sweep.points]
        if is_ordered(axis.levels()):
            found[field] = [float(value) for value in values]
        else:
            found[field] = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return found


def read_sweep(folder: Path | str) -> SweepResult:
    """Read a sweep's folder, finished or not.

    Raises:
        StoreError: it is none, or no point is finished yet.
        ScenarioError: its files have been damaged.
    """
    folder = Path(folder)
    if not (folder / "sweep.yaml").exists():
        raise StoreError(f"{folder}: not a sweep's folder; relbid sweep FILE makes one and names it")
    sweep = load_sweep(folder / "sweep.yaml")
    try:
        replicates = read_parquet(folder / "points.parquet")
    except (OSError, ParquetError) as error:
        raise StoreError(f"{folder}: has no finished points ({error}); run the sweep again") from None
    if sweep.file.searches:  # read after the table, so that it has all points of that
        sweep = with_asked(sweep, folder)
    return SweepResult(folder, sweep, means_of(sweep, replicates), replicates, read_failures(folder))


def read_failures(folder: Path | str) -> tuple[Mapping[str, Any], ...]:
    """What failed so far: key, point, seed, settings and error of each."""
    found = []
    for path in sorted((Path(folder) / "failures").glob("*.json")):
        with contextlib.suppress(FileNotFoundError):  # it is being run again
            found.append(json.loads(path.read_text(encoding="utf-8")))
    return tuple(found)


def list_sweeps(root: Path | str) -> list[Path]:
    """Folders of sweeps under a results folder, newest first."""
    found = [path.parent for path in (Path(root) / SWEEPS).glob("*/sweep.yaml")]
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def means_of(sweep: Sweep, replicates: pl.DataFrame) -> pl.DataFrame:
    """One row per point, see `SweepResult`."""
    fields = [name for name in sweep.fields if name in replicates.columns]
    metrics = [name for name in replicates.columns if name not in ("point", "seed", *fields)]
    errors = [(pl.col(name).std() / pl.len().sqrt()).alias(f"{name}_se") for name in sweep.file.directions]
    table = (
        replicates.group_by("point", maintain_order=True)
        .agg(*(pl.col(name).first() for name in fields), *(pl.col(name).mean() for name in metrics),
             *errors, pl.len().alias("seeds"))
        .sort("point")
    )  # fmt: skip
    feasible = [
        all(one.holds(row[one.name]) for one in sweep.file.bounds) for row in table.iter_rows(named=True)
    ]
    gains = np.column_stack([sign * table[name].to_numpy() for name, sign in sweep.file.directions.items()])
    front = undominated(np.where(np.array(feasible)[:, None], gains, np.nan))
    return table.with_columns(pl.Series("feasible", feasible), pl.Series("pareto", front))


def remove_leftovers(folder: Path, work: Sequence[str]) -> None:
    """Remove what a killed command left behind; the caller is alone in the folder."""
    for name in work:
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
