"""One query's auction in full: every candidate, what is known of it, its score, and why it is where it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from relevance.keywords import extractor_from
from scenarios.load import override
from scenarios.market import Prepared, Relevance, checkpoint_folder, market_of
from scenarios.schema import PREPARED
from simulator import journey
from simulator.arrays import MICROS, FloatArray
from simulator.market import Market
from simulator.run import Run
from simulator.world import GRADE_DEFINITIONS as GRADE_DEFINITIONS  # the inspector shows them


def inspect_query(
    prepared: Prepared, relevance: Relevance, query: int, settings: Mapping[str, object] | None = None
) -> pl.DataFrame:
    """Auction a query at the opening bids of the day, with every budget still whole.

    Args:
        query: 0 .. U-1, an index of `prepared.world.corpus.query_text`.
        settings: fields to replace in the scenario, e.g. `{"fusion.relevance": 2.0}`.

    Returns:
        One row per candidate, shown ones first by slot, then by fused score: ad, advertiser, title, ocr, asr,
        keywords; grade 0..3; p0 .. p3, the model's grade probabilities (null without a model); relevance,
        bid, pctr; score (null where the ad may not be shown); slot 1.. and price (null where it is not
        shown); p_click in that slot; why, one sentence. Money in currency units per click; the price is per
        impression where that is what is paid for.

    Raises:
        ScenarioError: see `scenarios.settle`.
    """
    scenario = override(prepared.scenario, settings, fixed=PREPARED) if settings else prepared.scenario
    market = market_of(prepared, relevance, scenario)
    market = replace(market, query=np.array([query]), arrival_s=np.zeros(1))
    bid = _opening_bids(market)
    batch = journey.gather(market, bid, np.array([0]))
    outcome = journey.rank(market, batch, np.ones(market.budget_micros.size, dtype=np.bool_))
    fused = market.rule.score(batch.bid, batch.pctr, batch.relevance)
    fused = np.asarray(fused, dtype=np.float64)[0]

    column = np.flatnonzero(prepared.candidate[query] >= 0)
    ads = prepared.candidate[query, column]
    world, corpus = prepared.world, prepared.world.corpus
    ranking = outcome.ranking[0]
    price = outcome.price_micros[0] / MICROS
    slot = {int(c): s for s, c in enumerate(ranking[:-1]) if c >= 0}
    probabilities = relevance.grade_probabilities
    table = pl.DataFrame(
        {
            "ad": ads,
            "advertiser": world.advertiser[ads],
            "title": [corpus.ad_title[ad] for ad in ads],
            "ocr": [corpus.ad_ocr[ad] for ad in ads],
            "asr": [corpus.ad_asr[ad] for ad in ads],
            "keywords": _keywords(prepared, ads.tolist()),
            "grade": market.grade[query, column],
            **{f"p{g}": None if probabilities is None else probabilities[query, column, g] for g in range(4)},
            "relevance": batch.relevance[0, column],
            "bid": batch.bid[0, column],
            "pctr": batch.pctr[0, column],
            "score": [fused[c] if np.isfinite(fused[c]) else None for c in column],
            "slot": [slot[c] + 1 if c in slot else None for c in column.tolist()],
            "price": [price[slot[c]] if c in slot else None for c in column.tolist()],
            "p_click": [
                market.users.examination[slot[c]] * batch.attraction[0, c] if c in slot else None
                for c in column.tolist()
            ],
            "why": [_why(market, batch, ranking, fused, c, slot.get(c), outcome) for c in column.tolist()],
        },
        schema_overrides={
            "keywords": pl.String,
            **{f"p{g}": pl.Float64 for g in range(4)},
            "score": pl.Float64, "slot": pl.Int64, "price": pl.Float64, "p_click": pl.Float64,
        },
    )  # fmt: skip
    return table.sort("slot", "score", descending=[False, True], nulls_last=True, maintain_order=True)


def _opening_bids(market: Market) -> FloatArray:
    return Run(market).bid


def _why(
    market: Market,
    batch: journey.Batch,
    ranking: np.ndarray,
    fused: FloatArray,
    column: int,
    slot: int | None,
    outcome: journey.Outcome,
) -> str:
    """Why a candidate is shown where it is and at that price, or not shown."""
    bid, relevance = float(batch.bid[0, column]), float(batch.relevance[0, column])
    model = market.auction
    reserve, least_score = model.reserve, float(np.max(model.least_score(batch.category)))
    if slot is not None:
        price = outcome.price_micros[0, slot] / MICROS
        place = f"Slot {slot + 1}: score {fused[column]:.4g} is number {slot + 1}."
        follower = int(ranking[slot + 1])
        if model.payment == "impression":
            p_click = market.users.examination[slot] * float(batch.pctr[0, column])
            return (
                f"{place} It pays {price:.4f} for being shown: {price / p_click:.2f} a click, by "
                f"{model.mechanism}, times {p_click:.3f}, the predicted click probability."
            )
        if model.mechanism == "first_price":
            return f"{place} It pays its bid, {price:.2f}."
        if price <= reserve:
            return f"{place} It pays the reserve, {price:.2f}: no rival below it asks for more."
        pays = f"It pays {price:.2f} of its bid {bid:.2f}"
        if model.mechanism == "vcg":
            return f"{place} {pays}: what its presence takes from the ads below."
        if least_score > (fused[follower] if follower >= 0 else -np.inf):
            return f"{place} {pays}: the least that reaches the score reserve, {least_score:.4g}."
        if follower < 0:
            return (
                f"{place} It pays {price:.2f}, the least bid at which the rule shows it: nobody ranks below."
            )
        rival = int(batch.candidate[0, follower])
        return f"{place} {pays}: the least that keeps it above ad {rival} ({fused[follower]:.4g})."
    if bid < reserve:
        return f"Not eligible: its bid {bid:.2f} is below the reserve {reserve:.2f}."
    everybody = np.ones(market.budget_micros.size, dtype=np.bool_)
    if not journey.scored_ones(market, batch, everybody)[0, column]:
        return f"Not scored: the first stage keeps {market.serving.first_stage_keep} others."
    if not np.isfinite(fused[column]):
        return f"Not eligible: the fusion rule admits no bid of {bid:.2f} at relevance {relevance:.2f}."
    if fused[column] < least_score:
        return f"Not eligible: its score {fused[column]:.4g} is below the score reserve {least_score:.4g}."
    last = int(ranking[-2])
    at = 0, [column]
    needed = float(market.rule.bid_for_score(fused[[last]], batch.pctr[at], batch.relevance[at])[0])
    beaten = f"Not shown: score {fused[column]:.4g} is below the last slot's {fused[last]:.4g}"
    if not np.isfinite(needed):
        return f"{beaten}; at relevance {relevance:.2f} no bid would reach it."
    return f"{beaten}; it bids {bid:.2f} and would need {needed:.2f}."


def _keywords(prepared: Prepared, ads: list[int]) -> list[str | None]:
    """The words that HCMRM reads of each ad, as its checkpoint says; null without one. Needs no torch."""
    try:
        words = json.loads(
            (checkpoint_folder(prepared.scenario) / "keywords.json").read_text(encoding="utf-8")
        )
        extract = extractor_from(words)
    except (OSError, ValueError, TypeError):
        return [None] * len(ads)
    return [" ".join(extract(prepared.world.corpus.ad_text(ad))) for ad in ads]
