"""Offline metrics of a relevance score against graded pairs, with intervals over queries.

Grades are 0..3; 2 and 3 are positive. All metrics but the AUCs and Spearman's rank correlation are averages
over queries. The bootstrap over queries gives weights to pairs instead of copying them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import bootstrap, rankdata

from relevance.arrays import BoolArray, FloatArray, IntArray
from relevance.extras import require
from relevance.ranges import check_columns, check_within


@dataclass(frozen=True, slots=True)
class RelevanceMetrics:
    """One scorer on one set of pairs.

    auc: positive (2, 3) against negative (0, 1), all pairs pooled.
    auc_3_2, auc_1_0: order inside the branches, over the queries that have both grades.
    spearman: rank correlation of score and grade, all pairs pooled.
    ndcg_10: with gain 2^grade - 1, mean over queries.
    pnr: concordant pairs of different grade within a query, per discordant one (a tie is half of each).
    """

    auc: float
    auc_3_2: float
    auc_1_0: float
    spearman: float
    ndcg_10: float
    pnr: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reliability:
    """P(positive) as predicted, in B bins of equal width, against the share of positives.

    Bins without a pair are left out. `low` and `high` [B] are a bin's edges, `predicted` [B] its mean
    prediction, `observed` [B] its share of positives, `count` [B] its pairs. `worth` [B] is how many
    independent pairs would tell as much, where the pairs of a query resemble one another; None: all are
    independent.
    """

    low: FloatArray
    high: FloatArray
    predicted: FloatArray
    observed: FloatArray
    count: IntArray
    worth: FloatArray | None = None

    def intervals(self, z: float = 1.96) -> tuple[FloatArray, FloatArray]:
        """Bounds F[B] and F[B] of each bin's share of positives: Wilson's of `worth` pairs.

        Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
        """
        n, p = (self.count if self.worth is None else self.worth), self.observed
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean of |predicted - observed| over pairs (Naeini et al. 2015).

        NaN without pairs.
        """
        if not self.count.sum():
            return float("nan")
        return float(np.average(np.abs(self.predicted - self.observed), weights=self.count))


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float


def evaluate(query: IntArray, grade: IntArray, score: FloatArray) -> RelevanceMetrics:
    """All metrics of P scored pairs; each argument is [P].

    Raises:
        ValueError: one is of another kind.
    """
    check_columns(query=query, grade=grade, score=score)
    check_within("grade", grade, 0, 3)
    return RelevanceMetrics(
        auc=auc(grade >= 2, score),
        auc_3_2=auc_between(query, grade, score, 3, 2),
        auc_1_0=auc_between(query, grade, score, 1, 0),
        spearman=spearman(grade, score),
        ndcg_10=float(np.mean(ndcg_by_query(query, grade, score)[1])),
        pnr=pnr(query, grade, score),
    )


def auc(positive: BoolArray, score: FloatArray) -> float:
    """Area under the ROC curve; NaN where a class is empty."""
    check_columns(positive=positive, score=score)
    if positive.all() or not positive.any():
        return float("nan")
    require("sklearn", extra="world", needed_by="metrics of a scorer")
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score))


def auc_by_weight(positive: BoolArray, score: FloatArray) -> Callable[[FloatArray], float]:
    """`auc` as a function of the weights [P] of the pairs. It sorts once for all calls of a bootstrap."""
    order = np.argsort(score, kind="stable")
    ranked, is_positive = score[order], positive[order]
    first = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))  # of each run of equal scores

    def of(weight: FloatArray) -> float:
        weight = weight[order]
        positives = np.add.reduceat(np.where(is_positive, weight, 0.0), first)
        negatives = np.add.reduceat(np.where(is_positive, 0.0, weight), first)
        below = np.cumsum(negatives) - negatives
        pairs = positives.sum() * negatives.sum()
        return float((positives * (below + 0.5 * negatives)).sum() / pairs) if pairs else float("nan")

    return of


def auc_between(query: IntArray, grade: IntArray, score: FloatArray, upper: int, lower: int) -> float:
    """AUC of one grade against another, over the queries that have pairs of both (pooled)."""
    check_columns(query=query, grade=grade, score=score)
    both = np.isin(query, np.intersect1d(query[grade == upper], query[grade == lower]))
    kept = both & ((grade == upper) | (grade == lower))
    return auc(grade[kept] == upper, score[kept])


def spearman(grade: IntArray, score: FloatArray) -> float:
    """Spearman's rank correlation, ties at their mean rank."""
    check_columns(grade=grade, score=score)
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where all ranks are equal
        return float(np.corrcoef(rankdata(grade), rankdata(score))[0, 1])


def ndcg_by_query(
    query: IntArray, grade: IntArray, score: FloatArray, k: int = 10
) -> tuple[IntArray, FloatArray]:
    """NDCG@k with gain 2^grade - 1 and discount 1 / log2(1 + rank).

    As in Jaervelin and Kekaelaeinen 2002 and Burges et al. 2005.

    Returns:
        The queries that have any gain, and the NDCG of each. Tied scores keep the order of the pairs.
    """
    check_columns(query=query, grade=grade, score=score)
    check_within("grade", grade, 0, 100)  # a gain of 2^100 is still a number
    check_within("k", k, 1, 1e12, whole=True)
    gain = 2.0 ** grade.astype(np.float64) - 1.0

    def dcg(key: FloatArray) -> FloatArray:
        order = np.lexsort((-key, query))
        first = np.searchsorted(query[order], unique)
        rank = np.arange(len(query)) - first[np.searchsorted(unique, query[order])]
        discounted = np.where(rank < k, gain[order] / np.log2(rank + 2.0), 0.0)
        return np.add.reduceat(discounted, first)

    unique = np.unique(query)
    ideal = dcg(gain)
    reached = dcg(score)
    return unique[ideal > 0], reached[ideal > 0] / ideal[ideal > 0]


def pnr(query: IntArray, grade: IntArray, score: FloatArray) -> float:
    """Positive-negative ratio: pairs of one query in the order of their grades, per pair against it."""
    check_columns(query=query, grade=grade, score=score)
    concordant = discordant = 0.0
    order = np.argsort(query, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(query[order])) + 1):
        above = grade[rows][:, None] > grade[rows][None, :]
        difference = score[rows][:, None] - score[rows][None, :]
        ties = 0.5 * float((above & (difference == 0)).sum())
        concordant += float((above & (difference > 0)).sum()) + ties
        discordant += float((above & (difference < 0)).sum()) + ties
    return concordant / discordant if discordant else float("inf")


def reliability(
    positive: BoolArray, probability: FloatArray, n_bins: int = 10, query: IntArray | None = None
) -> Reliability:
    """The reliability diagram of P predictions; each argument is [P], probabilities in [0, 1].

    A probability of 1 belongs to the last bin.

    Args:
        query: of each pair, whose pairs may resemble one another; None: all are independent.

    Raises:
        ValueError: an argument is of another kind, or out of its range.
    """
    check_columns(positive=positive, probability=probability, **({} if query is None else {"query": query}))
    check_within("probability", probability, 0, 1)
    check_within("n_bins", n_bins, 1, 1e6, whole=True)
    of_pair = np.minimum((probability * n_bins).astype(np.int64), n_bins - 1)
    bins, of_pair, count = np.unique(of_pair, return_inverse=True, return_counts=True)
    return Reliability(
        low=bins / n_bins,
        high=(bins + 1) / n_bins,
        predicted=np.bincount(of_pair, weights=probability) / count,
        observed=np.bincount(of_pair, weights=positive.astype(np.float64)) / count,
        count=count,
        worth=None if query is None else _worth(positive, of_pair, query, count),
    )


def _worth(positive: BoolArray, of_pair: IntArray, query: IntArray, count: IntArray) -> FloatArray:
    """How many independent pairs tell as much of each of B bins, F[B], as its pairs do: one to all of them.

    The variance of a share of positives over queries is that of a ratio of sums (Cochran 1977, "Sampling
    techniques", chapter 6). Where all or none are positive it says nothing, and the queries count.
    """
    code, place = np.unique(of_pair * (query.max(initial=0) + 1) + query, return_inverse=True)
    of_cluster = code // (query.max(initial=0) + 1)
    share = np.bincount(of_pair, weights=positive.astype(np.float64)) / count
    residual = np.bincount(place, weights=positive - share[of_pair])
    queries = np.bincount(of_cluster)
    variance = np.bincount(of_cluster, weights=residual**2) / count**2
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = np.where(variance > 0, share * (1 - share) / variance, queries)
    return np.asarray(np.clip(worth, 1.0, count))


def branch_gap(grade: IntArray, score: FloatArray, tail: float = 0.1) -> float:
    """How far positive and negative pairs lie apart, in units of the score.

    The quantile `tail` of the positives' scores (grades 2, 3) minus the quantile 1 - `tail` of the negatives'
    (0, 1). Above 0 the classes are apart but for the tails; below 0 they overlap. NaN where a class is empty.
    """
    check_columns(grade=grade, score=score)
    check_within("tail", tail, 0, 1)
    positive, negative = score[grade >= 2], score[grade < 2]
    if not positive.size or not negative.size:
        return float("nan")
    return float(np.quantile(positive, tail) - np.quantile(negative, 1.0 - tail))


def difference_interval(
    query: IntArray,
    statistic: Callable[[FloatArray], float],
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of a statistic over queries (paired, since every scorer sees the same resample).

    The bounds are NaN for fewer than two queries: there is nothing to draw from.

    Args:
        query: [P], the query of each pair.
        statistic: a function of weights [P] (how often each pair's query was drawn), such as the
            difference of two AUCs.

    Raises:
        ValueError: an argument is of another kind, or out of its range.
    """
    check_columns(query=query)
    check_within("n_resamples", n_resamples, 1, 1e9, whole=True)
    check_within("level", level, 1e-6, 1 - 1e-6)
    unique, of_pair = np.unique(query, return_inverse=True)
    value = statistic(np.ones(len(query))) if len(query) else float("nan")
    if len(unique) < 2:
        return Interval(value, float("nan"), float("nan"))

    def resampled(drawn: IntArray) -> float:
        return statistic(np.bincount(drawn, minlength=len(unique))[of_pair].astype(np.float64))

    result = bootstrap(
        (np.arange(len(unique)),),
        resampled,
        n_resamples=n_resamples,
        confidence_level=level,
        method="percentile",
        vectorized=False,
        rng=rng,
    )
    interval = result.confidence_interval
    return Interval(value, float(interval.low), float(interval.high))
