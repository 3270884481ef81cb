"""Public models in a market: scores that are kept on disk as HCMRM's are, and P(relevant) made of them.

The scores of bi-encoders and cross-encoders are no probabilities. They are calibrated on graded pairs that
the kind of market gives (`MarketSource.calibration_pairs`): on pairs of other queries, or by folds over the
market's own queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from relevance.annotation import whole_queries
from relevance.cached import ScoreTable
from relevance.calibrated import CalibratedScorer, FoldedCalibration, fit_by_folds, fit_calibration
from relevance.corpus import Corpus
from relevance.errors import CheckpointError
from relevance.pretrained import (
    PublicScorer,
    load_pretrained,
    model_folder,
    model_key,
    pretrained_of,
)
from relevance.protocol import score_pairs
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.prepared import Prepared
from scenarios.storage import cache as disk
from simulator.arrays import FloatArray, IntArray

MOST_PAIRS = 2000
"""Graded pairs of other queries that a calibration is fitted on, at most."""
CHUNK = 1024
"""Pairs that are scored at once."""

_LABELS_KEY = 307

Progress = Callable[[int, int], None]


def check_model(scenario: Scenario, name: str) -> None:
    """Find out before the work whether a public model can be had.

    Raises:
        CheckpointError: it cannot; the message names the scenario and the scorer.
        MissingExtraError: its extra is not installed.
    """
    try:
        model_folder(name)
    except CheckpointError as error:
        raise CheckpointError(error, file=scenario.place, field=f"scorer {name}") from error


def calibration_notes(prepared: Prepared, scorers: Iterable[str]) -> tuple[str, ...]:
    """A sentence on what the public models among some scorers are calibrated on, if there are any."""
    names = [name for name in dict.fromkeys(scorers) if pretrained_of(name)]
    on, most = prepared.source.calibrated_on(prepared.scenario), prepared.scenario.hcmrm.calibration_labels
    at_most = "" if most is None else f" (at most {most:,} of them)"
    return (f"{', '.join(names)}: P(relevant), calibrated on {on}{at_most}",) if names and on else ()


class PublicModel:
    """One public model in one market."""

    def __init__(self, prepared: Prepared, name: str, cache: Path | None = None) -> None:
        """Nothing is loaded yet.

        Args:
            name: one that `relevance.pretrained.pretrained_of` knows.
            cache: the results folder, under which scores are kept; None keeps nothing.

        Raises:
            CheckpointError, MissingExtraError: see `check_model`.
        """
        self._prepared, self._name, self._cache = prepared, name, cache
        self._key = model_key(model_folder(name))

    @cached_property
    def _plain(self) -> PublicScorer:
        return load_pretrained(self._name, self._prepared.corpus, device=self._prepared.scenario.hcmrm.device)

    def scorer(self) -> CalibratedScorer:
        """The calibrated scorer of the market's corpus.

        Raises:
            ScenarioError: the market has no graded pairs to calibrate on.
            ScorerError: they are all relevant, or none is.
        """
        return CalibratedScorer(self._plain, self._calibration(), self._prepared.corpus.query_text)

    def table(self, query: IntArray, ad: IntArray, key: IntArray, progress: Progress | None) -> ScoreTable:
        """Calibrated scores of pairs I[P], which `key` tells from other pairs; errors as of `scorer`."""
        calibration = self._calibration(progress)
        score = self._scores(self._prepared.corpus, query, ad, key, progress)
        return ScoreTable.build(query, ad, calibration(query, score))

    def is_kept(self, key: IntArray) -> bool:
        """Whether the plain scores of these pairs are on disk."""
        path = self._path(self._prepared.corpus, key)
        return path is not None and disk.read_scores(path) is not None

    def _calibration(self, progress: Progress | None = None) -> FoldedCalibration:
        prepared = self._prepared
        # A bi-encoder has to be read to know whether it takes pictures; without pictures it does not matter.
        frames = bool(prepared.corpus.frames.shape[1]) and self._plain.reads_frames
        pairs = prepared.source.calibration_pairs(prepared.scenario, frames=frames)
        if pairs is None or not len(pairs.labels):
            raise ScenarioError(
                f"{self._name} needs graded pairs to make probabilities of its scores; the market has none",
                file=prepared.scenario.place,
                field="market",
                remedy="give the corpus labels, or take another scorer",
            )
        labels = pairs.labels
        if not pairs.own:
            labels = whole_queries(labels, MOST_PAIRS, np.random.default_rng(0))
        most = prepared.scenario.hcmrm.calibration_labels
        if most is not None:
            labels = labels.take(np.sort(np.random.default_rng(_LABELS_KEY).permutation(len(labels))[:most]))
        key = np.stack((labels.query, labels.ad))
        score = self._scores(pairs.corpus, labels.query, labels.ad, key, progress)
        positive = labels.grade >= 2
        if pairs.own:
            return fit_by_folds(labels.query, score, positive, pairs.corpus.n_queries, name=self._name)
        return FoldedCalibration(fit_calibration(score, positive, name=self._name))

    def _scores(
        self, corpus: Corpus, query: IntArray, ad: IntArray, key: IntArray, progress: Progress | None
    ) -> FloatArray:
        """Plain scores of pairs [P] of a corpus, in their order, made or read from disk."""
        path = self._path(corpus, key)
        table = None if path is None else disk.read_scores(path)
        if table is None:
            plain = self._plain if corpus is self._prepared.corpus else self._plain.of_corpus(corpus)
            score = score_pairs(plain, query, ad, self._name, corpus=corpus, chunk=CHUNK, progress=progress)
            table = ScoreTable.build(query, ad, score)
            if path is not None:
                disk.write_scores(path, table)
        return np.asarray(table.score[table.rows(query, ad)])

    def _path(self, corpus: Corpus, key: IntArray) -> Path | None:
        form, _ = pretrained_of(self._name) or (self._name, "")
        return (
            None
            if self._cache is None
            else disk.score_table_path(self._cache, form, corpus.fingerprint(), key, self._key)
        )
