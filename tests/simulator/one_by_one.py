"""The same marketplace in plain Python, one query at a time: slow, obvious, and the judge of the other."""

from dataclasses import dataclass

import numpy as np

from simulator import bidders, random
from simulator.arrays import MICROS
from simulator.fusion import Product
from simulator.market import Market


@dataclass
class Shown:
    query_index: int
    slot: int
    ad: int
    price_micros: int
    clicked: bool


def simulate_one_by_one(market: Market) -> tuple[list[Shown], list[int]]:
    """What is shown and what each advertiser spends (micros), under the plain product rule without pacing."""
    assert market.rule == Product()
    bid = (
        bidders.bids_micros(market.bidders, market.value, np.ones(market.paced.size), market.advertiser)
        / MICROS
    ).tolist()
    asked = np.arange(market.query.size)[:, None], market.candidate[market.query]
    tie_break = random.pair_uniforms(market.seed, "tie break", *asked).tolist()
    click_uniforms = random.pair_uniforms(market.seed, "click", *asked).tolist()
    candidate, advertiser = market.candidate.tolist(), market.advertiser.tolist()
    pctr, relevance, attraction = market.pctr.tolist(), market.relevance.tolist(), market.attraction.tolist()
    remaining = market.budget_micros.tolist()
    gone: set[int] = set()
    shown: list[Shown] = []
    for i, u in enumerate(market.query.tolist()):
        while True:  # until everybody who would be shown can pay
            ranked = []
            for column, ad in enumerate(candidate[u]):
                if ad < 0 or advertiser[ad] in gone or bid[ad] < market.auction.reserve:
                    continue
                weight = pctr[u][column] * relevance[u][column]
                if weight > 0:
                    ranked.append((bid[ad] * weight, tie_break[i][column], column, ad, weight))
            ranked.sort(reverse=True)
            page = []
            for slot, (_, _, column, ad, weight) in enumerate(ranked[: market.n_slots]):
                least = ranked[slot + 1][0] / weight if slot + 1 < len(ranked) else 0.0
                price = min(max(least, market.auction.reserve), bid[ad])
                page.append((slot, column, ad, round(price * MICROS)))
            broke = {advertiser[ad] for _, _, ad, price in page if price > remaining[advertiser[ad]]}
            if not broke:
                break
            gone |= broke
        for slot, column, ad, price in page:
            clicked = click_uniforms[i][column] < market.users.examination[slot] * attraction[u][column]
            remaining[advertiser[ad]] -= price if clicked else 0
            shown.append(Shown(i, slot, ad, price, clicked))
    return shown, [b - r for b, r in zip(market.budget_micros.tolist(), remaining, strict=True)]
