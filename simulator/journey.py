"""The story of a query, told of a micro-batch of them: arrivals to ledger, one station after the other.

Stations know nothing of each other; this is the one place where their order is written down.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator import auction, ledger, random, scoring, users
from simulator.arrays import BoolArray, FloatArray, IntArray, to_micros
from simulator.fusion import ByArm, FusionRule
from simulator.ledger import Ledger
from simulator.log import Recorder, SimulationLog
from simulator.market import Market

Number = TypeVar("Number", bound=np.generic)


class Batch(NamedTuple):
    """What is known of Q queries and their K candidates before they are ranked, and the users' luck."""

    arm: IntArray  # [Q, 1] which of the market's rules ranks the query
    candidate: IntArray  # [Q, K] ad, -1 padding
    advertiser: IntArray  # [Q, K]
    bid: FloatArray  # [Q, K] currency per click
    pctr: FloatArray  # [Q, K]
    relevance: FloatArray  # [Q, K]
    attraction: FloatArray  # [Q, K] the users' own
    tie_break: FloatArray  # [Q, K] uniforms
    luck: FloatArray  # [Q, K] uniforms: an ad meets the same luck in whichever slot it lands


class Outcome(NamedTuple):
    """What came of it, by slot; ranks hold one more, the runner-up, who sets the last price."""

    ranking: IntArray  # [Q, S + 1] column of the candidate, -1 unfilled
    advertiser: IntArray  # [Q, S + 1] -1 unfilled
    score: FloatArray  # [Q, S] fused
    bid_micros: IntArray  # [Q, S]
    price_micros: IntArray  # [Q, S] per click
    clicked: BoolArray  # [Q, S]
    n_eligible: IntArray  # [Q]

    @property
    def charged_micros(self) -> IntArray:
        """What each slot costs its advertiser, I[Q, S]."""
        return np.where(self.clicked, self.price_micros, 0)


def answer(market: Market, accounts: Ledger, bid: FloatArray, rows: IntArray) -> Outcome:
    """Answer arrivals I[Q] (ascending) at the bids F[A] (currency per click); charge them to `accounts`.

    The whole batch is ranked at once. Then whoever cannot pay the price of a slot leaves, and the queries
    from there on that it was a candidate for are ranked again, until everybody can pay: the same as one query
    at a time.
    """
    batch = gather(market, bid, rows)
    outcome = rank(market, batch, accounts.active)
    while (short := _first_shortfall(outcome, accounts)) is not None:
        accounts.active[short.advertisers] = False
        gone = np.zeros_like(accounts.active)
        gone[short.advertisers] = True
        stale: BoolArray = np.any(gone[batch.advertiser], axis=1)
        stale[: short.row] = False
        settled_anew = rank(market, _rows(batch, stale), accounts.active)
        for old, new in zip(outcome, settled_anew, strict=True):
            old[stale] = new
    accounts.charge(outcome.advertiser[:, :-1], outcome.charged_micros)
    return outcome


def gather(market: Market, bid: FloatArray, rows: IntArray) -> Batch:
    """Arrivals, retrieval and scoring: which queries, which ads, and what is known of each pair."""
    query = market.query[rows]
    candidate = market.candidate[query]
    k = candidate.shape[1]
    return Batch(
        arm=np.zeros((rows.size, 1), dtype=np.int64) if market.arm is None else market.arm[rows, None],
        candidate=candidate,
        advertiser=market.advertiser[candidate],
        bid=bid[candidate],
        pctr=scoring.look_up(market.pctr, query),
        relevance=scoring.look_up(market.relevance, query),
        attraction=market.attraction[query],
        tie_break=random.row_uniforms(market.seed, "tie break", rows, k),
        luck=random.row_uniforms(market.seed, "luck", rows, k),
    )


def rank(market: Market, batch: Batch, active: BoolArray) -> Outcome:
    """Fusion, auction and users: who is shown where, at what price, who is clicked; `active` B[N] may bid."""
    reserve, n_slots = market.auction.reserve, market.n_slots
    price_of = auction.MECHANISMS[market.auction.mechanism]

    rule = _rule_of(market, batch)
    score = rule.score(batch.bid, batch.pctr, batch.relevance)
    present = (batch.candidate >= 0) & active[batch.advertiser]
    eligible = auction.eligible(score, batch.bid, reserve, present)
    ranking = auction.allocate(score, eligible, n_slots + 1, batch.tie_break)
    price = price_of(ranking, score, rule, batch.bid, batch.pctr, batch.relevance, reserve)

    winner = ranking[:, :-1]
    shown = winner >= 0
    p_click = users.click_probability(np.asarray(market.users.examination), _at(batch.attraction, winner))
    return Outcome(
        ranking=ranking,
        advertiser=np.where(ranking >= 0, _at(batch.advertiser, ranking), -1),
        score=np.where(shown, _at(score, winner), 0.0),
        bid_micros=np.where(shown, to_micros(_at(batch.bid, winner)), 0),
        price_micros=to_micros(price),
        clicked=shown & users.clicks(p_click, _at(batch.luck, winner)),
        n_eligible=eligible.sum(axis=1),
    )


def record(recorder: Recorder, rows: IntArray, outcome: Outcome, answered_s: FloatArray) -> None:
    """Log: write down what came of the arrivals I[Q], answered at F[Q] seconds."""
    recorder.write(
        rows,
        column=outcome.ranking[:, :-1],
        score=outcome.score,
        bid_micros=outcome.bid_micros,
        price_micros=outcome.price_micros,
        clicked=outcome.clicked,
        n_eligible=outcome.n_eligible,
        answered_s=answered_s,
    )


def close(market: Market, recorder: Recorder, accounts: Ledger) -> SimulationLog:
    """The log of a day that is over."""
    shown = recorder.column >= 0
    query_index, slot = np.nonzero(shown)
    query, column = market.query[query_index], recorder.column[shown]
    ad = market.candidate[query, column]
    price_micros, clicked = recorder.price_micros[shown], recorder.clicked[shown]
    return SimulationLog(
        query_index=query_index,
        time_s=market.arrival_s[query_index],
        query=query,
        slot=slot,
        ad=ad,
        advertiser=market.advertiser[ad],
        bid_micros=recorder.bid_micros[shown],
        pctr=market.pctr[query, column],
        relevance=market.relevance[query, column],
        score=recorder.score[shown],
        price_micros=price_micros,
        clicked=clicked,
        charged_micros=np.where(clicked, price_micros, 0),
        grade=market.grade[query, column],
        arrival_s=market.arrival_s,
        arrival_query=market.query,
        answered_s=recorder.answered_s,
        n_eligible=recorder.n_eligible,
        n_shown=shown.sum(axis=1),
        budget_micros=accounts.budget,
        spent_micros=accounts.spent,
        ran_out=~accounts.active,
    )


def _rule_of(market: Market, batch: Batch) -> FusionRule:
    return market.rule if market.arm is None else ByArm((market.rule, *market.other_rules), batch.arm)


def _first_shortfall(outcome: Outcome, accounts: Ledger) -> ledger.Shortfall | None:
    return ledger.first_shortfall(
        outcome.advertiser[:, :-1], outcome.price_micros, outcome.charged_micros, accounts.remaining
    )


def _rows(batch: Batch, which: BoolArray) -> Batch:
    parts: Iterable[Any] = (part[which] for part in batch)
    return Batch(*parts)


def _at(values: NDArray[Number], column: IntArray) -> NDArray[Number]:
    # Empty slots (-1) read column -1 of their row; callers mask them.
    return np.take_along_axis(values, column, axis=1)
