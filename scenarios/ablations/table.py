"""The tables of an ablation as Markdown: means over the seeds, and paired differences with 95% t intervals.

Made of the finished cells alone, however many there are.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scenarios.ablations.cells import (
    Measured,
    cells_folder,
    cells_of,
    of_ablation,
    read_cells,
    read_lines,
    settings_hash,
)
from scenarios.ablations.schema import Ablation, Row
from scenarios.errors import StoreError
from scenarios.experiments.statistics import fieller_interval, t_interval
from scenarios.store import write_whole_file
from simulator.arrays import FloatArray

CONFIDENCE = 0.95


class Column(NamedTuple):
    """A figure of a cell."""

    heading: str
    of: Callable[[Measured], float]
    unit: str = "share"
    """share: three decimals without the zero before them. number: two decimals. seconds: whole ones.
    percent: a share in per cent, its difference in percentage points. change: a number whose difference is
    relative, in per cent."""


def _graded(split: str, part: str, metric: str) -> Callable[[Measured], float]:
    return lambda cell: cell.metrics[split][part][metric]


METRICS: Mapping[str, tuple[str, str]] = {
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


def write_tables(ablation: Ablation, out: Path, path: Path, command: Sequence[str]) -> int:
    """Write the tables to `path`, and beside it, as `.jsonl`, the cells that they are made of.

    Cells are read from the results folder and from that file, so that the tables can be made again where the
    results are not.

    Returns:
        How many cells are still missing.

    Raises:
        StoreError: there is no cell yet, or a file cannot be read or written.
    """
    lines = path.with_suffix(".jsonl")
    found = of_ablation(ablation, [*read_lines(lines), *read_cells(cells_folder(out, ablation))])
    if not found:
        folder = cells_folder(out, ablation)
        raise StoreError(f"{folder}: no cell of '{ablation.name}' is finished; run it without --table")
    write_whole_file(path, tables(ablation, found.values(), command))
    write_whole_file(lines, "".join(found[key].to_json() for key in sorted(found)))
    return len(cells_of(ablation)) - len(found)


def tables(ablation: Ablation, cells: Iterable[Measured], command: Sequence[str]) -> str:
    """All tables of an ablation."""
    found = {(settings_hash(one.cell.settings), one.cell.seed): one for one in cells}
    text = [_head(ablation, found, command)]
    for name, group in ablation.file.groups.items():
        rows = [row for row in ablation.rows if row.group == name]
        text += [f"## {_title(name)}", ""]
        if group.about:
            text += [group.about.strip(), ""]
        text += [f"Differences are to *{group.reference}*.", ""]
        split = ablation.file.splits[0]
        columns = [Column(head, _graded(split, "all", key), unit) for head, (key, unit) in METRICS.items()]
        text += _table(ablation, rows, found, [*columns, *COSTS])
        columns = [
            Column(f"{heading}, {part}", _graded(split, slice_, METRICS[heading][0]))
            for heading in ("AUC", "NDCG@10")
            for part, split, slice_ in PARTS
            if split in ablation.file.splits
        ]
        text += _table(ablation, rows, found, columns)
    text += ["## What each is worth in the market", "", _MARKET_NOTE, ""]
    for name in ablation.file.groups:
        rows = [row for row in ablation.rows if row.group == name]
        text += [f"### {_title(name)}", "", *_table(ablation, rows, found, MARKET)]
    return "\n".join(text).rstrip() + "\n"


_MARKET_NOTE = """\
The model of every cell ranks the same market, on the day of its seed. irrelevant: share of the shown ads
whose true grade is 0; by position: weighted by how likely the slot is looked at; revenue, user utility
and welfare in currency per 1000 queries. Differences of shares in percentage points, of the others in
per cent of the reference's mean (Fieller's interval)."""

_HEAD_NOTE = """\
Each figure is a mean over the seeds; below it stands the paired difference to the group's reference with
its 95% t interval over the seeds, in bold where that misses zero. So do one in twenty of the differences
that are nothing. A seed is that of the weights, of all batches and of the market's day; *seeds* says how
many a row has.

The first table of a group is of test queries on test advertisers, neither of which training has seen.
distance: mean score of the positive pairs minus that of the negative ones. ECE: expected calibration
error of P(positive) in 15 bins of equally many pairs. AUC by P(pos.): ranked by P(positive) instead of
the ranking score. head: the most frequent queries that make half of the traffic; tail: all others;
stuffed: ads of advertisers who stuff keywords; new products: no label ever named them. Seconds are of
one processor core."""


def _head(ablation: Ablation, found: Mapping[tuple[str, int], Measured], command: Sequence[str]) -> str:
    codes = len({one.code for one in found.values()})
    seconds = sum(
        one.cost[name] for one in found.values() for name in ("finetuning_s", "testing_s", "market_s")
    )
    shared = {
        (settings_hash(one.cell.pretraining()), one.cell.seed): one.cost["pretraining_s"]
        for one in found.values()
    }
    hours = (seconds + sum(shared.values())) / 3600
    versions = f", by {codes} versions of the code" if codes > 1 else ""
    made = (
        f"Made by `{shlex.join(command)}` of {len(found)} of {len(cells_of(ablation))} trainings, "
        f"{hours:.1f} hours of one processor core in all{versions}."
    )
    return "\n".join([f"# Ablations: {ablation.name}", "", made, "", _HEAD_NOTE, ""])


def _table(
    ablation: Ablation,
    rows: Sequence[Row],
    found: Mapping[tuple[str, int], Measured],
    columns: Sequence[Column],
) -> list[str]:
    across = bool(rows and rows[0].at)
    headings = [*(["at"] if across else []), "arm", "seeds", *(column.heading for column in columns)]
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for row in rows:
        reference = ablation.reference_of(row)
        texts = []
        own, other = _by_seed(row, found), _by_seed(reference, found)
        for column in columns:
            value = np.array([column.of(own[seed]) for seed in own])
            paired = [seed for seed in own if seed in other]
            pair = tuple(np.array([column.of(arm[seed]) for seed in paired]) for arm in (other, own))
            texts.append(_entry(value, None if row == reference else pair, column.unit))
        at = [row.at_text] if across else []
        lines.append("| " + " | ".join([*at, row.arm, str(len(own)), *texts]) + " |")
    return [*lines, ""]


def _by_seed(row: Row, found: Mapping[tuple[str, int], Measured]) -> dict[int, Measured]:
    digest = settings_hash(row.settings)
    return {seed: found[digest, seed] for seed in row.seeds if (digest, seed) in found}


def _entry(value: FloatArray, pair: tuple[FloatArray, ...] | None, unit: str) -> str:
    """The mean, and below it the paired difference (arm minus reference) where there is a reference."""
    kept = value[np.isfinite(value)]
    if not kept.size:
        return "–"
    text = _number(float(kept.mean()), unit)
    if pair is None or unit == "seconds":
        return text
    reference, own = pair
    whole = np.isfinite(reference) & np.isfinite(own)
    reference, own = reference[whole], own[whole]
    if not own.size:
        return text
    mean, low, high = t_interval(own - reference, CONFIDENCE)
    if unit == "change":
        scale = abs(float(reference.mean()))
        if not scale:
            return text
        mean /= scale
        low, high = fieller_interval(own - reference, reference, CONFIDENCE)
    difference = _difference(mean, unit)
    if math.isnan(low):
        return f"{text}<br>{difference}"
    difference += f" [{_difference(low, unit)}, {_difference(high, unit)}]"
    return f"{text}<br>" + (f"**{difference}**" if low > 0 or high < 0 else difference)


def _number(value: float, unit: str) -> str:
    match unit:
        case "share":
            return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"
        case "percent":
            return f"{100 * value:.2f}%"
        case "seconds":
            return f"{value:.0f}"
    return f"{value:.2f}"


def _difference(value: float, unit: str) -> str:
    match unit:
        case "share":
            return f"{value:+.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:+.3f}"
        case "percent":
            return f"{100 * value:+.2f}"
        case "change":
            return f"{100 * value:+.1f}%"
    return f"{value:+.2f}"


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]
