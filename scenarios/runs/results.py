"""Result folders, written whole or not at all: results/<name>-<hash>/.

scenario.yaml    the scenario with every default; `relbid run` on it gives the same bytes again
metrics.json     the metrics of the scenario's own run
points.parquet   one row per point of the comparison and the sweep
log.parquet      one row per shown impression of the scenario's own run
comparison.parquet    differences from the first scorer over several days, where there are other days
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from relevance.files import read_json
from scenarios.config.load import dump_scenario, scenario_key
from scenarios.config.scenario import Scenario
from scenarios.errors import StoreError, cut
from scenarios.markets.loading import load_scenario
from scenarios.storage.whole import newest_first, whole_folder

if TYPE_CHECKING:
    import polars as pl

INCOMPLETE = ".incomplete"
"""Ends the names of folders that hold what a run had finished when it failed."""
_AGAIN = "run the scenario again"


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What a result folder holds; `log` is read on demand because it is long."""

    folder: Path
    scenario: Scenario
    metrics: dict[str, float]
    points: pl.DataFrame

    def log(self) -> pl.DataFrame:
        """One row per shown impression."""
        from scenarios.storage.parquet import read_stored

        return read_stored(self.folder / "log.parquet", _AGAIN)


def result_folder(root: Path, scenario: Scenario) -> Path:
    """Where the result of a scenario belongs: its name and a hash of all its settings."""
    return root / f"{scenario.name}-{scenario_key(scenario)}"


def write_result(
    root: Path,
    scenario: Scenario,
    metrics: Mapping[str, float],
    points: pl.DataFrame,
    log: pl.DataFrame | Path,
    comparison: pl.DataFrame | None = None,
) -> Path:
    """Write a result folder and return it. An earlier result of the same scenario is replaced.

    Args:
        log: the log, or the file under `root` that holds it and is moved into the folder.

    Raises:
        StoreError: the folder cannot be written; nothing half-written stays behind.
    """
    from scenarios.storage.parquet import write_parquet

    folder = result_folder(root, scenario)
    with whole_folder(folder) as part:
        (part / "scenario.yaml").write_text(dump_scenario(scenario), encoding="utf-8")
        numbers = {name: None if math.isnan(value) else value for name, value in metrics.items()}
        (part / "metrics.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
        write_parquet(points, part / "points.parquet")
        if comparison is not None:
            write_parquet(comparison, part / "comparison.parquet")
        if isinstance(log, Path):
            log.rename(part / "log.parquet")
        else:
            from scenarios.storage.log_file import LogFile  # imports polars

            with LogFile(part / "log.parquet") as file:
                file.write(log)
    return folder


def read_result(folder: Path | str) -> StoredResult:
    """Read a result folder.

    Raises:
        StoreError: it is missing or incomplete.
    """
    from scenarios.storage.parquet import read_stored

    folder = Path(folder)
    if (folder / "incomplete.json").exists():
        raise StoreError("is of a run that failed, and incomplete", file=folder, remedy=_AGAIN)
    path = folder / "metrics.json"
    if not path.exists():
        raise StoreError("not a result folder (it has no metrics.json)", file=folder, remedy=_AGAIN)
    numbers, metrics = read_json(path, dict, StoreError, _AGAIN), {}
    for name, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise StoreError("must be a number or null", file=path, field=cut(name), remedy=_AGAIN)
        metrics[name] = math.nan if value is None else float(value)
    points = read_stored(folder / "points.parquet", _AGAIN)
    return StoredResult(folder, load_scenario(folder / "scenario.yaml"), metrics, points)


def list_results(root: Path | str) -> list[Path]:
    """Complete result folders under a root, newest first."""
    return [folder for folder in newest_first(root, "*/points.parquet") if folder.suffix != INCOMPLETE]
