"""The metrics of a model on scored and graded pairs, on all of them and by slice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relevance.corpus import LabelledCorpus, Labels
from relevance.metrics import auc, auc_between, evaluate
from simulator.arrays import FloatArray, IntArray
from simulator.world import World, graded_pairs

HEAD_TRAFFIC = 0.5
"""The head are the most frequent queries that bring this share of the traffic; the tail are all others."""
BINS = 15
"""Bins of the calibration error, with equally many pairs each."""


def graded_metrics(
    query: IntArray, grade: IntArray, score: FloatArray, probabilities: FloatArray | None
) -> dict[str, float]:
    """Metrics of P scored pairs, NaN where a grade that one needs is missing.

    Those of `relevance.metrics.evaluate`, and

    distance: mean score of the positive pairs (grades 2 and 3) minus that of the negative ones.
    ece: expected calibration error of P(positive), see `calibration_error`. Of a loss without grades the
        score itself stands for it.
    auc_positive: as auc, ranked by P(positive) instead of the score.
    auc_3_2_given: as auc_3_2, ranked by P(3 | positive), which does not ask for the product; NaN without
        grades.

    Args:
        query, grade, score: [P].
        probabilities: P(grade) [P, 4], or None.
    """
    positive = grade >= 2
    p_positive = score if probabilities is None else probabilities[:, 2] + probabilities[:, 3]
    given = math.nan
    if probabilities is not None:
        given = auc_between(query, grade, probabilities[:, 3] / np.maximum(p_positive, 1e-300), 3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN
        plain = evaluate(query, grade, score).as_dict() if len(query) else dict.fromkeys(_PLAIN, math.nan)
        distance = float(score[positive].mean() - score[~positive].mean())
    return plain | {
        "distance": distance,
        "ece": calibration_error(p_positive, positive),
        "auc_positive": auc(positive, p_positive),
        "auc_3_2_given": given,
    }


_PLAIN = ("auc", "auc_3_2", "auc_1_0", "spearman", "ndcg_10", "pnr")


def calibration_error(probability: FloatArray, happened: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error: |mean probability - share that happened| over bins, weighted by size.

    Bins hold equally many of the P pairs, more or less one, in the order of their probability (Nguyen and
    O'Connor 2015, "Posterior calibration and exploratory analysis for natural language processing models"):
    bins of equal width would mostly be empty, since scores crowd at 0 and 1.
    """
    p = len(probability)
    if not p:
        return math.nan
    order = np.argsort(probability, kind="stable")
    gaps = [
        abs(float(probability[rows].sum() - happened[rows].sum())) for rows in np.array_split(order, bins)
    ]
    return sum(gaps) / p


@dataclass(frozen=True, slots=True)
class Slices:
    """Which queries are frequent and which ads are stuffed, by their numbers in a labelled corpus."""

    head: NDArray[np.bool_]
    stuffed: NDArray[np.bool_]

    @staticmethod
    def of(data: LabelledCorpus, world: World) -> Slices:
        """Those of the test world that a labelled corpus was made of."""
        labels = [data.labels.of(split) for split in ("test", "held_out")]
        order = np.argsort(-world.query_popularity, kind="stable")
        before = np.cumsum(world.query_popularity[order]) - world.query_popularity[order]
        head = np.zeros(data.corpus.n_queries, dtype=bool)
        # No split has queries behind those of the test world.
        head[data.corpus.n_queries - len(order) + order] = before < HEAD_TRAFFIC
        stuffed = np.zeros(data.corpus.n_ads, dtype=bool)
        graded = np.unique(graded_pairs(world, "test").ad)
        stuffed[np.unique(np.concatenate([one.ad for one in labels]))] = world.stuffed[graded]
        return Slices(head, stuffed)

    def parts(self, labels: Labels) -> dict[str, NDArray[np.bool_]]:
        """Slice -> which pairs [P] belong to it; "all" is one."""
        head, stuffed = self.head[labels.query], self.stuffed[labels.ad]
        return {"all": np.ones(len(labels), dtype=bool), "head": head, "tail": ~head, "stuffed": stuffed}


def measure(
    labels: Labels,
    score: FloatArray,
    probabilities: FloatArray | None,
    parts: Mapping[str, NDArray[np.bool_]],
) -> dict[str, dict[str, float]]:
    """`graded_metrics` of every part of P graded pairs."""
    return {
        name: graded_metrics(
            labels.query[rows],
            labels.grade[rows],
            score[rows],
            None if probabilities is None else probabilities[rows],
        )
        for name, rows in parts.items()
    }
