"""Graded truth: how relevant each ad really is to each query.

It belongs to the world; a ranking system never sees it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Index = IntArray | np.int64
"""One index, or an array of them."""

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

    query_product: IntArray
    query_colour: IntArray
    query_brand: IntArray
    ad_product: IntArray
    ad_colour: IntArray
    ad_brand: IntArray
    category_of_product: IntArray

    def grade(self, query: Index, ad: Index) -> NDArray[np.int8]:
        """Grades 0..3 of query-ad pairs, see GRADE_DEFINITIONS; `query` and `ad` broadcast."""
        wanted, sold = self.query_product[query], self.ad_product[ad]
        same_category = self.category_of_product[wanted] == self.category_of_product[sold]
        same_product = wanted == sold
        colour, brand = self.query_colour[query], self.query_brand[query]
        colour_met = (colour == NO_ATTRIBUTE) | (colour == self.ad_colour[ad])
        brand_met = (brand == NO_ATTRIBUTE) | (brand == self.ad_brand[ad])
        grade: NDArray[np.int8] = (
            same_category.astype(np.int8) + same_product + (same_product & colour_met & brand_met)
        )
        return grade
