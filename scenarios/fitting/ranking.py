"""The rule that ranked a log: of the known ones, the one that shows most ads where the log shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from scenarios.config.fusion_rules import RULE_SETTINGS
from scenarios.errors import ScenarioError
from scenarios.fitting.auction_log import AuctionLog, Finding
from scenarios.markets.table.auctions import relevance_by, table_market
from scenarios.replay.pages import auction_all
from scenarios.replay.ways import Entry
from simulator.arrays import FloatArray
from simulator.auction import MECHANISMS, AuctionModel
from simulator.fusion import is_affine
from simulator.users import UserModel

PRICE_GAP = 0.01
"""Prices agree where they differ by less than this share."""
GOOD = 0.9
"""Less agreement than this causes a warning."""


class Ranking(NamedTuple):
    """How pages are ranked and priced."""

    way: Entry
    auction: AuctionModel
    same_slot: float = float("nan")
    """Share of the log's shown ads that this ranking shows in the same slot."""
    same_price: float = float("nan")
    """Share of those whose price is the log's too."""


def reserve_of(log: AuctionLog) -> float:
    """The least price per click in the log: in a second-price auction the reserve, if somebody ever paid it.

    Raises:
        TableError: the table has no outcomes.
    """
    shown = log.shown
    assert log.auctions.price is not None
    return float(log.auctions.price[shown].min()) if shown.any() else 0.0


def find_ranking(
    log: AuctionLog, ways: Iterable[Entry], auction: AuctionModel, looked_at: FloatArray
) -> Ranking:
    """Of some ways, the one that agrees best with the log's slots, then with its prices.

    Raises:
        TableError: the table has no outcomes, or lacks a relevance.
        ScenarioError: a rule cannot be used with the mechanism.
    """
    found = [agreement(log, way, auction, looked_at) for way in ways]
    return max(found, key=lambda one: (one.same_slot, one.same_price))


def find_mechanism(log: AuctionLog, ranked: Ranking, looked_at: FloatArray) -> Ranking:
    """The same way with the mechanism whose prices agree best with the log's; GSP if several do as well."""
    found = [ranked]
    for name in MECHANISMS:
        if name != ranked.auction.mechanism and not (name == "vcg" and not is_affine(ranked.way.fusion)):
            with contextlib.suppress(ScenarioError):  # VCG where examination rises
                found.append(agreement(log, ranked.way, replace(ranked.auction, mechanism=name), looked_at))
    return max(found, key=lambda one: one.same_price)


def agreement(log: AuctionLog, way: Entry, auction: AuctionModel, looked_at: FloatArray) -> Ranking:
    """How well a ranking agrees with a log.

    Raises:
        TableError: the table has no outcomes, or lacks the relevance.
        ScenarioError: the rule cannot be used with the mechanism.
    """
    shown, auctions = log.shown, log.auctions
    assert auctions.position is not None
    assert auctions.price is not None
    users, relevance = UserModel(examination=tuple(looked_at.tolist())), relevance_by(auctions, way.scorer)
    try:
        market = table_market(auctions, relevance, seed=1, rule=way.fusion, auction=auction, users=users)
    except ValueError as error:
        raise ScenarioError(str(error), field=f"rule {way.rule}") from None
    column, price = auction_all(market, auctions)
    there, at = column >= 0, np.maximum(column, 0)
    logged = np.where(there, np.take_along_axis(auctions.position, at, axis=1), 0)
    same = logged == np.arange(1, column.shape[1] + 1)
    paid = np.take_along_axis(auctions.price, at, axis=1)
    close = same & (np.abs(price - paid) <= PRICE_GAP * np.maximum(paid, 1e-6))
    n, agreed = max(int(shown.sum()), int(there.sum()), 1), int(same.sum())
    return Ranking(way, auction, agreed / n, int(close.sum()) / max(agreed, 1))


def fusion_block(way: Entry) -> dict[str, Any]:
    """The block `fusion` of a scenario that ranks this way, for ways of `scenarios.replay.ways.entries`."""
    name, *numbers = way.rule.split()
    fields, values = RULE_SETTINGS[name].model_fields, [float(one) for one in numbers]
    block: dict[str, Any] = {"rule": name}
    if values:
        block |= {"thresholds": values} if "thresholds" in fields else {"threshold": values[0]}
    return block


def findings(found: Ranking, tried: Sequence[Entry]) -> Iterable[Finding]:
    """The rule in words, the reserve, and how much of the log they give back."""
    nan = float("nan")
    says = f"{found.way.scorer}, {found.way.rule}: agrees best with the log of {len(tried)} ways"
    yield Finding("ranking", "ads in the logged slot", found.same_slot, nan, nan, says)
    says = f"prices within {PRICE_GAP:.0%} among those; {found.auction.mechanism}: as given, or the closest"
    yield Finding("ranking", "ads at the logged price", found.same_price, nan, nan, says)
    yield Finding("ranking", "reserve", found.auction.reserve, nan, nan, "as given, or the least price paid")
