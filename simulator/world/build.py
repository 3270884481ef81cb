"""The embedded world: queries with intents, advertisers, and the texts, frames and keywords of their ads.

Each split (training, validation, test) has its own advertisers and its own query strings. Ads without labels,
for pre-training, are a split without queries. Every part is drawn from its own generator, keyed by (seed,
split, part), so that one split can be built without the others and a change in one part leaves the rest as it
was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from relevance.arrays import FrameArray
from relevance.corpus import Corpus
from relevance.words import words_of
from simulator.retrieval import Associations, NegativeKeyword, neighbours
from simulator.world.associations import associations
from simulator.world.catalog import Catalog, load_catalog
from simulator.world.queries import draw_queries, product_popularity, query_popularity
from simulator.world.supply import Ads, bid_keywords, draw_ads, negative_keywords, popular_others
from simulator.world.texts import AdText, ad_text
from simulator.world.truth import Truth
from simulator.world.world_config import Split, WorldConfig

LEAST_COSINE = 0.25
"""Of phrases that count as neighbours, however far retrieval reaches."""

IntArray = NDArray[np.int64]
Progress = Callable[[int, int], None]

_SPLIT_KEYS: dict[str, int] = {"train": 1, "validation": 2, "test": 3, "unlabelled": 4}
_WHOLE_WORLD = 0
_PRODUCTS, _QUERIES, _ADVERTISERS, _TEXTS, _FRAMES, _KEYWORDS, _TRAFFIC, _NEGATIVES, _ASSOCIATIONS = range(9)


@dataclass(frozen=True)
class World:
    """One split of the world: A ads of N advertisers, Q queries, T bid keywords.

    `corpus` is what a platform knows, `truth` is the truth behind it. Popularities sum to 1.
    `keyword_match` is 0 exact, 1 phrase, 2 broad.
    """

    config: WorldConfig
    catalog: Catalog
    corpus: Corpus
    truth: Truth
    advertiser: IntArray
    n_advertisers: int
    stuffed: NDArray[np.bool_]
    query_popularity: NDArray[np.float64]
    keyword: tuple[str, ...]
    keyword_ad: IntArray
    keyword_match: NDArray[np.int8]
    negative_keywords: tuple[NegativeKeyword, ...] = ()

    @cached_property
    def associations(self) -> tuple[Associations, ...]:
        """What the platform knows of words: what it has learnt before, and what its ads say and bid on."""
        products = _rng(self.config, None, _PRODUCTS)
        popularity = product_popularity(self.config, self.catalog.n_products, products)
        rng = _rng(self.config, None, _ASSOCIATIONS)
        learnt = associations(self.config, self.catalog, popularity, rng)
        said = [words_of(self.corpus.ad_text(ad)) for ad in range(self.corpus.n_ads)]
        for text, ad in zip(self.keyword, self.keyword_ad.tolist(), strict=True):
            said[ad].extend(words_of(text))
        phrases = sorted({*self.keyword, *learnt.phrase})
        return learnt, neighbours([" ".join(words) for words in said], phrases, LEAST_COSINE)

    @property
    def common_words(self) -> set[str]:
        """Words of queries that say nothing of what is wanted, and those for colours."""
        language = self.catalog.language
        phrases = (*language.query_filler, *(word for words in language.colours for word in words))
        return {word for phrase in phrases for word in words_of(phrase)}

    @property
    def ad_category(self) -> IntArray:
        """Category 0..17 of each ad, [A]."""
        return self.truth.category_of_product[self.truth.ad_product]

    @property
    def query_category(self) -> IntArray:
        """Category 0..17 that each query asks for, [Q]."""
        return self.truth.category_of_product[self.truth.query_product]

    @property
    def query_intent(self) -> IntArray:
        """Number of the intent behind each query, [Q]: equal where product, colour and brand are."""
        truth = self.truth
        asked = np.stack((truth.query_product, truth.query_colour, truth.query_brand))
        return np.unique(asked, axis=1, return_inverse=True)[1].reshape(-1)


def build_world(
    config: WorldConfig,
    split: Split,
    *,
    frames: FrameArray | None = None,
    draw: bool = True,
    progress: Progress | None = None,
) -> World:
    """Build one split.

    Args:
        frames: frames rendered before for the same settings and split, to save drawing them again.
        draw: whether to draw frames where none are given; without them F is 0 in the corpus.
        progress: called with (ads drawn, ads in all) while frames are drawn, by far the longest part.
    """
    catalog = load_catalog(config.catalog, config.language)
    popularity = product_popularity(config, catalog.n_products, _rng(config, None, _PRODUCTS))
    queries = draw_queries(config, catalog, split, _rng(config, None, _QUERIES))
    ads = draw_ads(config, catalog, split, popularity, _rng(config, split, _ADVERTISERS))
    texts = _ad_texts(config, catalog, popularity, ads, split)
    if frames is None and draw:
        from simulator.world.frames import render_frames  # imports Pillow

        rng = _rng(config, split, _FRAMES)
        ocr = [text.ocr for text in texts]
        frames = render_frames(config, catalog, ads.product, ads.colour, ads.tone, ocr, rng, progress)
    elif frames is None:
        frames = np.empty((len(ads.product), 0, config.frame_size, config.frame_size, 3), dtype=np.uint8)
    corpus = Corpus(
        query_text=queries.text,
        ad_title=tuple(text.title for text in texts),
        ad_ocr=tuple(text.ocr for text in texts),
        ad_asr=tuple(text.asr for text in texts),
        frames=frames,
    )
    truth = Truth(
        query_product=queries.product,
        query_colour=queries.colour,
        query_brand=queries.brand,
        ad_product=ads.product,
        ad_colour=ads.colour,
        ad_brand=ads.brand,
        category_of_product=catalog.category,
    )
    keyword, keyword_ad, keyword_match = bid_keywords(
        config, catalog, ads, popularity, _rng(config, split, _KEYWORDS)
    )
    return World(
        config=config,
        catalog=catalog,
        corpus=corpus,
        truth=truth,
        advertiser=ads.advertiser,
        n_advertisers=config.advertisers(split),
        stuffed=ads.stuffed,
        query_popularity=query_popularity(config, queries, popularity, _rng(config, split, _TRAFFIC)),
        keyword=keyword,
        keyword_ad=keyword_ad,
        keyword_match=keyword_match,
        negative_keywords=negative_keywords(
            config,
            catalog,
            ads,
            config.advertisers(split),
            keyword,
            keyword_ad,
            _rng(config, split, _NEGATIVES),
        ),
    )


def _rng(config: WorldConfig, split: Split | None, part: int) -> np.random.Generator:
    return np.random.default_rng((config.seed, _SPLIT_KEYS[split] if split else _WHOLE_WORLD, part))


def _ad_texts(
    config: WorldConfig, catalog: Catalog, popularity: NDArray[np.float64], ads: Ads, split: Split
) -> list[AdText]:
    rng = _rng(config, split, _TEXTS)
    texts = []
    for ad in range(len(ads.product)):
        stuffing: tuple[str, ...] = ()
        if ads.stuffed[ad]:
            stuffing = tuple(
                catalog.names[p] for p in popular_others(popularity, int(ads.product[ad]), 3, rng)
            )
        product, colour, brand = int(ads.product[ad]), int(ads.colour[ad]), int(ads.brand[ad])
        texts.append(ad_text(config, catalog, product, colour, brand, stuffing, rng))
    return texts
