"""Figures of an ablation's rows from finished cells, and paired differences with 95% t intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from scenarios.studies.ablations.ablation import Ablation, Row
from scenarios.studies.ablations.cells import Measured, settings_hash
from scenarios.studies.experiments.statistics import compare
from simulator.arrays import FloatArray

CONFIDENCE = 0.95

Found = Mapping[tuple[str, int], Measured]
"""Finished cells by (hash of their settings, seed)."""


class Column(NamedTuple):
    """A figure of a cell."""

    heading: str
    of: Callable[[Measured], float]
    unit: str = "share"
    """share: three decimals without the zero before them. number: two decimals. seconds: whole ones.
    percent: a share in per cent, its difference in percentage points. change: a number whose difference is
    relative, in per cent."""


class Effect(NamedTuple):
    """A paired difference to the reference, in the column's own unit; `low` is NaN for a single seed."""

    mean: float
    low: float
    high: float

    @property
    def seen(self) -> bool:
        """Whether the interval misses zero."""
        return self.low > 0 or self.high < 0


def graded(split: str, part: str, metric: str) -> Callable[[Measured], float]:
    """A metric of one slice of the graded pairs of a split."""
    return lambda cell: cell.metrics[split][part][metric]


METRICS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "AUC": ("auc", "share"),
        "3 vs 2": ("auc_3_2", "share"),
        "1 vs 0": ("auc_1_0", "share"),
        "Spearman": ("spearman", "share"),
        "NDCG@10": ("ndcg_10", "share"),
        "PNR": ("pnr", "number"),
        "distance": ("distance", "share"),
        "ECE": ("ece", "share"),
        "AUC by P(pos.)": ("auc_positive", "share"),
    }
)
COSTS = (
    Column("pre-training, s", lambda cell: cell.cost["pretraining_s"], "seconds"),
    Column("fine-tuning, s", lambda cell: cell.cost["finetuning_s"], "seconds"),
)
PARTS = (
    ("head", "test", "head"),
    ("tail", "test", "tail"),
    ("stuffed", "test", "stuffed"),
    ("new products", "held_out", "all"),
)
MARKET = (
    Column("irrelevant", lambda cell: cell.market["irrelevant_share"], "percent"),
    Column("by position", lambda cell: cell.market["irrelevant_share_weighted"], "percent"),
    Column("revenue", lambda cell: cell.market["revenue_rpm"], "change"),
    Column("user utility", lambda cell: cell.market["user_utility_rpm"], "change"),
    Column("welfare", lambda cell: cell.market["welfare_rpm"], "change"),
)


def title_of(group: str) -> str:
    """The name of a group as a heading has it."""
    return group[:1].upper() + group[1:]


def values_of(row: Row, column: Column, found: Found) -> FloatArray:
    """The figure of a row's finished cells, F[seeds], without those that are no numbers."""
    values = np.array([column.of(cell) for cell in _by_seed(row, found).values()])
    kept: FloatArray = values[np.isfinite(values)]
    return kept


def effect_of(ablation: Ablation, row: Row, column: Column, found: Found) -> Effect | None:
    """A row against its group's reference, by the seeds of both; None where there is nothing to say."""
    reference = ablation.reference_of(row)
    if row == reference or column.unit == "seconds":
        return None
    own, other = _by_seed(row, found), _by_seed(reference, found)
    pairs = np.array([(column.of(other[seed]), column.of(own[seed])) for seed in own if seed in other])
    pairs = pairs.reshape(-1, 2)[np.isfinite(pairs.reshape(-1, 2)).all(axis=1)]
    compared = compare(*pairs.T, confidence=CONFIDENCE)
    estimate = compared.change if column.unit == "change" else compared.difference
    return None if math.isnan(estimate.value) else Effect(estimate.value, estimate.t_low, estimate.t_high)


def seeds_of(row: Row, found: Found) -> int:
    """How many of a row's cells are finished."""
    return len(_by_seed(row, found))


def _by_seed(row: Row, found: Found) -> dict[int, Measured]:
    digest = settings_hash(row.settings)
    return {seed: found[digest, seed] for seed in row.seeds if (digest, seed) in found}
