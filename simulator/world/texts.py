"""What people write: queries for a product, and the noisy text of the short videos that advertise one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from simulator.world.catalog import Catalog
from simulator.world.world_config import WorldConfig

T = TypeVar("T")


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
    language, words = catalog.language, [_term(catalog, product, config.synonym_share, rng)]
    if brand >= 0:
        words.insert(0 if rng.random() < 0.7 else 1, catalog.brands[brand])
    if colour >= 0:
        words.insert(0 if rng.random() < 0.8 else len(words), _choice(language.colours[colour], rng))
    if rng.random() < 0.35:
        filler = _choice(language.query_filler, rng)
        words.insert(0 if filler in language.before else len(words), filler)
    text = language.joined(words, catalog.brands)
    if rng.random() < config.misspelling_share:
        return _misspelled(text, language.shortest_slip, rng)
    return text


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
    language, named = catalog.language, rng.random() >= config.product_words_missing
    fillers = language.title_filler, language.ocr_filler, language.asr_filler
    title, ocr, asr = ([_choice(filler, rng)] for filler in fillers)
    if rng.random() < config.brand_word_share:
        title.insert(0, catalog.brands[brand])
    if named:
        title.insert(int(rng.integers(0, len(title) + 1)), _term(catalog, product, 0.35, rng))
        if rng.random() < 0.6:
            asr.append(_term(catalog, product, 0.6, rng))
        if rng.random() < 0.3:
            ocr.append(_term(catalog, product, 0.6, rng))
    if rng.random() < config.colour_word_share:
        _choice((title, ocr, asr), rng).append(_choice(language.colours[colour], rng))
    if rng.random() < config.sibling_mention_share:
        siblings = np.flatnonzero(
            (catalog.category == catalog.category[product]) & (np.arange(catalog.n_products) != product)
        )
        asr.append(language.goes_with.format(_term(catalog, int(rng.choice(siblings)), 0.0, rng)))
    for word in stuffing:
        _choice((title, ocr, ocr), rng).append(word)
    asr.append(_choice(language.asr_filler, rng))
    return AdText(" ".join(title), " ".join(ocr), " ".join(asr))


def _term(catalog: Catalog, product: int, synonym_share: float, rng: np.random.Generator) -> str:
    terms = catalog.terms[product]
    if len(terms) == 1 or rng.random() >= synonym_share:
        return terms[0]
    return terms[int(rng.integers(1, len(terms)))]


def _choice(options: Sequence[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]


def _misspelled(text: str, shortest: int, rng: np.random.Generator) -> str:
    """The text with one slip of the finger in a word of at least `shortest` letters, if it has one."""
    words = text.split(" ")
    long_words = [i for i, word in enumerate(words) if len(word) >= shortest]
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
