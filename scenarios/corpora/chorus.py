"""Chorus (o19s/chorus, Apache-2.0): product queries with the grades of three raters, products of Icecat.

Read from a clone of the repository, or from tables prepared of it:

    clone      katas/Broad_Query_Set_individual_ratings.csv, data-encoder/ecommerce/vectors/data/*.json.zip
    prepared   ratings.csv, products.parquet
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from relevance.corpus import CorpusError
from relevance.files import MOST_BYTES, check_file, parsed_json
from scenarios.corpora.labelled import labelled, no_frames, raters_of
from scenarios.errors import cut, in_words, quoted
from scenarios.markets.corpus.offers import GRADES, MOST_MONEY, MarketCorpus, Offers
from scenarios.storage.tables import Table

CLONE = ("katas/Broad_Query_Set_individual_ratings.csv", "data-encoder/ecommerce/vectors/data")
PREPARED = ("ratings.csv", "products.parquet")
CENTS = 100.0
LEFT_OUT = "ratings left out"
"""In the record of the source: rows without a grade, of products that are not there, or given twice."""
_PRODUCT = ("id", "title", "name", "short_description", "supplier", "price")


class _Names(NamedTuple):
    """How a form calls its columns."""

    product: str
    grade: str
    rater: str
    """A pattern, whose group is the rater."""
    price: str
    """In cents."""


def is_chorus(folder: Path) -> bool:
    """Whether a folder has the files of a clone, or the prepared ones."""
    return any(all((folder / name).exists() for name in names) for names in (CLONE, PREPARED))


def read_chorus(folder: Path) -> MarketCorpus:
    """Queries, products and grades, as texts alone; splits by the query's hash.

    Title is the product's title; the supplier takes the place of the on-screen text, the short description
    that of the speech. The label is the adjudicated grade, and the raters' own grades are kept beside it.
    Rows without a grade are left out, and so are grades of products that the archives do not have, and what
    is said twice.

    Raises:
        CorpusError: a file or a column is missing, or holds what is no grade.
    """
    if (folder / CLONE[0]).exists():
        ratings, products = Table.read(folder / CLONE[0]), _archives(folder / CLONE[1])
        names = _Names("docid", "final_rating", r"agent_(.+)_rating", "price")
    elif is_chorus(folder):
        ratings, products = (Table.read(folder / name) for name in PREPARED)
        names = _Names("product_id", "grade", r"rater_(.+)", "price_cents")
    else:
        raise CorpusError(
            f"has neither a clone's {' and '.join(CLONE)} nor the prepared {' and '.join(PREPARED)}",
            file=folder,
        )
    ad_id = products.ids()
    for name in ("query", names.product, names.grade):
        ratings.column(name)
    here = pl.col(names.product).cast(pl.String).is_in(ad_id)
    graded = pl.col(names.grade).cast(pl.String).fill_null("") != ""
    n_rows = ratings.frame.height
    again = ~pl.struct("query", names.product, names.grade).is_first_distinct()
    ratings = ratings.filter(here & graded & ~again)
    if not ratings.frame.height:
        raise CorpusError(f"has no grade of any of the {len(ad_id):,} products", file=ratings.path)
    query = ratings.texts("query")
    asked = list(dict.fromkeys(query))
    supplier = products.texts("supplier", needed=False)
    data = labelled(
        asked,
        asked,
        ad_id,
        (products.texts("title"), supplier, products.texts("short_description", needed=False)),
        no_frames(len(ad_id)),
        (ratings, "query", names.product),
        ratings.codes(names.grade, GRADES, "0, 1, 2 or 3"),
        [""] * len(query),
    )
    price = products.numbers(names.price, 0.0, MOST_MONEY * CENTS, empty=np.nan) / CENTS
    brand = tuple(name or f"product {one}" for name, one in zip(supplier, ad_id, strict=True))
    offers = Offers(brand=brand, price=price)
    raters = raters_of((ratings, "query", names.product), names.rater, asked, ad_id)
    # The file has the better products of a query first, and metrics leave ties in the order of the pairs.
    labels = data.labels.take(np.lexsort((data.labels.ad, data.labels.query)))
    source = {"schema": "chorus", LEFT_OUT: n_rows - ratings.frame.height}
    return MarketCorpus(data.corpus, labels, source, offers, raters)


def _archives(folder: Path) -> Table:
    """The products of the archives, each once."""
    paths = sorted(folder.glob("*.json.zip"))
    if not paths:
        raise CorpusError("has no archive *.json.zip", file=folder)
    rows: dict[str, tuple[str, dict[str, Any]]] = {}
    for path in paths:
        try:
            check_file(path, CorpusError)
            with zipfile.ZipFile(path) as archive:
                if (size := sum(inner.file_size for inner in archive.infolist())) > MOST_BYTES:
                    raise CorpusError(f"has {size:,} bytes when unpacked, at most {MOST_BYTES:,}", file=path)
                for name in archive.namelist():
                    found = parsed_json(archive.read(name).decode(), list)
                    for number, row in enumerate(found, start=1):
                        if not isinstance(row, dict) or "id" not in row:
                            raise CorpusError(
                                f"product {number} of {name} is no object with an id", file=path
                            )
                        rows.setdefault(str(row["id"]), (f"{path}, product {number} of {name}", row))
        except CorpusError:
            raise
        except Exception as error:  # a damaged archive raises errors of zip, of zlib, and of others
            raise CorpusError(f"is no archive of a JSON list ({in_words(error)})", file=path) from error
    columns = {
        name: pl.Series(name, [row.get(name) for _, row in rows.values()], dtype=pl.Object)
        for name in _PRODUCT
    }
    return _Products(folder, pl.DataFrame(columns), places=[place for place, _ in rows.values()])


@dataclass(frozen=True)
class _Products(Table):
    """Products of several archives. `places`: where each of them stands."""

    places: Sequence[str] = ()

    def error(self, row: int, column: str, what: str) -> CorpusError:
        return CorpusError(cut(f"{self.places[row]}, {quoted(column)}: {what}"))
