"""Settings of the embedded world: how many of everything, and how hard it is to see what an ad sells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Le

from relevance.errors import UserError, quoted
from relevance.ranges import Exponent, Share, Spread, check_ranges

MarketSplit = Literal["train", "validation", "test"]
"""Splits with queries, each of which a market can be made of."""
Split = MarketSplit | Literal["unlabelled"]
"""Ads of `unlabelled` are there for pre-training: all products, no queries, no grades."""

Pictures = Literal["glyphs", "openmoji"]
"""Catalogues of products, by their pictures: glyphs of one colour, or pictures that people drew."""
LanguageName = Literal["en", "zh"]

Count: TypeAlias = Annotated[int, Ge(1), Le(10**6)]

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

    seed: Annotated[int, Ge(0), Le(10**6)] = 7
    catalog: Pictures = "glyphs"
    language: LanguageName = "en"
    """Of queries and ads; `zh` needs the catalogue `openmoji`, which has names in Chinese."""

    # How many
    train_advertisers: Count = 2000
    validation_advertisers: Count = 120
    test_advertisers: Count = 300
    unlabelled_advertisers: Count = 1000
    ads_per_advertiser: Count = 10
    """Of the splits that models learn from."""
    test_ads_per_advertiser: Count = 4
    """Of the market's split, on average."""
    query_pool: Count = 120_000
    """Query strings before they are split by hash: 47% training, 3% validation, 50% test."""

    # What queries ask for
    colour_share: Share = 0.50
    brand_share: Share = 0.25
    both_share: Share = 0.15
    """What is left of 1 are queries with no attribute: any ad of the right product satisfies those."""
    misspelling_share: Share = 0.08
    synonym_share: Share = 0.50

    # How often each is asked for
    product_exponent: Exponent = 1.0
    product_shift: Annotated[float, Ge(0), Le(1e6)] = 15.0
    """Zipf-Mandelbrot over products: the traffic of rank r is in proportion to 1 / (r + shift)^exponent."""
    query_exponent: Exponent = 0.83
    """Zipf over the strings that ask for one product."""

    # What ads say
    product_words_missing: Share = 0.33
    stuffed_share: Share = 0.22
    colour_word_share: Share = 0.15
    brand_word_share: Share = 0.85
    sibling_mention_share: Share = 0.10

    # What ads show
    frames: Annotated[int, Ge(1), Le(100)] = 3
    frame_size: Annotated[int, Ge(1), Le(4096)] = 48
    lifestyle_share: Share = 0.28
    empty_frame_share: Share = 0.08
    distractor_share: Share = 0.25
    clutter: Annotated[int, Ge(0), Le(1000)] = 3
    """Faint strokes behind the glyph of each frame, at most."""
    glyph_min: Annotated[int, Ge(1), Le(4096)] = 31
    glyph_max: Annotated[int, Ge(1), Le(4096)] = 42
    rotation_degrees: Annotated[int, Ge(0), Le(360)] = 8
    ocr_font: str = ""
    """A font file with which the on-screen text is drawn into the frames; empty: it is text alone."""

    # What advertisers bid on
    supply_follows_demand: Exponent = 0.5
    """A product's advertisers are in proportion to its traffic to this power."""
    supply_sigma: Spread = 1.75
    """Spread of the log number of ads of a product beside that: some are crowded, and some nobody sells."""
    size_sigma: Spread = 1.0
    """Spread of the log number of ads of an advertiser, in the test split; the others are even."""
    match_shares: tuple[Share, Share, Share] = (0.6, 0.2, 0.2)
    """Of keywords that allow exact, phrase and broad match."""
    name_keyword_share: Share = 0.5
    """Ads whose main keyword is the product's name; the others take a synonym."""
    synonym_keyword_share: Share = 0.15
    brand_keyword_share: Share = 0.5
    colour_keyword_share: Share = 0.4
    sibling_keyword_share: Share = 0.1
    stuffed_keyword_share: Share = 0.1
    """Ads of an advertiser who stuffs that bid on a popular product that they do not sell."""
    synonyms_known: Share = 0.7
    """Pairs of synonyms that the platform's dictionary holds."""
    synonyms_wrong: Share = 0.1
    """Terms that it holds a wrong synonym of."""
    sessions_on_shelf: Share = 0.5
    """Sessions whose second product is of the same category as the first."""
    negative_share: Share = 0.0
    """Advertisers who keep their ads away from queries for other brands and for siblings of their product."""

    def __post_init__(self) -> None:
        check_ranges(self)

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
