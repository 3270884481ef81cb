"""Your own ads, queries and graded labels as a corpus that HCMRM trains on, and a corpus as tables.

Tables: a folder with `ads`, `queries` and `labels`, each as .parquet, .jsonl or .csv:

    ads       id, and any of: title, ocr, asr (texts), frames (picture files) or video (a video file)
              for a market: advertiser or brand, price, bid (currency per click)
    queries   id, text; for a market: weight, a share of the traffic in any unit
    labels    query_id, ad_id, grade (0..3), and if it is known: split; rater_NAME, a rater's own grade

Paths are relative to the folder. A corpus without labels can be scored, not trained on. A query without a
split gets one from the hash of its text.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np
import polars as pl

from relevance.arrays import FrameArray
from relevance.corpus import SPLITS, Corpus, CorpusError, LabelledCorpus, Labels
from relevance.extras import require
from relevance.files import text_trouble
from scenarios.corpora.key_frames import Choice, FrameError, picture_frames, video_frames
from scenarios.errors import did_you_mean, misspelt_column
from scenarios.markets.corpus.offers import (
    GRADES,
    MOST_BID,
    MOST_MONEY,
    MarketCorpus,
    Offers,
    Raters,
    places,
    weights,
)
from scenarios.markets.kind import Progress
from scenarios.storage.parquet import write_parquet
from scenarios.storage.tables import Table, in_a_cell

TEXTS = ("title", "ocr", "asr")


def read_tables(
    folder: Path,
    *,
    n_frames: int = 3,
    size: int = 48,
    choice: Choice = "scenes",
    frames_file: Path | None = None,
    progress: Progress | None = None,
) -> MarketCorpus:
    """Read a folder of tables.

    Args:
        n_frames, size: key frames an ad, and pixels of their edges.
        choice: how key frames are taken from a video.
        frames_file: a .npy file that holds the frames instead of the memory.

    Raises:
        CorpusError: something is missing or wrong; names file, row and column.
    """
    ads, queries = (Table.find(folder, stem) for stem in ("ads", "queries"))
    labels = Table.find(folder, "labels", empty=("query_id", "ad_id", "grade"))
    ad_id, query_id = ads.ids(), queries.ids()
    ads.check_spelling((*TEXTS, "frames", "video", "advertiser", "brand", "price", "bid"))
    queries.check_spelling(["weight"])
    labels.check_spelling(["split"])
    title, ocr, asr = (ads.texts(name, needed=False) for name in TEXTS)
    if not any(map(ads.has, (*TEXTS, "frames", "video"))):
        known = (*TEXTS, "frames", "video")
        near = next(filter(None, (did_you_mean(name, ads.frame.columns) for name in known)), "")
        raise CorpusError(f"{ads.path}: needs at least one of the columns {', '.join(known)}{near}")
    grades = labels.codes("grade", GRADES, "0, 1, 2 or 3")
    splits = {"": "", **{name: name for name in SPLITS}}
    data = labelled(
        query_id,
        queries.texts("text"),
        ad_id,
        (title, ocr, asr),
        _frames(ads, n_frames, size, choice, frames_file, progress),
        (labels, "query_id", "ad_id"),
        grades,
        labels.codes("split", splits) if labels.has("split") else [""] * labels.frame.height,
    )
    offers = Offers(
        advertiser=tuple(ads.texts("advertiser")) if ads.has("advertiser") else None,
        brand=tuple(ads.texts("brand")) if ads.has("brand") else None,
        price=ads.numbers("price", 0.0, MOST_MONEY, empty=np.nan) if ads.has("price") else None,
        bid=ads.numbers("bid", 0.0, MOST_BID, empty=np.nan) if ads.has("bid") else None,
        weight=weights(queries) if queries.has("weight") else None,
    )
    raters = raters_of((labels, "query_id", "ad_id"), r"rater_(.+)", query_id, ad_id)
    return MarketCorpus(data.corpus, data.labels, data.source, offers, raters)


def write_tables(
    data: LabelledCorpus, folder: Path, *, jsonl: bool = False, progress: Progress | None = None
) -> None:
    """Write a corpus as the tables that `read_tables` reads, frames as PNG files.

    Raises:
        OSError: the folder cannot be written.
    """
    corpus, labels = data.corpus, data.labels
    query_id, ad_id = corpus.query_ids(), corpus.ad_ids()
    ads: dict[str, Any] = {
        "id": ad_id, "title": corpus.ad_title, "ocr": corpus.ad_ocr, "asr": corpus.ad_asr,
    }  # fmt: skip
    queries: dict[str, Any] = {"id": query_id, "text": corpus.query_text}
    pairs: dict[str, Any] = {
        "query_id": [query_id[i] for i in labels.query],
        "ad_id": [ad_id[i] for i in labels.ad],
        "grade": labels.grade,
        "split": [SPLITS[code] for code in labels.split],
    }
    if isinstance(data, MarketCorpus):
        offers = data.offers
        ads |= {name: getattr(offers, name) for name in ("advertiser", "brand", "price", "bid")}
        queries["weight"] = offers.weight
        if (raters := data.raters) is not None:
            pairs |= raters.columns(labels)
    if corpus.frames.shape[1]:
        ads["frames"] = _write_pictures(corpus.frames, folder / "frames", progress)
    tables = {
        name: pl.DataFrame(
            {column: values for column, values in columns.items() if values is not None}, nan_to_null=True
        )
        for name, columns in (("ads", ads), ("queries", queries), ("labels", pairs))
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        if jsonl:
            table.write_ndjson(folder / f"{name}.jsonl")
        else:
            write_parquet(table, folder / f"{name}.parquet")


def labelled(
    query_id: Sequence[str],
    query_text: Sequence[str],
    ad_id: Sequence[str],
    ad_texts: tuple[Sequence[str], Sequence[str], Sequence[str]],
    frames: FrameArray,
    pairs: tuple[Table, str, str],
    grade: Sequence[int],
    split: Sequence[str],
) -> LabelledCorpus:
    """Make a corpus of its columns.

    Args:
        pairs: the table of labels, and its columns with the ids of queries and ads.
        split: of each label; if empty, that of the query's other labels, or else the hash of its text.
    """
    text = [plain(value) for value in query_text]
    labels, query_column, ad_column = pairs
    query = places(labels, query_column, query_id, "query").tolist()
    ad = places(labels, ad_column, ad_id, "ad").tolist()
    seen: dict[tuple[int, int], int] = {}
    for row, pair in enumerate(zip(query, ad, strict=True)):
        if pair in seen:
            raise labels.error(
                row, ad_column, f"the same pair is graded in row {labels.row(seen[pair])} already"
            )
        seen[pair] = row
    # Of all query texts 7/10 train, 1/10 validate, 2/10 test; equal texts have equal splits.
    shares = [hash_share(one) for one in text]
    by_hash = ["validation" if share < 0.1 else "test" if share < 0.3 else "train" for share in shares]
    named = _splits_by_query(labels, query, split)
    codes = [SPLITS.index(name or named.get(q, by_hash[q])) for name, q in zip(split, query, strict=True)]
    columns = (np.array(values, dtype=np.int64) for values in (query, ad, grade, codes))
    title, ocr, asr = map(tuple, ad_texts)
    return LabelledCorpus(
        Corpus(tuple(text), title, ocr, asr, frames, tuple(query_id), tuple(ad_id)), Labels(*columns)
    )


def _splits_by_query(labels: Table, query: Sequence[int], split: Sequence[str]) -> dict[int, str]:
    """The split that labels name for their query, which is one. Held-out pairs may be of any query.

    Raises:
        CorpusError: names the second row of a query that would be read by a training and by a measurement.
    """
    named: dict[int, str] = {}
    for row, (place, name) in enumerate(zip(query, split, strict=True)):
        if name not in ("", "held_out") and named.setdefault(place, name) != name:
            before = f"a row before has its query in {named[place]}"
            raise labels.error(
                row, "split", f"is {name}, and {before}; put all labels of a query in one split"
            )
    return named


def raters_of(
    pairs: tuple[Table, str, str], pattern: str, query_id: Sequence[str], ad_id: Sequence[str]
) -> Raters | None:
    """The raters' grades of a table with one row per pair and one column per rater; empty cells are none.

    Args:
        pairs: see `labelled`.
        pattern: of the columns' names; its group is the rater.

    Raises:
        CorpusError: a cell holds no grade, or a column's name is such a one but for its case.
    """
    labels, query_column, ad_column = pairs
    for name in labels.frame.columns:
        if re.fullmatch(pattern, name, re.IGNORECASE) and not re.fullmatch(pattern, name):
            reason, remedy = misspelt_column((name, name.lower()))
            raise CorpusError(reason, file=labels.path, remedy=remedy)
    columns = [(found[1], name) for name in labels.frame.columns if (found := re.fullmatch(pattern, name))]
    if not columns:
        return None
    query = places(labels, query_column, query_id, "query").tolist()
    ad = places(labels, ad_column, ad_id, "ad").tolist()
    codes = {**GRADES, "": -1}
    rows = [
        (query[row], ad[row], rater, grade)
        for rater, (_, name) in enumerate(columns)
        for row, grade in enumerate(labels.codes(name, codes, "0, 1, 2, 3 or empty"))
        if grade >= 0
    ]
    arrays = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Raters(tuple(rater for rater, _ in columns), *arrays)


def no_frames(n_ads: int) -> FrameArray:
    """The frames of a corpus of texts alone."""
    return np.zeros((n_ads, 0, 48, 48, 3), dtype=np.uint8)


def hash_share(text: str) -> float:
    """A hash of the text as a number in [0, 1)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) / 2**32


def plain(query: str) -> str:
    """A query as the corpus holds it: lower case, words with one space between them."""
    return " ".join(query.lower().split())


def _frames(
    ads: Table,
    n_frames: int,
    size: int,
    choice: Choice,
    frames_file: Path | None,
    progress: Progress | None,
) -> FrameArray:
    """Frames of every ad, [A, n_frames, size, size, 3]; [A, 0, ...] if the table names none."""
    n = ads.frame.height
    pictures = ads.column("frames") if ads.has("frames") else [None] * n
    videos = ads.texts("video", needed=False)
    if not any(pictures) and not any(videos):
        return np.zeros((n, 0, size, size, 3), dtype=np.uint8)
    shape = (n, n_frames, size, size, 3)
    folder = ads.path.parent
    if frames_file is not None and (needed := math.prod(shape)) > (
        free := disk_usage(frames_file.parent).free
    ):
        sizes = f"{n:,} ads x {n_frames} frames of {size} x {size} pixels"
        raise CorpusError(
            f"{sizes} need {needed / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free on the disk",
            file=ads.path, remedy="take fewer --frames, or a smaller --size",
        )  # fmt: skip

    def read() -> Iterator[FrameArray]:
        for row, (named, video) in enumerate(zip(pictures, videos, strict=True)):
            try:
                if video:
                    yield video_frames(folder / video, n_frames, size, choice)
                else:
                    paths = [folder / name for name in _names(ads, row, named)]
                    yield picture_frames(paths, n_frames, size)
            except FrameError as error:
                address = "://" in str(video or named)
                hint = "; save it as a file, no address is opened" if address else ""
                raise ads.error(row, "video" if video else "frames", f"{error}{hint}") from error
            if progress is not None:
                progress("reading key frames", row + 1, n)

    if frames_file is None:
        return np.stack(list(read()))
    # Written plainly: where the disk is full, a memory map ends the process instead of raising an error.
    with frames_file.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for one in read():
            file.write(np.ascontiguousarray(one, dtype=np.uint8).tobytes())
    frames: FrameArray = np.load(frames_file, mmap_mode="r")
    return frames


def _names(ads: Table, row: int, named: Any) -> list[str]:
    """File names of one cell: a list, or a text with semicolons between them."""
    if named is None:
        return []
    if isinstance(named, str):
        return [name.strip() for name in named.split(";") if name.strip()]
    if isinstance(named, list) and all(isinstance(name, str) for name in named):
        if trouble := next(filter(None, map(text_trouble, named)), ""):
            raise ads.error(row, "frames", trouble)
        return named
    raise ads.error(row, "frames", f"must be a list of file names, is {in_a_cell(named)}")


def _write_pictures(frames: FrameArray, folder: Path, progress: Progress | None) -> list[list[str]]:
    """Names of PNG files of all frames; an ad with black frames has none."""
    require("PIL", extra="world", needed_by="pictures of ads")
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    names: list[list[str]] = []
    for ad, pictures in enumerate(frames):
        own = [f"{ad:06d}-{f}.png" for f in range(len(pictures))] if pictures.any() else []
        for name, picture in zip(own, pictures, strict=False):
            Image.fromarray(picture).save(folder / name)
        names.append([f"{folder.name}/{name}" for name in own])
        if progress is not None:
            progress("writing key frames", ad + 1, len(frames))
    return names
