"""The folder of a sweep, `<results>/sweeps/<name>-<hash>/`.

    sweep.yaml        the sweep; `relbid sweep` on it continues in this folder
    asked.json        of a search: the points that it has asked for, by generations
    scenario.yaml     what all points share
    progress.json     how far it is, see `scenarios.studies.study.Status`; brought up to date while it runs
    points.parquet    one row per finished point and seed; brought up to date while it runs
    failures/         a note for every point and seed that failed
    report.html       the page that `relbid report` makes
The metrics of single points lie in the cache beside the results, by a hash of all that decides them, so that
sweeps with points in common share them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from scenarios.config.load import dump_scenario
from scenarios.errors import StoreError, in_words, quoted
from scenarios.runs.points import undominated
from scenarios.storage.parquet import ParquetError, read_parquet, write_parquet
from scenarios.storage.whole import newest_first, whole_path
from scenarios.studies.study import read_failures
from scenarios.studies.sweeps.asked import with_asked
from scenarios.studies.sweeps.sweep import Sweep, dump_sweep, is_ordered, load_sweep

SWEEPS = "sweeps"


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


def write_replicates(
    folder: Path, sweep: Sweep, found: Mapping[tuple[int, int], Mapping[str, float]]
) -> None:
    """Write points.parquet: metrics by (point, seed), in that order whatever order they came in."""
    if not found:
        return
    values = field_values(sweep)
    rows = [
        {"point": point, "seed": seed, **{field: values[field][point] for field in values}, **metrics}
        for (point, seed), metrics in sorted(found.items(), key=lambda one: one[0])
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
        why = "not a sweep's folder, it has no sweep.yaml"
        raise StoreError(f"{folder}: {why}; relbid sweep FILE makes one and names it")
    sweep, path = load_sweep(folder / "sweep.yaml"), folder / "points.parquet"
    try:
        replicates = read_parquet(path)
    except (OSError, ParquetError) as error:
        reason = in_words(error)
        raise StoreError(f"{path}: has no finished points ({reason}); run the sweep again") from None
    _check_replicates(path, replicates, sweep)
    if sweep.file.searches:  # read after the table, so that it has all points of that
        sweep = with_asked(sweep, folder)
    _check_points(path, replicates, sweep)
    return SweepResult(folder, sweep, means_of(sweep, replicates), replicates, read_failures(folder))


def _check_replicates(path: Path, table: pl.DataFrame, sweep: Sweep) -> None:
    """Refuse a table that is none of the sweep's.

    Raises:
        StoreError: names the column.
    """
    again = "run the sweep again"
    wanted = (
        "point",
        "seed",
        *sweep.fields,
        *sweep.file.directions,
        *(one.name for one in sweep.file.bounds),
    )
    if missing := [name for name in wanted if name not in table.columns]:
        raise StoreError(f"has no column {quoted(missing[0])}", file=path, remedy=again)
    for name in table.columns:
        kind = table.schema[name]
        whole = name in ("point", "seed")
        if name in sweep.fields and kind == pl.String:
            continue
        if not (kind.is_integer() if whole else kind.is_numeric()) or (
            name in wanted and (table[name].null_count() or table[name].cast(pl.Float64).is_infinite().any())
        ):
            reason = f"column {quoted(name)} needs {'whole ' if whole else ''}numbers"
            raise StoreError(reason, file=path, remedy=again)
    made = {"seeds", "feasible", "pareto", *(f"{name}_se" for name in sweep.file.directions)}
    if clash := sorted(made.intersection(table.columns)):
        reason = f"has a column {quoted(clash[0])}, which is made of the others"
        raise StoreError(reason, file=path, remedy=again)
    if table.is_empty():
        raise StoreError("has no points of this sweep", file=path, remedy=again)
    if table.select("point", "seed").is_duplicated().any():
        raise StoreError("has a point twice with one seed", file=path, remedy=again)


def _check_points(path: Path, table: pl.DataFrame, sweep: Sweep) -> None:
    """Refuse a table whose points, values or seeds are not those of the sweep beside it.

    Raises:
        StoreError: names the first row and what differs.
    """
    values, seeds = field_values(sweep), set(sweep.seeds)
    for row, one in enumerate(table.select("point", "seed", *values).iter_rows(named=True), start=1):
        point, seed = one["point"], one["seed"]
        if not 0 <= point < len(sweep.points):
            reason = f"has a point {point}, and the sweep has {len(sweep.points)}"
        elif seed not in seeds:
            reason = f"has a seed {seed}, which is none of the sweep's"
        elif wrong := next((name for name in values if one[name] != values[name][point]), None):
            reason = f"{wrong} is {one[wrong]}, and {values[wrong][point]} at point {point} of the sweep"
        else:
            continue
        remedy = "points.parquet and sweep.yaml are not of one sweep; run the sweep again"
        raise StoreError(reason, file=f"{path}, row {row}", remedy=remedy)


def list_sweeps(root: Path | str) -> list[Path]:
    """Folders of sweeps under a results folder, newest first."""
    return newest_first(root, f"{SWEEPS}/*/sweep.yaml")


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
