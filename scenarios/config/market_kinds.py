"""Where the queries and ads of a scenario come from."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.config.settings import Settings


class WorldMarket(Settings):
    """The embedded world, as the blocks world, split, traffic and retrieval describe it."""

    kind: Literal["world"] = "world"


class TableMarket(Settings):
    """Auctions of your own. Paths are relative to the scenario file.

    Scorers are then the table's relevance columns without their prefix, `none`, and with grades `oracle`.
    """

    kind: Literal["table"]
    auctions: Annotated[str, Field(min_length=1)]
    """Parquet or JSON lines, one row for each query event and candidate (docs/replay.md)."""
    advertisers: Annotated[str, Field(min_length=1)] | None = None
    """A table of their daily budgets; without it nobody has a limit."""
    digest: str | None = None
    """A hash of the files, filled in when the scenario is read; files that have changed since are refused."""


MarketSettings: TypeAlias = Annotated[WorldMarket | TableMarket, Field(discriminator="kind")]
