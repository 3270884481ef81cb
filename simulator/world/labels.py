"""Graded pairs for training and evaluation.

They are drawn so that neither the query alone nor the ad alone gives the grade away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from relevance.corpus import SPLITS, Corpus, LabelledCorpus, Labels
from simulator.world.build import Progress, World, build_world
from simulator.world.world_config import Split, WorldConfig

_LABELS_KEY = 101


def label_pairs(world: World, per_grade: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """Draw pairs for every query: (query, ad, grade), each [P].

    Every query gets equally many ads of each grade, `per_grade` or as many as there are strong ones (a query
    without attributes has no grade 2 and gets twice as many of grade 3), so that a query says nothing about
    its pairs' grades. Equally many of every grade come from advertisers who stuff keywords, two in five where
    there are so many, so that stuffing says nothing either; those of grade 0 carry, where there are such, the
    very words of the query's product: the hard cases that keyword retrieval brings in. Queries for what
    nobody sells get no pairs.
    """
    truth = world.truth
    by_product = [np.flatnonzero(truth.ad_product == p) for p in range(len(truth.category_of_product))]
    by_category = [
        np.flatnonzero(world.ad_category == c) for c in range(int(truth.category_of_product.max()) + 1)
    ]
    elsewhere = [np.flatnonzero(world.ad_category != c) for c in range(len(by_category))]
    stuffed_with = _stuffed_with(world)
    rows: list[NDArray[np.int64]] = []
    for query in range(world.corpus.n_queries):
        product = int(truth.query_product[query])
        category = int(truth.category_of_product[product])
        siblings = by_category[category]
        siblings = siblings[truth.ad_product[siblings] != product]
        same_product = by_product[product]
        grade = truth.grade(np.int64(query), same_product)
        strong, relevant = same_product[grade == 3], same_product[grade == 2]
        no_attributes = not len(relevant) and truth.query_colour[query] < 0 and truth.query_brand[query] < 0
        n = min(per_grade, len(strong) // 2 if no_attributes else len(strong))
        n_stuffed_strong = int(world.stuffed[strong].sum())
        n_stuffed = min(max(2 * n // 5, n - (len(strong) - n_stuffed_strong)), n_stuffed_strong)
        cells = [
            (0, elsewhere[category]),
            (1, siblings),
            (3, strong) if no_attributes else (2, relevant),
            (3, strong),
        ]
        for value, ads in cells:
            stuffed, plain = ads[world.stuffed[ads]], ads[~world.stuffed[ads]]
            if value == 0 and len(stuffed_with[product]) >= n_stuffed:
                stuffed = stuffed_with[product]
            chosen = np.concatenate((_draw(stuffed, n_stuffed, rng), _draw(plain, n - n_stuffed, rng)))
            rows.append(np.stack((np.full_like(chosen, query), chosen, np.full_like(chosen, value))))
    # A query without attributes draws its strong ads twice, and may draw one of them twice.
    query_column, ad_column, grade_column = np.unique(np.concatenate(rows, axis=1), axis=1)
    return query_column, ad_column, grade_column


def graded_pairs(world: World, split: Split, per_grade: int = 5) -> Labels:
    """The graded pairs that the labelled corpus has of a split, by the world's own numbers.

    They are sorted by query, then ad.
    """
    code = SPLITS.index(split)
    rng = np.random.default_rng((world.config.seed, code, _LABELS_KEY))
    query, ad, grade = label_pairs(world, per_grade, rng)
    held_out = (split == "test") & world.query_is_held_out[query]
    return Labels(query, ad, grade, np.where(held_out, SPLITS.index("held_out"), code))


def labelled_corpus(
    config: WorldConfig,
    *,
    train_per_grade: int = 5,
    test_per_grade: int = 5,
    progress: Progress | None = None,
) -> LabelledCorpus:
    """All splits as one corpus with graded pairs: what a model is trained, chosen and tested on.

    Ads without a grade are for pre-training. Those of the validation and test splits are left out, so that
    their advertisers stay new to the model.
    """
    splits: tuple[Split, ...] = ("train", "validation", "test", "unlabelled")
    worlds = [build_world(config, split, progress=progress) for split in splits]
    labels: list[NDArray[np.int64]] = []
    first_query = first_ad = 0
    parts: list[Corpus] = []
    for split, world in zip(splits, worlds, strict=True):
        if split == "unlabelled":
            parts.append(world.corpus)
            continue
        own = graded_pairs(world, split, train_per_grade if split == "train" else test_per_grade)
        graded = np.arange(world.corpus.n_ads) if split == "train" else np.unique(own.ad)
        parts.append(_with_ads(world.corpus, graded))
        ad = np.searchsorted(graded, own.ad)
        labels.append(np.stack((own.query + first_query, ad + first_ad, own.grade, own.split)))
        first_query += world.corpus.n_queries
        first_ad += len(graded)
    corpus = Corpus(
        query_text=tuple(text for part in parts for text in part.query_text),
        ad_title=tuple(text for part in parts for text in part.ad_title),
        ad_ocr=tuple(text for part in parts for text in part.ad_ocr),
        ad_asr=tuple(text for part in parts for text in part.ad_asr),
        frames=np.concatenate([part.frames for part in parts]),
    )
    return LabelledCorpus(corpus, Labels(*np.concatenate(labels, axis=1)))


def _with_ads(corpus: Corpus, ads: NDArray[np.int64]) -> Corpus:
    title, ocr, asr = (
        tuple(texts[ad] for ad in ads) for texts in (corpus.ad_title, corpus.ad_ocr, corpus.ad_asr)
    )
    return Corpus(corpus.query_text, title, ocr, asr, corpus.frames[ads])


def _stuffed_with(world: World) -> list[NDArray[np.int64]]:
    """For each product, the stuffed ads of other categories whose text carries its name."""
    ads = np.flatnonzero(world.stuffed)
    texts = [f" {world.corpus.ad_text(int(ad))} " for ad in ads]
    category = world.truth.category_of_product
    return [
        ads[
            np.array([f" {name} " in text for text in texts], dtype=bool)
            & (world.ad_category[ads] != category[product])
        ]
        for product, name in enumerate(world.catalog.names)
    ]


def _draw(ads: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Up to `count` different ads."""
    return rng.choice(ads, min(count, len(ads)), replace=False, shuffle=False)
