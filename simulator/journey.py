"""The way of a query, for a micro-batch of queries: from arrival to ledger, one station after the other.

Stations do not know one another. Only this file says their order.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from simulator import auction, ledger, random, scoring, serving, users
from simulator.arrays import BoolArray, FloatArray, IntArray, take_at, taken_places, to_micros
from simulator.fusion import ByArm, FusionRule
from simulator.ledger import Ledger
from simulator.log import COLUMNS, Recorder, SimulationLog
from simulator.market import Market


class Batch(NamedTuple):
    """What is known of Q queries and their K candidates before they are ranked."""

    row: IntArray  # [Q] the arrival
    arm: IntArray  # [Q, 1] which of the market's rules ranks the query
    candidate: IntArray  # [Q, K] ad, -1 padding
    advertiser: IntArray  # [Q, K]
    bid: FloatArray  # [Q, K] currency per click
    pctr: FloatArray  # [Q, K]
    relevance: FloatArray  # [Q, K]
    first_stage: FloatArray | None  # [Q, K] relevance of the first of two stages; None: there is one
    attraction: FloatArray  # [Q, K] the users' own
    satisfaction: FloatArray | None  # [Q, K] P(satisfied | clicked); None where nothing depends on it
    category: IntArray | None  # [Q] of the query; None where the market has none


class Outcome(NamedTuple):
    """Who was shown, what was paid and what users did, by slot.

    Ranks hold one more, the runner-up, which sets the last price.
    """

    ranking: IntArray  # [Q, S + 1] column of the candidate, -1 unfilled
    advertiser: IntArray  # [Q, S + 1] -1 unfilled
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
) -> Outcome:
    """Answer arrivals I[Q], in this order, at the bids F[A] (currency per click); charge them to `accounts`.

    Advertisers with a participation F[N] below 1 stay away from the rest of the auctions, drawn one by one.
    `served` says which scorer's relevance ranks them (see serving.py).

    The whole batch is ranked at once. Whoever cannot pay the price of a slot then leaves. The later queries
    of the batch that it was a candidate for are ranked again, until everybody can pay. The result is the same
    as with one query at a time.
    """
    batch = gather(market, bid, rows, participation, served)
    outcome = rank(market, batch, accounts.active)
    while (short := _first_shortfall(outcome, accounts)) is not None:
        accounts.active[short.advertisers] = False
        gone = np.zeros_like(accounts.active)
        gone[short.advertisers] = True
        stale: BoolArray = np.any(gone[batch.advertiser], axis=1)
        stale[: short.row] = False
        ranked_again = rank(market, _rows(batch, stale), accounts.active)
        for old, new in zip(outcome, ranked_again, strict=True):
            old[stale] = new
    accounts.charge(outcome.advertiser[:, :-1], outcome.charged_micros)
    return outcome


def gather(
    market: Market,
    bid: FloatArray,
    rows: IntArray,
    participation: FloatArray | None = None,
    served: int = serving.FULL,
) -> Batch:
    """Arrivals, retrieval and scoring: which queries, which ads, and what is known of each pair."""
    query = market.query[rows]
    candidate = market.candidate.take(query, axis=0)
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
    return Batch(
        row=rows,
        arm=np.zeros((rows.size, 1), dtype=np.int64) if market.arm is None else market.arm[rows, None],
        candidate=candidate,
        advertiser=market.advertiser.take(candidate),  # brackets would take longer
        bid=bid.take(candidate),
        pctr=scoring.look_up(market.pctr, query),
        relevance=_relevance(
            market.fallback_relevance if served == serving.FALLBACK else market.relevance, market, query
        ),
        first_stage=None if alone else _relevance(market.first_stage_relevance, market, query),
        attraction=market.attraction.take(query, axis=0),
        category=None if market.query_category is None else market.query_category[query],
        satisfaction=(users.satisfaction(market.users, market.grade[query]) if asks_satisfaction else None),
    )


def rank(market: Market, batch: Batch, active: BoolArray) -> Outcome:
    """Fusion, auction and users: who is shown where, at what price, who is clicked; `active` B[N] may bid."""
    model, rule, examination = market.auction, _rule_of(market, batch), market.users.examination
    score_reserve = model.least_score(batch.category)

    score = rule.score(batch.bid, batch.pctr, batch.relevance)
    present = scored_ones(market, batch, active)
    eligible = auction.eligible(score, batch.bid, model.reserve, present, score_reserve)
    ranking = auction.allocate_drawing(
        score, eligible, market.n_slots + 1, lambda tied: tie_break_draws(market, batch, tied)
    )
    ranked = auction.Ranked(
        ranking,
        score,
        rule,
        batch.bid,
        batch.pctr,
        batch.relevance,
        model.reserve,
        examination,
        score_reserve,
    )
    price = auction.MECHANISMS[model.mechanism](ranked)

    somebody, place = ranking >= 0, taken_places(ranking, score.shape[1])
    shown, winner = somebody[:, :-1], place[:, :-1]
    look = np.asarray(examination)
    price_micros = auction.price_micros(model.payment, price, look, take_at(batch.pctr, winner))
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
        score=np.where(shown, take_at(score, winner), 0.0),
        bid_micros=np.where(shown, to_micros(take_at(batch.bid, winner)), 0),
        price_micros=price_micros,
        charged_micros=auction.charged_micros(model.payment, price_micros, shown, seen.clicked),
        examined=shown & seen.examined,
        clicked=seen.clicked,
        satisfied=seen.satisfied,
        n_eligible=eligible.sum(axis=1),
    )


def scored_ones(market: Market, batch: Batch, active: BoolArray) -> BoolArray:
    """Which candidates the scorer gets to see, B[Q, K]: all of the active, or those of the first stage."""
    present: BoolArray = (batch.candidate >= 0) & active.take(batch.advertiser)
    if batch.first_stage is None:
        return present
    cheap = _rule_of(market, batch).score(batch.bid, batch.pctr, batch.first_stage)
    may = present & (batch.bid >= market.auction.reserve)  # known without any score
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
        query, column = market.query[rows[row]], outcome.ranking[row, slot]
        ad = market.candidate[query, column]
        when[row, slot] = answered_s[row] + users.conversion_delay(
            market.users,
            market.grade[query, column],
            random.pair_uniforms(market.seed, "conversion", rows[row], ad),
            random.pair_uniforms(market.seed, "conversion delay", rows[row], ad),
        )
    return when


def satisfaction_gained(market: Market, rows: IntArray, outcome: Outcome) -> FloatArray:
    """The satisfaction that the pages of arrivals I[Q] gave their users, F[Q] in currency."""
    column = outcome.ranking[:, :-1]  # the grade read for -1 does not count: nobody examines it
    grade = np.take_along_axis(market.grade[market.query[rows]], column, axis=1)
    return users.satisfaction_gained(market.users, grade, outcome.examined, outcome.satisfied)


def record(
    market: Market,
    recorder: Recorder,
    rows: IntArray,
    outcome: Outcome,
    answered_s: FloatArray,
    conversion_s: FloatArray,
) -> None:
    """Log: write down the outcome of the arrivals I[Q], answered at F[Q] seconds."""
    column = outcome.ranking[:, :-1]
    shown = column >= 0
    recorder.answered(
        rows, answered_s=answered_s, n_eligible=outcome.n_eligible, n_shown=np.count_nonzero(shown, axis=1)
    )
    at = np.flatnonzero(shown)
    row, slot = np.divmod(at, market.n_slots)
    arrival = rows[row]
    query, column = market.query[arrival], column.reshape(-1)[at]
    cell = query * market.candidate.shape[1] + column

    recorder.append(
        query_index=arrival,
        time_s=market.arrival_s[arrival],
        query=query,
        slot=slot,
        ad=market.candidate.reshape(-1)[cell],
        advertiser=outcome.advertiser[:, :-1].reshape(-1)[at],
        bid_micros=outcome.bid_micros.reshape(-1)[at],
        pctr=market.pctr.reshape(-1)[cell],
        relevance=market.relevance.reshape(-1)[cell],
        score=outcome.score.reshape(-1)[at],
        price_micros=outcome.price_micros.reshape(-1)[at],
        examined=outcome.examined.reshape(-1)[at],
        clicked=outcome.clicked.reshape(-1)[at],
        charged_micros=outcome.charged_micros.reshape(-1)[at],
        satisfied=outcome.satisfied.reshape(-1)[at],
        conversion_s=conversion_s.reshape(-1)[at],
        grade=market.grade.reshape(-1)[cell],
    )


def close(
    market: Market, recorder: Recorder, budget: IntArray, spent: IntArray, ran_out: BoolArray
) -> SimulationLog:
    """The log of days that are over, and what each of N advertisers had and spent in them (micros)."""
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
    )


def _relevance(table: FloatArray | None, market: Market, query: IntArray) -> FloatArray:
    """A scorer's relevance of the candidates of queries I[Q], F[Q, K]; 1 without a scorer."""
    if table is None:
        return np.ones((query.size, market.candidate.shape[1]))
    return scoring.look_up(table, query)


def _rule_of(market: Market, batch: Batch) -> FusionRule:
    return market.rule if market.arm is None else ByArm((market.rule, *market.other_rules), batch.arm)


def _first_shortfall(outcome: Outcome, accounts: Ledger) -> ledger.Shortfall | None:
    return ledger.first_shortfall(
        outcome.advertiser[:, :-1], outcome.price_micros, outcome.charged_micros, accounts.remaining
    )


def _rows(batch: Batch, which: BoolArray) -> Batch:
    parts: Iterable[Any] = (None if part is None else part[which] for part in batch)
    return Batch(*parts)
