"""Where the queries and ads of a scenario come from."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.config.settings import Settings


class WorldMarket(Settings):
    """The embedded world, as the blocks world, split, traffic and retrieval describe it."""

    kind: Literal["world"] = "world"

    @property
    def files(self) -> tuple[str | None, ...]:
        """What is read when the scenario is, and is not read again for a part of a study."""
        return ()


class TableMarket(Settings):
    """Auctions of your own. Paths are relative to the scenario file.

    Scorers are then the table's relevance columns without their prefix, `none`, and with grades `oracle`.
    """

    kind: Literal["table"]
    auctions: Annotated[str, Field(min_length=1)]
    """Parquet or JSON lines, one row for each query event and candidate (docs/how-to/log.md)."""
    advertisers: Annotated[str, Field(min_length=1)] | None = None
    """A table of their daily budgets; without it nobody has a limit."""
    digest: str | None = None
    """A hash of the files, filled in when the scenario is read; files that have changed since are refused."""

    @property
    def files(self) -> tuple[str | None, ...]:
        return self.auctions, self.advertisers, self.digest


class CorpusMarket(Settings):
    """Queries and ads of your own, with grades of some pairs. Paths are relative to the scenario file.

    Candidates of a query are the ads with a grade for it; a pair without a grade never counts as irrelevant.
    """

    kind: Literal["corpus"]
    folder: Annotated[str, Field(min_length=1)]
    """A corpus folder, as `relbid corpus import` makes it."""
    queries: Literal["all", "train", "validation", "test", "held_out"] = "all"
    """Those with a label in this split."""
    grades: Annotated[str, Field(min_length=1)] | None = None
    """A judge's grades of pairs that no person has graded: a table with query, ad, grade, confidence and
    source."""
    least_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of a judge's grade that is used."""
    price_exponent: Annotated[float, Field(ge=0, le=2)] = 0.5
    """A click is worth (price / median price) to this power: 1 where the same share of clicks buys and the
    margin is the same share of the price, below 1 where dearer goods are bought more rarely."""
    query_exponent: Annotated[float, Field(ge=0, le=3)] = 0.83
    """Of Zipf's law for the traffic of queries, where the corpus has no weights; 0: all alike."""
    digest: str | None = None
    """A hash of the files, filled in when the scenario is read; files that have changed since are refused."""

    @property
    def files(self) -> tuple[str | None, ...]:
        return self.folder, self.grades, self.digest


MarketSettings: TypeAlias = Annotated[WorldMarket | TableMarket | CorpusMarket, Field(discriminator="kind")]
