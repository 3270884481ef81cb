"""A product search in miniature, written in the forms of all its sources: five queries, thirty products.

Real data is taken where it is at hand: `RELBID_CHORUS`, or `../shared/data/chorus` beside the checkout.
"""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

REPOSITORY = Path(__file__).parents[2]
THINGS = ("speaker", "kettle", "tent", "mouse", "router")
MAKES = ("Acme", "Borel", "Cato")
PRODUCTS = [
    {
        "id": str(1000 + number),
        "name": f"X{number}",
        "title": f"{make} {colour} {thing}",
        "short_description": None if number % 7 == 0 else f"a {thing} by {make}",
        "supplier": make,
        "price": 1000 + 500 * number,
        "attr_t_colour": colour,
    }
    for number, (thing, make, colour) in enumerate(
        (thing, make, colour) for thing in THINGS for make in MAKES for colour in ("red", "blue")
    )
]
RATINGS = [
    {"query": f"{thing}", "product": product["id"], "raters": raters, "grade": raters[0]}
    for place, thing in enumerate(THINGS)
    for product, raters in [
        *((product, (3, 3, 2)) for product in PRODUCTS[6 * place : 6 * place + 5]),
        *((product, (0, 0, 1)) for product in (PRODUCTS + PRODUCTS)[6 * place + 6 : 6 * place + 11]),
    ]
]
"""Of each query five of its six products are good ones, and five of the next thing are not; one product of it
has no grade."""


def real_chorus() -> Path | None:
    """The folder of the prepared Chorus data, where it is at hand."""
    beside = REPOSITORY.parent / "shared" / "data" / "chorus"
    given = os.environ.get("RELBID_CHORUS")
    if given:
        return Path(given)
    return beside if (beside / "ratings.csv").is_file() else None


def write_clone(folder: Path) -> Path:
    """As a clone of o19s/chorus; one rating names a product that the archives do not have."""
    ratings = folder / "katas" / "Broad_Query_Set_individual_ratings.csv"
    archives = folder / "data-encoder" / "ecommerce" / "vectors" / "data"
    ratings.parent.mkdir(parents=True)
    archives.mkdir(parents=True)
    names = ["query", "docid", "name", "description"]
    names += [f"agent_{rater}_rating" for rater in (1, 2, 3)] + ["final_rating"]
    rows = [[one["query"], one["product"], "n", "d", *one["raters"], one["grade"]] for one in RATINGS]
    _write_csv(ratings, [names, *rows, ["tent", "99", "n", "d", 3, 3, 3, 3]])
    for number, part in enumerate((PRODUCTS[:20], PRODUCTS[20:]), start=1):
        with zipfile.ZipFile(archives / f"{number}.json.zip", "w") as archive:
            archive.writestr(f"{number}.json", json.dumps(part))
    return folder


def write_prepared(folder: Path) -> Path:
    """As the prepared tables."""
    folder.mkdir(parents=True)
    names = ["query", "product_id", "rater_1", "rater_2", "rater_3", "grade"]
    rows = [[one["query"], one["product"], *one["raters"], one["grade"]] for one in RATINGS]
    _write_csv(folder / "ratings.csv", [names, *rows])
    table = pl.DataFrame(PRODUCTS).rename({"price": "price_cents"}).with_columns(pl.col("price_cents") * 1.0)
    table.write_parquet(folder / "products.parquet")
    return folder


def write_own(folder: Path, **changes: list[dict[str, Any]]) -> Path:
    """As tables of one's own: `ads`, `queries` and `labels`, each of which may be given."""
    tables = {
        "ads": [
            {"id": one["id"], "title": one["title"], "brand": one["supplier"], "price": one["price"] / 100}
            for one in PRODUCTS
        ],
        "queries": [{"id": thing, "text": thing} for thing in THINGS],
        "labels": [
            {
                "query_id": one["query"],
                "ad_id": one["product"],
                "grade": one["grade"],
                **{f"rater_{rater}": grade for rater, grade in enumerate(one["raters"], start=1)},
            }
            for one in RATINGS
        ],
    }
    folder.mkdir(parents=True)
    for name, rows in (tables | changes).items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_esci(folder: Path) -> Path:
    """As ESCI's two tables."""
    folder.mkdir(parents=True)
    codes = {3: "E", 0: "I"}
    examples = [
        {
            "query": one["query"],
            "query_id": THINGS.index(one["query"]),
            "product_id": one["product"],
            "product_locale": "us",
            "esci_label": codes[one["grade"]],
            "split": "test",
            "small_version": 1,
        }
        for one in RATINGS
    ]
    products = [
        {
            "product_id": one["id"],
            "product_title": one["title"],
            "product_locale": "us",
            "product_brand": one["supplier"],
        }
        for one in PRODUCTS
    ]
    pl.DataFrame(examples).write_parquet(folder / "shopping_queries_dataset_examples.parquet")
    pl.DataFrame(products).write_parquet(folder / "shopping_queries_dataset_products.parquet")
    return folder


def write_wands(folder: Path) -> Path:
    """As WANDS's three tables."""
    folder.mkdir(parents=True)
    codes = {3: "Exact", 0: "Irrelevant"}
    labels = [
        [number, THINGS.index(one["query"]), one["product"], codes[one["grade"]]]
        for number, one in enumerate(RATINGS)
    ]
    files: Mapping[str, Iterable[Iterable[Any]]] = {
        "query.csv": [["query_id", "query"], *([place, thing] for place, thing in enumerate(THINGS))],
        "product.csv": [["product_id", "product_name"], *([one["id"], one["title"]] for one in PRODUCTS)],
        "label.csv": [["id", "query_id", "product_id", "label"], *labels],
    }
    for name, rows in files.items():
        _write_csv(folder / name, rows, delimiter="\t")
    return folder


def _write_csv(path: Path, rows: Iterable[Iterable[Any]], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
