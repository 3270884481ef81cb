"""`relbid score`: reads a table of pairs, and writes their scores and grade probabilities, chunk by chunk.

Finished chunks are kept in `<out>.parts` until all are done. Killed at any moment, the same command continues
after the last of them.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from relevance.corpus import LabelledCorpus
from relevance.files import check_file, parsed_json, read_json
from scenarios.errors import UserError, in_words, listed, quoted
from scenarios.markets.checkpoints import checkpoint_hash
from scenarios.markets.kind import Progress
from scenarios.storage.parquet import (
    ParquetError,
    join_parquet,
    parquet_batches,
    parquet_columns,
    write_parquet,
)
from scenarios.storage.tables import text_lines
from scenarios.storage.whole import (
    alone,
    check_replaceable,
    gone_if_it_failed,
    whole_path,
    write_whole_file,
    writing,
)
from simulator.arrays import IntArray

if TYPE_CHECKING:
    from relevance.hcmrm import HcmrmScorer

KINDS = ("query", "ad")
COLUMNS = ("query_id", "ad_id")
CHUNK = 8192
REMEDY = "choose another --out"
MEMORY = 2**30
"""The most bytes of visual tokens to keep, so that frames are not encoded again."""


def score_pairs_table(
    corpus: Path,
    pairs: Path,
    out: Path,
    checkpoint: Path,
    *,
    device: str = "cpu",
    chunk: int = CHUNK,
    progress: Progress | None = None,
) -> int:
    """Score a table of pairs into the Parquet file `out`; returns the number of pairs.

    Its columns: query_id, ad_id, score in [0, 1], and p0..p3, the probabilities of the grades, if the
    checkpoint's head has them. Rows are in the order of `pairs`.

    Args:
        corpus: a corpus folder.
        pairs: .parquet, .jsonl or .csv with the columns query_id and ad_id.
        chunk: pairs in a part; a scoring that continues needs the same.

    Raises:
        CorpusError, CheckpointError: they cannot be read.
        UserError: `pairs` cannot be read or names what the corpus does not have; `out` cannot be written, or
            its parts belong to something else.
    """
    from relevance.hcmrm import HcmrmScorer

    if not out.name:
        raise UserError("names no file", field="--out", value=quoted(str(out)))
    if out.suffix not in ("", ".parquet"):
        remedy = f"name it {out.with_suffix('.parquet')}"
        raise UserError("scores are written as Parquet", file=out, field="--out", remedy=remedy)
    check_replaceable(out, REMEDY)
    data = LabelledCorpus.load(corpus)
    scorer = HcmrmScorer.load(data.corpus, checkpoint, device=device, memory=MEMORY)
    ids = data.corpus.query_ids(), data.corpus.ad_ids()
    check_file(pairs, UserError, "give a table with the columns query_id and ad_id")
    with pairs.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    identity = {
        "corpus": data.corpus.fingerprint(),
        "ids": hashlib.blake2b(json.dumps(ids).encode(), digest_size=16).hexdigest(),
        "checkpoint": checkpoint_hash(checkpoint),
        "pairs": digest,
        "chunk": chunk,
    }
    parts = out.with_name(f"{out.name}.parts")
    with writing(out, REMEDY), alone(out), gone_if_it_failed(parts, "*.parquet"):
        return _score_parts(scorer, pairs, out, parts, ids, identity, chunk, progress)


def _score_parts(
    scorer: HcmrmScorer,
    pairs: Path,
    out: Path,
    parts: Path,
    ids: tuple[Sequence[str], Sequence[str]],
    identity: dict[str, Any],
    chunk: int,
    progress: Progress | None,
) -> int:
    """Score what is missing, part by part, and join the parts."""
    _open_parts(parts, identity)
    rows = _indexed(pairs, ids, parts / "pairs.bin", progress)
    n = len(rows)
    for number, start in enumerate(range(0, n, chunk)):
        part = parts / f"{number:06d}.parquet"
        if not part.is_file():
            query, ad = rows[start : start + chunk].T
            with whole_path(part, remedy=REMEDY) as unfinished:
                write_parquet(_scored(scorer, query, ad, ids), unfinished)
        if progress is not None:
            progress("scoring pairs", min(start + chunk, n), n)
    sizes = {parts / f"{k:06d}.parquet": min(chunk, n - k * chunk) for k in range(-(-n // chunk))}
    with whole_path(out, remedy=REMEDY) as unfinished:
        join_parquet(sizes, unfinished, f"remove {parts}, or {REMEDY}")
    shutil.rmtree(parts)
    return n


def _scored(scorer: HcmrmScorer, query: IntArray, ad: IntArray, ids: Sequence[Sequence[str]]) -> pl.DataFrame:
    score, probabilities = scorer.read(query, ad)
    columns: dict[str, Any] = {
        "query_id": [ids[0][i] for i in query.tolist()],
        "ad_id": [ids[1][i] for i in ad.tolist()],
        "score": score,
    }
    if probabilities is not None:
        columns |= {f"p{grade}": probabilities[:, grade] for grade in range(4)}
    return pl.DataFrame(columns)


def _open_parts(parts: Path, identity: dict[str, Any]) -> None:
    """Make the folder of parts, or check that an existing one belongs to this scoring."""
    state = parts / "state.json"
    if state.exists():
        if read_json(state, dict, UserError, f"remove {parts}, or {REMEDY}") != identity:
            raise UserError(
                f"{parts}: belongs to the scoring of other pairs, another corpus or another checkpoint; "
                "remove it, or choose another --out"
            )
        return
    write_whole_file(state, json.dumps(identity))


def _indexed(pairs: Path, ids: Sequence[Sequence[str]], path: Path, progress: Progress | None) -> IntArray:
    """The pairs as indices of queries and ads, int64 [P, 2], kept in a file beside the parts.

    Raises:
        UserError: a row names a query or an ad that the corpus does not have.
    """
    if not path.is_file():
        places = [{name: i for i, name in enumerate(names)} for names in ids]
        done = 0
        with whole_path(path, remedy=REMEDY) as unfinished, unfinished.open("wb") as file:
            for rows in read_pairs(pairs):
                found = np.empty((len(rows), 2), dtype=np.int64)
                for i, row in enumerate(rows):
                    for side, (kind, name, place) in enumerate(zip(KINDS, row, places, strict=True)):
                        if name not in place:
                            raise UserError(
                                f"{pairs}, row {done + i + 1}, column '{COLUMNS[side]}': "
                                f"the corpus has no {kind} with the id {quoted(name)}"
                            )
                        found[i, side] = place[name]
                found.tofile(file)
                done += len(rows)
                if progress is not None:
                    progress("reading pairs", done, done)
    if not path.stat().st_size:
        raise UserError(f"{pairs}: has no rows")
    raw = path.read_bytes()
    numbers: IntArray = np.frombuffer(raw[: len(raw) // 16 * 16], dtype=np.int64).reshape(-1, 2)
    if len(raw) % 16 or (numbers < 0).any() or (numbers >= [len(ids[0]), len(ids[1])]).any():
        raise UserError("damaged", file=path, remedy=f"remove {path.parent}, or {REMEDY}")
    return numbers


def read_pairs(pairs: Path, size: int = 65536) -> Iterator[list[tuple[str, str]]]:
    """Rows of a table of pairs as texts, `size` at a time.

    Raises:
        UserError: the file cannot be read; names the row if one is at fault.
    """
    if pairs.suffix == ".parquet":
        try:
            _check_columns(pairs, parquet_columns(pairs))
            for table in parquet_batches(pairs, COLUMNS, size):
                rows = table.select(pl.col(name).cast(pl.String) for name in COLUMNS).rows()
                yield [(str(query), str(ad)) for query, ad in rows]
        except (ParquetError, pl.exceptions.PolarsError, OSError) as error:
            raise UserError(f"cannot be read ({in_words(error)})", file=pairs) from error
        return
    lines = text_lines(pairs)
    rows_read = _json_rows(pairs, lines) if pairs.suffix == ".jsonl" else _csv_rows(pairs, lines)
    while batch := list(itertools.islice(rows_read, size)):
        yield batch


def _csv_rows(pairs: Path, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    reader = csv.DictReader(lines)
    try:
        _check_columns(pairs, reader.fieldnames or ())
        for row in reader:
            yield row["query_id"] or "", row["ad_id"] or ""
    except csv.Error as error:
        raise UserError(f"cannot be read ({in_words(error)})", file=pairs, line=reader.line_num) from error


def _json_rows(pairs: Path, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        try:
            row = parsed_json(line, dict)
            yield str(row["query_id"]), str(row["ad_id"])
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{pairs}, row {number}: needs an object with query_id and ad_id ({in_words(error)})"
            ) from error


def _check_columns(pairs: Path, names: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise UserError(f"{pairs}: has no column '{missing[0]}'; it has {listed(map(quoted, names))}")
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise UserError(f"{pairs}: has the column '{twice[0]}' twice; remove one")
