"""Graded truth: how relevant each ad really is to each query. It belongs to the world; a ranking system never sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRADE_DEFINITIONS: tuple[str, ...] = (
    "0 irrelevant: the ad sells a product of another category than the one that the query asks for",
    "1 weak: another product of the same category",
    "2 relevant: the right product, but not in the colour or of the brand that the query asks for",
    "3 strong: the right product, and every attribute that the query names is met",
)

NO_ATTRIBUTE = -1


@dataclass(frozen=True, slots=True)
class Truth:
    """Intents of Q queries and contents of A ads. Attributes that a query does not ask for are -1."""

    query_product: NDArray[np.int64]
    query_colour: NDArray[np.int64]
    query_brand: NDArray[np.int64]
    ad_product: NDArray[np.int64]
    ad_colour: NDArray[np.int64]
    ad_brand: NDArray[np.int64]
    category_of_product: NDArray[np.int64]

    def grade(self, query: NDArray[np.int64], ad: NDArray[np.int64]) -> NDArray[np.int8]:
        """Grades 0..3 of query-ad pairs, see GRADE_DEFINITIONS; `query` and `ad` broadcast against each other."""
        wanted, sold = self.query_product[query], self.ad_product[ad]
        same_category = self.category_of_product[wanted] == self.category_of_product[sold]
        same_product = wanted == sold
        colour, brand = self.query_colour[query], self.query_brand[query]
        colour_met = (colour == NO_ATTRIBUTE) | (colour == self.ad_colour[ad])
        brand_met = (brand == NO_ATTRIBUTE) | (brand == self.ad_brand[ad])
        return same_category.astype(np.int8) + same_product + (same_product & colour_met & brand_met)
