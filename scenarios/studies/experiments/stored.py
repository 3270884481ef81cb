"""Experiments that were written to the results folder, read back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from relevance.files import read_json
from scenarios.errors import StoreError, in_words
from scenarios.storage.parquet import read_stored
from scenarios.storage.whole import newest_first
from scenarios.studies.experiments.experiment import Plan, load_experiment


@dataclass(frozen=True, slots=True)
class StoredExperiment:
    """What the folder of an experiment holds; `replicates` reads the largest file when it is called."""

    folder: Path
    plan: Plan
    seeds: tuple[int, ...]
    reached: bool
    """Whether the wanted half-width took no more than the most seeds allowed."""
    summary: pl.DataFrame
    """See `scenarios.studies.experiments.summary.summarise`; NaN where there is nothing to say."""
    interference: pl.DataFrame

    def replicates(self) -> pl.DataFrame:
        """One row per design, seed and arm.

        Raises:
            StoreError: they cannot be read.
        """
        return read_stored(self.folder / "replicates.parquet", "run the experiment again")


def list_experiments(root: Path | str) -> list[Path]:
    """Folders of experiments under a root, newest first."""
    return newest_first(root, "*/experiment.yaml")


def read_experiment(folder: Path | str) -> StoredExperiment:
    """Read the folder of an experiment.

    Raises:
        StoreError: it is missing or incomplete.
        ScenarioError: it was written by another version, whose fields this one does not know.
    """
    folder = Path(folder)
    path = folder / "summary.json"
    if not path.exists():
        raise StoreError(f"{folder}: not the folder of an experiment (it has no summary.json); run it again")
    found = read_json(path, dict, StoreError, "run it again")
    try:
        summary, interference = (
            pl.DataFrame(
                [
                    {key: math.nan if value is None else value for key, value in row.items()}
                    for row in found[part]
                ],
                infer_schema_length=None,
            )
            for part in ("summary", "interference")
        )
        seeds, reached = tuple(int(seed) for seed in found["seeds"]), bool(found["half_width_reached"])
    except (
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        ArithmeticError,
        pl.exceptions.PolarsError,
    ) as error:
        raise StoreError(
            f"not of an experiment ({in_words(error)})", file=path, remedy="run it again"
        ) from None
    plan = load_experiment(folder / "experiment.yaml")
    return StoredExperiment(folder, plan, seeds, reached, summary, interference)
