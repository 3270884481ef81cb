"""Products with a look: 124 glyphs of the Font Awesome Free font in 18 shop categories, with words for them.

The glyphs (font: SIL OFL 1.1) and the search terms (metadata: CC BY 4.0) are Font Awesome's; which of them
are products, in which category and under which name, is this table's.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from relevance.extras import require

CATEGORIES: dict[str, dict[str, str]] = {
    "drinks": {
        "mug-hot": "coffee mug", "wine-bottle": "wine", "beer-mug-empty": "beer stein",
        "martini-glass": "cocktail glass", "whiskey-glass": "whiskey tumbler",
        "champagne-glasses": "champagne flutes", "bottle-water": "water bottle",
    },
    "snacks": {
        "pizza-slice": "pizza", "burger": "burger", "hotdog": "hotdog", "cheese": "cheese", "bacon": "bacon",
        "bread-slice": "toast bread", "ice-cream": "ice cream", "cookie": "cookies",
    },
    "groceries": {
        "apple-whole": "apples", "carrot": "carrots", "lemon": "lemons", "pepper-hot": "chili pepper",
        "egg": "eggs", "shrimp": "shrimp", "drumstick-bite": "chicken drumstick",
    },
    "clothing": {
        "shirt": "shirt", "socks": "socks", "vest": "vest", "mitten": "mittens", "hat-cowboy": "cowboy hat",
        "glasses": "eyeglasses", "graduation-cap": "graduation cap",
    },
    "jewelry": {
        "gem": "gemstone", "ring": "ring", "crown": "tiara", "gift": "gift box", "trophy": "trophy",
    },
    "furniture": {
        "bed": "bed frame", "couch": "sofa", "chair": "chair", "rug": "rug", "mattress-pillow": "mattress",
        "door-closed": "door", "fan": "ceiling fan",
    },
    "kitchen": {
        "blender": "blender", "utensils": "cutlery", "spoon": "spoon", "kitchen-set": "cookware set",
        "fire-burner": "stove", "jar": "storage jar", "sink": "kitchen sink",
    },
    "bathroom": {
        "bath": "bathtub", "shower": "shower head", "toilet": "toilet seat", "soap": "soap bar",
        "toilet-paper": "toilet paper", "faucet": "faucet", "pump-soap": "hand wash",
    },
    "computers": {
        "laptop": "laptop", "keyboard": "keyboard", "computer-mouse": "computer mouse", "print": "printer",
        "hard-drive": "hard drive", "microchip": "processor", "mobile-screen-button": "smartphone",
    },
    "electronics": {
        "tv": "television", "headphones": "headphones", "camera": "camera", "video": "camcorder",
        "radio": "radio", "microphone": "microphone", "gamepad": "game controller", "lightbulb": "light bulb",
    },
    "tools": {
        "hammer": "hammer", "wrench": "wrench", "screwdriver": "screwdriver", "paint-roller": "paint roller",
        "broom": "broom", "toolbox": "toolbox", "trowel": "trowel",
    },
    "stationery": {
        "pencil": "pencil", "pen-fancy": "fountain pen", "stapler": "stapler", "scissors": "scissors",
        "paperclip": "paper clips", "calculator": "calculator", "book": "notebook",
        "highlighter": "highlighter",
    },
    "vehicles": {
        "car-side": "used car", "motorcycle": "motorcycle", "bicycle": "bicycle",
        "truck-pickup": "pickup truck", "bus": "minibus", "tractor": "tractor", "sailboat": "sailboat",
    },
    "garage": {
        "car-battery": "car battery", "gas-pump": "fuel pump", "oil-can": "motor oil",
        "helmet-safety": "safety helmet", "spray-can": "spray paint",
    },
    "sports": {
        "basketball": "basketball", "football": "football", "dumbbell": "dumbbells",
        "bowling-ball": "bowling ball", "baseball-bat-ball": "baseball bat", "golf-ball-tee": "golf ball",
        "table-tennis-paddle-ball": "table tennis bat",
    },
    "toys": {
        "puzzle-piece": "puzzle", "robot": "robot", "chess-knight": "chess set", "dice-five": "dice",
        "baby-carriage": "stroller", "cubes": "building blocks", "hat-wizard": "wizard costume",
    },
    "health": {
        "syringe": "syringe", "pills": "pills", "stethoscope": "stethoscope", "bandage": "bandage",
        "kit-medical": "first aid kit", "temperature-half": "thermometer", "mask-face": "face mask",
    },
    "outdoor": {
        "tent": "tent", "compass": "compass", "binoculars": "binoculars", "suitcase": "suitcase",
        "umbrella": "umbrella", "fire-extinguisher": "fire extinguisher",
    },
}  # fmt: skip
"""Category -> glyph -> product name."""

LIFESTYLE_GLYPHS = (
    "sun", "tree", "house", "heart", "mountain", "cloud", "star", "moon", "leaf", "snowflake", "city",
    "feather", "face-smile", "person-walking", "person-hiking", "music", "fire", "rainbow", "anchor", "bell",
)  # fmt: skip
"""What a frame shows when it does not show the product."""

NOT_TERMS = frozenset(
    ["burger king", "dell", "macbook", "iphone", "nba", "nfl", "mlb", "playstore", "milton", "firebolt",
     "quidditch", "gollum", "sharpie", "bugs bunny", "emt", "boo boo", "doo", "uer", "john", "pee",
     "papercli", "printer icon", "coronavirus", "fuji", "macintosh", "android", "chicago", "new york"]
)  # fmt: skip
"""Search terms of the metadata that name somebody's brand, a place, or nothing that one would search for."""

COLOURS: dict[str, tuple[tuple[int, int, int], tuple[str, ...]]] = {
    "red": ((208, 24, 32), ("red", "scarlet")),
    "orange": ((244, 126, 16), ("orange", "tangerine")),
    "yellow": ((232, 196, 0), ("yellow", "golden")),
    "green": ((24, 140, 44), ("green", "emerald")),
    "turquoise": ((0, 190, 190), ("turquoise", "aqua")),
    "blue": ((24, 60, 210), ("blue", "navy")),
    "purple": ((126, 34, 170), ("purple", "violet")),
    "pink": ((246, 110, 176), ("pink", "rose")),
    "brown": ((112, 66, 30), ("brown", "chestnut")),
    "black": ((16, 16, 20), ("black", "ebony")),
}
"""Colour -> RGB, and the words that people use for it."""

BRANDS_PER_CATEGORY = 3
N_FOLDS = 10
"""Folds of the catalogue: a training may leave one without labels."""
MAX_SYNONYMS = 4


@dataclass(frozen=True, slots=True)
class Catalog:
    """P products.

    `terms[p]` are the words for product p, its name first; `code_point[p]` is its glyph in the font.
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

    @property
    def n_products(self) -> int:
        return len(self.names)


@functools.cache
def load_catalog() -> Catalog:
    """The catalog, read from the metadata of the installed Font Awesome Free package.

    Raises:
        MissingExtraError: what draws the embedded world is not installed.
    """
    require_world()
    icons = json.loads(font_awesome("metadata", "icons.json").read_text(encoding="utf-8"))
    rows = [(icon, name, c) for c, shop in enumerate(CATEGORIES.values()) for icon, name in shop.items()]
    names = tuple(name for _, name, _ in rows)
    raw_terms = [_words_only(icons[icon]["search"]["terms"]) for icon, _, _ in rows]
    in_products = Counter(term for terms in raw_terms for term in terms)
    in_all_icons = Counter(term for icon in icons.values() for term in _words_only(icon["search"]["terms"]))
    taken = (
        {word for name in names for word in (name, *name.split())}
        | set(CATEGORIES)
        | {word for _, words in COLOURS.values() for phrase in words for word in (phrase, *phrase.split())}
        | NOT_TERMS
    )
    terms = []
    for name, candidates in zip(names, raw_terms, strict=True):
        # A term that stands for several products says nothing about either; of the rest the rarest are
        # the most specific.
        own = [term for term in candidates if in_products[term] == 1 and term not in taken]
        terms.append((name, *sorted(own, key=lambda term: (in_all_icons[term], term))[:MAX_SYNONYMS]))
    return Catalog(
        names=names,
        terms=tuple(terms),
        code_point=tuple(icons[icon]["unicode"] for icon, _, _ in rows),
        category=np.array([c for _, _, c in rows], dtype=np.int64),
        categories=tuple(CATEGORIES),
        brands=_made_up_brands(len(CATEGORIES) * BRANDS_PER_CATEGORY),
        lifestyle=tuple(icons[icon]["unicode"] for icon in LIFESTYLE_GLYPHS),
        fold=_folds([(c, name) for _, name, c in rows]),
    )


def require_world() -> None:
    """Say how to install what draws the embedded world, where it is missing.

    Raises:
        MissingExtraError: it is.
    """
    require("fontawesomefree", "PIL", extra="world", needed_by="the embedded world")


def font_awesome(*parts: str) -> Traversable:
    """A file of the installed Font Awesome Free package."""
    return files("fontawesomefree").joinpath("static", "fontawesomefree", *parts)


def _words_only(terms: list[str]) -> list[str]:
    """Lower-case terms of one or two plain Latin words of at least three letters."""
    lowered = dict.fromkeys(str(term).lower().strip() for term in terms)
    return [t for t in lowered if len(t) >= 3 and re.fullmatch(r"[a-z]+( +[a-z]+)?", t)]


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
