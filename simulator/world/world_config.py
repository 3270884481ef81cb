"""Settings of the embedded world: how many of everything, and how hard it is to see what an ad sells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MarketSplit = Literal["train", "validation", "test"]
"""Splits with queries, each of which a market can be made of."""
Split = MarketSplit | Literal["unlabelled"]
"""Ads of `unlabelled` are there for pre-training: all products, no queries, no grades."""


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """One world. Equal settings give equal bytes (for one version of Pillow, which rasterises the glyphs).

    Shares are probabilities in [0, 1]. Lifestyle ads are the knob that makes both modalities necessary: their
    frames never show the product, while `product_words_missing` takes it out of the text of others.
    """

    seed: int = 7

    # How many
    train_advertisers: int = 2000
    validation_advertisers: int = 120
    test_advertisers: int = 300
    unlabelled_advertisers: int = 1000
    ads_per_advertiser: int = 10
    query_pool: int = 40_000
    """Query strings before they are split by hash: 47% training, 3% validation, 50% test."""
    held_out_products: int = 12
    """Products that no training label names: the test split has them, and the ads without labels."""

    # What queries ask for
    colour_share: float = 0.50
    brand_share: float = 0.25
    both_share: float = 0.15
    """What is left of 1 are queries with no attribute: any ad of the right product satisfies those."""
    misspelling_share: float = 0.08
    synonym_share: float = 0.50
    zipf_exponent: float = 1.0
    """Of the popularity of products, and of query strings within a product."""

    # What ads say
    product_words_missing: float = 0.33
    stuffed_share: float = 0.22
    colour_word_share: float = 0.15
    brand_word_share: float = 0.85
    sibling_mention_share: float = 0.10

    # What ads show
    frames: int = 3
    frame_size: int = 48
    lifestyle_share: float = 0.28
    empty_frame_share: float = 0.08
    distractor_share: float = 0.25
    clutter: int = 3
    """Faint strokes behind the glyph of each frame, at most."""
    glyph_min: int = 31
    glyph_max: int = 42
    rotation_degrees: int = 8

    # What advertisers bid on
    sibling_keyword_share: float = 0.5
    reach_keyword_share: float = 0.35
    negative_share: float = 0.0
    """Advertisers who keep their ads away from queries for other brands and for siblings of their product."""

    def advertisers(self, split: Split) -> int:
        return {
            "train": self.train_advertisers,
            "validation": self.validation_advertisers,
            "test": self.test_advertisers,
            "unlabelled": self.unlabelled_advertisers,
        }[split]
