"""What the platform has learnt of words before the first day: synonyms, what is clicked together, shelves.

The platform's knowledge is good and not perfect: its dictionary misses some synonyms and holds a few wrong
ones, and users who ask for one thing click on other things in the same session.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from simulator.retrieval.expansion import CATEGORY, CO_CLICK, SYNONYM, Associations
from simulator.world.catalog import Catalog
from simulator.world.world_config import WorldConfig

FloatArray = NDArray[np.float64]
Pair = tuple[str, str, float, int]

_SESSIONS = 20_000  # of two products each, that the platform has seen
_PARTNERS = 8  # products of other categories that go with a product, some more than others
_SURE = 0.5  # the share of a product's sessions that makes an association as strong as can be


def associations(
    config: WorldConfig, catalog: Catalog, popularity: FloatArray, rng: np.random.Generator
) -> Associations:
    """Draw what the platform knows; `popularity` F[P] of the products."""
    return Associations.of(
        (
            *_synonyms(config, catalog, rng),
            *_co_clicks(config, catalog, popularity, rng),
            *_shelves(catalog, rng),
        )
    )


def _synonyms(config: WorldConfig, catalog: Catalog, rng: np.random.Generator) -> Iterator[Pair]:
    every = [term for terms in catalog.terms for term in terms]
    for terms in catalog.terms:
        for term in terms:
            for other in terms:
                if other != term and rng.random() < config.synonyms_known:
                    yield term, other, float(rng.uniform(0.5, 1.0)), SYNONYM
            if rng.random() < config.synonyms_wrong:
                wrong = every[int(rng.integers(len(every)))]
                if wrong not in terms:
                    yield term, wrong, float(rng.uniform(0.5, 1.0)), SYNONYM


def _co_clicks(
    config: WorldConfig, catalog: Catalog, popularity: FloatArray, rng: np.random.Generator
) -> Iterator[Pair]:
    """The strength grows with the share of the first product's sessions that hold the second one, too."""
    n = catalog.n_products
    same = catalog.category == catalog.category[:, None]
    np.fill_diagonal(same, False)
    liking = np.where(same, np.exp(rng.standard_normal((n, n))), 0.0)
    partner = np.zeros((n, n))
    for product in range(n):
        others = np.flatnonzero(catalog.category != catalog.category[product])
        partner[product, rng.choice(others, _PARTNERS, replace=False)] = rng.dirichlet(
            np.full(_PARTNERS, 0.7)
        )
    stay = config.sessions_on_shelf
    following = stay * liking / liking.sum(axis=1, keepdims=True) + (1.0 - stay) * partner
    cumulative = following.cumsum(axis=1)
    first = rng.choice(n, _SESSIONS, p=popularity)
    second = (rng.random(_SESSIONS)[:, None] >= cumulative[first] / cumulative[first, -1:]).sum(axis=1)
    together = np.zeros((n, n))
    np.add.at(together, (first, second), 1.0)
    share = together / np.maximum(together.sum(axis=1, keepdims=True), 1.0)
    strength = np.minimum(share / _SURE, 1.0)
    for a, b in np.argwhere(strength > 0).tolist():
        for term in catalog.terms[a]:
            yield term, catalog.names[b], float(strength[a, b]), CO_CLICK


def _shelves(catalog: Catalog, rng: np.random.Generator) -> Iterator[Pair]:
    for a in range(catalog.n_products):
        for b in np.flatnonzero(catalog.category == catalog.category[a]).tolist():
            strength = float(rng.uniform(0.1, 0.7))
            if a != b:
                for term in catalog.terms[a]:
                    yield term, catalog.names[b], strength, CATEGORY
