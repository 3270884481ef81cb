"""What people write: queries for a product, and the noisy text of the short videos that advertise one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from simulator.world.catalog import COLOURS, Catalog
from simulator.world.world_config import WorldConfig

QUERY_FILLER = ("buy", "cheap", "best", "for sale", "near me", "online", "deal", "price", "review", "new")

TITLE_FILLER = (
    "today only", "limited offer", "new arrival", "best seller", "free shipping", "just dropped", "must have",
    "big sale", "half price", "top quality", "official store", "season special", "last chance",
    "loved by many", "factory direct",
)  # fmt: skip
OCR_FILLER = (
    "tap to shop", "link below", "save now", "order now", "follow us", "swipe up", "shop the look",
    "use code hello", "five stars", "only here", "live now", "in stock", "open daily", "see more",
)  # fmt: skip
ASR_FILLER = (
    "hey everyone welcome back", "you have to see this", "i was not expecting that", "let me show you",
    "trust me on this one", "do not miss it", "my family loves it", "we tried it for a week",
    "wait until the end", "this changed my mornings", "people keep asking me", "honestly it is great",
    "look at the details", "thank you for watching",
)  # fmt: skip

T = TypeVar("T")
COLOUR_WORDS = tuple(words for _, words in COLOURS.values())


@dataclass(frozen=True, slots=True)
class AdText:
    """Video text of one ad, from its three usual sources."""

    title: str
    ocr: str
    asr: str


def query_text(
    config: WorldConfig, catalog: Catalog, product: int, colour: int, brand: int, rng: np.random.Generator
) -> str:
    """One query for a product; `colour` and `brand` are -1 where the intent has none."""
    words = [_term(catalog, product, config.synonym_share, rng)]
    if brand >= 0:
        words.insert(0 if rng.random() < 0.7 else 1, catalog.brands[brand])
    if colour >= 0:
        words.insert(0 if rng.random() < 0.8 else len(words), _choice(COLOUR_WORDS[colour], rng))
    if rng.random() < 0.35:
        filler = _choice(QUERY_FILLER, rng)
        words.insert(0 if filler in ("buy", "cheap", "best", "new") else len(words), filler)
    text = " ".join(words)
    return _misspelled(text, rng) if rng.random() < config.misspelling_share else text


def ad_text(
    config: WorldConfig,
    catalog: Catalog,
    product: int,
    colour: int,
    brand: int,
    stuffing: tuple[str, ...],
    rng: np.random.Generator,
) -> AdText:
    """Title, OCR and ASR of one ad.

    `stuffing` are popular words of other products, for advertisers who do that.
    """
    named = rng.random() >= config.product_words_missing
    title, ocr, asr = [_choice(TITLE_FILLER, rng)], [_choice(OCR_FILLER, rng)], [_choice(ASR_FILLER, rng)]
    if rng.random() < config.brand_word_share:
        title.insert(0, catalog.brands[brand])
    if named:
        title.insert(int(rng.integers(0, len(title) + 1)), _term(catalog, product, 0.35, rng))
        if rng.random() < 0.6:
            asr.append(_term(catalog, product, 0.6, rng))
        if rng.random() < 0.3:
            ocr.append(_term(catalog, product, 0.6, rng))
    if rng.random() < config.colour_word_share:
        _choice((title, ocr, asr), rng).append(_choice(COLOUR_WORDS[colour], rng))
    if rng.random() < config.sibling_mention_share:
        siblings = np.flatnonzero(
            (catalog.category == catalog.category[product]) & (np.arange(catalog.n_products) != product)
        )
        asr.append(f"goes well with {_term(catalog, int(rng.choice(siblings)), 0.0, rng)}")
    for word in stuffing:
        _choice((title, ocr, ocr), rng).append(word)
    asr.append(_choice(ASR_FILLER, rng))
    return AdText(" ".join(title), " ".join(ocr), " ".join(asr))


def _term(catalog: Catalog, product: int, synonym_share: float, rng: np.random.Generator) -> str:
    terms = catalog.terms[product]
    if len(terms) == 1 or rng.random() >= synonym_share:
        return terms[0]
    return terms[int(rng.integers(1, len(terms)))]


def _choice(options: Sequence[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]


def _misspelled(text: str, rng: np.random.Generator) -> str:
    """The text with one slip of the finger in a word of at least five letters, if it has one."""
    words = text.split(" ")
    long_words = [i for i, word in enumerate(words) if len(word) >= 5]
    if not long_words:
        return text
    i = long_words[int(rng.integers(len(long_words)))]
    word, at = words[i], int(rng.integers(1, len(words[i]) - 1))
    slip = int(rng.integers(3))
    if slip == 0:
        words[i] = word[:at] + word[at + 1 :]  # a letter dropped
    elif slip == 1:
        words[i] = word[:at] + word[at] + word[at:]  # a letter doubled
    else:
        words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]  # two letters swapped
    return " ".join(words)
