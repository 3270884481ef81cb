"""The platform's click prediction, learnt from the clicks on the pages that it has shown.

    P(click) = examination[slot] x P(click | examined),    P(click | examined) = 1 / (1 + exp(-log odds))

The log odds of a query and an ad are a sum of effects: one of all pairs, and one each of how retrieval found
the ad, the declared category of the ad, the advertiser, the ad, the query, the pair itself and, by choice,
the relevance by which the page is ranked. What has not been seen has the effect 0: a new ad is predicted by
its advertiser, category and match, a new pair by its query and its ad. The category of the ad is not crossed
with that of the query: this would be a relevance model of its own.

The effects of a field are normal around 0, and their spread is learnt as well (empirical Bayes). That is a
ridge penalty for each field, as in Agarwal, Agrawal, Khanna and Kota 2010, "Estimating rates of rare events
with multiple hierarchies through scalable log-linear models". Slots are corrected for by clicks over expected
clicks (Zhang and Jones 2007, "Comparing click logs and editorial labels for training query rewriting"): with
C the clicks on a pair and E the examination probabilities of its impressions, summed, the fit solves C = E x
P(click | examined), summed over the pairs of each level, less the penalty.

The fit reads pages and clicks alone, as whole numbers that are added up in a fixed order. So its bits do not
depend on how queries were batched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import BoolArray, FloatArray, IntArray

SPREADS: Mapping[str, float] = {
    "all": 2.0, "recall": 0.5, "relevance": 0.5, "category": 0.5, "advertiser": 0.3, "ad": 0.3, "query": 0.3,
    "pair": 0.3,
}  # fmt: skip
"""Standard deviation of the effects of each field before any click; the fit goes through them in this
order."""
LEAST_SPREAD, MOST_SPREAD = 0.01, 2.0
SWEEPS = 4
"""Rounds over the fields in a fit. It starts where the fit of the day before has ended."""
LONGEST_STEP = 1.0
"""Log odds that an effect moves by in one step at most."""
RELEVANCE_BINS = 10


@dataclass(frozen=True, slots=True)
class Features:
    """What a platform knows of its queries and ads before any click."""

    n_queries: int  # distinct
    n_candidates: int
    advertiser: IntArray  # [A]
    n_recalls: int  # ways in which retrieval finds an ad
    ad_category: IntArray | None = None  # [A] declared; None: the market has no categories
    relevance: bool = False  # whether the relevance that ranks a page is a feature
    n_arms: int = 1  # rules that rank within one market; each has a prediction of its own

    @property
    def sizes(self) -> dict[str, int]:
        """Levels of each field but the pair."""
        one = {
            "all": 1,
            "recall": self.n_recalls,
            "relevance": RELEVANCE_BINS if self.relevance else 0,
            "category": 0 if self.ad_category is None else int(self.ad_category.max()) + 1,
            "advertiser": int(self.advertiser.max(initial=0)) + 1,
            "ad": self.advertiser.size,
            "query": self.n_queries,
        }
        return {name: self.n_arms * size for name, size in one.items() if size}

    def levels(
        self,
        arm: IntArray,
        query: IntArray,
        ad: IntArray,
        recall: NDArray[np.integer],
        relevance_bin: IntArray,
    ) -> dict[str, NDArray[np.integer]]:
        """The level I[P] of each field but the pair, from what is known of P pairs, I[P] each."""
        sizes = self.sizes
        found: dict[str, NDArray[np.integer]] = {
            "all": np.zeros_like(ad),
            "recall": recall,
            "relevance": relevance_bin,
            "advertiser": self.advertiser.take(ad),
            "ad": ad,
            "query": query,
        }
        if self.ad_category is not None:
            found["category"] = self.ad_category.take(ad)
        if self.n_arms == 1:
            return {name: found[name] for name in sizes}
        return {name: found[name] + arm * (size // self.n_arms) for name, size in sizes.items()}


class Cells(NamedTuple):
    """All that was shown, added up: equal impressions of a query and a candidate, by rising code."""

    code: IntArray  # [P] see `Prediction.codes`
    times: IntArray  # [P]

    def with_more(self, code: IntArray) -> Self:
        """The same with more impressions I[R]."""
        new, times = np.unique(code, return_counts=True)
        place = np.searchsorted(self.code, new)
        known = np.append(self.code, -1)[place] == new
        added = self.times.copy()
        added[place[known]] += times[known]
        place = place[~known]
        return type(self)(np.insert(self.code, place, new[~known]), np.insert(added, place, times[~known]))


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the clicks until now say of any pair."""

    features: Features
    examination: tuple[float, ...]
    first_guess: float  # P(click | examined) before any click
    cells: Cells
    effects: Mapping[str, FloatArray]  # log odds, by field and level; of pairs, by those of the cells
    spreads: Mapping[str, float] = field(default_factory=lambda: dict(SPREADS))
    row_of_query: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64), repr=False)
    """[arms x U] the row of a query in `pair_effect`; 0 where none of its pairs was shown."""
    pair_effect: FloatArray = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    """[rows, K] log odds by query and candidate; all 0 in row 0."""

    @classmethod
    def before_any_click(cls, features: Features, examination: Sequence[float], first_guess: float) -> Self:
        """The same for all pairs."""
        return cls(
            features,
            tuple(examination),
            first_guess,
            Cells(*np.zeros((2, 0), dtype=np.int64)),
            {name: np.zeros(size) for name, size in features.sizes.items()} | {"pair": np.zeros(0)},
            row_of_query=np.zeros(features.n_arms * features.n_queries, dtype=np.int64),
            pair_effect=np.zeros((1, features.n_candidates)),
        )

    def of(
        self,
        query: IntArray,
        arm: IntArray,
        candidate: IntArray,
        recall: NDArray[np.integer],
        relevance: FloatArray | None = None,
    ) -> FloatArray:
        """P(click | examined) F[Q, K] of the candidates I[Q, K] of queries I[Q], 0 in padding.

        Args:
            arm: I[Q] whose pages they are for; not looked at where all arms share the prediction.
            recall: I[Q, K]; `relevance` F[Q, K] where that is a feature.
        """
        k = candidate.shape[1]
        at = np.flatnonzero(candidate >= 0)
        row = at // k
        of_query, column = query.take(row), at - row * k
        of_arm = arm.take(row) if self.features.n_arms > 1 else np.zeros_like(row)
        bins = _relevance_bin(relevance.reshape(-1).take(at)) if relevance is not None else column
        ad = candidate.reshape(-1).take(at)
        levels = self.features.levels(of_arm, of_query, ad, recall.reshape(-1).take(at), bins)
        log_odds = self.pair_effect.reshape(-1).take(
            self.row_of_query.take(of_arm * self.features.n_queries + of_query) * k + column
        )
        for name, level in levels.items():
            log_odds += self.effects[name].take(level)
        found = np.zeros(candidate.shape)
        found.reshape(-1)[at] = self._probability(log_odds)
        return found

    def codes(
        self,
        query: IntArray,
        arm: IntArray,
        column: IntArray,
        ad: IntArray,
        recall: NDArray[np.integer],
        slot: IntArray,
        clicked: BoolArray,
        relevance: FloatArray | None = None,
    ) -> IntArray:
        """Impressions as numbers I[R], from what is known of each, [R]; see `of`, with columns of candidates.

        Equal impressions have equal numbers, and by rising number those of a query and candidate follow one
        another.
        """
        given = (arm, query, column, 0 if relevance is None else _relevance_bin(relevance), ad, recall, slot)
        code = np.zeros_like(query)
        for part, size in zip((*given, clicked), self._radix, strict=True):
            code *= size
            code += part
        return code

    @property
    def _radix(self) -> tuple[int, ...]:
        """How many values each part of a code has."""
        known, bins = self.features, RELEVANCE_BINS if self.features.relevance else 1
        return (
            known.n_arms, known.n_queries, known.n_candidates, bins, known.advertiser.size, known.n_recalls,
            len(self.examination), 2,
        )  # fmt: skip

    def after(self, impressions: Sequence[IntArray]) -> Self:
        """The prediction once impressions (see `codes`), and all before them, are learnt from."""
        cells = self.cells.with_more(np.concatenate([self.cells.code[:0], *impressions]))
        if not cells.code.size:
            return self
        parts, rest = [], cells.code
        for size in self._radix[:0:-1]:
            rest, part = np.divmod(rest, size)
            parts.append(part)
        clicked, slot, recall, ad, bins, column, query = parts
        of_query = rest * self.features.n_queries + query
        same = _numbered((of_query * self.features.n_candidates + column) * RELEVANCE_BINS + bins)
        looked_at = cells.times * np.asarray(self.examination).take(slot)
        exposure = np.bincount(same, looked_at).astype(np.float64)
        clicks = np.bincount(same, cells.times * clicked).astype(np.float64)
        first = np.flatnonzero(np.append(True, same[1:] != same[:-1]))
        arm, query, column, of_query = rest[first], query[first], column[first], of_query[first]
        levels = self.features.levels(arm, query, ad[first], recall[first], bins[first])
        levels["pair"] = _numbered(of_query * self.features.n_candidates + column)
        effects = {name: effect.copy() for name, effect in self.effects.items()}
        effects["pair"] = np.zeros(int(levels["pair"][-1]) + 1)
        effects["pair"][levels["pair"]] = self.pair_effect[self.row_of_query.take(of_query), column]
        spreads = self._fit(levels, effects, exposure, clicks)

        rows = _numbered(of_query) + 1
        row_of_query = np.zeros_like(self.row_of_query)
        row_of_query[of_query] = rows
        pair_effect = np.zeros((int(rows[-1]) + 1, self.features.n_candidates))
        pair_effect[rows, column] = effects["pair"].take(levels["pair"])
        return replace(
            self,
            cells=cells,
            effects=effects,
            spreads=spreads,
            row_of_query=row_of_query,
            pair_effect=pair_effect,
        )

    def of_queries(self, number: IntArray) -> Self:
        """The same, for a market whose query u is the query number[u] of this one, or a new one (-1).

        `number` is I[U']. It is not learnt from there.
        """
        new, old = number < 0, np.maximum(number, 0)
        features = replace(self.features, n_queries=number.size)
        effects = {**self.effects, "query": np.where(new, 0.0, self.effects["query"][old])}
        row_of_query = np.where(new, 0, self.row_of_query[old])
        return replace(self, features=features, effects=effects, row_of_query=row_of_query)

    def _fit(
        self,
        levels: Mapping[str, NDArray[np.integer]],
        effects: Mapping[str, FloatArray],
        exposure: FloatArray,
        clicks: FloatArray,
    ) -> dict[str, float]:
        """Fit the effects in place, by Newton steps on one field after the other; their spreads."""
        spreads = dict(self.spreads)
        log_odds = sum(effects[name].take(level) for name, level in levels.items())
        odds, odds_against = np.exp(log_odds), (1.0 - self.first_guess) / self.first_guess
        curvature: dict[str, FloatArray] = {}
        for _ in range(SWEEPS):
            for name, level in levels.items():
                effect, precision = effects[name], spreads[name] ** -2.0
                not_clicked = odds_against / (odds + odds_against)
                expected = exposure - exposure * not_clicked
                pull = np.bincount(level, clicks - expected, effect.size) - precision * effect
                curvature[name] = np.bincount(level, expected * not_clicked, effect.size) + precision
                step = np.clip(pull / curvature[name], -LONGEST_STEP, LONGEST_STEP)
                effect += step
                odds *= np.exp(step).take(level)
        for name, level in levels.items():
            seen = np.bincount(level, minlength=effects[name].size) > 0
            variance = float(np.mean((effects[name] ** 2 + 1.0 / curvature[name])[seen]))
            spreads[name] = min(max(variance**0.5, LEAST_SPREAD), MOST_SPREAD)
        return spreads

    def _probability(self, log_odds: FloatArray) -> FloatArray:
        odds_against = (1.0 - self.first_guess) / self.first_guess
        return 1.0 / (1.0 + odds_against * np.exp(-log_odds))


def _relevance_bin(relevance: FloatArray) -> IntArray:
    return np.minimum((relevance * RELEVANCE_BINS).astype(np.int64), RELEVANCE_BINS - 1)


def _numbered(key: IntArray) -> IntArray:
    """Equal numbers 0, 1, ... I[P] for equal ones among numbers I[P] that ascend."""
    return np.cumsum(np.append(False, key[1:] != key[:-1]))
