"""`relbid calibrate`: a map from score to probability, fitted on one split and measured on another."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from relevance.calibration import FITS
from relevance.corpus import LabelledCorpus
from relevance.metrics import auc, reliability
from scenarios.errors import UserError
from scenarios.markets.kind import Progress
from scenarios.storage.whole import write_whole_file
from simulator.arrays import BoolArray, FloatArray

HEADINGS = ("score", "ECE", "AUC", "mean", "positive")
"""Columns of the table."""
ECE_BINS = 15
"""Bins of equal width for the expected calibration error (Guo et al. 2017)."""


def calibrate_checkpoint(
    data: LabelledCorpus,
    checkpoint: Path,
    *,
    fit_on: str = "validation",
    split: str = "test",
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[tuple[str, ...]]:
    """Fit every calibration on one split, store them in the checkpoint, and measure them on another split.

    Args:
        fit_on, split: names in `relevance.corpus.SPLITS`.

    Returns:
        Rows under HEADINGS, the plain score first: the expected calibration error of the score as
        P(positive), its AUC, its mean and the share of positive pairs.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        UserError: a split has no pairs, or pairs of one kind alone; the folder cannot be written.
    """
    from relevance.hcmrm import HcmrmScorer
    from relevance.hcmrm.checkpoint import CALIBRATION, weights_hash
    from scenarios.models.labelled import graded_pairs_of
    from scenarios.models.training import Reporting

    if fit_on == split:
        raise UserError(f"--fit-on {fit_on}: measure on another split than the one that is fitted on")
    scorer = HcmrmScorer.load(data.corpus, checkpoint, device=device)
    scores: dict[str, FloatArray] = {}
    positive = {}
    for name in (fit_on, split):
        labels = graded_pairs_of(data, name)
        scores[name] = Reporting(scorer, f"scoring {name}", progress).score(labels.query, labels.ad)
        positive[name] = labels.grade >= 2
    try:
        fitted = {name: fit(scores[fit_on], positive[fit_on]) for name, fit in FITS.items()}
    except ValueError as error:
        raise UserError(f"the split '{fit_on}': {error}") from error

    plain, outcome = scores[split], positive[split]
    rows = [_row("plain", plain, outcome)]
    rows += [_row(name, calibration(plain), outcome) for name, calibration in fitted.items()]
    record = {
        "weights": weights_hash(checkpoint),
        "fitted_on": fit_on,
        "pairs": len(scores[fit_on]),
        "measured_on": split,
        "ece": {row[0]: float(row[1]) for row in rows},
    }
    stored = record | {name: asdict(calibration) for name, calibration in fitted.items()}
    write_whole_file(checkpoint / CALIBRATION, json.dumps(stored, indent=1))
    return rows


def _row(name: str, probability: FloatArray, outcome: BoolArray) -> tuple[str, ...]:
    error = reliability(outcome, probability, ECE_BINS).expected_error
    figures = auc(outcome, probability), probability.mean(), outcome.mean()
    return (name, f"{error:.4f}", *(f"{x:.3f}" for x in figures))
