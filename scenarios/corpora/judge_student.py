"""A corpus from which a student learns what a judge says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from relevance.corpus import SPLITS, Labels
from relevance.judging import judge_by_folds
from scenarios.corpora.judge import JudgedPairs
from scenarios.errors import UserError
from scenarios.storage.whole import whole_folder


def write_student(result: JudgedPairs, folder: Path, least_confidence: float = 0.0) -> int:
    """Write a corpus on which a student learns from the judge; returns the number of training labels.

    The training split has the judge's grades alone, of queries with labels in it or with none.
    The other splits have people's grades. Grades by scorers are fitted anew, on labels of the training split.

    Raises:
        StoreError: it cannot be written.
        UserError: no pair is left to train on.
    """
    data, labels = result.data, result.data.labels
    kept_back = np.unique(labels.query[labels.split != SPLITS.index("train")])
    judged = result.judged
    if result.scores is not None:
        known = ~np.isin(labels.query, kept_back)
        judged, _ = judge_by_folds(
            result.query, result.scores, result.labelled[known], result.grade[known], data.corpus.n_queries
        )
    free = ~np.isin(result.query, kept_back)
    rows = free & (judged.confidence >= least_confidence)
    n = int(rows.sum())
    if free.any() and not n:
        surest = judged.confidence[free].max()
        raise UserError(
            f"no grade that a student could learn from is as sure: the surest has {surest}",
            field=f"--least-confidence {least_confidence:g}",
            remedy="give a lower one",
        )
    if not n:
        raise UserError(
            "no pair to train on: people's labels put every query into another split",
            file=folder,
            remedy="judge more pairs with --nearest",
        )
    others = labels.take(labels.split != SPLITS.index("train"))
    columns = (
        np.concatenate(parts)
        for parts in (
            (result.query[rows], others.query),
            (result.ad[rows], others.ad),
            (judged.grade[rows], others.grade),
            (np.zeros(n, dtype=np.int64), others.split),
        )
    )
    with whole_folder(folder) as part:
        replace(data, labels=Labels(*columns)).save(part)
    return n
