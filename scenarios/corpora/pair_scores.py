"""`relbid score`: reads a table of pairs, and writes their scores and grade probabilities, chunk by chunk.

Finished chunks are kept in `<out>.parts` until all are done. Killed at any moment, the same command continues
after the last of them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from relevance.corpus import Corpus, LabelledCorpus
from relevance.files import check_file, read_json
from scenarios.errors import StoreError, UserError, quoted
from scenarios.markets.checkpoints import checkpoint_hash
from scenarios.markets.kind import Progress
from scenarios.storage.parquet import check_replaced, join_parquet, read_stored, write_parquet
from scenarios.storage.tables import Table
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
    check_replaceable(out, REMEDY)
    check_replaced(out, (*COLUMNS, "score"), REMEDY)
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
        return _score_parts(scorer, pairs, out, parts, data.corpus, identity, chunk, progress)


def _score_parts(
    scorer: HcmrmScorer,
    pairs: Path,
    out: Path,
    parts: Path,
    corpus: Corpus,
    identity: dict[str, Any],
    chunk: int,
    progress: Progress | None,
) -> int:
    """Score what is missing, part by part, and join the parts."""
    _open_parts(parts, identity)
    rows = _indexed(pairs, corpus, parts / "pairs.bin", progress)
    n = len(rows)
    ids = corpus.query_ids(), corpus.ad_ids()
    for number, start in enumerate(range(0, n, chunk)):
        part = parts / f"{number:06d}.parquet"
        query, ad = rows[start : start + chunk].T
        if part.is_file():
            _check_part(part, _named(query, ad, ids), f"remove {parts}, or {REMEDY}")
        else:
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
    columns: dict[str, Any] = {**_named(query, ad, ids), "score": score}
    if probabilities is not None:
        columns |= {f"p{grade}": probabilities[:, grade] for grade in range(4)}
    return pl.DataFrame(columns)


def _named(query: IntArray, ad: IntArray, ids: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """The ids of pairs, by the names of their columns."""
    sides = zip(COLUMNS, ids, (query, ad), strict=True)
    return {name: [known[i] for i in side.tolist()] for name, known, side in sides}


def _check_part(part: Path, pairs: dict[str, list[str]], again: str) -> None:
    """Refuse a part that an earlier command has not written for these pairs.

    Raises:
        StoreError: it is damaged, or holds other pairs, or what is no score.
    """
    found = read_stored(part, again)
    if "score" not in found.columns or any(
        name not in found.columns or found[name].to_list() != wanted for name, wanted in pairs.items()
    ):
        raise StoreError("damaged: has other columns or rows", file=part, remedy=again)
    score = found["score"]
    if not score.dtype.is_numeric() or score.null_count() or not score.is_between(0.0, 1.0).all():
        raise StoreError("damaged: holds a score that is not from 0 to 1", file=part, remedy=again)


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
    if any(parts.glob("*.parquet")):
        raise UserError(
            "missing: it says of which pairs the parts are", file=state, remedy=f"remove {parts}, or {REMEDY}"
        )
    write_whole_file(state, json.dumps(identity))


def _indexed(pairs: Path, corpus: Corpus, path: Path, progress: Progress | None) -> IntArray:
    """The pairs as indices of queries and ads, int64 [P, 2], kept in a file beside the parts.

    Raises:
        UserError: a row names a query or an ad that the corpus does not have.
    """
    if not path.is_file():
        done = 0
        with whole_path(path, remedy=REMEDY) as unfinished, unfinished.open("wb") as file:
            for found in read_pairs(pairs, corpus):
                found.tofile(file)
                done += len(found)
                if progress is not None:
                    progress("reading pairs", done, done)
            if not done:
                raise UserError(f"{pairs}: has no rows")
    raw = path.read_bytes()
    numbers: IntArray = np.frombuffer(raw[: len(raw) // 16 * 16], dtype=np.int64).reshape(-1, 2)
    if not raw or len(raw) % 16 or (numbers < 0).any() or (numbers >= [corpus.n_queries, corpus.n_ads]).any():
        raise UserError("damaged", file=path, remedy=f"remove {path.parent}, or {REMEDY}")
    return numbers


def read_pairs(pairs: Path, corpus: Corpus, size: int = 65536) -> Iterator[IntArray]:
    """The pairs of a table as indices of a corpus's queries and ads, int64 [P, 2], `size` at a time.

    Raises:
        CorpusError: the file cannot be read, or names what the corpus does not have; names row and column.
    """
    every = corpus.query_ids(), corpus.ad_ids()
    known = [{name: i for i, name in enumerate(names)} for names in every]
    for table in Table.batches(pairs, COLUMNS, size):
        found = np.empty((table.frame.height, 2), dtype=np.int64)
        for side, (kind, column, place) in enumerate(zip(KINDS, COLUMNS, known, strict=True)):
            for row, name in enumerate(table.texts(column)):
                if name not in place:
                    raise table.error(row, column, f"the corpus has no {kind} with the id {quoted(name)}")
                found[row, side] = place[name]
        yield found
