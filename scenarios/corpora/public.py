"""Public relevance data as a corpus of texts: ESCI (arXiv 2206.06588) and WANDS (ECIR 2022).

Both are read from the files that their authors published.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from relevance.corpus import CorpusError, LabelledCorpus
from scenarios.corpora.labelled import hash_share, labelled, no_frames, plain
from scenarios.markets.corpus.offers import MarketCorpus, Offers
from scenarios.storage.tables import Table

ESCI_GRADE: Mapping[str, int] = {"E": 3, "S": 2, "C": 1, "I": 0}
"""Exact and Substitute are the positive branch, Complement and Irrelevant the negative one, as in the paper's
tree of grades, `relevance.hcmrm.tree.FOUR_GRADES`."""
WANDS_GRADE: Mapping[str, int] = {"Exact": 3, "Partial": 2, "Irrelevant": 0}
"""A partial match is the product without some attribute that was asked for, which is grade 2 here. No label
means grade 1, so the negative branch of the tree has one leaf, and a model trained on these labels has two
logits, of P(positive) and of P(3 | positive)."""
ESCI_FILES = ("shopping_queries_dataset_examples.parquet", "shopping_queries_dataset_products.parquet")
WANDS_FILES = ("query.csv", "product.csv", "label.csv")


def read_esci(folder: Path, *, locale: str = "us", small: bool = True) -> MarketCorpus:
    """Amazon's Shopping Queries (ESCI): texts alone, grades by ESCI_GRADE.

    Title is the product's title; brand and colour take the place of the on-screen text, bullet points and
    description that of the speech. A tenth of the training queries becomes the validation split.

    Args:
        folder: with the two Parquet files of the dataset.
        locale: us, es or jp.
        small: the reduced set of queries of the dataset's first task.

    Raises:
        CorpusError: a file or a column is missing, or a label unknown.
    """
    whole = Table.read(folder / ESCI_FILES[0])
    needed = ("query", "query_id", "product_id", "product_locale", "esci_label", "split")
    for name in (*needed, "small_version") if small else needed:
        whole.column(name)
        if whole.frame[name].dtype.is_nested():
            raise whole.error(0, name, "must be a text or a number, is a list")
    if whole.frame.is_empty():
        raise CorpusError("has no rows", file=whole.path)
    of_locale = pl.col("product_locale").cast(pl.String, strict=False) == locale
    if whole.frame.filter(of_locale).is_empty():
        known = ", ".join(map(str, whole.frame["product_locale"].unique().sort().to_list()))
        raise CorpusError(f"{whole.path}: no rows of the locale '{locale}'; it has {known}")
    for name in ("query_id", "product_id", "product_locale"):
        whole.texts(name)
    reduced = pl.col("small_version").cast(pl.Int64, strict=False) == 1
    examples = whole.filter(of_locale & reduced if small else of_locale)
    if small and examples.frame.is_empty():
        raise CorpusError(
            "no rows of the reduced set: none has 1 in the column 'small_version'",
            file=whole.path, remedy="take all queries with --no-small",
        )  # fmt: skip
    grade = examples.codes("esci_label", ESCI_GRADE)
    given = examples.codes("split", {"train": "train", "test": "test"}, "train or test")
    split = [
        "validation" if name == "train" and hash_share(plain(query)) < 0.1 else name
        for name, query in zip(given, examples.texts("query"), strict=True)
    ]
    asked = examples.frame.unique("query_id", maintain_order=True)
    products = Table.read(folder / ESCI_FILES[1])
    for name in ("product_locale", "product_title"):
        products.column(name)
    products.texts("product_id")
    wanted = pl.Series(examples.texts("product_id")).unique().to_list()
    asked_for = pl.col("product_id").cast(pl.String).is_in(wanted)
    products = products.filter(of_locale & asked_for)
    data = labelled(
        [str(name) for name in asked["query_id"].to_list()],
        [str(text) for text in asked["query"].to_list()],
        products.ids("product_id"),
        (
            products.texts("product_title", needed=False),
            _joined(products, "product_brand", "product_color"),
            _joined(products, "product_bullet_point", "product_description"),
        ),
        no_frames(products.frame.height),
        (examples, "query_id", "product_id"),
        grade,
        split,
    )
    offers = Offers()
    if products.has("product_brand"):
        brands = zip(products.texts("product_brand", needed=False), data.corpus.ad_id, strict=True)
        offers = Offers(brand=tuple(brand or f"product {one}" for brand, one in brands))
    return MarketCorpus(data.corpus, data.labels, data.source, offers)


def read_wands(folder: Path) -> LabelledCorpus:
    """Wayfair's annotations (WANDS): texts alone, grades by WANDS_GRADE, splits by the query's hash.

    Title is the product's name; its class takes the place of the on-screen text, description and features
    that of the speech.

    Raises:
        CorpusError: a file or a column is missing, or a label unknown.
    """
    queries, products, labels = (Table.read(folder / name, separator="\t") for name in WANDS_FILES)
    return labelled(
        queries.ids("query_id"),
        queries.texts("query"),
        products.ids("product_id"),
        (
            products.texts("product_name"),
            products.texts("product_class", needed=False),
            _joined(products, "product_description", "product_features"),
        ),
        no_frames(products.frame.height),
        (labels, "query_id", "product_id"),
        labels.codes("label", WANDS_GRADE),
        [""] * labels.frame.height,
    )


def _joined(table: Table, *columns: str) -> list[str]:
    parts = [table.texts(name, needed=False) for name in columns]
    return [" ".join(part for part in row if part) for row in zip(*parts, strict=True)]
