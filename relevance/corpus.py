"""What a ranking system knows of its queries and ads: texts and key frames, never the truth.

A corpus is stored as a folder, on which a machine with a GPU can train without the simulator:

    queries.jsonl   {"text": ...}                        one line a query
    ads.jsonl       {"title": ..., "ocr": ..., "asr": ...}  one line an ad
                    both with an "id" if the owner of the corpus has names for them
    frames.npy      uint8 [A, F, H, W, 3]
    labels.npz      query, ad, grade, split              of the graded pairs
    source.json     {...}                                what it was drawn from, if anybody said so
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from relevance.arrays import BoolArray, FrameArray, IntArray
from relevance.errors import CorpusError as CorpusError, in_words
from relevance.files import check_file, parsed_json, read_json, read_text, text_trouble
from relevance.ranges import check_named

SPLITS = ("train", "validation", "test", "held_out")
"""Names of the split codes 0..3 of labelled pairs; `held_out` is the test on products that
no training label names."""

SOURCE = "source.json"
N_GRADES = 4
MOST_TEXT_BYTES = 4 * 2**30
MOST_LABEL_BYTES = 16 * 2**30
"""Of the texts, and of the labels when they are unpacked."""
AGAIN = "export or import the corpus again"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts of Q queries, texts and key frames of A ads.

    `frames` is uint8 of shape [A, F, H, W, 3], RGB; F is 0 in a corpus of texts alone, and an ad without
    frames among others has black ones (0 everywhere). Query texts are lower-case words separated by single
    spaces. `query_id` and `ad_id` are the owner's names; empty: the numbers of the rows.
    """

    query_text: tuple[str, ...]
    ad_title: tuple[str, ...]
    ad_ocr: tuple[str, ...]
    ad_asr: tuple[str, ...]
    frames: FrameArray
    query_id: tuple[str, ...] = ()
    ad_id: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("query_text", "ad_title", "ad_ocr", "ad_asr", "query_id", "ad_id"):
            if not isinstance(getattr(self, name), tuple | list):
                raise CorpusError(
                    f"{name} must be a list of texts, is a {type(getattr(self, name)).__name__}"
                )
        if not isinstance(self.frames, np.ndarray):
            raise CorpusError(f"frames must be uint8 [A, F, H, W, 3], is a {type(self.frames).__name__}")
        if self.frames.ndim != 5 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise CorpusError(
                f"frames must be uint8 [A, F, H, W, 3], got {self.frames.dtype} {self.frames.shape}"
            )
        lengths = {len(self.ad_title), len(self.ad_ocr), len(self.ad_asr), len(self.frames)}
        if len(lengths) != 1:
            raise CorpusError(f"titles, OCR, ASR and frames must be of one length, got {sorted(lengths)}")
        for name, ids, size in (("query", self.query_id, self.n_queries), ("ad", self.ad_id, self.n_ads)):
            if ids and (len(ids) != size or len(set(ids)) != size):
                raise CorpusError(
                    f"{name} ids must be {size} different ones, got {len(set(ids))} of {len(ids)}"
                )

    @property
    def n_queries(self) -> int:
        return len(self.query_text)

    @property
    def n_ads(self) -> int:
        return len(self.ad_title)

    def ad_text(self, ad: int) -> str:
        """Video text of one ad: title, on-screen text (OCR) and speech (ASR), in this order."""
        return " ".join(part for part in (self.ad_title[ad], self.ad_ocr[ad], self.ad_asr[ad]) if part)

    def ad_texts(self) -> list[str]:
        return [self.ad_text(ad) for ad in range(self.n_ads)]

    def query_ids(self) -> tuple[str, ...]:
        """Names of the queries in files of pairs."""
        return self.query_id or tuple(map(str, range(self.n_queries)))

    def ad_ids(self) -> tuple[str, ...]:
        return self.ad_id or tuple(map(str, range(self.n_ads)))

    def fingerprint(self) -> str:
        """Hash of the whole content without the names: equal for equal corpora, whatever their source."""
        digest = hashlib.blake2b(digest_size=16)
        for texts in (self.query_text, self.ad_title, self.ad_ocr, self.ad_asr):
            digest.update(json.dumps(texts, ensure_ascii=False).encode())
        digest.update(repr(self.frames.shape).encode())
        digest.update(np.ascontiguousarray(self.frames).data)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Labels:
    """P graded pairs: `query` and `ad` index a corpus, `grade` is 0..3, `split` a code of SPLITS."""

    query: IntArray
    ad: IntArray
    grade: IntArray
    split: IntArray

    def __len__(self) -> int:
        return len(self.query)

    def of(self, split: str) -> Labels:
        check_named("split", split, SPLITS)
        return self.take(self.split == SPLITS.index(split))

    def take(self, which: IntArray | BoolArray) -> Labels:
        """Some of the pairs, by their places or by a mask [P]."""
        return Labels(self.query[which], self.ad[which], self.grade[which], self.split[which])


@dataclass(frozen=True, slots=True)
class LabelledCorpus:
    """A corpus and the grades of some of its pairs: all that training needs.

    `source` says what it was drawn from, for the record of a training; empty: not known.
    """

    corpus: Corpus
    labels: Labels
    source: Mapping[str, Any] = field(default_factory=dict)

    def pretraining_ads(self, unlabelled: float = 1.0, rng: np.random.Generator | None = None) -> IntArray:
        """The ads that a training may read without their grades, sorted.

        These are the ads with a grade in the training split and the ads without any grade.

        Args:
            unlabelled: share of the ads without any grade; a smaller share is part of a larger one.
            rng: draws which ones, where it is not all of them.
        """
        graded = np.unique(self.labels.of("train").ad)
        without = np.setdiff1d(np.arange(self.corpus.n_ads), self.labels.ad)
        if rng is not None:
            without = rng.permutation(without)[: round(unlabelled * without.size)]
        return np.union1d(graded, without)

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(self.corpus.fingerprint().encode(), digest_size=16)
        for column in (self.labels.query, self.labels.ad, self.labels.grade, self.labels.split):
            digest.update(column.tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the files of a corpus folder.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        corpus, labels = self.corpus, self.labels
        queries = ({"text": text} for text in corpus.query_text)
        ads = (
            {"title": t, "ocr": o, "asr": s}
            for t, o, s in zip(corpus.ad_title, corpus.ad_ocr, corpus.ad_asr, strict=True)
        )
        _write_jsonl(folder / "queries.jsonl", _with_ids(queries, corpus.query_id))
        _write_jsonl(folder / "ads.jsonl", _with_ids(ads, corpus.ad_id))
        path, mapped = folder / "frames.npy", getattr(corpus.frames, "filename", None)
        if mapped is None or not path.exists() or not path.samefile(mapped):
            np.save(path, corpus.frames)
        np.savez_compressed(
            folder / "labels.npz", query=labels.query, ad=labels.ad, grade=labels.grade, split=labels.split
        )
        if self.source:
            (folder / SOURCE).write_text(json.dumps(self.source, indent=1), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> LabelledCorpus:
        """Read a corpus folder; frames stay on disk (memory map).

        Raises:
            CorpusError: a file is missing or does not fit the others.
        """
        for name in ("queries.jsonl", "ads.jsonl", "frames.npy", "labels.npz"):
            check_file(
                folder / name,
                CorpusError,
                "a corpus folder holds it (relbid corpus import makes one)",
            )
        ads = _read_jsonl(folder / "ads.jsonl", ("title", "ocr", "asr"))
        queries = _read_jsonl(folder / "queries.jsonl", ("text",))
        frames = _unharmed(folder / "frames.npy", _read_frames)
        if len(frames) != len(ads["title"]):
            reason = f"has frames of {len(frames):,} ads, ads.jsonl has {len(ads['title']):,} ads"
            raise CorpusError(reason, file=folder / "frames.npy", remedy=AGAIN)
        labels = _unharmed(folder / "labels.npz", _read_labels)
        text, ids = (tuple(queries[name]) for name in ("text", "id"))
        title, ocr, asr, ad_ids = (tuple(ads[name]) for name in ("title", "ocr", "asr", "id"))
        try:
            corpus = Corpus(text, title, ocr, asr, frames, ids, ad_ids)
        except CorpusError as error:
            raise CorpusError(error, file=folder, remedy=AGAIN) from error
        bounds = {"query": corpus.n_queries, "ad": corpus.n_ads, "grade": N_GRADES, "split": len(SPLITS)}
        for name, size in bounds.items():
            values = getattr(labels, name)
            if values.shape != labels.query.shape or values.ndim != 1:
                sizes = " x ".join(map(str, values.shape)) or "one number"
                pairs = f"{labels.query.size:,} pairs, as 'query' has"
                reason = f"'{name}' must have a number for each of {pairs}; it has {sizes}"
            elif values.size and not (values.min() >= 0 and values.max() < size):
                reason = f"'{name}' must lie in 0..{size - 1}"
            else:
                continue
            raise CorpusError(reason, file=folder / "labels.npz", remedy=AGAIN)
        _check_once(folder / "labels.npz", labels, corpus)
        path = folder / SOURCE
        source = read_json(path, dict, CorpusError, AGAIN) if path.exists() or path.is_symlink() else {}
        return LabelledCorpus(corpus, labels, source)


def _check_once(path: Path, labels: Labels, corpus: Corpus) -> None:
    """Refuse a pair that has two rows, which would count twice and may contradict each other."""
    pair = np.sort(labels.query * max(corpus.n_ads, 1) + labels.ad)
    again = pair[1:][pair[1:] == pair[:-1]]
    if again.size:
        query, ad = divmod(int(again[0]), max(corpus.n_ads, 1))
        reason = f"query {corpus.query_ids()[query]} and ad {corpus.ad_ids()[ad]} are graded twice"
        raise CorpusError(reason, file=path, remedy="keep one grade of a pair")


def _write_jsonl(path: Path, rows: Iterable[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _with_ids(rows: Iterable[dict[str, str]], ids: Sequence[str]) -> Iterable[dict[str, str]]:
    return ({"id": name, **row} for name, row in zip(ids, rows, strict=True)) if ids else rows


def _unharmed(path: Path, read: Callable[[Path], T]) -> T:
    """What a reader of arrays makes of a file.

    Raises:
        CorpusError: the file is damaged. Which error NumPy raises then depends on where it is: of zip, of
            zlib, of a tokenizer, or of memory.
    """
    try:
        return read(path)
    except Exception as error:
        raise CorpusError(f"unreadable array file ({in_words(error)})", file=path, remedy=AGAIN) from error


def _read_labels(path: Path) -> Labels:
    with zipfile.ZipFile(path) as archive:
        if (size := sum(part.file_size for part in archive.infolist())) > MOST_LABEL_BYTES:
            raise ValueError(f"{size:,} bytes when unpacked, at most {MOST_LABEL_BYTES:,}")
    columns = []
    with np.load(path, allow_pickle=False) as arrays:
        for name in ("query", "ad", "grade", "split"):
            if name not in arrays.files:
                raise ValueError(f"'{name}' is missing")
            if not np.issubdtype(arrays[name].dtype, np.integer):
                raise ValueError(f"'{name}' must be whole numbers")
            columns.append(arrays[name].astype(np.int64))
    return Labels(*columns)


def _read_frames(path: Path) -> FrameArray:
    """Frames as a memory map; an array without any frame is read, since it cannot be mapped."""
    try:
        frames: FrameArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0) or 0 not in np.lib.format.read_array_header_1_0(file)[0]:
                raise
        frames = np.load(path, allow_pickle=False)
    if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        shape = " x ".join(map(str, frames.shape)) or "no array"
        raise ValueError(f"needs whole numbers of 8 bits, ads x frames x height x width x 3, is {shape}")
    if frames.shape[1] and not 1 <= min(frames.shape[2:4]) <= max(frames.shape[2:4]) <= 4096:
        raise ValueError("frames must be from 1 to 4096 pixels wide and high")
    return frames


def _read_jsonl(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """The columns of a file, and "id", which is empty if the first line has none."""
    table: dict[str, list[str]] = {name: [] for name in (*columns, "id")}
    lines = read_text(path, CorpusError, AGAIN, MOST_TEXT_BYTES).split("\n")
    named: tuple[str, ...] | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parsed_json(line, dict)
            if named is None:
                named = ("id",) if "id" in row else ()
            elif not named and "id" in row:
                raise ValueError("'id' is missing in the lines before")
            for name in (*columns, *named):
                text = row[name]
                if not isinstance(text, str):
                    raise ValueError(f"'{name}' must be a text")
                if trouble := text_trouble(text):
                    raise ValueError(f"'{name}' {trouble}")
                table[name].append(text)
        except (ValueError, KeyError) as error:
            raise CorpusError(
                f"needs an object with {', '.join(columns)} ({in_words(error)})",
                file=path, line=number, remedy=AGAIN,
            ) from error  # fmt: skip
    if named is None:
        raise CorpusError("is empty", file=path, remedy=AGAIN)
    return table
