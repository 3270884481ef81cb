"""Scenarios whose market is a table of auctions: what their fields mean then, and what has no meaning."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from scenarios.config.market_kinds import TableMarket
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError, TableError, shown
from scenarios.markets.table.auctions import Auctions, table_market, to_arrays
from scenarios.markets.table.reading import read_auctions, read_budgets, scorers_of
from simulator.arrays import FloatArray
from simulator.fusion import FusionRule
from simulator.log import Impressions
from simulator.market import Market

MEANINGLESS = ("world", "split", "traffic", "retrieval", "hcmrm", "pctr")
"""Blocks that describe what a table brings with it."""
NEED_GRADES = (
    *("irrelevant_share", "irrelevant_share_weighted", "advertiser_surplus", "user_utility", "welfare"),
    *(f"grade_{grade}_share" for grade in range(4)),
)
"""Metrics that are NaN where candidates are not graded."""


def with_table(scenario: Scenario, folder: Path) -> Scenario:
    """Complete a scenario read from a file in `folder`: paths, digest, and scorers that it leaves out.

    Raises:
        ScenarioError: a block has no meaning here, or the files have changed since the digest was taken.
        TableError: a file cannot be read.
    """
    given = scenario.market
    if not isinstance(given, TableMarket):
        return scenario
    _refuse_meaningless(scenario)
    auctions = str((folder / given.auctions).resolve())
    advertisers = None if given.advertisers is None else str((folder / given.advertisers).resolve())
    scorers = scorers_of(auctions)
    digest = _digest(auctions, advertisers)
    if given.digest not in (None, digest):
        raise ScenarioError(
            f"{auctions} has changed since",
            file=scenario.name,
            field="market.digest",
            remedy="remove the digest to take it",
        )
    changes: dict[str, Any] = {
        "market": given.model_copy(
            update={"auctions": auctions, "advertisers": advertisers, "digest": digest}
        )
    }
    set_here = scenario.model_fields_set
    if "scorer" not in set_here:
        changes["scorer"] = scorers[0] if scorers else "none"
    if "compare" not in set_here:
        changes["compare"] = ("none", *scorers)
    if scenario.sweep is not None and "scorers" not in scenario.sweep.model_fields_set:
        changes["sweep"] = scenario.sweep.model_copy(update={"scorers": scorers or ("none",)})
    return scenario.model_copy(update=changes)


def read_market(market: TableMarket) -> Auctions:
    """Read the auctions of a scenario, and the budgets if it names any.

    Raises:
        TableError: a file cannot be read, or holds what no auction can.
    """
    budgets = None if market.advertisers is None else read_budgets(market.advertisers)
    return to_arrays(read_auctions(market.auctions), budgets)


def scenario_market(
    auctions: Auctions, relevance: FloatArray, scenario: Scenario, rule: FusionRule
) -> Market:
    """The market of a scenario on its table."""
    return table_market(
        auctions,
        relevance,
        seed=scenario.seed,
        rule=rule,
        auction=scenario.auction,
        users=scenario.users,
        bidders=scenario.bidders,
        serving=scenario.serving,
    )


def known_metrics(metrics: Mapping[str, float], auctions: Auctions) -> dict[str, float]:
    """The metrics of a run on a table: NaN for those that need grades, where these are missing."""
    if auctions.graded:
        return dict(metrics)
    return {name: math.nan if name in NEED_GRADES else value for name, value in metrics.items()}


def named_log(log: Impressions, auctions: Auctions) -> pl.DataFrame:
    """One row per shown ad, with the table's own ids; grade is null where it is not known."""
    shown = log.impressions()
    grade = np.full(log.ad.size, -1, dtype=np.int8)
    if auctions.grade is not None:
        column = (auctions.candidate[log.query] == log.ad[:, None]).argmax(axis=1)
        grade = auctions.grade[log.query, column]
    return shown.with_columns(
        auctions.query_id[log.query].alias("query_id"),
        auctions.ad_id[log.ad].alias("ad_id"),
        auctions.advertiser_id[log.advertiser].alias("advertiser_id"),
        pl.Series("grade", grade).replace(-1, None),
    )


def _refuse_meaningless(scenario: Scenario) -> None:
    for name in MEANINGLESS:
        field = Scenario.model_fields[name]
        if getattr(scenario, name) != field.default:
            raise ScenarioError(
                "the table says it all where market.kind is table",
                file=scenario.name,
                field=name,
                remedy="leave it out",
            )
    bidders = type(scenario.bidders)()
    if replace(scenario.bidders, shading=bidders.shading) != bidders:
        raise ScenarioError(
            "bids are the table's where market.kind is table",
            file=scenario.name,
            field="bidders",
            remedy="leave out all but shading",
        )
    if scenario.auction.category_score_reserve:
        raise ScenarioError(
            "a table has no categories",
            file=scenario.name,
            field="auction.category_score_reserve",
            remedy="leave it out",
        )


def _digest(*paths: str | None) -> str:
    found = hashlib.blake2b(digest_size=8)
    for path in paths:
        if path is not None:
            try:
                with Path(path).open("rb") as file:
                    found.update(hashlib.file_digest(file, "blake2b").digest())
            except OSError as error:
                raise TableError(f"{shown(path)}: cannot be read ({error.strerror})") from None
    return found.hexdigest()
