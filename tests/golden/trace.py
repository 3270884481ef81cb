"""A market small enough to check with a pocket calculator, and what happens to its queries as text.

Two slots, five advertisers, three distinct queries and seven arrivals. Relevance is the stored table of the
scorer's kind (scores.json), never computed anew: neural scores differ in the last digits between processors.
"""

import json
from math import inf
from pathlib import Path

import numpy as np

from simulator import bidders, journey
from simulator.arrays import MICROS, FloatArray, IntArray, to_micros
from simulator.bidders import BidderModel
from simulator.fusion import (
    RULES,
    Exponential,
    Formula,
    FusionRule,
    Gate,
    Learnt,
    Linear,
    Product,
    SoftGate,
    Tiers,
)
from simulator.ledger import UNLIMITED, Ledger
from simulator.market import AuctionModel, Market, with_relevance
from simulator.pairs import PairTables
from simulator.scoring import LiveScorer, OnHost
from simulator.users import UserModel

FOLDER = Path(__file__).parent
SCORES: dict[str, list[list[float]]] = json.loads((FOLDER / "scores.json").read_text())

# What each registered rule is set to in its traces: a rule without an entry has no trace, which fails a test.
RULE_OF_TRACE: dict[str, FusionRule] = {
    "product": Product(),
    "gate": Gate(threshold=0.3),
    "linear": Linear(cost=0.5),
    "tiers": Tiers(thresholds=(0.3, 0.7)),
    "soft_gate": SoftGate(threshold=0.3, floor=0.25),
    "exponential": Exponential(gain=2.0),
    "learnt": Learnt((0.0, 0.5, 1.0), (1.5, 0.5), pctr_knots=(0.4,), pctr_weights=(1.0, 0.5)),
    "formula": Formula("b * q * max(r, 0.1)^0.5"),
}
# Of each mechanism, what its traces are of: a mechanism without an entry has no trace, which fails a test.
TRACES_OF_MECHANISM: dict[str, tuple[str, ...]] = {
    "gsp": (*(f"{rule}-gsp" for rule in RULES), "product-gsp-impression"),
    "vcg": ("product-vcg",),
    "first_price": ("product-first_price",),
}

QUERIES = ("red kettle", "kettle", "desk lamp")
ADVERTISERS = ("Ann", "Bob", "Cem", "Dee", "Eve")


def trace_names() -> list[str]:
    """Per kind of scorer: every registered rule under GSP, every mechanism and payment with the product."""
    return [f"{scorer}-{trace}" for scorer in SCORES for of in TRACES_OF_MECHANISM.values() for trace in of]


class _Stored:
    """A scorer that looks the stored scores up, asked live."""

    def __init__(self, market: Market, table: FloatArray) -> None:
        self.candidate, self.table = market.candidate, table

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        column = np.argmax(self.candidate[query] == ad[:, None], axis=1)
        return self.table[query, column]


def trace(name: str, *, live: bool = False) -> str:
    """The text of one trace; `live`: relevance is asked of a scorer, and not looked up in a table."""
    scorer, rule, mechanism, payment = (name + "-click").split("-")[:4]
    market = _market(SCORES[scorer], RULE_OF_TRACE[rule], AuctionModel(0.1, mechanism, payment))
    if live:
        stored = _Stored(market, np.asarray(market.relevance))
        market = with_relevance(market, LiveScorer(OnHost(stored)))
    accounts = Ledger.open(market.budget_micros)
    bid = bidders.bids_micros(market.bidders, market.value, np.ones(5), market.advertiser) / MICROS
    lines = [
        f"scorer {scorer}, rule {market.rule}, mechanism {mechanism}"
        + (", paid by the impression" if payment == "impression" else ""),
        f"reserve {market.auction.reserve:.2f}, slots looked at with probability {market.users.examination}",
        f"budgets: {_budgets(accounts)}",
    ]
    for arrival in range(market.query.size):
        lines += ["", *_events(market, accounts, bid, arrival)]
    revenue = accounts.spent.sum() / MICROS
    return "\n".join([*lines, "", f"revenue {revenue:.6f}", ""])


def _market(scores: list[list[float]], rule: FusionRule, auction: AuctionModel) -> Market:
    def table(*rows: list[float]) -> FloatArray:
        return np.array([row + [0.0] * (4 - len(row)) for row in rows])

    return Market(
        seed=20,
        pairs=PairTables(
            candidate=np.array([[0, 1, 2, 3], [1, 0, 3, -1], [5, 2, 4, -1]]),
            grade=table([3, 3, 2, 0], [3, 2, 1], [3, 3, 0]).astype(np.int8),
            attraction=table([0.6, 0.7, 0.4, 0.3], [0.8, 0.5, 0.3], [0.7, 0.6, 0.2]),
            pctr=table([0.5, 0.4, 0.4, 0.4], [0.4, 0.3, 0.4], [0.5, 0.5, 0.2]),
        ),
        relevance=table(*scores),
        advertiser=np.array([0, 1, 2, 3, 4, 0]),
        value=np.array([2.0, 1.5, 1.2, 3.0, 0.08, 1.0]),
        budget_micros=np.append(to_micros([3.0, 5.0, 2.0, 4.0]), UNLIMITED),
        paced=np.zeros(5, dtype=bool),
        arrival_s=np.array([10.0, 25.0, 31.5, 60.0, 61.0, 75.0, 90.0]),
        query=np.array([0, 1, 2, 0, 1, 0, 2]),
        horizon_s=100.0,
        rule=rule,
        auction=auction,
        users=UserModel(examination=(1.0, 0.6)),
        bidders=BidderModel(shading=1.0),
    )


def _events(market: Market, accounts: Ledger, bid: FloatArray, arrival: int) -> list[str]:
    query = int(market.query[arrival])
    left, was_active = accounts.remaining, accounts.active.copy()
    outcome = journey.answer(market, accounts, bid, np.array([arrival]))
    batch = journey.gather(market, bid, np.array([arrival]))
    batch.scores.complete(batch.query, batch.candidate, batch.candidate >= 0)
    tie_break = journey.tie_break_draws(market, batch)[0]
    click = journey.click_uniforms(market, batch.row, batch.candidate)[0]
    fused = market.rule.score(batch.bid, batch.pctr, batch.relevance)[0]
    ranking = outcome.ranking[0].tolist()
    lines = [f'query {arrival} at {market.arrival_s[arrival]:.1f} s: "{QUERIES[query]}"']
    lines += [
        f"    {ADVERTISERS[who]} leaves: {left[who] / MICROS:.6f} cannot pay for a slot it would win"
        for who in np.flatnonzero(was_active & ~accounts.active)
    ]
    lines.append("    ad  of   grade  bid   pctr  relevance  fused     tie    place")
    for column, ad in enumerate(market.candidate[query].tolist()):
        if ad < 0:
            continue
        if not accounts.active[market.advertiser[ad]]:
            place = "has left"
        elif fused[column] == -inf:
            place = "ineligible"
        elif batch.bid[0, column] < market.auction.reserve:
            place = "bids below the reserve"
        elif column in ranking:
            place = ("slot 0", "slot 1", "runner-up")[ranking.index(column)]
        else:
            place = "not shown"
        lines.append(
            f"    {ad}   {ADVERTISERS[market.advertiser[ad]]}  {market.grade[query, column]}      "
            f"{batch.bid[0, column]:.2f}  {batch.pctr[0, column]:.2f}  {batch.relevance[0, column]:<9.2f}  "
            f"{fused[column]:<8.6f}  {tie_break[column]:.3f}  {place}"
        )
    for slot, column in enumerate(ranking[:-1]):
        if column < 0:
            lines.append(f"    slot {slot}: empty")
            continue
        look, like = market.users.examination[slot], market.attraction[query, column]
        price = f"{outcome.price_micros[0, slot] / MICROS:.6f}"
        paid = f"{outcome.charged_micros[0, slot] / MICROS:.6f}"
        payer = ADVERTISERS[outcome.advertiser[0, slot]]
        lines.append(
            f"    slot {slot}: ad {market.candidate[query, column]} at {price} {_each(market)}; "
            f"uniform {click[column]:.3f} against {look:.1f} x {like:.1f} = {look * like:.2f}: "
            + ("clicked" if outcome.clicked[0, slot] else "not clicked")
            + (f", {payer} pays {paid}" if outcome.charged_micros[0, slot] else "")
        )
    return [*lines, f"    left: {_budgets(accounts)}"]


def _each(market: Market) -> str:
    return "a click" if market.auction.payment == "click" else "an impression"


def _budgets(accounts: Ledger) -> str:
    return ", ".join(
        f"{name} {'no limit' if budget == UNLIMITED else format(left / MICROS, '.6f')}"
        for name, budget, left in zip(ADVERTISERS, accounts.budget, accounts.remaining, strict=True)
    )
