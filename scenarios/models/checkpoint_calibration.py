"""`relbid calibrate`: a score made a probability, fitted on one split and measured on another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relevance.calibration import FITS, Calibration, expected_calibration_error
from relevance.corpus import LabelledCorpus
from relevance.metrics import auc
from scenarios.errors import StoreError, UserError
from scenarios.markets.kind import Progress
from simulator.arrays import FloatArray

HEADINGS = ("score", "ECE", "AUC", "mean", "positive")
"""Columns of the table."""


def calibrate_checkpoint(
    data: LabelledCorpus,
    checkpoint: Path,
    *,
    fit_on: str = "validation",
    split: str = "test",
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[tuple[str, ...]]:
    """Fit every calibration on one split, leave them in the checkpoint, and measure them on another.

    Args:
        fit_on, split: names in `relevance.corpus.SPLITS`.

    Returns:
        Rows under HEADINGS: expected calibration error of the score as P(positive), its AUC, its mean and the
        share of positive pairs; first of the plain score.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        UserError: a split has no pairs, or pairs of one kind alone; the folder cannot be written.
    """
    from relevance.hcmrm import HcmrmScorer
    from relevance.hcmrm.checkpoint import CALIBRATION
    from relevance.hcmrm.device import use_device
    from scenarios.models.training import Reporting

    if fit_on == split:
        raise UserError(f"--fit-on {fit_on}: measure on another split than the one that is fitted on")
    use_device(device)
    scorer = HcmrmScorer.load(data.corpus, checkpoint, device=device)
    scores: dict[str, FloatArray] = {}
    positive = {}
    for name in (fit_on, split):
        labels = data.labels.of(name)
        if not len(labels):
            raise UserError(f"the corpus has no graded pairs of the split '{name}'; take another")
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
        "fitted_on": fit_on,
        "pairs": len(scores[fit_on]),
        "measured_on": split,
        "ece": {row[0]: float(row[1]) for row in rows},
    }
    _write(checkpoint / CALIBRATION, fitted, record)
    return rows


def _row(name: str, probability: FloatArray, outcome: np.ndarray) -> tuple[str, ...]:
    figures = (
        expected_calibration_error(probability, outcome),
        auc(outcome, probability),
        float(probability.mean()),
        float(outcome.mean()),
    )
    return (name, f"{figures[0]:.4f}", *(f"{x:.3f}" for x in figures[1:]))


def _write(path: Path, fitted: dict[str, Calibration], record: dict[str, object]) -> None:
    stored = {**record, **{name: calibration.as_dict() for name, calibration in fitted.items()}}
    part = path.with_suffix(".tmp")
    try:
        part.write_text(json.dumps(stored, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from error


def calibration_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines of text."""
    table = [HEADINGS, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEADINGS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
