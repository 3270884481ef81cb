"""The files of a fitted market: a scenario, its tables, and what was fitted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from scenarios.fitting.arrivals import Arrivals
from scenarios.fitting.market import FittedMarket
from scenarios.fitting.ranking import fusion_block
from scenarios.storage.parquet import write_parquet
from scenarios.storage.whole import whole_folder
from simulator.arrays import MICROS
from simulator.ledger import UNLIMITED

SCENARIO, AUCTIONS, ADVERTISERS, FACTS = "fitted.yaml", "auctions.parquet", "advertisers.parquet", "fit.json"
OUTCOMES = ("position", "clicked", "price")
HEAD = """\
# A market fitted to a log; fit.json says how sure each part of it is.
# Users click by the column click_rate, which is pCTR corrected by the log's clicks.
"""


def write_market(folder: Path, fitted: FittedMarket, settings: dict[str, Any]) -> None:
    """Write a scenario, its two tables and fit.json into a new folder, whole or not at all.

    Args:
        settings: what the fit was asked for, for fit.json.

    Raises:
        StoreError: it cannot be written.
    """
    with whole_folder(folder) as part:
        write_parquet(auctions_table(fitted), part / AUCTIONS)
        write_parquet(advertisers_table(fitted), part / ADVERTISERS)
        text = HEAD + yaml.safe_dump(scenario_fields(fitted), sort_keys=False, allow_unicode=True)
        (part / SCENARIO).write_text(text, encoding="utf-8")
        facts = json.dumps(facts_of(fitted, settings), indent=2, ensure_ascii=False, allow_nan=False)
        (part / FACTS).write_text(facts + "\n", encoding="utf-8")


def auctions_table(fitted: FittedMarket) -> pl.DataFrame:
    """The log's rows without their outcomes, with `click_rate`, and with candidates that were put back."""
    log, auctions = fitted.log, fitted.log.auctions
    event, column = np.nonzero(auctions.candidate >= 0)
    rates = pl.DataFrame(
        {
            "query_id": auctions.query_id[event],
            "ad_id": auctions.ad_id[auctions.candidate[event, column]],
            "click_rate": fitted.clicks.rates()[event, column],
        }
    )
    frame = log.table.frame.drop("row", "click_rate", *OUTCOMES, strict=False)
    return frame.join(rates, on=["query_id", "ad_id"], how="left", maintain_order="left")


def advertisers_table(fitted: FittedMarket) -> pl.DataFrame:
    """One row for each advertiser: its budget, null where the log bounds it alone, and what is known of it.

    `budget` is what `relbid run` reads. The other columns are `at_least`, the largest spend of a day,
    `days_out`, the days on which it ran out, and `shading` under best response.
    """
    names = fitted.log.auctions.advertiser_id
    limited = fitted.budget_micros < UNLIMITED
    budget = np.where(limited, fitted.budget_micros / MICROS, np.nan)
    at_least, days_out = np.full(names.len(), np.nan), np.zeros(names.len(), dtype=np.int64)
    if fitted.budgets is not None:
        at_least, days_out = fitted.budgets.at_least, fitted.budgets.days_out
    shading = np.full(names.len(), np.nan)
    if fitted.values is not None:
        shading[fitted.values.advertiser] = fitted.values.shading
    table = pl.DataFrame(
        {
            "advertiser_id": names,
            "budget": budget,
            "at_least": at_least,
            "days_out": days_out,
            "shading": shading,
        }
    )
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))


def scenario_fields(fitted: FittedMarket) -> dict[str, Any]:
    """The fields of the scenario file."""
    way, auction = fitted.ranking.way, fitted.ranking.auction
    scorers = fitted.log.auctions.scorers
    fields: dict[str, Any] = {
        "schema": 1,
        "name": "fitted",
        "market": {"kind": "table", "auctions": AUCTIONS, "advertisers": ADVERTISERS},
        "scorer": way.scorer,
        "compare": [name for name in scorers if name != "oracle"],
        "fusion": fusion_block(way),
        "auction": {"reserve": auction.reserve, "mechanism": auction.mechanism},
        "users": {"examination": [round(chance, 6) for chance in fitted.looked_at.tolist()]},
    }
    found = {one.name: one.value for one in fitted.findings if one.station == "values"}
    shading = found.get("shading, bid / value", math.nan)
    if 0.01 <= shading <= 100:
        fields["bidders"] = {"shading": round(shading, 4)}
    return fields


def facts_of(fitted: FittedMarket, settings: dict[str, Any]) -> dict[str, Any]:
    """What fit.json holds; null where something is not identified."""
    return {
        "table": str(fitted.log.table.path),
        "settings": settings,
        "events": int(fitted.log.cluster.size),
        "rows_put_back": fitted.put_back,
        "estimates": [
            {name: _plain(value) for name, value in one._asdict().items()} for one in fitted.findings
        ],
        "traffic": None if fitted.arrivals is None else _traffic(fitted.arrivals),
        "warnings": list(fitted.warnings),
    }


def _traffic(found: Arrivals) -> dict[str, Any]:
    """Fields of the block `traffic` of a scenario; parts of the day that the log lacks have its mean rate."""
    rate = found.rate
    filled = np.where(np.isnan(rate), np.nanmean(rate), rate)
    shape = filled / filled.mean() if filled.mean() > 0 else np.ones_like(filled)
    return {
        "n_queries": max(round(float(filled.sum())), 1),
        "shape": [round(one, 4) for one in shape.tolist()],
    }


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
