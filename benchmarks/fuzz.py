"""Mutated files: `python -m benchmarks.fuzz --files 10000`.

Takes the shipped scenarios, sweeps and experiments, and small tables, and damages them: values of other
types, unknown keys, NaN and infinity, enormous numbers, deep nests, aliases, odd YAML, other encodings,
single bytes, missing ends, and names of files that are not there or of another kind. Every one must load, or
be refused by one message for the user that names the file, and for YAML the line of what is wrong. Anything
else is a defect: the seed and the number of a file make it again.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # many small files: threads would only wait

import polars as pl
import yaml

from scenarios import DEFAULT_SCENARIO, load_experiment, load_scenario, load_sweep
from scenarios.config.load import PROFILE, read_file
from scenarios.corpora.labelled import read_tables
from scenarios.corpora.pair_scores import read_pairs
from scenarios.errors import UserError
from scenarios.markets.table.auctions import to_arrays
from scenarios.markets.table.reading import read_auctions, read_budgets, scorers_of
from scenarios.studies.experiments.experiment_run import check_experiment

LONGEST = 6000
"""Characters of a message that can still be read."""


# Files to begin with

PROFILE_TEXT = """\
kind: service profile
schema: 1
scorer: hcmrm
scenario: serving
machine: {cpu: AMD EPYC, torch: 2.13.0}
repeats: 7
points: [[1, 0.0048], [4, 0.0070], [16, 0.0168]]
quartiles: [[0.004, 0.005], [0.006, 0.008], [0.016, 0.018]]
"""
TABLE_SCENARIO = """\
schema: 1
name: own
market: {kind: table, auctions: auctions.parquet, advertisers: budgets.jsonl}
users: {examination: [1.0, 0.6]}
compare: [none, model]
sweep: {values: [0.5, 1.0], scorers: [model]}
"""
TINY_SCENARIO = """\
schema: 1
name: tiny
seed: 3
market: {kind: world}
split: test
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 2000, days: 2, warm_up_days: 1, sessions: {population: 500, queries_per_session: 1.6}}
retrieval: {candidates: 12}
scorer: oracle
hcmrm: {checkpoint: shipped, device: cpu}
fusion: {rule: tiers, thresholds: [0.3, 0.6], within: {bid: 1.0, relevance: 0.5}}
auction: {mechanism: gsp, reserve: 0.05, payment: click}
users: {examination: [1.0, 0.7, 0.5], click_model: dbn, conversion_rate: 0.05, return_rate: 0.8}
pctr: {kind: learnt, feedback: own, first_guess: 0.1, signal: 0.5, sigma: 0.1}
bidders:
  policies: [{policy: pid_pacing, share: 0.5}, {policy: fixed, share: 0.5}]
  churn: {newcomer_share: 0.1}
serving: {servers: 2, batch_size: 4, timeout_s: 0.25, fallback: bm25, profile: [[1, 0.005], [64, 0.06]]}
compare: [none, bm25, oracle]
sweep: {field: fusion.within.relevance, values: [0.5, 1.0], scorers: [bm25, oracle]}
"""
SMALL_SWEEP = """\
schema: 1
name: small
scenario: tiny.yaml
common: {traffic.n_queries: 500}
over:
  auction.reserve: {from: 0.01, to: 1, count: 3, log: true}
  fusion.within.relevance: {uniform: [0, 2]}
  scorer: [bm25, oracle]
method: sobol
points: 4
seeds: [1, 2]
constraints:
  - {metric: irrelevant_share, at_most: 0.02}
  - {field: auction.reserve, at_least: 0.001}
maximise: revenue_rpm
minimise: irrelevant_share
"""
SMALL_EXPERIMENT = """\
schema: 1
name: small
scenario: tiny.yaml
common: {traffic: {n_queries: 500}}
baseline: A
arms:
  A: {fusion.within.relevance: 0.5}
  B: {fusion: {rule: gate, threshold: 0.4}}
seeds: 3
design: [common, query_split]
metrics: [revenue_rpm, ctr]
until: {metric: revenue_rpm, half_width: 0.05, max_seeds: 10}
confidence: 0.9
"""

AUCTIONS = pl.DataFrame(
    {
        "query_id": [1, 1, 1, 2, 2, 3],
        "ad_id": ["a", "b", "c", "a", "d", "b"],
        "advertiser_id": ["x", "y", "z", "x", "w", "y"],
        "bid": [1.0, 0.5, 2.0, 1.5, 0.25, 0.75],
        "pctr": [0.1, 0.2, 0.05, 0.1, 0.3, 0.2],
        "time_s": [0.0, 0.0, 0.0, 60.0, 60.0, 120.0],
        "query": ["red shoes", "red shoes", "red shoes", "blue hat", "blue hat", "red shoes"],
        "grade": [3, 1, 0, 2, 2, 1],
        "position": [1, 2, None, 1, None, 1],
        "clicked": [True, False, None, False, None, True],
        "price": [0.5, 0.2, None, 0.3, None, 0.4],
        "relevance_model": [0.9, 0.4, 0.1, 0.7, 0.6, 0.4],
    }
)
BUDGETS = pl.DataFrame({"advertiser_id": ["x", "y"], "budget": [10.0, None]})
ADS = pl.DataFrame({"id": ["a", "b"], "title": ["red shoes", "blue hat"], "ocr": ["sale", ""]})
QUERIES = pl.DataFrame({"id": ["q", "r"], "text": ["shoes", "hat"]})
LABELS = pl.DataFrame({"query_id": ["q", "r"], "ad_id": ["a", "b"], "grade": [3, 2]})
PAIRS = LABELS.select("query_id", "ad_id")


def parquet(frame: pl.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file."""
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: what it is called, how it is read, and files to begin with."""

    name: str
    read: Callable[[Path], object]
    files: tuple[bytes, ...]
    weight: float = 1.0
    """How many of all files are of this kind, relative to the others."""

    @property
    def is_yaml(self) -> bool:
        return self.name.endswith(".yaml")


def _shipped(folder: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted((DEFAULT_SCENARIO.parent / folder).glob("*.yaml")))


def _auctions(path: Path) -> object:
    scorers_of(path)
    return to_arrays(read_auctions(path))


def _experiment(path: Path) -> object:
    plan = load_experiment(path)
    check_experiment(plan, path)
    return plan


def _corpus(path: Path) -> object:
    return read_tables(path.parent)


def kinds() -> tuple[Kind, ...]:
    """Every kind of file that a user hands over."""
    return (
        Kind("scenario.yaml", load_scenario, (*_shipped("."), TINY_SCENARIO.encode()), 12),
        Kind("table.yaml", load_scenario, (TABLE_SCENARIO.encode(),), 2),
        Kind("sweep.yaml", load_sweep, (*_shipped("sweeps"), SMALL_SWEEP.encode()), 4),
        Kind("experiment.yaml", _experiment, (*_shipped("experiments"), SMALL_EXPERIMENT.encode()), 4),
        Kind("profile.yaml", lambda path: read_file(path, PROFILE), (PROFILE_TEXT.encode(),)),
        Kind("rows.parquet", _auctions, (parquet(AUCTIONS),), 2),
        Kind("rows.jsonl", _auctions, (AUCTIONS.write_ndjson().encode(),), 2),
        Kind("owners.jsonl", read_budgets, (BUDGETS.write_ndjson().encode(),)),
        Kind("ads.csv", _corpus, (ADS.write_csv().encode(),)),
        Kind("ads.jsonl", _corpus, (ADS.write_ndjson().encode(),)),
        Kind("ads.parquet", _corpus, (parquet(ADS),)),
        Kind("pairs.csv", lambda path: list(read_pairs(path)), (PAIRS.write_csv().encode(),)),
        Kind("pairs.jsonl", lambda path: list(read_pairs(path)), (PAIRS.write_ndjson().encode(),)),
        Kind("pairs.parquet", lambda path: list(read_pairs(path)), (parquet(PAIRS),)),
    )


def neighbours(folder: Path) -> None:
    """Whole files that the mutated ones in `folder` name: beside them, and above them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in DEFAULT_SCENARIO.parent.glob("*.yaml"):
        shutil.copy(path, folder.parent)
    (folder / "tiny.yaml").write_text(TINY_SCENARIO)
    AUCTIONS.write_parquet(folder / "auctions.parquet")
    BUDGETS.write_ndjson(folder / "budgets.jsonl")
    QUERIES.write_csv(folder / "queries.csv")
    LABELS.write_csv(folder / "labels.csv")


# Damage

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**53 + 1, 2**63, -(2**64), 10**30, 10**400, 0.0, -0.0, 0.5,
    1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), "", " ", "0", "1e-3", "1e400",
    "nan", "no", "null", "2026-01-01", "hcmrm", "oracle", "none", "default", "x" * 300, "a\nb", "\x00",
    "\u2028", "\U0001f600", "\ud800", "../../etc/passwd", "/etc/passwd", "/dev/zero", "/dev/stdin",
    "/proc/self/mem", "scenario.yaml", "sweep.yaml", "experiment.yaml", ".", "no_such:thing",
    "json:loads", "math:pi", "%s%n", "{0.__class__}", "b ** b ** b", "1/0", "__import__('os')", [], {},
    [None], [[[]]], {"x": 1}, {"rule": "gate"}, {"kind": "table"}, list(range(50)), [1, 1, 1],
    ["none", "none"], {"from": 0, "to": 1, "step": 1e-12}, {"uniform": [1, 0]},
    {"from": 1, "to": 1e9, "count": 90_000, "log": True},
)  # fmt: skip
"""Values that are put where others were."""

KEYS = ("x", "rule", "kind", "relevance", "schema", "seed", "", 1, None, True)
"""Keys that are put beside others."""

PIECES = (
    b"\x00", b"\xff\xfe", b"\xe9", b"\xed\xa0\x80", b"\t", b"\r", b"\n", b"  ", b":", b": ", b"- ", b"? ",
    b"---\n", b"...\n", b"#", b"&a ", b"*a", b"*b ", b"<<: ", b"<<: *a\n",
    b"!!python/object/apply:os.system ", b"!!binary ", b"!!set ", b"!!omap ", b"!!timestamp ", b"!!int ",
    b"!!float ", b"!!null ", b"!!bool ", b"!x ", b"%YAML 9.9\n", b"|", b">-", b"@", b"`", b"'", b'"',
    b"[", b"]", b"{", b"}", b",", b"010", b"12:30:45", b"1e-3", b".inf", b".nan", b"2026-13-45",
    b"2026-01-01", b"0x", b"0b", b"0o7", b"_", b"1_000", b"=", b"~", b"yes: no\n", b"1: 2\n",
    b"null: 1\n", b"? [a]\n: b\n", b"0o17", b"09", b"-.5", b".5e3", b"._", b"%YAML 1.1\n---\n",
    b"? ", b"? a\n", b"!!map ", b"!!seq ", b"!<tag:yaml.org,2002:int> ", b"&a &b ",
    b'"\\UFFFFFFFF"', b'"\\ud800"', b'"\\x', b"a: &a 1\nb: &a 2\n",
    b"\xe2\x80\xa8", b"\xc2\x85", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80",
    b"NaN", b"1e999", b"9" * 5000,
)  # fmt: skip
"""Bytes that are put between others."""


def mutate(base: bytes, kind: Kind, rng: random.Random) -> bytes:
    """One damaged file of a whole one."""
    if kind.is_yaml and rng.random() < 0.5:
        data = yaml.safe_load(base)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            data = _other_structure(data, rng)
        text = yaml.safe_dump(
            data, allow_unicode=rng.random() < 0.5, default_flow_style=rng.choice((None, True))
        )
        # What safe_dump writes as an escape stays one; what it cannot write at all is left out.
        base = text.encode("utf-8", "replace")
        if rng.random() < 0.8:
            return base
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        base = rng.choice(DAMAGES)(base, rng)
    return base


def _other_structure(data: Any, rng: random.Random) -> Any:
    """Data with one node replaced, removed, doubled, renamed or buried."""
    if isinstance(data, dict) and data and rng.random() < 0.85:
        data = dict(data)
        key = rng.choice(list(data))
        what = rng.random()
        if what < 0.55:
            data[key] = _other_structure(data[key], rng)
        elif what < 0.65:
            del data[key]
        elif what < 0.75:
            data[_misspelt(str(key), rng)] = data.pop(key)
        elif what < 0.85:
            data[rng.choice(("x", "rule", "kind", "relevance", "schema", "seed", "", 1, None, True))] = (
                rng.choice(VALUES)
            )
        else:
            data[key] = rng.choice(VALUES)
        return data
    if isinstance(data, list) and data and rng.random() < 0.85:
        data, place = list(data), rng.randrange(len(data))
        what = rng.random()
        if what < 0.5:
            data[place] = _other_structure(data[place], rng)
        elif what < 0.6:
            del data[place]
        elif what < 0.75:
            data.insert(place, data[place])
        else:
            data.insert(place, rng.choice(VALUES))
        return data
    number = isinstance(data, int | float) and not isinstance(data, bool)
    if number and abs(data) < 1e300 and rng.random() < 0.5:
        return rng.choice((-data, data * 1e9, data + 0.5, str(data), [data], data * 1000, data / 3))
    if rng.random() < 0.05:
        for _ in range(rng.choice((3, 60, 300))):
            data = [data]
        return data
    return rng.choice(VALUES)


def _misspelt(word: str, rng: random.Random) -> str:
    place = rng.randrange(len(word) + 1)
    return word[:place] + rng.choice("xe_ .:") + word[place + rng.choice((0, 1)) :]


def _cut(base: bytes, rng: random.Random) -> bytes:
    return base[: rng.randrange(len(base) + 1)]


def _flip(base: bytes, rng: random.Random) -> bytes:
    if not base:
        return b"\x80"
    place = rng.randrange(len(base))
    return base[:place] + bytes([base[place] ^ (1 << rng.randrange(8))]) + base[place + 1 :]


def _put(base: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(base) + 1)
    return base[:place] + rng.choice(PIECES) + base[place:]


def _put_for_a_value(base: bytes, rng: random.Random) -> bytes:
    """A piece in the place of what stands between a colon or comma and the next sign."""
    places = list(re.finditer(rb"(?<=[:,\[{] )[^,\]}\n]+|(?<=[:,])[^,\]}\n ]+", base))
    if not places:
        return _put(base, rng)
    found = rng.choice(places)
    return base[: found.start()] + rng.choice(PIECES) + base[found.end() :]


def _lines(base: bytes, rng: random.Random) -> bytes:
    """A line removed, doubled, indented or moved."""
    lines = base.splitlines(keepends=True)
    if not lines:
        return b"\n"
    place = rng.randrange(len(lines))
    what = rng.randrange(4)
    if what == 0:
        del lines[place]
    elif what == 1:
        lines.insert(rng.randrange(len(lines) + 1), lines[place])
    elif what == 2:
        lines[place] = rng.choice((b" ", b"  ", b"\t")) + lines[place]
    else:
        lines.insert(rng.randrange(len(lines)), lines.pop(place))
    return b"".join(lines)


def _recode(base: bytes, rng: random.Random) -> bytes:
    text = base.decode("utf-8", "replace").replace("name: ", "name: caf\xe9 ", rng.randrange(2))
    return text.encode(
        rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "cp500", "utf-8-sig")), "replace"
    )


def _alias(base: bytes, rng: random.Random) -> bytes:
    """Aliases that expand, or lead back to themselves."""
    laughs = b"l0: &l0 [x]\n" + b"".join(
        b"l%d: &l%d [%s]\n" % (i, i, b", ".join([b"*l%d" % (i - 1)] * 9)) for i in range(1, 9)
    )
    more = rng.choice(
        (
            *(laughs, b"a: &a [*a]\n", b"a: &a {b: *a}\n", b"a: &a {x: 1}\nb: {<<: *a, y: 2}\n"),
            *(b"<<: {name: z}\n", b"<<: [1, 2]\n", b"<<: 3\n", b"a: &a\n  <<: *a\n"),
        )
    )
    return base + more if rng.random() < 0.5 else more + base


def _nest(base: bytes, rng: random.Random) -> bytes:
    depth = rng.choice((5, 100, 600, 3000))
    opening, closing = rng.choice(((b"[", b"]"), (b"{a: ", b"}"), (b"- ", b"")))
    nest = opening * depth + b"1" + closing * depth
    return base + b"\nx: " + nest + b"\n" if rng.random() < 0.7 else nest


def _many(base: bytes, rng: random.Random) -> bytes:
    """More of everything than anybody wants."""
    return base + rng.choice(
        (
            *(b"".join(b"k%d: 1\n" % i for i in range(300)), b"z: [" + b"1, " * 3000 + b"1]\n"),
            *(b"# " + b"y" * 20_000, b"\n" * 5000),
        )
    )


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_cut, _flip, _flip, _put, _put, _put, _put_for_a_value, _put_for_a_value, _put_for_a_value),
    *(_put_for_a_value, _lines, _lines, _lines, _recode, _alias, _nest),
)
RARE: tuple[Callable[[bytes, random.Random], bytes], ...] = (_many,)
"""These take as long as a hundred others."""


def mutated(seed: int, number: int, all_kinds: tuple[Kind, ...]) -> tuple[Kind, bytes]:
    """File `number` of the endless row that a seed makes."""
    rng = random.Random(f"{seed}-{number}")
    [kind] = rng.choices(all_kinds, [kind.weight for kind in all_kinds])
    base = rng.choice(kind.files)
    if rng.random() < 0.01:
        return kind, rng.choice(RARE)(base, rng)
    return kind, mutate(base, kind, rng)


# Verdicts


def fault_of(kind: Kind, path: Path) -> str | None:
    """What is wrong with how a file is answered: it must be read, or refused in words. None: nothing is."""
    try:
        kind.read(path)
    except UserError as error:
        return fault_in_message(str(error), kind, path)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


FILE_LEVEL = re.compile(
    r"(is empty|is missing; add it|too long for|more than \d+ values|nested too deeply|not valid YAML"
    r"|'key: value' lines|line \d+)"
)
"""Of a YAML file: a line, or what concerns the whole of it."""

ABSENT = re.compile(r"hcmrm\.checkpoint .*model\.safetensors: not found")
"""Of a scenario that names a checkpoint which is not there: the field, and the file that is missed."""


def fault_in_message(message: str, kind: Kind, path: Path) -> str | None:
    """What a message lacks; None: nothing."""
    if len(message) > LONGEST:
        return f"a message of {len(message)} characters: {message[:300]}"
    first, last = message.splitlines()[0], message.splitlines()[-1]
    if str(path.parent) not in first and not ABSENT.search(first):
        return f"names no file: {message[:300]}"
    # Several problems have a line each; those of one point of a sweep have that of the point.
    if kind.is_yaml and not ABSENT.search(first) and not FILE_LEVEL.search(first + last):
        return f"names no line: {message[:300]}"
    if re.search(r"0x[0-9a-f]{6,}|Traceback|<class|object at", message):
        return f"speaks Python: {message[:300]}"
    return None


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that was not answered well; `mutated(seed, number, kinds())` makes it again."""

    number: int
    kind: str
    what: str


def torment(n: int, seed: int, folder: Path) -> tuple[Counter[str], list[Fault]]:
    """Read n damaged files: how many of each kind were read or refused, and the faults."""
    all_kinds, tally, faults = kinds(), Counter[str](), list[Fault]()
    folder = folder / "files"
    neighbours(folder)
    for number in range(n):
        kind, content = mutated(seed, number, all_kinds)
        path = folder / kind.name
        path.write_bytes(content)
        before = time.process_time()
        what = fault_of(kind, path)
        if (took := time.process_time() - before) > 3.0:
            what = f"takes {took:.1f} s"
        tally[kind.name] += 1
        if what is not None:
            faults.append(Fault(number, kind.name, what))
        path.unlink()
    return tally, faults


def main() -> None:
    """Print the tally; exit code 1 if a file was not answered well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        tally, faults = torment(options.files, options.seed, Path(name))
    for kind, count in sorted(tally.items()):
        print(f"{count:7,} {kind}")
    for fault in faults[:40]:
        print(f"file {fault.number}, {fault.kind}: {fault.what}")
    took = time.process_time() - began
    print(f"{len(faults)} faults in {options.files:,} files, {took:.1f} s of processor time")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
