"""The tables of an ablation as Markdown: means over the seeds, and paired differences with 95% t intervals.

Made of the finished cells alone, however many there are.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from scenarios.errors import StoreError
from scenarios.reporting.ablation_picture import picture
from scenarios.reporting.figures import write_picture
from scenarios.storage.whole import check_replaceable, write_whole_file
from scenarios.studies.ablations.ablation import Ablation, Row
from scenarios.studies.ablations.cells import (
    Measured,
    cells_folder,
    cells_of,
    checkpoint_names,
    of_ablation,
    read_cells,
    read_lines,
    settings_hash,
)
from scenarios.studies.ablations.effects import (
    COSTS,
    MARKET,
    METRICS,
    PARTS,
    Column,
    Found,
    effect_of,
    graded,
    seeds_of,
    title_of,
    values_of,
)

CHANCE = 0.55
"""A model with a smaller AUC of positive and negative pairs has hardly learnt anything."""


class Written(NamedTuple):
    """What `write_tables` has written."""

    picture: Path
    missing: int
    """How many cells are not finished yet."""


def write_tables(ablation: Ablation, out: Path, path: Path, command: Sequence[str]) -> Written:
    """Write the tables to `path`; beside it the cells they are made of, `.jsonl`, and their picture.

    The picture is an `.svg`, or a page `.html` where `write_picture` cannot draw one.

    Cells are read from the results folder and from that file, so that the tables can be made again where the
    results are not.

    Raises:
        StoreError: there is no cell yet, or a file cannot be read or written.
    """
    if path.suffix in (".jsonl", ".svg", ".html"):
        reason = "files of this kind hold the cells and the picture, beside the tables"
        raise StoreError(reason, file=path, remedy=f"name them {path.stem}.md")
    check_replaceable(path)
    lines = path.with_suffix(".jsonl")
    found = of_ablation(ablation, [*read_lines(lines), *read_cells(cells_folder(out, ablation))])
    if not found:
        folder = cells_folder(out, ablation)
        raise StoreError(f"{folder}: no cell of '{ablation.name}' is finished; run it without --table")
    drawn = write_picture(picture(ablation, found), path.with_suffix(".svg"))
    write_whole_file(path, tables(ablation, found.values(), command, drawn.name))
    write_whole_file(lines, "".join(found[key].to_json() for key in sorted(found)))
    return Written(drawn, len(cells_of(ablation)) - len(found))


def tables(
    ablation: Ablation, cells: Iterable[Measured], command: Sequence[str], image: str | None = None
) -> str:
    """All tables of an ablation; `image` is the file of their picture, as seen from theirs."""
    found = {one.cell.id: one for one in cells}
    text = [_head(ablation, found, command)]
    if image is not None:
        shown = "!" if image.endswith(".svg") else ""
        text += [f"{shown}[Differences to each group's reference, with 95% intervals]({image})", ""]
    text += _at_chance(ablation, found)
    ids = {(row.group, (settings_hash(row.settings), seed)) for row in ablation.rows for seed in row.seeds}
    begun = [name for name in ablation.file.groups if any((name, own) in ids for own in found)]
    for name, group in ablation.file.groups.items():
        rows = ablation.rows_of(name)
        text += [f"## {title_of(name)}", ""]
        if group.about:
            text += [group.about.strip(), ""]
        if name not in begun:
            text += ["No training of this group is finished.", ""]
            continue
        text += [f"Differences are to *{group.reference}*.", ""]
        split = ablation.file.splits[0]
        columns = [Column(head, graded(split, "all", key), unit) for head, (key, unit) in METRICS.items()]
        text += _table(ablation, rows, found, [*columns, *COSTS])
        columns = [
            Column(f"{heading}, {part}", graded(split, slice_, METRICS[heading][0]))
            for heading in ("AUC", "NDCG@10")
            for part, split, slice_ in PARTS
            if split in ablation.file.splits
        ]
        text += _table(ablation, rows, found, columns)
    text += ["## What each is worth in the market", "", _MARKET_NOTE, ""]
    for name in begun:
        rows = ablation.rows_of(name)
        text += [f"### {title_of(name)}", "", *_table(ablation, rows, found, MARKET)]
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


def _head(ablation: Ablation, found: Found, command: Sequence[str]) -> str:
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


def _at_chance(ablation: Ablation, found: Found) -> list[str]:
    """A warning where trainings have learnt nothing."""
    names, split = checkpoint_names(ablation), ablation.file.splits[0]
    low = [names[own] for own, one in found.items() if one.metrics[split]["all"]["auc"] < CHANCE]
    if not low:
        return []
    which = f"{len(low)} of {len(found)} trainings have an AUC below {CHANCE}: {', '.join(sorted(low))}."
    return [
        f"**At chance.** {which} A mean over them and others says little; train longer, or differently.",
        "",
    ]


def _table(ablation: Ablation, rows: Sequence[Row], found: Found, columns: Sequence[Column]) -> list[str]:
    across = bool(rows and rows[0].at)
    headings = [*(["at"] if across else []), "arm", "seeds", *(column.heading for column in columns)]
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for row in rows:
        texts = [_entry(ablation, row, column, found) for column in columns]
        at = [row.at_text] if across else []
        lines.append("| " + " | ".join([*at, row.arm, str(seeds_of(row, found)), *texts]) + " |")
    return [*lines, ""]


def _entry(ablation: Ablation, row: Row, column: Column, found: Found) -> str:
    """The mean, and below it the paired difference (arm minus reference) where there is a reference."""
    values, unit = values_of(row, column, found), column.unit
    if not values.size:
        return "–"
    text = _number(float(values.mean()), unit)
    effect = effect_of(ablation, row, column, found)
    if effect is None:
        return text
    difference = _number(effect.mean, unit, signed=True)
    if not math.isnan(effect.low):
        low, high = (_number(end, unit, signed=True) for end in (effect.low, effect.high))
        difference += f" [{low}, {high}]"
    return f"{text}<br>" + (f"**{difference}**" if effect.seen else difference)


def _number(value: float, unit: str, *, signed: bool = False) -> str:
    """A figure, or with a sign a difference: of a share in per cent in points, of a change in per cent."""
    sign = "+" if signed else ""
    match unit:
        case "share":
            text = f"{value:{sign}.3f}"
            return text.replace("0.", ".", 1) if abs(value) < 1 else text
        case "percent":
            return f"{100 * value:{sign}.2f}" + ("" if signed else "%")
        case "seconds":
            return f"{value:.0f}"
        case "change" if signed:
            return f"{100 * value:+.1f}%"
    return f"{value:{sign}.2f}"
