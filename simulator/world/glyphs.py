"""Products as glyphs: 124 of the Font Awesome Free font in 18 shop categories, with words for them.

The glyphs (font: SIL OFL 1.1) and the search terms (metadata: CC BY 4.0) are Font Awesome's; which of them
are products, in which category and under which name, is this table's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from importlib.resources.abc import Traversable

from simulator.world.catalog import Product
from simulator.world.languages import ENGLISH

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

MAX_SYNONYMS = 4
FONT_FILE = "Font Awesome 6 Free-Solid-900.otf"


def read_products() -> tuple[list[Product], tuple[str, ...]]:
    """The products, and the code points of what else frames show, from the installed package's metadata."""
    icons = json.loads(_font_awesome("metadata", "icons.json").read_text(encoding="utf-8"))
    rows = [(icon, name, c) for c, shop in enumerate(CATEGORIES.values()) for icon, name in shop.items()]
    names = tuple(name for _, name, _ in rows)
    raw_terms = [_words_only(icons[icon]["search"]["terms"]) for icon, _, _ in rows]
    in_products = Counter(term for terms in raw_terms for term in terms)
    in_all_icons = Counter(term for icon in icons.values() for term in _words_only(icon["search"]["terms"]))
    taken = (
        {word for name in names for word in (name, *name.split())}
        | set(CATEGORIES)
        | {word for words in ENGLISH.colours for phrase in words for word in (phrase, *phrase.split())}
        | NOT_TERMS
    )
    products = []
    for (icon, name, category), candidates in zip(rows, raw_terms, strict=True):
        # A term that stands for several products says nothing about either; of the rest the rarest are
        # the most specific.
        own = [term for term in candidates if in_products[term] == 1 and term not in taken]
        terms = (name, *sorted(own, key=lambda term: (in_all_icons[term], term))[:MAX_SYNONYMS])
        products.append(Product(name, terms, icons[icon]["unicode"], category))
    return products, tuple(icons[icon]["unicode"] for icon in LIFESTYLE_GLYPHS)


def font_bytes() -> bytes:
    """The font of all glyphs."""
    return _font_awesome("otfs", FONT_FILE).read_bytes()


def _font_awesome(*parts: str) -> Traversable:
    """A file of the installed Font Awesome Free package."""
    return files("fontawesomefree").joinpath("static", "fontawesomefree", *parts)


def _words_only(terms: list[str]) -> list[str]:
    """Lower-case terms of one or two plain Latin words of at least three letters."""
    lowered = dict.fromkeys(str(term).lower().strip() for term in terms)
    return [t for t in lowered if len(t) >= 3 and re.fullmatch(r"[a-z]+( +[a-z]+)?", t)]
