"""What users ask: query strings, what each is meant to find, and how often it comes.

Shares of traffic follow Zipf's law in both steps, over products with Mandelbrot's shift, which flattens the
head, and over the strings that ask for one product. The exponent is that of a web search log: 0.83 in
Baeza-Yates, Gionis, Junqueira, Murdock, Plachouras and Silvestri 2007, "The impact of caching on search
engines".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.world.catalog import BRANDS_PER_CATEGORY, COLOURS, Catalog
from simulator.world.texts import query_text
from simulator.world.truth import NO_ATTRIBUTE
from simulator.world.world_config import Split, WorldConfig

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_FREQUENCY_SIGMA = 0.5  # spread of a string's log frequency beside that of its wording


@dataclass(frozen=True, slots=True)
class Queries:
    """U query strings; attributes that a query does not ask for are -1."""

    text: tuple[str, ...]
    product: IntArray  # [U]
    colour: IntArray  # [U]
    brand: IntArray  # [U]
    written: IntArray  # [U] how often each string was drawn


def product_popularity(config: WorldConfig, n_products: int, rng: np.random.Generator) -> FloatArray:
    """The share of traffic that asks for each product, F[P]."""
    rank = rng.permutation(n_products) + 1.0
    weight = 1.0 / (rank + config.product_shift) ** config.product_exponent
    shares: FloatArray = weight / weight.sum()
    return shares


def draw_queries(config: WorldConfig, catalog: Catalog, split: Split, rng: np.random.Generator) -> Queries:
    """Draw `config.query_pool` queries and keep the strings that belong to a split.

    As many are drawn for one product as for another.
    """
    n = config.query_pool
    product = rng.integers(0, catalog.n_products, n)
    kind = rng.random(n)
    colour_only = kind < config.colour_share
    brand_only = ~colour_only & (kind < config.colour_share + config.brand_share)
    both = ~colour_only & ~brand_only & (kind < config.colour_share + config.brand_share + config.both_share)
    colour = np.where(colour_only | both, rng.integers(0, len(COLOURS), n), NO_ATTRIBUTE)
    own_brand = catalog.category[product] * BRANDS_PER_CATEGORY + rng.integers(0, BRANDS_PER_CATEGORY, n)
    brand = np.where(brand_only | both, own_brand, NO_ATTRIBUTE)
    asked = zip(product.tolist(), colour.tolist(), brand.tolist(), strict=True)
    written = [query_text(config, catalog, p, c, b, rng) for p, c, b in asked]
    first: dict[str, int] = {}
    for i, text in enumerate(written):
        first.setdefault(text, i)
    times = Counter(written)
    chosen = [(text, i) for text, i in first.items() if split_of_query(text) == split]
    at = np.array([i for _, i in chosen], dtype=np.int64)
    return Queries(
        text=tuple(text for text, _ in chosen),
        product=product[at],
        colour=colour[at],
        brand=brand[at],
        written=np.array([times[text] for text, _ in chosen], dtype=np.int64),
    )


def split_of_query(text: str) -> Split:
    """A string belongs to one split for ever, whatever the seed of the world."""
    bucket = hashlib.blake2b(text.encode(), digest_size=4).digest()[0]
    return "validation" if bucket < 8 else "test" if bucket < 136 else "train"


def query_popularity(
    config: WorldConfig, queries: Queries, of_product: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """The share of traffic of each query F[U], from the products' F[P].

    Of the strings that ask for one product, those that are written oftest rank first, give or take chance:
    short ones, which are spelled right and name few attributes.
    """
    n = queries.product.size
    frequency = np.log(queries.written) + _FREQUENCY_SIGMA * rng.standard_normal(n)
    order = np.lexsort((-frequency, queries.product))
    product = queries.product[order]
    rank = np.arange(n) - np.searchsorted(product, product) + 1.0
    weight = 1.0 / rank**config.query_exponent
    whole = np.bincount(product, weights=weight, minlength=of_product.size)
    popularity = np.empty(n)
    popularity[order] = of_product[product] * weight / whole[product]
    shares: FloatArray = popularity / max(popularity.sum(), np.finfo(np.float64).tiny)
    return shares
