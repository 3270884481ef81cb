"""One auction in full.

inspect_query   a query auctioned anew: every candidate, what is known of it, its score, and why it is there
inspect_event   an event of a table of auctions, and what a run made of it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from relevance.ranges import check_within
from scenarios.markets.checkpoints import keywords_of
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.simulation import Simulation, market_of, shared_past, with_settings_of
from scenarios.markets.table.auctions import UNGRADED
from scenarios.markets.table.table_market import auctions_of
from simulator import journey
from simulator.arrays import MICROS, FloatArray
from simulator.clock.run import Run
from simulator.market import Market, Past
from simulator.reasons import REASONS as REASONS, Reason, Terms, why_not_shown, why_shown
from simulator.world import GRADE_DEFINITIONS as GRADE_DEFINITIONS  # the inspector shows them

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
    """Auction a query at the opening bids of the day, with every budget still whole; see `auctioned`.

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
    market, batch = auctioned(prepared, relevance, query, settings)
    return candidates_table(prepared, relevance, query, market, batch)


def auctioned(
    prepared: Prepared,
    relevance: Relevance,
    query: int,
    settings: Mapping[str, object] | None = None,
    *,
    past: Past | None = None,
) -> tuple[Market, journey.Batch]:
    """A market of one arrival of a query at the start of the day, and what is known of it and its candidates.

    Args:
        past: of a market whose click prediction is learnt; None: that of `shared_past`, so that pages that
            differ in their ranking alone show the same prediction.

    Raises:
        ScenarioError: see `scenarios.simulate`.
    """
    check_within("query", query, 0, len(prepared.candidate) - 1, whole=True)
    scenario = with_settings_of(prepared, settings)
    if past is None and scenario.pctr.learnt:
        past = shared_past(prepared, scenario)
    market = market_of(prepared, relevance, scenario)
    market = replace(market, query=np.array([query]), arrival_s=np.zeros(1), past=past)
    run = Run(market)
    return market, journey.gather(market, run.bid, np.array([0]), prediction=run.prediction)


def candidates_table(
    prepared: Prepared, relevance: Relevance, query: int, market: Market, batch: journey.Batch
) -> pl.DataFrame:
    """Rank what `auctioned` gives; the table of `inspect_query`."""
    corpus = prepared.corpus
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
            "grade": batch.grade[0, column],
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
            "why": [str(reason) for reason in reasons],
            "reason": [reason.kind for reason in reasons],
            "facts": [reason.facts for reason in reasons],
        },
        schema_overrides={
            **dict.fromkeys(("ad", "advertiser", "slot"), pl.Int64),
            **dict.fromkeys(("title", "ocr", "asr", "keywords", "why", "reason"), pl.String),
            **dict.fromkeys(
                ("p0", "p1", "p2", "p3", "relevance", "bid", "pctr", "score", "price", "p_click"), pl.Float64
            ),
            "grade": pl.Int8,
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
) -> Reason:
    """Why a candidate is shown where it is and at that price, or not shown."""
    model = market.auction
    terms = Terms(model.mechanism, model.reserve, float(np.max(model.least_score(batch.category))))
    bid, score = float(batch.bid[0, column]), float(fused[column])
    if slot is not None:
        follower, p_click = int(ranking[slot + 1]), market.users.examination[slot] * batch.pctr[0, column]
        return why_shown(
            terms,
            slot=slot + 1,
            score=score,
            price=outcome.price_micros[0, slot] / MICROS,
            bid=bid,
            rival=int(batch.candidate[0, follower]) if follower >= 0 else None,
            rival_score=float(fused[follower]) if follower >= 0 else -np.inf,
            p_click=float(p_click) if model.payment == "impression" else None,
        )
    everybody = np.ones(market.budget_micros.size, dtype=np.bool_)
    scored = bool(journey.scored_ones(market, batch, everybody)[0, column])
    last, at = int(ranking[-2]), (0, [column])
    return why_not_shown(
        terms,
        score=score,
        bid=bid,
        relevance=float(batch.relevance[0, column]),
        last_score=float(fused[last]),
        needed=lambda: float(
            market.rule.bid_for_score(fused[[last]], batch.pctr[at], batch.relevance[at])[0]
        ),
        passed_over_for=None if scored else market.serving.first_stage_keep,
    )
