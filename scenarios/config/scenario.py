"""What a scenario is: one frozen object that, with the code, determines every byte of its result.

Blocks that describe the marketplace are the simulator's own settings classes, so each default stands once,
where it is used. All are read strictly: unknown keys, texts for numbers and numbers that are not finite are
refused.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from relevance.pretrained import FORMS, PACKAGED, pretrained_of
from relevance.protocol import names_object
from scenarios.config.fusion_rules import CustomRule, FusionSettings, ProductRule
from scenarios.config.market_kinds import MarketSettings, WorldMarket
from scenarios.config.settings import SchemaVersion, Settings as Settings, dump_model, out_of_range
from scenarios.errors import did_you_mean, quoted
from simulator.auction import AuctionModel, check_vcg
from simulator.bidders import BidderModel
from simulator.market import ServingModel, TrafficModel
from simulator.pctr import CtrModel
from simulator.users import UserModel, has_loyalty
from simulator.world.glyphs import CATEGORIES
from simulator.world.world_config import MarketSplit, Split, WorldConfig

SCORERS = ("none", "bm25", "hcmrm", "oracle")
"""Built-in scorers: no relevance (1 for every pair), lexical, the neural model, the truth."""


def _in_one_text(scorer: object) -> object:
    """`{bi_encoder: PLACE}` as `bi_encoder=PLACE`; the other form likewise."""
    if not isinstance(scorer, Mapping):
        return scorer
    form, place = next(iter(scorer.items()), ("", None))
    if len(scorer) > 1 or form not in FORMS or not isinstance(place, str) or not place:
        raise PydanticCustomError(
            "scorer", "a scorer is a name, or one of {forms}", {"forms": " and ".join(_EXAMPLES)}
        )
    return f"{form}={place}"


_EXAMPLES = tuple(f"{{{form}: FOLDER}}" for form in FORMS)


def _known_scorer(name: str, info: ValidationInfo) -> str:
    columns = info.context and info.context.get("columns")  # a table's are checked where it is read
    if not columns and (trouble := unknown_scorer(name)):
        raise PydanticCustomError("scorer", "{trouble}", {"trouble": trouble})
    return name


def unknown_scorer(name: str) -> str:
    """Why a text names no scorer of a market with texts; empty: it does."""
    if name in SCORERS or pretrained_of(name) or names_object(name):
        return ""
    known = (*SCORERS, *PACKAGED)
    return (
        f"unknown scorer {quoted(name)}{did_you_mean(name, known)} (there are {', '.join(known)}, "
        f"{', '.join(_EXAMPLES)}, and your own as module:attr)"
    )


PREPARED = ("market", "world", "split", "retrieval", "hcmrm")
"""Blocks that decide which pairs there are and how they score. The others may change between two simulations
of one prepared market."""

ScorerName = Annotated[
    str,
    BeforeValidator(_in_one_text, json_schema_input_type=str | dict[str, str]),
    AfterValidator(_known_scorer),
]
"""The name of a scorer. A public model is `{bi_encoder: FOLDER}`, `{cross_encoder: FOLDER}` (in one text with
`=` for `: `), or `minilm`; see `relevance.pretrained`."""


class RetrievalSettings(Settings):
    """Keyword retrieval."""

    candidates: Annotated[int, Field(ge=1, le=1000)] = 16
    """Ads per query that reach the ranking stage, at most."""
    reach: Annotated[float, Field(ge=0, le=1)] = 0.37
    """How far the platform's own broad match goes beyond the words of keywords; at 0 it is off. See
    `simulator.retrieval.expansion`."""


class HcmrmSettings(Settings):
    """Which neural model scores where the scorer is `hcmrm`, and where neural models compute."""

    checkpoint: Annotated[str, Field(min_length=1)] | None = None
    """A folder made by `relbid train`, or `shipped`, the package's own, which is the default."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Also of public models."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """How the model computes. Fewer digits are faster, and ads with nearly equal scores may change places."""
    calibration: Literal["none", "temperature", "isotonic"] = "none"
    """Turns the score into P(relevant) as fitted by `relbid calibrate`; none keeps the ranking score."""
    calibration_labels: Annotated[int, Field(ge=20, le=10**9)] | None = None
    """How many labelled pairs public models are calibrated on, at most; all that there are by default. They
    are drawn at random, and fewer are a part of more."""
    score: Literal["gain", "positive"] = "gain"
    """The ranking score of a model that knows grades: the expected gain, or P(grade 2 or 3)."""

    @model_validator(mode="after")
    def _calibrates_the_gain(self) -> Self:
        if self.score != "gain" and self.calibration != "none":
            raise out_of_range(
                "calibration", "is fitted to the expected gain; leave score: gain, or calibration: none"
            )
        return self


class SweepSettings(Settings):
    """One field over several values, for several scorers, on the same world and the same random draws."""

    field: str = "fusion.relevance"
    """Any number that is not under market, world, split, retrieval or hcmrm."""
    values: Annotated[
        tuple[Annotated[float, Field(ge=-1e12, le=1e12)], ...], Field(min_length=1, max_length=10_000)
    ] = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
    scorers: Annotated[tuple[ScorerName, ...], Field(min_length=1)] = ("bm25", "hcmrm", "oracle")


class Scenario(Settings):
    """A marketplace, its traffic, and what to compare."""

    schema_version: SchemaVersion = Field(alias="schema")
    """Version of this format."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Names the result folder."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Decides traffic, bidders, clicks and prediction noise; the world has a seed of its own."""
    market: MarketSettings = WorldMarket()
    split: MarketSplit = "test"
    """Which part of the world is simulated."""
    world: WorldConfig = WorldConfig()
    traffic: TrafficModel = TrafficModel()
    retrieval: RetrievalSettings = RetrievalSettings()
    scorer: ScorerName = "hcmrm"
    hcmrm: HcmrmSettings = HcmrmSettings()
    fusion: FusionSettings = ProductRule(rule="product")
    auction: AuctionModel = AuctionModel()
    users: UserModel = UserModel()
    pctr: CtrModel = CtrModel()
    bidders: BidderModel = BidderModel()
    serving: ServingModel = ServingModel()
    compare: tuple[ScorerName, ...] = ("none", "bm25", "hcmrm", "oracle")
    """Scorers to run on the same market and randomness."""
    days_compared: Annotated[int, Field(ge=1, le=1000)] = 5
    """Over how many days they are compared: that of the seed and of the next ones. 1 leaves intervals out."""
    sweep: SweepSettings | None = None

    @functools.cached_property
    def text(self) -> str:
        """The whole scenario as YAML, written once: its hash is the key of whatever is kept of it."""
        return dump_model(self)

    @property
    def place(self) -> str:
        """What messages call it: the file that it was read from, or its name where there was none."""
        return str(self.__dict__.get("file_read", self.name))

    def read_from(self, file: str) -> Self:
        """The same, which messages call so. It is no setting: equal scenarios of two files are equal."""
        self.__dict__["file_read"] = file
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with fields replaced unchecked, which writes a text of its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("text", None)
        return copied

    @field_validator("world")
    @classmethod
    def _world_in_range(cls, world: WorldConfig) -> WorldConfig:
        if abs(sum(world.match_shares) - 1.0) > 1e-9:
            raise out_of_range(
                "match_shares", f"must be three shares that sum to 1, they sum to {sum(world.match_shares):g}"
            )
        if world.language != "en" and world.catalog == "glyphs":
            raise out_of_range("language", "the glyphs have English names alone; set world.catalog: openmoji")
        if world.glyph_min > world.glyph_max or world.glyph_max > world.frame_size:
            sizes = f"{world.glyph_min}, {world.glyph_max} and {world.frame_size}"
            reason = (
                f"glyph_min, glyph_max and frame_size must not fall from one to the next, they are {sizes}"
            )
            raise out_of_range("glyph_max", reason)
        if (total := world.colour_share + world.brand_share + world.both_share) > 1 + 1e-9:
            names = "colour_share, brand_share and both_share"
            raise out_of_range("both_share", f"{names} must sum to at most 1, they sum to {total:g}")
        splits: tuple[Split, ...] = (*get_args(MarketSplit), "unlabelled")
        size, split = max((world.ads(split), split) for split in splits)
        if size > MAX_ADS:  # which frames of a few pixels would allow
            raise out_of_range(
                "test_ads_per_advertiser" if split == "test" else "ads_per_advertiser",
                f"{world.advertisers(split):,} advertisers would have {size:,} ads, the limit is {MAX_ADS:,}",
            )
        frame_bytes = size * world.frames * world.frame_size**2 * 3
        if frame_bytes > MAX_FRAME_BYTES:
            raise out_of_range(
                "frame_size", f"all frames would take {frame_bytes / 2**30:.1f} GiB, the limit is 4"
            )
        return world

    @field_validator("serving")
    @classmethod
    def _known_cheap_scorers(cls, serving: ServingModel, info: ValidationInfo) -> ServingModel:
        for role in ("fallback", "first_stage"):
            name = getattr(serving, role)
            if name in serving.cheap_scorers:
                try:
                    _known_scorer(name, info)
                except PydanticCustomError as error:
                    also = ", or 'skip' for no ads" if role == "fallback" else ""
                    raise out_of_range(role, error.message() + also) from None
        return serving

    @model_validator(mode="after")
    def _auction_fits(self) -> Self:
        """What the auction needs of the rule, the slots and the queries."""
        # A custom rule is loaded and checked where a run begins.
        if self.auction.mechanism == "vcg" and not isinstance(self.fusion, CustomRule):
            try:
                check_vcg(self.fusion.build(), self.users.examination)
            except ValueError as error:
                raise out_of_range("auction.mechanism", str(error)) from None
        n, least = len(CATEGORIES), self.auction.category_score_reserve
        if least and len(least) != n:
            raise out_of_range(
                "auction.category_score_reserve",
                f"needs {n} numbers, one for each category of queries, or none; got {len(least)}",
            )
        return self

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        """What one block needs of another."""
        if has_loyalty(self.users) and self.traffic.sessions.population == 0:
            raise out_of_range(
                "traffic.sessions.population",
                "must be above 0 where users.return_rate or return_elasticity let users stay away: who is a "
                "stranger at every visit cannot come back",
                because="users",
            )
        if self.pctr.shared and self.traffic.warm_up_days == 0:
            raise out_of_range(
                "traffic.warm_up_days",
                "must be above 0 where pctr.feedback is shared: what all share is learnt in these days",
                because="pctr",
            )
        if self.pctr.learnt and self.pctr.relevance:
            for wrong, words in (
                (self.pctr.shared, "pctr.feedback is shared, and learnt without relevance"),
                (self.serving.scoring == "live", "serving.scoring is live, where it is scored later"),
                (self.serving.first_stage_keep > 0, "a first stage chooses what is scored"),
            ):
                if wrong:
                    raise out_of_range("pctr.relevance", f"must be false where {words}")
        if self.users.conversion_rate == 0:
            wants = [one.policy for one in self.bidders.policies if one.policy.startswith("target_")]
            wants += ["bidders.churn.least_return"] if self.bidders.churn.least_return > 0 else []
            wants += ["bidders.match_bids.learn"] if self.bidders.match_bids.learn else []
            if wants:
                raise out_of_range(
                    "users.conversion_rate",
                    f"must be above 0: {wants[0]} looks at conversions",
                    because="bidders",
                )
        return self


MAX_FRAME_BYTES = 4 * 2**30
MAX_ADS = 4 * 10**6
"""Of a part of the world; their texts take about as much memory as such frames."""
