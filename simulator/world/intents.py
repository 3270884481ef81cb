"""What a text asks for, where every word of it says so: a product, and a colour and a brand at most.

Queries of the world are written by `texts.query_text`; this reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from relevance.words import words_of
from simulator.world.catalog import Catalog
from simulator.world.truth import NO_ATTRIBUTE

Words = tuple[str, ...]


class Intent(NamedTuple):
    """A product, and a colour and a brand by their numbers; NO_ATTRIBUTE where it asks for none."""

    product: int
    colour: int = NO_ATTRIBUTE
    brand: int = NO_ATTRIBUTE


def vocabulary(catalog: Catalog) -> set[str]:
    """The words that say what a query asks for, and those that say nothing."""
    return {word for phrases in _named(catalog) for phrase in phrases for word in phrase}


def read_intent(catalog: Catalog, words: Words) -> Intent | None:
    """The intent of a query of these words, spelling corrected.

    None where it cannot be read: no product is named, or several, or several colours or brands, or a word
    says none of these.
    """
    left = list(words)
    products, colours, brands, fillers = _named(catalog)
    product, colour, brand = _take(left, products), _take(left, colours), _take(left, brands)
    while _take(left, fillers) is not None:
        pass
    if product is None or left:
        return None
    return Intent(
        product, NO_ATTRIBUTE if colour is None else colour, NO_ATTRIBUTE if brand is None else brand
    )


def _named(catalog: Catalog) -> tuple[dict[Words, int], ...]:
    """The phrases for products, colours and brands, and fillers."""
    return (
        _phrases(catalog.terms),
        _phrases(catalog.language.colours),
        _phrases((brand,) for brand in catalog.brands),
        _phrases((filler,) for filler in catalog.language.query_filler),
    )


def _phrases(terms: Iterable[Words]) -> dict[Words, int]:
    """The number of what each phrase names."""
    return {tuple(words_of(term)): number for number, own in enumerate(terms) for term in own}


def _take(words: list[str], phrases: dict[Words, int]) -> int | None:
    """Remove the longest of the phrases from the words; its number, or None where there is none."""
    for length in range(len(words), 0, -1):
        for start in range(len(words) - length + 1):
            found = phrases.get(tuple(words[start : start + length]))
            if found is not None:
                del words[start : start + length]
                return found
    return None
