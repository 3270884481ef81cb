"""What a corpus folder may hold for a market: owners of ads, prices, bids, traffic, and raters' grades.

    offers.parquet     ad, and any of: advertiser or brand (texts), price, bid (currency per click)
    traffic.parquet    query, weight (any unit)
    raters.parquet     query, ad, rater, grade (0..3), beside the grade of `labels.npz`

Each file may be missing. `query` and `ad` are ids of the corpus.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from relevance.corpus import Corpus, CorpusError, LabelledCorpus, Labels
from scenarios.errors import quoted
from scenarios.storage.parquet import write_parquet
from scenarios.storage.tables import Table
from simulator.arrays import FloatArray, IntArray

OFFERS, TRAFFIC, RATERS = "offers.parquet", "traffic.parquet", "raters.parquet"
MOST_MONEY = 1e9
"""Of a price, in currency."""
MOST_BID = 1e6
MOST_WEIGHT = 1e12
GRADES: Mapping[str, int] = {text: grade for grade in range(4) for text in (f"{grade}", f"{grade}.0")}
"""Grades as tables write them."""


@dataclass(frozen=True, slots=True)
class Offers:
    """Facts of A ads and U queries beside their texts; None where the corpus does not have them."""

    advertiser: tuple[str, ...] | None = None  # [A] who bids
    brand: tuple[str, ...] | None = None  # [A] who made it; several may sell it
    price: FloatArray | None = None  # [A] currency, NaN: not known
    bid: FloatArray | None = None  # [A] currency per click, NaN: not known
    weight: FloatArray | None = None  # [U] traffic, in any unit

    @staticmethod
    def read(folder: Path, corpus: Corpus) -> Offers:
        """Read the files of a corpus folder.

        Raises:
            CorpusError: a file does not fit the corpus; names file, row and column.
        """
        columns: dict[str, tuple[str, ...] | FloatArray | None] = {}
        if os.path.lexists(folder / OFFERS):
            table = Table.read(folder / OFFERS)
            ad = places(table, "ad", corpus.ad_ids(), "ad", each=True)
            for name in ("advertiser", "brand"):
                if table.has(name):
                    found = table.texts(name)
                    columns[name] = tuple(found[row] for row in np.argsort(ad).tolist())
            for name, most in (("price", MOST_MONEY), ("bid", MOST_BID)):
                if table.has(name):
                    columns[name] = _in_order(table.numbers(name, 0.0, most, empty=np.nan), ad)
        if os.path.lexists(folder / TRAFFIC):
            table = Table.read(folder / TRAFFIC)
            query = places(table, "query", corpus.query_ids(), "query", each=True)
            columns["weight"] = _in_order(weights(table), query)
        return Offers(**columns)  # type: ignore[arg-type]

    def write(self, folder: Path, corpus: Corpus) -> None:
        """Write the files that these facts need.

        Raises:
            OSError: the folder cannot be written.
        """
        columns = {name: getattr(self, name) for name in ("advertiser", "brand", "price", "bid")}
        known = {name: values for name, values in columns.items() if values is not None}
        if known:
            table = pl.DataFrame({"ad": corpus.ad_ids(), **known})
            numbers = [name for name in ("price", "bid") if name in known]
            write_parquet(table.with_columns(pl.col(numbers).fill_nan(None)), folder / OFFERS)
        if self.weight is not None:
            table = pl.DataFrame({"query": corpus.query_ids(), "weight": self.weight})
            write_parquet(table, folder / TRAFFIC)


@dataclass(frozen=True, slots=True)
class Raters:
    """Single raters' grades: R rows, whose `rater` is a place in `names`."""

    names: tuple[str, ...]
    query: IntArray  # [R]
    ad: IntArray  # [R]
    rater: IntArray  # [R]
    grade: IntArray  # [R] 0..3

    @staticmethod
    def read(folder: Path, corpus: Corpus, labels: Labels | None = None) -> Raters | None:
        """The grades of a corpus folder; None where it has none.

        Args:
            labels: those of the whole folder, one for each pair that raters graded; None: not looked at.

        Raises:
            CorpusError: the file does not fit the corpus; names file, row and column.
        """
        if not os.path.lexists(folder / RATERS):
            return None
        table = Table.read(folder / RATERS)
        rater = table.texts("rater")
        names = sorted(set(rater))
        columns = (
            places(table, "query", corpus.query_ids(), "query"),
            places(table, "ad", corpus.ad_ids(), "ad"),
            np.searchsorted(names, rater),
            table.codes("grade", GRADES, "0, 1, 2 or 3"),
        )
        query, ad, of_rater, grade = (np.asarray(column, dtype=np.int64) for column in columns)
        graded = None if labels is None else set(zip(labels.query.tolist(), labels.ad.tolist(), strict=True))
        seen: set[tuple[int, int, int]] = set()
        for row, one in enumerate(zip(query.tolist(), ad.tolist(), of_rater.tolist(), strict=True)):
            if graded is not None and one[:2] not in graded:
                raise table.error(row, "ad", "labels.npz has no grade of this pair")
            if one in seen:
                raise table.error(row, "rater", "the same rater grades this pair in an earlier row")
            seen.add(one)
        return Raters(tuple(names), query, ad, of_rater, grade)

    def columns(self, labels: Labels) -> dict[str, list[int | None]]:
        """The grades as a column for each rater, by the rows of labels; None where a rater gave none."""
        row = {pair: i for i, pair in enumerate(zip(labels.query.tolist(), labels.ad.tolist(), strict=True))}
        found: dict[str, list[int | None]] = {f"rater_{name}": [None] * len(row) for name in self.names}
        rows = zip(*(part.tolist() for part in (self.query, self.ad, self.rater, self.grade)), strict=True)
        for query, ad, rater, grade in rows:
            found[f"rater_{self.names[rater]}"][row[query, ad]] = grade
        return found

    def write(self, folder: Path, corpus: Corpus) -> None:
        """Write them.

        Raises:
            OSError: the folder cannot be written.
        """
        query, ad = corpus.query_ids(), corpus.ad_ids()
        columns = {
            "query": [query[i] for i in self.query.tolist()],
            "ad": [ad[i] for i in self.ad.tolist()],
            "rater": [self.names[i] for i in self.rater.tolist()],
            "grade": self.grade,
        }
        write_parquet(pl.DataFrame(columns), folder / RATERS)


@dataclass(frozen=True, slots=True)
class MarketCorpus(LabelledCorpus):
    """A corpus with what else its folder holds for a market."""

    offers: Offers = Offers()
    raters: Raters | None = None

    def save(self, folder: Path) -> None:
        LabelledCorpus.save(self, folder)
        self.offers.write(folder, self.corpus)
        if self.raters is not None:
            self.raters.write(folder, self.corpus)

    @staticmethod
    def load(folder: Path) -> MarketCorpus:
        data = LabelledCorpus.load(folder)
        offers, raters = Offers.read(folder, data.corpus), Raters.read(folder, data.corpus, data.labels)
        return MarketCorpus(data.corpus, data.labels, data.source, offers, raters)


def read_grades(path: Path, corpus: Corpus, least_confidence: float) -> tuple[Labels, tuple[str, ...]]:
    """A judge's grades of pairs: columns query, ad, grade, and if given confidence (0 to 1) and source.

    Args:
        least_confidence: rows below it are left out.

    Returns:
        The pairs (their split is 0), and who judged them.

    Raises:
        CorpusError: the file does not fit the corpus; names file, row and column.
    """
    table = Table.read(path)
    table.check_spelling(("confidence", "source"))
    if not table.frame.height:
        raise CorpusError("has no rows", file=path, remedy="grade pairs with relbid judge, or leave it out")
    query = places(table, "query", corpus.query_ids(), "query")
    ad = places(table, "ad", corpus.ad_ids(), "ad")
    grade = np.asarray(table.codes("grade", GRADES, "0, 1, 2 or 3"), dtype=np.int64)
    pair = query * max(corpus.n_ads, 1) + ad
    _, first = np.unique(pair, return_index=True)
    if first.size < pair.size:
        row = int(np.setdiff1d(np.arange(pair.size), first)[0])
        raise table.error(row, "ad", "the same pair is graded in another row, too")
    kept = np.ones(pair.size, dtype=np.bool_)
    if table.has("confidence"):
        kept = table.numbers("confidence", 0.0, 1.0) >= least_confidence
    sources = sorted(set(table.texts("source", needed=False)) - {""}) or [path.name]
    return Labels(query, ad, grade, np.zeros_like(grade)).take(kept), tuple(sources)


def places(table: Table, column: str, ids: Sequence[str], kind: str, *, each: bool = False) -> IntArray:
    """The index among the ids of each id in a column, I[R].

    Args:
        kind: of thing, for messages.
        each: whether every id must be there exactly once.

    Raises:
        CorpusError: an id is not known, is missing, or is there twice.
    """
    place = {name: i for i, name in enumerate(ids)}
    found = []
    for row, name in enumerate(table.texts(column)):
        if (at := place.get(name)) is None:
            raise table.error(row, column, f"no {kind} has the id {quoted(name)}")
        found.append(at)
    if each and (len(found) != len(ids) or len(set(found)) != len(ids)):
        raise CorpusError(
            f"must have one row for each {kind}, {len(ids)} in all; has {len(found)} of {len(set(found))}",
            file=table.path,
            remedy="import the corpus again",
        )
    return np.asarray(found, dtype=np.int64)


def weights(table: Table) -> FloatArray:
    """The traffic of queries, in any unit.

    Raises:
        CorpusError: one is no such number, or all are 0.
    """
    found = table.numbers("weight", 0.0, MOST_WEIGHT)
    if not found.any():
        raise CorpusError(f"{table.path}: column 'weight': needs one above 0, or leave it out for equal ones")
    return found


def _in_order(values: FloatArray, place: IntArray) -> FloatArray:
    ordered = np.empty_like(values)
    ordered[place] = values
    return ordered
