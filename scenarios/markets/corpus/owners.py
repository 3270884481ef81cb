"""Who bids with which ad, and what share of the traffic each query has, where a corpus does not say it."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from scenarios.markets.corpus.graded import GradedPairs
from scenarios.markets.corpus.offers import Offers
from simulator.arrays import FloatArray, IntArray
from simulator.random import text_key


class Owners(NamedTuple):
    """The advertisers of A ads."""

    advertiser: IntArray  # [A]
    names: tuple[str, ...]  # [N]
    told: str
    """Where they come from, in words."""


def owners(offers: Offers, ad_id: tuple[str, ...], pairs: GradedPairs) -> Owners:
    """The advertisers of a corpus: as it says, or sellers of its brands, or one for each ad.

    An auction takes one ad of an advertiser, and a brand is sold by several. So a brand is split into as few
    sellers as a greedy colouring needs for none to have two ads for one query. A hash of the ads' ids orders
    them, so grades have no say.
    """
    if offers.advertiser is not None:
        known, place = np.unique(np.array(offers.advertiser), return_inverse=True)
        told = f"{known.size:,} as the corpus says; of several ads for a query, a hash takes one"
        return Owners(place.astype(np.int64), tuple(known.tolist()), told)
    if offers.brand is None:
        told = f"modelled: the corpus names none, so each of {len(ad_id):,} ads has its own"
        return Owners(np.arange(len(ad_id)), ad_id, told)
    asked: defaultdict[int, set[int]] = defaultdict(set)
    for query, ad in zip(pairs.query.tolist(), pairs.ad.tolist(), strict=True):
        asked[ad].add(query)
    number: dict[tuple[str, int], int] = {}
    taken: defaultdict[str, list[set[int]]] = defaultdict(list)
    advertiser = np.empty(len(ad_id), dtype=np.int64)
    for ad in sorted(range(len(ad_id)), key=lambda one: (text_key(ad_id[one]), one)):
        brand, queries = offers.brand[ad], asked.get(ad, set())
        sellers = taken[brand]
        seller = next((i for i, has in enumerate(sellers) if not has & queries), len(sellers))
        if seller == len(sellers):
            sellers.append(set())
        sellers[seller] |= queries
        advertiser[ad] = number.setdefault((brand, seller), len(number))
    names = tuple(brand if seller == 0 else f"{brand} ({seller + 1})" for brand, seller in number)
    told = (
        f"modelled: {len(taken):,} brands are split into {len(names):,} sellers, as few as are needed for "
        "none to have two ads for one query"
    )
    return Owners(advertiser, names, told)


def popularity(
    weight: FloatArray | None, query_text: tuple[str, ...], asked: IntArray, exponent: float
) -> tuple[FloatArray, str]:
    """Shares of the traffic F[U], and where they come from in words.

    Args:
        weight: F[U] as the corpus says; None: Zipf's law, the queries ranked by a hash of their texts.
        asked: I[n] the queries that have candidates. The others get no traffic.
        exponent: of the law. 0.83 is that of a year of a web search log (Baeza-Yates et al. 2007, "The impact
            of caching on search engines"), 0 gives equal shares.
    """
    share = np.zeros(len(query_text))
    if weight is not None and weight[asked].sum() > 0:
        share[asked] = weight[asked]
        told = "weights of the corpus"
    else:
        rank = sorted(asked.tolist(), key=lambda query: (text_key(query_text[query]), query))
        share[rank] = (1.0 + np.arange(len(rank))) ** -exponent
        told = (
            f"modelled: Zipf's law with exponent {exponent:g}, queries ranked by a hash of their texts"
            if exponent
            else "modelled: all queries alike"
        )
    return share / share.sum(), told
