"""Graded pairs for training and evaluation, of one world or of several.

They are drawn so that neither the query alone nor the ad alone gives the grade away. A fold of the catalogue
may be left without training labels; what asks for its products is the split `held_out`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relevance.arrays import FrameArray
from relevance.corpus import SPLITS, Corpus, LabelledCorpus, Labels
from relevance.words import words_of
from simulator.world.build import Progress, World, build_world
from simulator.world.world_config import READ_BY_MODELS, Split, WorldConfig

TRAINING_SEEDS = (11, 12, 13, 14)
"""Seeds of the worlds that models are trained on. No market of the shipped scenarios is in one of them."""
EVALUATION_SEED = 7
"""Seed of the world that models are evaluated on where no other is named: that of the default scenario."""
LABELLED_WORLD = WorldConfig(
    seed=EVALUATION_SEED,
    train_advertisers=2000,
    validation_advertisers=120,
    test_advertisers=300,
    unlabelled_advertisers=1000,
    ads_per_advertiser=10,
    query_pool=40_000,
)
"""Worlds for training and evaluation; their sizes do not follow those of a market's world."""


def looking_like(world: WorldConfig) -> WorldConfig:
    """LABELLED_WORLD with texts and frames as those of another world."""
    return replace(LABELLED_WORLD, **{name: getattr(world, name) for name in READ_BY_MODELS})


ALL_SPLITS: tuple[Split, ...] = ("train", "validation", "test", "unlabelled")
MOST_TEST_QUERIES = 1500
"""Queries of a world's validation or test split that get graded pairs, at most."""
_LABELS_KEY, _QUERIES_KEY = 101, 102


@dataclass(frozen=True, slots=True)
class LabelledWorlds:
    """What a labelled corpus is drawn from.

    `config` is of all worlds, whose seeds are `seeds`. Its training advertisers and those without labels are
    divided among them; every world has all of its other advertisers. `fold` (0..9) is the fold of the
    catalogue without training and validation labels; None: all products have some. A training needs no test.
    """

    seeds: tuple[int, ...] = TRAINING_SEEDS
    fold: int | None = None
    config: WorldConfig = LABELLED_WORLD
    splits: tuple[Split, ...] = ("train", "validation", "unlabelled")

    def world(self, seed: int) -> WorldConfig:
        """The settings of one of the worlds."""
        n = len(self.seeds)
        return replace(
            self.config,
            seed=seed,
            train_advertisers=-(-self.config.train_advertisers // n),
            unlabelled_advertisers=-(-self.config.unlabelled_advertisers // n),
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it: `worlds`, `fold`, and `world` without its seed."""
        settings = {name: value for name, value in asdict(self.config).items() if name != "seed"}
        return {"worlds": list(self.seeds), "fold": self.fold, "world": settings}


@dataclass(frozen=True, slots=True)
class FramesOf:
    """Whose frames a corpus needs: of the ads `ads` [A] of a split."""

    config: WorldConfig
    split: Split
    ads: NDArray[np.int64]


DrawFrames = Callable[[Sequence[FramesOf]], FrameArray]
"""Gives the frames of all parts, one behind another, uint8 [A, F, H, W, 3]."""


def label_pairs(
    world: World,
    per_grade: int,
    rng: np.random.Generator,
    fold: int | None = None,
    queries: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], ...]:
    """Draw pairs for every query, or for those that are given: (query, ad, grade), each [P].

    Queries for products of `fold` get no pairs, and its ads are in none.

    Every query gets equally many ads of each grade, `per_grade` or as many as there are strong ones (a query
    without attributes has no grade 2 and gets twice as many of grade 3), so that a query says nothing about
    its pairs' grades. Equally many of every grade come from advertisers who stuff keywords, two in five where
    there are so many, so that stuffing says nothing either; those of grade 0 carry, where there are such, the
    very words of the query's product: the hard cases that keyword retrieval brings in. Queries for what
    nobody sells get no pairs.
    """
    truth = world.truth
    left_out = world.catalog.fold == (-1 if fold is None else fold)
    has_labels = ~left_out[truth.ad_product]
    by_product = [np.flatnonzero(truth.ad_product == p) for p in range(len(truth.category_of_product))]
    by_category = [
        np.flatnonzero(has_labels & (world.ad_category == c))
        for c in range(int(truth.category_of_product.max()) + 1)
    ]
    elsewhere = [np.flatnonzero(has_labels & (world.ad_category != c)) for c in range(len(by_category))]
    stuffed_with = [ads[has_labels[ads]] for ads in _stuffed_with(world)]
    rows: list[NDArray[np.int64]] = [np.empty((3, 0), dtype=np.int64)]
    queries = np.arange(world.corpus.n_queries) if queries is None else queries
    for query in queries[~left_out[truth.query_product[queries]]].tolist():
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


def graded_pairs(world: World, split: Split, per_grade: int = 5, fold: int | None = None) -> Labels:
    """The graded pairs that the labelled corpus has of a split, by the world's own numbers.

    They are sorted by query, then ad. All training queries have some, and up to MOST_TEST_QUERIES of another
    split, as evenly over products as there are queries. In the split `test`, pairs whose query asks for a
    product of `fold` are of the split `held_out`; in the others there are none.
    """
    code = SPLITS.index(split)
    rng = np.random.default_rng((world.config.seed, code, _LABELS_KEY))
    chosen = None if split == "train" else _test_queries(world, code)
    query, ad, grade = label_pairs(world, per_grade, rng, None if split == "test" else fold, chosen)
    asked = world.catalog.fold[world.truth.query_product[query]]
    held_out = (asked == fold) & (fold is not None)
    return Labels(query, ad, grade, np.where(held_out, SPLITS.index("held_out"), code))


def _test_queries(world: World, code: int) -> NDArray[np.int64]:
    """The queries of a validation or test split that get pairs, sorted: equally many of each product."""
    product = world.truth.query_product
    order = np.random.default_rng((world.config.seed, code, _QUERIES_KEY)).permutation(product.size)
    order = order[np.argsort(product[order], kind="stable")]  # by product, and at random within
    first = np.searchsorted(product[order], product[order])
    place = np.arange(order.size) - first  # of a query among those of its product
    return np.sort(order[np.argsort(place, kind="stable")[:MOST_TEST_QUERIES]])


def labelled_corpus(
    worlds: LabelledWorlds, *, per_grade: int = 5, draw: DrawFrames | None = None
) -> LabelledCorpus:
    """Some worlds as one corpus with graded pairs: what a model is trained, chosen and tested on.

    Ads without a grade are for pre-training. Those of the validation and test splits are left out, so that
    their advertisers stay new to the model.

    Args:
        per_grade: see `label_pairs`.
        draw: gives the frames; None draws them here.
    """
    labels: list[NDArray[np.int64]] = []
    first_query = first_ad = 0
    texts: tuple[list[str], ...] = ([], [], [], [])
    parts: list[FramesOf] = []
    for seed in worlds.seeds:
        for split in worlds.splits:
            config = worlds.world(seed)
            world = build_world(config, split, draw=False)
            ads = np.arange(world.corpus.n_ads)
            if split != "unlabelled":
                own = graded_pairs(world, split, per_grade, worlds.fold)
                ads = ads if split == "train" else np.unique(own.ad)
                ad = np.searchsorted(ads, own.ad)
                labels.append(np.stack((own.query + first_query, ad + first_ad, own.grade, own.split)))
            parts.append(FramesOf(config, split, ads))
            corpus = world.corpus
            texts[0].extend(corpus.query_text)
            for column, of_ads in zip(
                texts[1:], (corpus.ad_title, corpus.ad_ocr, corpus.ad_asr), strict=True
            ):
                column.extend(of_ads[ad] for ad in ads)
            first_query += corpus.n_queries
            first_ad += len(ads)
    query_text, ad_title, ad_ocr, ad_asr = map(tuple, texts)
    corpus = Corpus(query_text, ad_title, ad_ocr, ad_asr, (draw or draw_frames)(parts))
    return LabelledCorpus(corpus, Labels(*np.concatenate(labels, axis=1)), worlds.as_dict())


def draw_frames(parts: Sequence[FramesOf], progress: Progress | None = None) -> FrameArray:
    """Draw the frames of all parts in this process; see `DrawFrames`."""
    worlds = (build_world(part.config, part.split, progress=progress) for part in parts)
    return np.concatenate([world.corpus.frames[part.ads] for world, part in zip(worlds, parts, strict=True)])


def _stuffed_with(world: World) -> list[NDArray[np.int64]]:
    """For each product, the stuffed ads of other categories whose text carries its name."""
    ads = np.flatnonzero(world.stuffed)
    texts = [_apart(world.corpus.ad_text(int(ad))) for ad in ads]
    category = world.truth.category_of_product
    return [
        ads[
            np.array([_apart(name) in text for text in texts], dtype=bool)
            & (world.ad_category[ads] != category[product])
        ]
        for product, name in enumerate(world.catalog.names)
    ]


def _apart(text: str) -> str:
    """The words of a text, with a space on either side of each."""
    return f" {' '.join(words_of(text))} "


def _draw(ads: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Up to `count` different ads."""
    return rng.choice(ads, min(count, len(ads)), replace=False, shuffle=False)
