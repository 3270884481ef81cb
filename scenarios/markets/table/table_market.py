"""A table of auctions as a market: what a scenario's fields mean then, and which of them mean nothing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from scenarios.config.market_kinds import TableMarket
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError, TableError, shown
from scenarios.markets.kind import MarketSource, Progress, absolute, leave_out
from scenarios.markets.table.auctions import Auctions, no_column, relevance_by, table_market, to_arrays
from scenarios.markets.table.reading import read_auctions, read_budgets, scorers_of
from simulator.arrays import FloatArray
from simulator.fusion import FusionRule
from simulator.log import Impressions
from simulator.market import Market
from simulator.measures.market_metrics import METRICS
from simulator.retrieval import Candidates
from simulator.scoring import RelevanceSource

MEANINGLESS = ("world", "split", "traffic", "retrieval", "hcmrm", "pctr")
"""Blocks that describe what a table brings with it."""


@dataclass(frozen=True, slots=True)
class TableOfAuctions(MarketSource):
    """Auctions of one's own, each a query event with its own bids; relevance is a column."""

    auctions: Auctions
    called: ClassVar[str] = "a table of auctions"
    has_texts: ClassVar[bool] = False
    has_other_days: ClassVar[bool] = False

    @classmethod
    def refuse_meaningless(cls, scenario: Scenario) -> None:
        for name in MEANINGLESS:
            field = Scenario.model_fields[name]
            if getattr(scenario, name) != field.default:
                raise leave_out(scenario, name, "the table says it all where market.kind is table")
        if scenario.serving.scoring == "live":
            reason = "relevance is the table's where market.kind is table"
            raise leave_out(scenario, "serving.scoring", reason)
        bidders = type(scenario.bidders)()
        if replace(scenario.bidders, shading=bidders.shading) != bidders:
            reason = "bids are the table's where market.kind is table"
            raise leave_out(scenario, "bidders", reason, "leave out all but shading")
        if scenario.auction.category_score_reserve:
            raise leave_out(scenario, "auction.category_score_reserve", "a table has no categories")

    @classmethod
    def completed(cls, scenario: Scenario, folder: Path) -> Scenario:
        """The scenario with its paths, its digest, and the scorers that it leaves out.

        Raises:
            ScenarioError: a block has no meaning here, or the files have changed since the digest was taken.
            TableError: a file cannot be read.
        """
        given = table_settings(scenario)
        cls.refuse_meaningless(scenario)
        auctions = str(absolute(folder / given.auctions))
        advertisers = None if given.advertisers is None else str(absolute(folder / given.advertisers))
        scorers = scorers_of(auctions)
        digest = _digest(auctions, advertisers)
        if given.digest not in (None, digest):
            raise ScenarioError(
                f"{auctions} has changed since",
                file=scenario.place,
                field="market.digest",
                remedy="remove the digest to take it",
            )
        files = {"auctions": auctions, "advertisers": advertisers, "digest": digest}
        changes: dict[str, Any] = {"market": given.model_copy(update=files)}
        set_here = scenario.model_fields_set
        if "scorer" not in set_here:
            changes["scorer"] = scorers[0] if scorers else "none"
        if "compare" not in set_here:
            changes["compare"] = ("none", *scorers)
        if scenario.sweep is not None and "scorers" not in scenario.sweep.model_fields_set:
            changes["sweep"] = scenario.sweep.model_copy(update={"scorers": scorers or ("none",)})
        return scenario.model_copy(update=changes)

    @classmethod
    def check_brought(cls, scenario: Scenario, scorers: Iterable[str]) -> None:
        path = table_settings(scenario).auctions
        brought = ("none", *scorers_of(path))
        # Whether all candidates have a grade, which the oracle needs, is known when the rows are read.
        if wrong := next((one for one in scorers if one not in (*brought, "oracle")), None):
            raise no_column(path, wrong, brought)

    @classmethod
    def read(cls, scenario: Scenario, cache: Path | None, progress: Progress | None) -> Self:
        given = table_settings(scenario)
        return cls(read_market(given.auctions, given.advertisers))

    def candidates(self, scenario: Scenario) -> Candidates:
        ad = self.auctions.candidate
        return Candidates(ad, np.zeros(ad.shape, dtype=np.int8))

    def relevance(self, scorer: str) -> FloatArray:
        return relevance_by(self.auctions, scorer)

    def market(
        self, candidate: Candidates | int, relevance: RelevanceSource, scenario: Scenario, rule: FusionRule
    ) -> Market:
        return table_market(
            self.auctions,
            relevance,
            seed=scenario.seed,
            rule=rule,
            auction=scenario.auction,
            users=scenario.users,
            bidders=scenario.bidders,
            serving=scenario.serving,
        )

    def n_queries(self, scenario: Scenario) -> int:
        return int(self.auctions.candidate.shape[0])

    def known(self, metrics: Mapping[str, float]) -> dict[str, float]:
        if self.auctions.graded:
            return dict(metrics)
        return {name: math.nan if METRICS[name].needs_grades else value for name, value in metrics.items()}

    def named(self, log: Impressions) -> pl.DataFrame:
        """One row per shown ad, with the table's own ids; grade is null where it is not known."""
        auctions = self.auctions
        grade = np.full(log.ad.size, -1, dtype=np.int8)
        if auctions.grade is not None:
            column = (auctions.candidate[log.query] == log.ad[:, None]).argmax(axis=1)
            grade = auctions.grade[log.query, column]
        return log.impressions().with_columns(
            auctions.query_id[log.query].alias("query_id"),
            auctions.ad_id[log.ad].alias("ad_id"),
            auctions.advertiser_id[log.advertiser].alias("advertiser_id"),
            pl.Series("grade", grade).replace(-1, None),
        )


def table_settings(scenario: Scenario, what: str = "this") -> TableMarket:
    """The block market of a scenario, where that is a table.

    Args:
        what: needs a table, for the message.

    Raises:
        ScenarioError: it is of another kind.
    """
    if not isinstance(scenario.market, TableMarket):
        raise ScenarioError(
            f"is {scenario.market.kind}",
            file=scenario.place,
            field="market.kind",
            remedy=f"{what} needs a table of auctions (market: {{kind: table, auctions: FILE}})",
        )
    return scenario.market


def auctions_of(source: MarketSource) -> Auctions:
    """The auctions of a market that is a table.

    Raises:
        ValueError: it is of another kind.
    """
    if not isinstance(source, TableOfAuctions):
        raise ValueError(f"the market is {source.called}, and no table of auctions")
    return source.auctions


def read_market(auctions: Path | str, advertisers: Path | str | None = None) -> Auctions:
    """Read auctions, and the budgets of their advertisers if there is a table of them.

    Raises:
        TableError: a file cannot be read, or holds what no auction can.
    """
    return to_arrays(read_auctions(auctions), None if advertisers is None else read_budgets(advertisers))


def _digest(*paths: str | None) -> str:
    """Hash of the bytes of some files."""
    found = hashlib.blake2b(digest_size=8)
    for path in paths:
        if path is not None:
            try:
                with Path(path).open("rb") as file:
                    found.update(hashlib.file_digest(file, "blake2b").digest())
            except OSError as error:
                raise TableError(f"cannot be read ({error.strerror})", file=shown(path)) from None
    return found.hexdigest()
