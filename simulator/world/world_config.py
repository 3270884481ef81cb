"""Settings of the embedded world: how many of everything, and how hard it is to see what an ad sells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from relevance.errors import UserError, quoted

MarketSplit = Literal["train", "validation", "test"]
"""Splits with queries, each of which a market can be made of."""
Split = MarketSplit | Literal["unlabelled"]
"""Ads of `unlabelled` are there for pre-training: all products, no queries, no grades."""

Pictures = Literal["glyphs", "openmoji"]
"""Catalogues of products, by their pictures: glyphs of one colour, or pictures that people drew."""
LanguageName = Literal["en", "zh"]

READ_BY_MODELS = (
    "catalog", "language", "ocr_font",
    "misspelling_share", "synonym_share", "product_words_missing", "stuffed_share", "colour_word_share",
    "brand_word_share", "sibling_mention_share", "frames", "frame_size", "lifestyle_share",
    "empty_frame_share", "distractor_share", "clutter", "glyph_min", "glyph_max", "rotation_degrees",
)  # fmt: skip
"""Settings that decide what the texts and frames look like that a model is trained on."""


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """One world. Equal settings give equal bytes (for one version of Pillow, which rasterises the glyphs).

    Shares are probabilities in [0, 1]. Lifestyle ads are the knob that makes both modalities necessary: their
    frames never show the product, while `product_words_missing` takes it out of the text of others.
    """

    seed: int = 7
    catalog: Pictures = "glyphs"
    language: LanguageName = "en"
    """Of queries and ads; `zh` needs the catalogue `openmoji`, which has names in Chinese."""

    # How many
    train_advertisers: int = 2000
    validation_advertisers: int = 120
    test_advertisers: int = 300
    unlabelled_advertisers: int = 1000
    ads_per_advertiser: int = 10
    """Of the splits that models learn from."""
    test_ads_per_advertiser: int = 4
    """Of the market's split, on average."""
    query_pool: int = 120_000
    """Query strings before they are split by hash: 47% training, 3% validation, 50% test."""

    # What queries ask for
    colour_share: float = 0.50
    brand_share: float = 0.25
    both_share: float = 0.15
    """What is left of 1 are queries with no attribute: any ad of the right product satisfies those."""
    misspelling_share: float = 0.08
    synonym_share: float = 0.50

    # How often each is asked for
    product_exponent: float = 1.0
    product_shift: float = 15.0
    """Zipf-Mandelbrot over products: the traffic of rank r is in proportion to 1 / (r + shift)^exponent."""
    query_exponent: float = 0.83
    """Zipf over the strings that ask for one product."""

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
    ocr_font: str = ""
    """A font file with which the on-screen text is drawn into the frames; empty: it is text alone."""

    # What advertisers bid on
    supply_follows_demand: float = 0.5
    """A product's advertisers are in proportion to its traffic to this power."""
    supply_sigma: float = 1.75
    """Spread of the log number of ads of a product beside that: some are crowded, and some nobody sells."""
    size_sigma: float = 1.0
    """Spread of the log number of ads of an advertiser, in the test split; the others are even."""
    match_shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Of keywords that allow exact, phrase and broad match."""
    name_keyword_share: float = 0.5
    """Ads whose main keyword is the product's name; the others take a synonym."""
    synonym_keyword_share: float = 0.15
    brand_keyword_share: float = 0.5
    colour_keyword_share: float = 0.4
    sibling_keyword_share: float = 0.1
    stuffed_keyword_share: float = 0.1
    """Ads of an advertiser who stuffs that bid on a popular product that they do not sell."""
    synonyms_known: float = 0.7
    """Pairs of synonyms that the platform's dictionary holds."""
    synonyms_wrong: float = 0.1
    """Terms that it holds a wrong synonym of."""
    sessions_on_shelf: float = 0.5
    """Sessions whose second product is of the same category as the first."""
    negative_share: float = 0.0
    """Advertisers who keep their ads away from queries for other brands and for siblings of their product."""

    def ads(self, split: Split) -> int:
        """Ads of a split."""
        per = self.test_ads_per_advertiser if split == "test" else self.ads_per_advertiser
        return self.advertisers(split) * per

    def advertisers(self, split: Split) -> int:
        """Advertisers of a split."""
        return {
            "train": self.train_advertisers,
            "validation": self.validation_advertisers,
            "test": self.test_advertisers,
            "unlabelled": self.unlabelled_advertisers,
        }[split]


def font_error(font: str, error: OSError) -> UserError:
    """What to say where the font for on-screen text cannot be read."""
    return UserError(
        f"the font for on-screen text cannot be read ({error.strerror or error})",
        field="world.ocr_font",
        value=quoted(font),
        remedy="give a font file, such as Noto Sans CJK of Debian's fonts-noto-cjk, or leave it out",
    )
