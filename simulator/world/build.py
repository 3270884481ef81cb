"""The embedded world: queries with intents, advertisers, and the texts, frames and keywords of their ads.

Each split (training, validation, test) has its own advertisers and its own query strings. Ads without labels,
for pre-training, are a split without queries. Some products appear in the test split and among those only.
Every part is drawn from its own generator, keyed by (seed, split, part), so that one split can be built
without the others and a change in one part leaves the rest as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relevance.arrays import FrameArray
from relevance.corpus import Corpus
from simulator.retrieval import BROAD, EXACT, PHRASE, NegativeKeyword
from simulator.world.catalog import BRANDS_PER_CATEGORY, COLOURS, Catalog, load_catalog
from simulator.world.texts import AdText, ad_text, query_text
from simulator.world.truth import NO_ATTRIBUTE, Truth
from simulator.world.world_config import Split, WorldConfig

IntArray = NDArray[np.int64]
Progress = Callable[[int, int], None]

_SPLIT_KEYS: dict[str, int] = {"train": 1, "validation": 2, "test": 3, "unlabelled": 4}
_WHOLE_WORLD = 0
_PRODUCTS, _QUERIES, _ADVERTISERS, _TEXTS, _FRAMES, _KEYWORDS, _TRAFFIC, _NEGATIVES = range(8)


@dataclass(frozen=True, slots=True)
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
    held_out_products: IntArray
    negative_keywords: tuple[NegativeKeyword, ...] = ()

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

    @property
    def query_is_held_out(self) -> NDArray[np.bool_]:
        """Whether a query asks for a product that no training label names, [Q]."""
        return np.isin(self.truth.query_product, self.held_out_products)


@dataclass(frozen=True, slots=True)
class _Products:
    """What all splits share: which products are held out, and how popular each is."""

    held_out: IntArray
    popularity: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Intents:
    text: tuple[str, ...]
    product: IntArray
    colour: IntArray
    brand: IntArray


@dataclass(frozen=True, slots=True)
class _Ads:
    advertiser: IntArray
    product: IntArray
    colour: IntArray
    brand: IntArray
    stuffed: NDArray[np.bool_]
    tone: NDArray[np.float64]


def build_world(
    config: WorldConfig,
    split: Split,
    *,
    frames: FrameArray | None = None,
    progress: Progress | None = None,
) -> World:
    """Build one split.

    Args:
        frames: frames rendered before for the same settings and split, to save drawing them again.
        progress: called with (ads drawn, ads in all) while frames are drawn, by far the longest part.
    """
    catalog = load_catalog()
    products = _products(config, catalog)
    intents = _queries(config, catalog, products, split)
    ads = _ads(config, catalog, products, split)
    texts = _ad_texts(config, catalog, products, ads, split)
    if frames is None:
        from simulator.world.frames import render_frames  # imports Pillow

        rng = _rng(config, split, _FRAMES)
        frames = render_frames(config, catalog, ads.product, ads.colour, ads.tone, rng, progress)
    corpus = Corpus(
        query_text=intents.text,
        ad_title=tuple(text.title for text in texts),
        ad_ocr=tuple(text.ocr for text in texts),
        ad_asr=tuple(text.asr for text in texts),
        frames=frames,
    )
    truth = Truth(
        query_product=intents.product,
        query_colour=intents.colour,
        query_brand=intents.brand,
        ad_product=ads.product,
        ad_colour=ads.colour,
        ad_brand=ads.brand,
        category_of_product=catalog.category,
    )
    keyword, keyword_ad, keyword_match = _bid_keywords(config, catalog, products, ads, split)
    return World(
        config=config,
        catalog=catalog,
        corpus=corpus,
        truth=truth,
        advertiser=ads.advertiser,
        n_advertisers=config.advertisers(split),
        stuffed=ads.stuffed,
        query_popularity=_query_popularity(config, products, intents, split),
        keyword=keyword,
        keyword_ad=keyword_ad,
        keyword_match=keyword_match,
        held_out_products=products.held_out,
        negative_keywords=_negative_keywords(config, catalog, ads, keyword, keyword_ad, split),
    )


def _rng(config: WorldConfig, split: Split | None, part: int) -> np.random.Generator:
    return np.random.default_rng((config.seed, _SPLIT_KEYS[split] if split else _WHOLE_WORLD, part))


def _products(config: WorldConfig, catalog: Catalog) -> _Products:
    rng = _rng(config, None, _PRODUCTS)
    rank = rng.permutation(catalog.n_products) + 1
    popularity = 1.0 / rank**config.zipf_exponent
    # At most one product a category: a category that lost half of its products would be another world.
    last_of_category = {catalog.category[p]: p for p in rng.permutation(catalog.n_products)}
    held_out = rng.permutation(list(last_of_category.values()))[: config.held_out_products]
    return _Products(np.sort(held_out), popularity / popularity.sum())


def _queries(config: WorldConfig, catalog: Catalog, products: _Products, split: Split) -> _Intents:
    """The query strings whose hash falls into the split.

    Products of all splits are asked for equally often.
    """
    rng = _rng(config, None, _QUERIES)
    n = config.query_pool
    product = rng.integers(0, catalog.n_products, n)
    kind = rng.random(n)
    colour_only = kind < config.colour_share
    brand_only = ~colour_only & (kind < config.colour_share + config.brand_share)
    both = ~colour_only & ~brand_only & (kind < config.colour_share + config.brand_share + config.both_share)
    colour = np.where(colour_only | both, rng.integers(0, len(COLOURS), n), NO_ATTRIBUTE)
    own_brand = catalog.category[product] * BRANDS_PER_CATEGORY + rng.integers(0, BRANDS_PER_CATEGORY, n)
    brand = np.where(brand_only | both, own_brand, NO_ATTRIBUTE)
    held_out = np.isin(product, products.held_out)

    first_with_text: dict[str, int] = {}
    for i in range(n):
        first_with_text.setdefault(query_text(config, catalog, product[i], colour[i], brand[i], rng), i)
    chosen = [
        (text, i)
        for text, i in first_with_text.items()
        if _split_of_query(text) == split and (split == "test" or not held_out[i])
    ]
    index = np.array([i for _, i in chosen], dtype=np.int64)
    return _Intents(tuple(text for text, _ in chosen), product[index], colour[index], brand[index])


def _split_of_query(text: str) -> Split:
    """A string belongs to one split for ever, whatever the seed of the world."""
    bucket = hashlib.blake2b(text.encode(), digest_size=4).digest()[0]
    return "validation" if bucket < 8 else "test" if bucket < 136 else "train"


def _ads(config: WorldConfig, catalog: Catalog, products: _Products, split: Split) -> _Ads:
    """Each advertiser keeps to one category, one brand and one background tone."""
    rng = _rng(config, split, _ADVERTISERS)
    n_advertisers, per = config.advertisers(split), config.ads_per_advertiser
    category = np.arange(n_advertisers) % len(catalog.categories)
    brand = category * BRANDS_PER_CATEGORY + rng.integers(0, BRANDS_PER_CATEGORY, n_advertisers)
    tone = rng.uniform(215.0, 250.0, (n_advertisers, 3))
    stuffed = rng.random(n_advertisers) < config.stuffed_share
    sellable = np.ones(catalog.n_products, dtype=bool)
    if split in ("train", "validation"):
        sellable[products.held_out] = False
    of_category = [np.flatnonzero((catalog.category == c) & sellable) for c in range(len(catalog.categories))]
    product = np.concatenate([rng.choice(of_category[c], size=per) for c in category])
    advertiser = np.repeat(np.arange(n_advertisers), per)
    return _Ads(
        advertiser=advertiser,
        product=product,
        colour=rng.integers(0, len(COLOURS), len(product)),
        brand=brand[advertiser],
        stuffed=stuffed[advertiser],
        tone=tone[advertiser],
    )


def _ad_texts(
    config: WorldConfig, catalog: Catalog, products: _Products, ads: _Ads, split: Split
) -> list[AdText]:
    rng = _rng(config, split, _TEXTS)
    texts = []
    for ad in range(len(ads.product)):
        stuffing: tuple[str, ...] = ()
        if ads.stuffed[ad]:
            stuffing = tuple(
                catalog.names[p] for p in _popular_others(products, int(ads.product[ad]), 3, rng)
            )
        product, colour, brand = int(ads.product[ad]), int(ads.colour[ad]), int(ads.brand[ad])
        texts.append(ad_text(config, catalog, product, colour, brand, stuffing, rng))
    return texts


def _popular_others(products: _Products, product: int, count: int, rng: np.random.Generator) -> IntArray:
    """Products that are not this one, the square root of their popularity as their weight."""
    weight = np.sqrt(products.popularity)
    weight[product] = 0.0
    return rng.choice(len(weight), size=count, replace=False, p=weight / weight.sum())


def _bid_keywords(
    config: WorldConfig, catalog: Catalog, products: _Products, ads: _Ads, split: Split
) -> tuple[tuple[str, ...], IntArray, NDArray[np.int8]]:
    """What each ad is to be found by: its product's words, often a sibling's, sometimes a popular stranger's.

    Stuffers bid broadly on the popular words; every ad bids on its brand.
    """
    rng = _rng(config, split, _KEYWORDS)
    rows: list[tuple[str, int, int]] = []
    for ad, product in enumerate(ads.product.tolist()):
        name, *synonyms = catalog.terms[product]
        rows.append((name, ad, int(rng.choice((PHRASE, BROAD)))))
        rows.extend(
            (term, ad, BROAD if rng.random() < 0.7 else PHRASE) for term in synonyms if rng.random() < 0.7
        )
        rows.append((f"{catalog.brands[ads.brand[ad]]} {name}", ad, EXACT if rng.random() < 0.3 else BROAD))
        if rng.random() < config.sibling_keyword_share:
            siblings = np.flatnonzero(
                (catalog.category == catalog.category[product]) & (np.arange(catalog.n_products) != product)
            )
            rows.append((catalog.names[int(rng.choice(siblings))], ad, BROAD))
        reach = 4 if ads.stuffed[ad] else int(rng.random() < config.reach_keyword_share)
        rows.extend((catalog.names[p], ad, BROAD) for p in _popular_others(products, product, reach, rng))
    return (
        tuple(keyword for keyword, _, _ in rows),
        np.array([ad for _, ad, _ in rows], dtype=np.int64),
        np.array([match for _, _, match in rows], dtype=np.int8),
    )


def _negative_keywords(
    config: WorldConfig,
    catalog: Catalog,
    ads: _Ads,
    keyword: tuple[str, ...],
    keyword_ad: IntArray,
    split: Split,
) -> tuple[NegativeKeyword, ...]:
    """Other brands and other products of the category, but for those that the ad bids on itself."""
    rng = _rng(config, split, _NEGATIVES)
    careful = rng.random(config.advertisers(split)) < config.negative_share
    wanted = set(zip(keyword, keyword_ad.tolist(), strict=True))
    rows: list[NegativeKeyword] = []
    for ad in np.flatnonzero(careful[ads.advertiser]).tolist():
        category = int(catalog.category[ads.product[ad]])
        of_category = range(category * BRANDS_PER_CATEGORY, (category + 1) * BRANDS_PER_CATEGORY)
        rows += [(catalog.brands[brand], ad, BROAD) for brand in of_category if brand != ads.brand[ad]]
        siblings = np.flatnonzero(catalog.category == category)
        rows += [(catalog.names[p], ad, PHRASE) for p in siblings.tolist() if p != ads.product[ad]]
    return tuple(row for row in rows if row[:2] not in wanted)


def _query_popularity(
    config: WorldConfig, products: _Products, intents: _Intents, split: Split
) -> NDArray[np.float64]:
    """Zipf over products, and again over the strings that ask for one product."""
    rng = _rng(config, split, _TRAFFIC)
    popularity = np.zeros(len(intents.text))
    for product in np.unique(intents.product):
        strings = np.flatnonzero(intents.product == product)
        weight = 1.0 / (rng.permutation(len(strings)) + 1.0) ** config.zipf_exponent
        popularity[strings] = products.popularity[product] * weight / weight.sum()
    shares: NDArray[np.float64] = popularity / max(popularity.sum(), np.finfo(np.float64).tiny)
    return shares
