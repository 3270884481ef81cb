"""One auction in full.

inspect_query   a query auctioned anew: every candidate, what is known of it, its score, and why it is there
inspect_event   an event of a table of auctions, and what a run made of it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from scenarios.markets.checkpoints import keywords_of
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.simulation import Simulation, market_of, with_settings_of
from scenarios.markets.table.auctions import UNGRADED
from scenarios.markets.table.table_market import auctions_of
from simulator import journey
from simulator.arrays import MICROS, FloatArray
from simulator.clock.run import Run
from simulator.market import Market
from simulator.world import GRADE_DEFINITIONS as GRADE_DEFINITIONS  # the inspector shows them

_PLACE = "Slot {slot}: score {score:.4g} is number {slot}."
REASONS: Mapping[str, str] = {
    "pays_for_impression": _PLACE + " It pays {price:.4f} for being shown: {per_click:.2f} a click, by "
    "{mechanism}, times {p_click:.3f}, the predicted click probability.",
    "pays_bid": _PLACE + " It pays its bid, {price:.2f}.",
    "pays_reserve": _PLACE + " It pays the reserve, {price:.2f}: no rival below it asks for more.",
    "pays_externality": _PLACE + " It pays {price:.2f} of its bid {bid:.2f}: what its presence takes from "
    "the ads below.",
    "pays_score_reserve": _PLACE + " It pays {price:.2f} of its bid {bid:.2f}: the least that reaches the "
    "score reserve, {least_score:.4g}.",
    "pays_least_of_rule": _PLACE + " It pays {price:.2f}, the least bid at which the rule shows it: nobody "
    "ranks below.",
    "pays_to_keep": _PLACE + " It pays {price:.2f} of its bid {bid:.2f}: the least that keeps it above ad "
    "{rival} ({rival_score:.4g}).",
    "below_reserve": "Not eligible: its bid {bid:.2f} is below the reserve {reserve:.2f}.",
    "not_scored": "Not scored: the first stage keeps {keep} others.",
    "not_admitted": "Not eligible: the fusion rule admits no bid of {bid:.2f} at relevance {relevance:.2f}.",
    "below_score_reserve": "Not eligible: its score {score:.4g} is below the score reserve "
    "{least_score:.4g}.",
    "beaten_for_good": "Not shown: score {score:.4g} is below the last slot's {rival_score:.4g}; at "
    "relevance {relevance:.2f} no bid would reach it.",
    "beaten": "Not shown: score {score:.4g} is below the last slot's {rival_score:.4g}; it bids {bid:.2f} "
    "and would need {needed:.2f}.",
}
"""Why an ad is where it is, by the reason: sentences with the names of their facts."""

_FACTS = {
    **dict.fromkeys(("slot", "rival", "keep"), pl.Int64),
    **dict.fromkeys(
        ("score", "price", "bid", "per_click", "p_click", "least_score", "rival_score", "reserve",
         "relevance", "needed"),
        pl.Float64,
    ),
    "mechanism": pl.String,
}  # fmt: skip


def inspect_query(
    prepared: Prepared, relevance: Relevance, query: int, settings: Mapping[str, object] | None = None
) -> pl.DataFrame:
    """Auction a query at the opening bids of the day, with every budget still whole.

    Args:
        query: 0 .. U-1, an index of `prepared.corpus.query_text`.
        settings: fields to replace in the scenario, e.g. `{"fusion.relevance": 2.0}`.

    Returns:
        One row per candidate, shown ones first by slot, then by fused score: ad, advertiser, title, ocr, asr,
        keywords; grade 0..3; p0 .. p3, the model's grade probabilities (null without a model); relevance,
        bid, pctr; score (null where the ad may not be shown); slot 1.. and price (null where it is not
        shown); p_click in that slot; why, one sentence, its key in REASONS as reason, and its numbers in the
        struct facts. Money in currency units per click; the price is per impression where that is what is
        paid for.

    Raises:
        ScenarioError: the market has no texts; or see `scenarios.simulate`.
    """
    corpus = prepared.corpus
    market = market_of(prepared, relevance, with_settings_of(prepared, settings))
    market = replace(market, query=np.array([query]), arrival_s=np.zeros(1))
    batch = journey.gather(market, Run(market).bid, np.array([0]))
    outcome = journey.rank(market, batch, np.ones(market.budget_micros.size, dtype=np.bool_))
    fused = market.rule.score(batch.bid, batch.pctr, batch.relevance)
    fused = np.asarray(fused, dtype=np.float64)[0]

    column = np.flatnonzero(prepared.candidate[query] >= 0)
    ads = prepared.candidate[query, column]
    ranking = outcome.ranking[0]
    price = outcome.price_micros[0] / MICROS
    slot = {int(c): s for s, c in enumerate(ranking[:-1]) if c >= 0}
    probabilities = relevance.grade_probabilities
    reasons = [_why(market, batch, ranking, fused, c, slot.get(c), outcome) for c in column.tolist()]
    table = pl.DataFrame(
        {
            "ad": ads,
            "advertiser": market.advertiser[ads],
            "title": [corpus.ad_title[ad] for ad in ads],
            "ocr": [corpus.ad_ocr[ad] for ad in ads],
            "asr": [corpus.ad_asr[ad] for ad in ads],
            "keywords": keywords_of(prepared.scenario, corpus, ads.tolist()),
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
            "why": [REASONS[reason].format(**facts) for reason, facts in reasons],
            "reason": [reason for reason, _ in reasons],
            "facts": [facts for _, facts in reasons],
        },
        schema_overrides={
            "keywords": pl.String,
            **{f"p{g}": pl.Float64 for g in range(4)},
            "score": pl.Float64, "slot": pl.Int64, "price": pl.Float64, "p_click": pl.Float64,
            "facts": pl.Struct(_FACTS),
        },
    )  # fmt: skip
    return table.sort("slot", "score", descending=[False, True], nulls_last=True, maintain_order=True)


def inspect_event(prepared: Prepared, simulation: Simulation, event: int) -> pl.DataFrame:
    """The candidates of event 0 .. U-1, in the table's own ids.

    Args:
        prepared: a market that is a table.
        simulation: a run of it.

    Returns:
        One row per candidate, shown ones first by slot: query_id; slot 1.. and price (null where the run did
        not show it); ad_id, advertiser_id; bid, in currency units per click; pctr; one column of relevance
        for each scorer of the table, `relevance_<name>`; grade (null where there is none).

    Raises:
        ValueError: the market is no table.
    """
    auctions, log = auctions_of(prepared.source), simulation.log
    column = np.flatnonzero(auctions.candidate[event] >= 0)
    ad = auctions.candidate[event, column]
    shown = log.query == event
    place = {int(a): (int(s) + 1, p / MICROS) for a, s, p in
             zip(log.ad[shown], log.slot[shown], log.price_micros[shown], strict=True)}  # fmt: skip
    grade = np.full(ad.size, UNGRADED) if auctions.grade is None else auctions.grade[event, column]
    table = pl.DataFrame(
        {
            "query_id": [auctions.query_id[event]] * ad.size,
            "slot": [place[a][0] if a in place else None for a in ad.tolist()],
            "price": [place[a][1] if a in place else None for a in ad.tolist()],
            "ad_id": auctions.ad_id[ad],
            "advertiser_id": auctions.advertiser_id[auctions.advertiser[ad]],
            "bid": auctions.bid[ad],
            "pctr": auctions.pctr[event, column],
            **{f"relevance_{name}": score[event, column] for name, score in auctions.relevance.items()},
            "grade": [None if g == UNGRADED else int(g) for g in grade.tolist()],
        },
        schema_overrides={"slot": pl.Int64, "price": pl.Float64, "grade": pl.Int64},
    )
    return table.sort("slot", nulls_last=True, maintain_order=True)


def _why(
    market: Market,
    batch: journey.Batch,
    ranking: np.ndarray,
    fused: FloatArray,
    column: int,
    slot: int | None,
    outcome: journey.Outcome,
) -> tuple[str, dict[str, Any]]:
    """Why a candidate is shown where it is and at that price, or not shown: key of REASONS, and its facts."""
    bid, relevance = float(batch.bid[0, column]), float(batch.relevance[0, column])
    score = float(fused[column])
    model = market.auction
    reserve, least_score = model.reserve, float(np.max(model.least_score(batch.category)))
    if slot is not None:
        price = outcome.price_micros[0, slot] / MICROS
        shown = {"slot": slot + 1, "score": score, "price": price, "bid": bid}
        follower = int(ranking[slot + 1])
        if model.payment == "impression":
            p_click = market.users.examination[slot] * float(batch.pctr[0, column])
            facts = {"per_click": price / p_click, "p_click": p_click, "mechanism": model.mechanism}
            return "pays_for_impression", shown | facts
        if model.mechanism == "first_price":
            return "pays_bid", shown
        if price <= reserve:
            return "pays_reserve", shown
        if model.mechanism == "vcg":
            return "pays_externality", shown
        if least_score > (fused[follower] if follower >= 0 else -np.inf):
            return "pays_score_reserve", shown | {"least_score": least_score}
        if follower < 0:
            return "pays_least_of_rule", shown
        rival = {"rival": int(batch.candidate[0, follower]), "rival_score": float(fused[follower])}
        return "pays_to_keep", shown | rival
    if bid < reserve:
        return "below_reserve", {"bid": bid, "reserve": reserve}
    everybody = np.ones(market.budget_micros.size, dtype=np.bool_)
    if not journey.scored_ones(market, batch, everybody)[0, column]:
        return "not_scored", {"keep": market.serving.first_stage_keep}
    if not np.isfinite(score):
        return "not_admitted", {"bid": bid, "relevance": relevance}
    if score < least_score:
        return "below_score_reserve", {"score": score, "least_score": least_score}
    last = int(ranking[-2])
    at = 0, [column]
    needed = float(market.rule.bid_for_score(fused[[last]], batch.pctr[at], batch.relevance[at])[0])
    beaten = {"score": score, "rival_score": float(fused[last])}
    if not np.isfinite(needed):
        return "beaten_for_good", beaten | {"relevance": relevance}
    return "beaten", beaten | {"bid": bid, "needed": needed}
