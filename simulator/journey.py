"""The way of a query, for a micro-batch of queries: from arrival to ledger, one station after the other.

Stations do not know one another. Only this file says their order.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import to_device

from simulator import auction, ledger, random, serving, stage, users
from simulator.arrays import BoolArray, FloatArray, GradeArray, IntArray, take_at, taken_places, to_micros
from simulator.click_learning import Prediction
from simulator.fusion import ByArm, FusionRule
from simulator.ledger import Ledger
from simulator.log import COLUMNS, Recorder, SimulationLog
from simulator.market import Market
from simulator.policies.match_types import N_GROUPS, group_of
from simulator.scoring import Scores, scores_of


class Batch(NamedTuple):
    """What is known of Q queries and their K candidates before they are ranked."""

    row: IntArray  # [Q] the arrival
    query: IntArray  # [Q]
    arm: IntArray  # [Q, 1] which of the market's rules ranks the query
    candidate: IntArray  # [Q, K] ad, -1 padding
    recall: GradeArray  # [Q, K] how retrieval found the ad; see retrieval.RECALLS
    advertiser: IntArray  # [Q, K]
    bid: FloatArray  # [Q, K] currency per click
    pctr: FloatArray  # [Q, K]
    scores: Scores  # relevance
    first_stage: Scores | None  # relevance of the first of two stages; None: there is one
    grade: GradeArray  # [Q, K] true
    attraction: FloatArray  # [Q, K] the users' own
    satisfaction: FloatArray | None  # [Q, K] P(satisfied | clicked); None where nothing depends on it
    category: IntArray | None  # [Q] of the query; None where the market has none

    @property
    def relevance(self) -> FloatArray:
        """Relevance F[Q, K]; of a live scorer only of those who have been ranked."""
        return np.asarray(to_device(self.scores.relevance, "cpu"))


class Outcome(NamedTuple):
    """Who was shown, what was paid and what users did, by slot.

    Ranks hold one more, the runner-up, which sets the last price.
    """

    ranking: IntArray  # [Q, S + 1] column of the candidate, -1 unfilled
    advertiser: IntArray  # [Q, S + 1] -1 unfilled
    ad: IntArray  # [Q, S] any where unfilled, as in the next four
    recall: GradeArray  # [Q, S] how retrieval found the ad
    grade: GradeArray  # [Q, S] true
    pctr: FloatArray  # [Q, S]
    relevance: FloatArray  # [Q, S] that ranked it
    score: FloatArray  # [Q, S] fused
    bid_micros: IntArray  # [Q, S]
    price_micros: IntArray  # [Q, S] per click, or per impression if impressions are paid for
    examined: BoolArray  # [Q, S]
    clicked: BoolArray  # [Q, S]
    satisfied: BoolArray  # [Q, S]
    charged_micros: IntArray  # [Q, S] what each slot costs its advertiser
    n_eligible: IntArray  # [Q]


def answer(
    market: Market,
    accounts: Ledger,
    bid: FloatArray,
    rows: IntArray,
    participation: FloatArray | None = None,
    served: int = serving.FULL,
    prediction: Prediction | None = None,
    known: Batch | None = None,
) -> Outcome:
    """Answer arrivals I[Q], in this order, at the bids F[A] (currency per click); charge them to `accounts`.

    Bids by match type are F[A, 4], see `policies.match_types`.

    Advertisers with a participation F[N] below 1 stay away from the rest of the auctions, drawn one by one.
    `served` says which scorer's relevance ranks them (see serving.py). `prediction` is of clicks, where
    that is learnt. Scores that the same arrivals have got already may be `known`.

    The whole batch is ranked at once. Whoever cannot pay the price of a slot then leaves. The later queries
    of the batch that it was a candidate for are ranked again, until everybody can pay. The result is the same
    as with one query at a time.
    """
    batch = gather(market, bid, rows, participation, served, prediction)
    if known is not None:
        batch = batch._replace(scores=known.scores, first_stage=known.first_stage)
    outcome = rank(market, batch, accounts.active)
    while (short := _first_shortfall(outcome, accounts)) is not None:
        accounts.active[short.advertisers] = False
        gone = np.zeros_like(accounts.active)
        gone[short.advertisers] = True
        stale: BoolArray = np.any(gone[batch.advertiser], axis=1)
        stale[: short.row] = False
        part = some(batch, stale)
        again: Iterable[tuple[Any, Any]] = zip(outcome, rank(market, part, accounts.active), strict=True)
        for old, new in again:
            old[stale] = new
        batch.scores.take_in(stale, part.scores)  # who has come onto a short list was scored
        if batch.first_stage is not None and part.first_stage is not None:
            batch.first_stage.take_in(stale, part.first_stage)
    accounts.charge(outcome.advertiser[:, :-1], outcome.charged_micros)
    return outcome


def gather(
    market: Market,
    bid: FloatArray,
    rows: IntArray,
    participation: FloatArray | None = None,
    served: int = serving.FULL,
    prediction: Prediction | None = None,
    *,
    reuse: bool = True,
) -> Batch:
    """Arrivals, retrieval and scoring: which queries, which ads, and what is known of each pair.

    Args:
        prediction: of clicks, where it is learnt; None: that of the market's pairs.
        reuse: whether live scorers may use the scores that they have kept.
    """
    query = market.query[rows]
    known = market.pairs.of(query)
    candidate, k = known.candidate, known.candidate.shape[1]
    if participation is not None and bool((participation < 1).any()):
        takes_part = (
            random.pair_uniforms(market.seed, "throttle", rows[:, None], candidate)
            < participation[market.advertiser[candidate]]
        )
        candidate = np.where(takes_part, candidate, -1)
    if served == serving.SKIPPED:
        candidate = np.full_like(candidate, -1)
    alone = served == serving.FALLBACK or not market.serving.first_stage_keep
    asks_satisfaction = users.asks_satisfaction(market.users)
    main = market.fallback_relevance if served == serving.FALLBACK else market.relevance
    scores = scores_of(main, query, k, reuse=reuse)
    click_rate = known.pctr
    if prediction is not None:
        relevance = np.asarray(scores.relevance) if prediction.features.relevance else None
        click_rate = prediction.of(query, arm_of(market, rows), candidate, known.recall, relevance)
    return Batch(
        row=rows,
        query=query,
        arm=arm_of(market, rows)[:, None],
        candidate=candidate,
        recall=known.recall,
        advertiser=market.advertiser.take(candidate),  # brackets would take longer
        bid=bid.take(candidate if bid.ndim == 1 else candidate * N_GROUPS + group_of(known.recall)),
        pctr=click_rate,
        scores=scores,
        first_stage=None if alone else scores_of(market.first_stage_relevance, query, k, reuse=reuse),
        grade=known.grade,
        attraction=known.attraction,
        category=None if market.query_category is None else market.query_category[query],
        satisfaction=users.satisfaction(market.users, known.grade) if asks_satisfaction else None,
    )


def arm_of(market: Market, rows: IntArray) -> IntArray:
    """Which of the market's rules ranks each of arrivals I[Q]."""
    return np.zeros_like(rows) if market.arm is None else market.arm[rows]


def impressions(market: Market, prediction: Prediction, rows: IntArray, outcome: Outcome) -> IntArray:
    """What a learnt click prediction is told of the pages of arrivals I[Q]: see `Prediction.codes`."""
    column = outcome.ranking[:, :-1]
    row, slot = np.nonzero(column >= 0)
    return prediction.codes(
        market.query[rows[row]],
        arm_of(market, rows[row]),
        column[row, slot],
        outcome.ad[row, slot],
        outcome.recall[row, slot],
        slot,
        outcome.clicked[row, slot],
        outcome.relevance[row, slot] if prediction.features.relevance else None,
    )


def rank(market: Market, batch: Batch, active: BoolArray) -> Outcome:
    """Fusion, auction and users: who is shown where, at what price, who is clicked; `active` B[N] may bid."""
    model, pages = market.auction, rank_pages(market, batch, active)
    ranking = pages.ranking
    somebody, place = ranking >= 0, taken_places(ranking, batch.candidate.shape[1])
    shown, winner = somebody[:, :-1], place[:, :-1]
    look, click_rate = np.asarray(market.users.examination), take_at(batch.pctr, winner)
    price_micros = auction.price_micros(model.payment, pages.price, look, click_rate)
    attraction = np.where(shown, take_at(batch.attraction, winner), 0.0)
    ad = take_at(batch.candidate, winner)
    seen = users.browse(
        market.users,
        attraction,
        attraction if batch.satisfaction is None else take_at(batch.satisfaction, winner),
        click_uniforms(market, batch.row, ad),
        *(_satisfaction_uniforms(market, batch.row, ad) if batch.satisfaction is not None else (None, None)),
    )
    return Outcome(
        ranking=ranking,
        advertiser=np.where(somebody, take_at(batch.advertiser, place), -1),
        ad=ad,
        recall=take_at(batch.recall, winner),
        grade=take_at(batch.grade, winner),
        pctr=click_rate,
        relevance=pages.relevance,
        score=pages.score,
        bid_micros=np.where(shown, to_micros(take_at(batch.bid, winner)), 0),
        price_micros=price_micros,
        charged_micros=auction.charged_micros(model.payment, price_micros, shown, seen.clicked),
        examined=shown & seen.examined,
        clicked=seen.clicked,
        satisfied=seen.satisfied,
        n_eligible=pages.n_eligible,
    )


def rank_pages(market: Market, batch: Batch, active: BoolArray) -> stage.Pages:
    """What a server does with a batch: scores that are missing, fusion and auction."""
    model = market.auction
    present = scored_ones(market, batch, active)
    batch.scores.complete(batch.query, batch.candidate, present)
    return stage.rank_scored(
        batch.scores.place,
        rule_of(market, batch, batch.scores),
        model,
        market.users.examination,
        batch.bid,
        batch.pctr,
        batch.scores.relevance,
        present,
        lambda tied: tie_break_draws(market, batch, tied),
        model.least_score(batch.category),
    )


def scored_ones(market: Market, batch: Batch, active: BoolArray) -> BoolArray:
    """Which candidates the scorer gets to see, B[Q, K]: all of the active, or those of the first stage."""
    present: BoolArray = (batch.candidate >= 0) & active.take(batch.advertiser)
    if batch.first_stage is None:
        return present
    may = present & (batch.bid >= market.auction.reserve)  # known without any score
    batch.first_stage.complete(batch.query, batch.candidate, may)
    relevance = np.asarray(to_device(batch.first_stage.relevance, "cpu"))
    cheap = rule_of(market, batch, Scores(relevance)).score(batch.bid, batch.pctr, relevance)
    return serving.shortlist(cheap, may, tie_break_draws(market, batch), market.serving.first_stage_keep)


def tie_break_draws(market: Market, batch: Batch, which: BoolArray | None = None) -> FloatArray:
    """The draws F[Q, K] that break ties between candidates, of all queries or of some B[Q].

    They belong to arrival and ad.
    """
    some: slice | BoolArray = slice(None) if which is None else which
    return random.pair_uniforms(market.seed, "tie break", batch.row[some, None], batch.candidate[some])


def click_uniforms(market: Market, rows: IntArray, ad: IntArray) -> FloatArray:
    """The uniforms F[Q, S] that decide on the clicks of arrivals I[Q] on ads I[Q, S].

    They belong to arrival and ad: an ad meets the same one in whichever slot it lands, whoever else is there.
    """
    return random.pair_uniforms(market.seed, "click", rows[:, None], ad)


def _satisfaction_uniforms(market: Market, rows: IntArray, ad: IntArray) -> tuple[FloatArray, FloatArray]:
    """Uniforms F[Q, S] of being satisfied, of arrival and ad, and of continuing, of arrival and slot."""
    return (
        random.pair_uniforms(market.seed, "satisfaction", rows[:, None], ad),
        random.row_uniforms(market.seed, "continue", rows, market.n_slots),
    )


def conversions(market: Market, rows: IntArray, outcome: Outcome, answered_s: FloatArray) -> FloatArray:
    """When the clicks on the pages of arrivals I[Q] convert, F[Q, S] seconds; infinite: never."""
    when = np.full(outcome.clicked.shape, np.inf)
    if market.users.conversion_rate > 0 and outcome.clicked.any():
        row, slot = np.nonzero(outcome.clicked)
        ad = outcome.ad[row, slot]
        when[row, slot] = answered_s[row] + users.conversion_delay(
            market.users,
            outcome.grade[row, slot],
            random.pair_uniforms(market.seed, "conversion", rows[row], ad),
            random.pair_uniforms(market.seed, "conversion delay", rows[row], ad),
        )
    return when


def satisfaction_gained(market: Market, outcome: Outcome) -> FloatArray:
    """The satisfaction that pages gave their users, F[Q] in currency."""
    return users.satisfaction_gained(market.users, outcome.grade, outcome.examined, outcome.satisfied)


OF_A_SLOT = (
    "ad", "recall", "bid_micros", "pctr", "relevance", "score", "price_micros", "examined", "clicked",
    "charged_micros", "satisfied", "grade",
)  # fmt: skip
"""Columns of the log that an outcome holds by slot."""


def record(
    market: Market,
    recorder: Recorder,
    rows: IntArray,
    outcome: Outcome,
    answered_s: FloatArray,
    conversion_s: FloatArray,
) -> None:
    """Log: write down the outcome of the arrivals I[Q], answered at F[Q] seconds."""
    shown = outcome.ranking[:, :-1] >= 0
    recorder.answered(
        rows, answered_s=answered_s, n_eligible=outcome.n_eligible, n_shown=np.count_nonzero(shown, axis=1)
    )
    at = np.flatnonzero(shown)
    row, slot = np.divmod(at, market.n_slots)
    arrival = rows[row]
    recorder.append(
        query_index=arrival,
        time_s=market.arrival_s[arrival],
        query=market.query[arrival],
        slot=slot,
        advertiser=outcome.advertiser[:, :-1].reshape(-1)[at],
        conversion_s=conversion_s.reshape(-1)[at],
        **{name: getattr(outcome, name).reshape(-1)[at] for name in OF_A_SLOT},
    )


def close(
    market: Market,
    recorder: Recorder,
    budget: IntArray,
    spent: IntArray,
    ran_out: BoolArray,
    busy_s: FloatArray,
) -> SimulationLog:
    """The log of days that are over.

    With what each of N advertisers had and spent in them (micros), and how long each server was busy.
    """
    shown, came = recorder.impressions(), recorder.came
    everybody = came.size == market.query.size  # then no copies are needed
    which = slice(None) if everybody else came
    return SimulationLog(
        **{name: getattr(shown, name) for name in COLUMNS},
        arrival=came,
        arrival_s=market.arrival_s[which],
        arrival_query=market.query[which],
        answered_s=recorder.answered_s[which],
        served=recorder.served[which],
        scored_pairs=recorder.scored_pairs[which],
        n_eligible=recorder.n_eligible[which],
        n_shown=recorder.n_shown[which],
        budget_micros=budget,
        spent_micros=spent,
        ran_out=ran_out,
        busy_s=busy_s,
    )


def rule_of(market: Market, batch: Batch, scores: Scores) -> FusionRule:
    """The rule that ranks a batch, for arrays of the kind that the scores are."""
    if market.arm is None:
        return market.rule
    return ByArm((market.rule, *market.other_rules), scores.place(batch.arm))


def _first_shortfall(outcome: Outcome, accounts: Ledger) -> ledger.Shortfall | None:
    return ledger.first_shortfall(
        outcome.advertiser[:, :-1], outcome.price_micros, outcome.charged_micros, accounts.remaining
    )


def some(batch: Batch, which: BoolArray) -> Batch:
    """A copy of some queries B[Q] of a batch."""
    parts: Iterable[Any] = (None if part is None else part[which] for part in batch)
    return Batch(*parts)
