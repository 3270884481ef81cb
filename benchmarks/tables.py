"""Figures of benchmarks as tables in Markdown, for the site's page of them and for `make gpu`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SPEED = HERE.parent / "docs" / "speed.json"
"""Where `make bench` leaves its figures."""
SUITE = HERE / "speed.yaml"
PEERS = HERE / "peers.yaml"
GPU = HERE.parent / "docs" / "gpu"
Figures = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def page() -> str:
    """The page of all benchmarks: this machine's figures, other simulators', those of a GPU."""
    suite = yaml.safe_load(SUITE.read_text(encoding="utf-8"))
    found = {one["name"]: one for one in json.loads(SPEED.read_text(encoding="utf-8"))}
    unknown = "Not measured yet: `make gpu-bundle` here, then `make gpu` on a machine with one.\n"
    return "\n\n".join(
        [
            "# Benchmarks",
            "What is measured is data, `benchmarks/speed.yaml`; `make bench` measures it, and "
            '`make bench ARGS="--only NAME"` some of it. [Speed](../speed.md) explains the figures.',
            "## On a processor",
            speed_table(suite, found),
            "## Beside other simulators",
            peer_table(yaml.safe_load(PEERS.read_text(encoding="utf-8")), found),
            "## On a GPU",
            gpu_tables(GPU) or unknown,
        ]
    )


def speed_table(suite: Sequence[Figures], found: dict[str, Figures]) -> str:
    """Every entry of the suite with its figure and target, and below where and when each was measured."""
    places: list[str] = []
    rows = []
    for entry in suite:
        one = found.get(entry["name"])
        if one is None:
            figure, also, note = f"not measured yet: `--only '{entry['name']}'`", "", ""
        else:
            place = measured(one["measured"])
            places += [] if place in places else [place]
            figure, note = rounded(one["figure"]), f"[{places.index(place) + 1}]"
            also = ", ".join(f"{name} {rounded(value)}" for name, value in one["also"].items())
        what = f"**{entry['name']}**: {entry['what']}"
        rows.append((what, figure, entry["unit"], target(entry, one and one["figure"]), also, note))
    notes = "\n".join(f"- [{number}] {place}" for number, place in enumerate(places, start=1))
    return f"{table(('what', 'figure', 'unit', 'target', 'also', 'measured'), rows)}\n\n{notes}"


def peer_table(peers: Figures, found: dict[str, Figures]) -> str:
    """Auctions a second beside what other simulators were measured at."""
    own = found.get("auctions a second")
    what = "48 candidates, 3 slots, GSP, budgets; clicks, charges, log in memory"
    rows: list[tuple[str, ...]] = [
        ("relbid", rounded(own["figure"]) if own else "not measured yet", what, "above")
    ]
    rows += [(one["system"], one["auctions_per_s"], one["what"], one["source"]) for one in peers["systems"]]
    return f"{peers['about']}\n\n{table(('simulator', 'auctions a second', 'an auction is', 'source'), rows)}"


def target(entry: Figures, figure: float | None) -> str:
    """The target, and whether the figure meets it."""
    for side, words in (("least", "at least"), ("most", "at most")):
        if side in entry:
            met = figure is None or (figure >= entry[side] if side == "least" else figure <= entry[side])
            return f"{words} {entry[side]:,}: {'' if figure is None else 'met' if met else 'MISSED'}".rstrip(
                ": "
            )
    return ""


def rounded(figure: float) -> str:
    """Three digits, or whole thousands."""
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def measured(where: Figures) -> str:
    """Machine, versions, commit, date and load of a figure."""
    packages = ", ".join(f"{name} {where[name]}" for name in ("numpy", "torch") if where.get(name))
    load = f", load average {where['load']:.1f}" if where.get("load") is not None else ""
    return (
        f"{where['date']}, commit {where['commit']}: {where['processor']}, {where['cores']} cores{load}; "
        f"Python {where['python']}, {packages}"
    )


HEADS = {
    "scorer": (
        "HCMRM",
        "pairs/s",
        "share of the matrix rate",
        "times the plain way",
        "Kendall's tau",
        "ads/s",
    ),
    "encoder": ("text cross-encoder of ModernBERT-base's shape", "pairs/s", "HCMRM base scores"),
    "latency": ("from arrival to page", "load", "queries/s", "p50 ms", "p99 ms"),
    "profile": ("where the time of 5,000 live queries goes", "calls", "ms"),
}


def gpu_tables(folder: Path) -> str:
    """What `python -m benchmarks.gpu` left in a folder, as tables and sentences; "" where nothing is."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
    }
    if not found:
        return ""
    parts = [_stamp(found)]
    for name, rows in (
        ("scorer", _scorer_rows(found)),
        ("encoder", _encoder_rows(found.get("base", {}))),
        ("latency", _latency_rows(found)),
        ("profile", [(f"`{x['what']}`", x["calls"] or "", f"{x['ms']:.1f}") for x in _of(found, "live")]),
    ):
        if rows:
            parts.append(table(HEADS[name], rows))
    return "\n\n".join([*parts, *_sentences(found)]) + "\n"


def _of(found: dict[str, Figures], step: str) -> list[Figures]:
    profile: list[Figures] = found.get(step, {}).get("profile", [])
    return profile


def _stamp(found: dict[str, Figures]) -> str:
    stamps = {(one["device"], one["torch"], one["commit"], one.get("date", "")) for one in found.values()}
    return "\n".join(
        f"{device}, torch {torch}, commit {commit[:7]}{date and f', {date}'}."
        for device, torch, commit, date in sorted(stamps)
    )


def _scorer_rows(found: dict[str, Figures]) -> list[tuple[str, ...]]:
    return [
        (
            f"{one['preset']}, {one['precision']}, {one['between'] or 'padded'}",
            f"{one['pairs_per_s']:,.0f}",
            f"{one['share_of_matrix_rate']:.2f}",
            f"{one['times_plain']:.1f}" if "times_plain" in one else "",
            f"{one['kendall_tau']:.4f}",
            f"{one['ads_encoded_per_s']:,.0f}",
        )
        for one in found.values()
        if "share_of_matrix_rate" in one
    ]


def _encoder_rows(base: Figures) -> list[tuple[str, ...]]:
    return [
        (words, f"{base[f'{name}_pairs_per_s']:,.0f}", f"{base[f'times_{name}']:.1f} times as many")
        for name, words in (("encoder", "of the same tokens"), ("encoder_whole", "of whole texts"))
        if f"times_{name}" in base
    ]


def _latency_rows(found: dict[str, Figures]) -> list[tuple[str, ...]]:
    return [
        (f"{one['preset']}, {one['precision']}", f"{load['load']}", f"{load['queries_per_s']:,.0f}",
         f"{load['p50_ms']:.1f}", f"{load['p99_ms']:.1f}")
        for one in found.values()
        for load in one.get("latency", ())
    ]  # fmt: skip


def _sentences(found: dict[str, Figures]) -> Iterator[str]:
    if "kendall_tau" in (one := found.get("ranks", {})):
        each = ", ".join(f"{name} {tau:.5f}" for name, tau in one["kendall_tau"].items())
        yield f"Trained checkpoint, {one['pairs']:,} pairs, Kendall's tau with a processor's: {each}."
    if "measured" in (one := found.get("live", {})):
        seen = one["measured"]
        p50, p95, p99 = (1000 * seen[f"latency_p{percent}_s"] for percent in (50, 95, 99))
        yield (
            f"Default scenario live, {one['precision']}: {one['queries_per_s']:,.0f} queries/s as fast as it "
            f"goes. With {one['offered_per_s']:,.0f} queries/s offered and a measured clock: p50 {p50:.1f}, "
            f"p95 {p95:.1f}, p99 {p99:.1f} ms, time-outs {seen['timeout_share']:.2%}, utilisation "
            f"{seen['utilisation']:.2f}."
        )
    if "tests" in (one := found.get("tests", {})):
        yield f"Tests marked gpu: {', '.join(f'{n} {outcome}' for outcome, n in one['tests'].items())}."
    if one := found.get("training", {}).get("log"):
        last, ads = one[-1], found["training"]["ads"]
        yield (
            f"Training of preset small on {ads:,} ads: stage {last['stage']}, step {last['step']} of "
            f"{last['steps']} after {last['seconds']:.0f} s."
        )
    if rows := (one := found.get("trainings", {})).get("trainings"):
        tuned = [row for row in rows if row["kind"] == "finetuning"]
        yield (
            f"Trainings of the registered ablations, {one['processes']} processes at once"
            f"{' through MPS' if one['mps'] else ''}: {len(tuned)} "
            f"checkpoints from {len(rows) - len(tuned)} pre-trainings in {one['seconds']:.0f} s, "
            f"{one['corpora_s']:.0f} s of them for the corpora; "
            + " and ".join(
                f"{1000 * sum(row['seconds'] for row in some) / sum(row['steps'] for row in some):.0f} ms a "
                f"step of {words}"
                for words, some in (
                    ("pre-training", [row for row in rows if row["kind"] == "pretraining"]),
                    ("fine-tuning", tuned),
                )
                if some
            )
            + " in each process."
        )
    yield from (f"Step {name} failed: {one['error']}." for name, one in found.items() if "error" in one)
