"""The kinds of market, by `market.kind` of a scenario. A new kind is one entry here."""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.config.scenario import Scenario
from scenarios.markets.corpus.corpus_market import CorpusOfOnesOwn
from scenarios.markets.embedded import EmbeddedWorld
from scenarios.markets.kind import MarketSource
from scenarios.markets.table.table_market import TableOfAuctions

SOURCES: Mapping[str, type[MarketSource]] = {
    "world": EmbeddedWorld,
    "table": TableOfAuctions,
    "corpus": CorpusOfOnesOwn,
}


def source_of(scenario: Scenario) -> type[MarketSource]:
    """The kind of a scenario's market."""
    return SOURCES[scenario.market.kind]
