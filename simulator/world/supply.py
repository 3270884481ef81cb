"""Who advertises what, and which keywords the ads bid on.

Each advertiser keeps to one category, one brand and one background tone. Splits that models learn from are
even: advertisers have equally many ads, of any product of their category, so that a model sees every product.
The market's split is uneven as markets are: a few advertisers have many ads and most have few, and products
that are asked for often are sold by more of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.retrieval import BROAD, EXACT, PHRASE, NegativeKeyword
from simulator.world.catalog import BRANDS_PER_CATEGORY, COLOURS, Catalog
from simulator.world.world_config import Split, WorldConfig

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Bid = tuple[str, int]
"""A keyword, and the loosest match that it allows."""


@dataclass(frozen=True, slots=True)
class Ads:
    """A ads of N advertisers."""

    advertiser: IntArray  # [A]
    product: IntArray  # [A]
    colour: IntArray  # [A]
    brand: IntArray  # [A]
    stuffed: NDArray[np.bool_]  # [A] the advertiser stuffs popular words into texts and keywords
    tone: FloatArray  # [A, 3] background of its frames


def draw_ads(
    config: WorldConfig,
    catalog: Catalog,
    split: Split,
    popularity: FloatArray,
    rng: np.random.Generator,
) -> Ads:
    """The advertisers of a split and their ads.

    Args:
        popularity: the products' shares of traffic F[P].
    """
    n, n_categories = config.advertisers(split), len(catalog.categories)
    sold = np.ones(catalog.n_products)
    if split == "test":
        appeal = np.exp(config.supply_sigma * rng.standard_normal(catalog.n_products))
        sold = popularity**config.supply_follows_demand * appeal
    of_category = np.bincount(catalog.category, weights=sold, minlength=n_categories)
    if split == "test":
        category = rng.choice(n_categories, n, p=of_category / of_category.sum())
        size = _sizes(config, n, rng)
    else:
        category = np.arange(n) % n_categories
        size = np.full(n, config.ads_per_advertiser)
    brand = category * BRANDS_PER_CATEGORY + rng.integers(0, BRANDS_PER_CATEGORY, n)
    tone = rng.uniform(215.0, 250.0, (n, 3))
    stuffed = rng.random(n) < config.stuffed_share
    shelf = [np.flatnonzero(catalog.category == c) for c in range(n_categories)]
    chance = [sold[products] / sold[products].sum() if split == "test" else None for products in shelf]
    product = np.concatenate(
        [rng.choice(shelf[c], size=s, p=chance[c]) for c, s in zip(category, size, strict=True)]
    )
    advertiser = np.repeat(np.arange(n), size)
    return Ads(
        advertiser=advertiser,
        product=product,
        colour=rng.integers(0, len(COLOURS), len(product)),
        brand=brand[advertiser],
        stuffed=stuffed[advertiser],
        tone=tone[advertiser],
    )


def _sizes(config: WorldConfig, n: int, rng: np.random.Generator) -> IntArray:
    """Ads of each advertiser I[N]: lognormal, at least one each, with the mean that is set."""
    total = n * config.test_ads_per_advertiser
    weight = np.exp(config.size_sigma * rng.standard_normal(n))
    size: IntArray = 1 + np.floor(weight / weight.sum() * (total - n)).astype(np.int64)
    for _ in range(int(total - size.sum())):  # what rounding has left goes to the smallest
        size[np.argmin(size)] += 1
    return size


def popular_others(popularity: FloatArray, product: int, count: int, rng: np.random.Generator) -> IntArray:
    """Products that are not this one, the square root of their popularity as their weight."""
    weight = np.sqrt(popularity)
    weight[product] = 0.0
    others: IntArray = rng.choice(len(weight), size=count, replace=False, p=weight / weight.sum())
    return others


def bid_keywords(
    config: WorldConfig, catalog: Catalog, ads: Ads, popularity: FloatArray, rng: np.random.Generator
) -> tuple[tuple[str, ...], IntArray, NDArray[np.int8]]:
    """What each ad is to be found by: keywords, their ads I[T] and the loosest match of each I8[T].

    An ad bids on some of its product's words, with its brand and its colour or alone; some bid on a sibling,
    and those who stuff bid on popular products that they do not sell.
    """
    rows = [
        (keyword, ad, match)
        for ad in range(ads.product.size)
        for keyword, match in dict(_keywords_of(config, catalog, ads, ad, popularity, rng)).items()
    ]
    return (
        tuple(keyword for keyword, _, _ in rows),
        np.array([ad for _, ad, _ in rows], dtype=np.int64),
        np.array([match for _, _, match in rows], dtype=np.int8),
    )


def _keywords_of(
    config: WorldConfig,
    catalog: Catalog,
    ads: Ads,
    ad: int,
    popularity: FloatArray,
    rng: np.random.Generator,
) -> Iterator[Bid]:
    product = int(ads.product[ad])
    name, *synonyms = catalog.terms[product]

    def match() -> int:
        return int(rng.choice((EXACT, PHRASE, BROAD), p=config.match_shares))

    main = name if not synonyms or rng.random() < config.name_keyword_share else str(rng.choice(synonyms))
    yield main, match()
    for term in (name, *synonyms):
        if term != main and rng.random() < config.synonym_keyword_share:
            yield term, match()
    if rng.random() < config.brand_keyword_share:
        yield f"{catalog.brands[ads.brand[ad]]} {main}", match()
    if rng.random() < config.colour_keyword_share:
        colour = str(rng.choice(catalog.language.colours[ads.colour[ad]]))
        yield catalog.language.joined((colour, main)), match()
    if rng.random() < config.sibling_keyword_share:
        same = catalog.category == catalog.category[product]
        siblings = np.flatnonzero(same & (np.arange(catalog.n_products) != product))
        yield catalog.names[int(rng.choice(siblings))], BROAD
    if ads.stuffed[ad] and rng.random() < config.stuffed_keyword_share:
        yield catalog.names[int(popular_others(popularity, product, 1, rng)[0])], BROAD


def negative_keywords(
    config: WorldConfig,
    catalog: Catalog,
    ads: Ads,
    n_advertisers: int,
    keyword: tuple[str, ...],
    keyword_ad: IntArray,
    rng: np.random.Generator,
) -> tuple[NegativeKeyword, ...]:
    """Other brands and other products of the category, but for those that the ad bids on itself."""
    careful = rng.random(n_advertisers) < config.negative_share
    wanted = set(zip(keyword, keyword_ad.tolist(), strict=True))
    rows: list[NegativeKeyword] = []
    for ad in np.flatnonzero(careful[ads.advertiser]).tolist():
        category = int(catalog.category[ads.product[ad]])
        of_category = range(category * BRANDS_PER_CATEGORY, (category + 1) * BRANDS_PER_CATEGORY)
        rows += [(catalog.brands[brand], ad, BROAD) for brand in of_category if brand != ads.brand[ad]]
        siblings = np.flatnonzero(catalog.category == category)
        rows += [(catalog.names[p], ad, PHRASE) for p in siblings.tolist() if p != ads.product[ad]]
    return tuple(row for row in rows if row[:2] not in wanted)
