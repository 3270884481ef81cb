"""The relevance of a market's pairs, by the name of a scorer: each pair is scored once and kept on disk.

A name is one of SCORERS ("none", "bm25", "hcmrm", "oracle"), a public model ("minilm", "bi_encoder=FOLDER",
"cross_encoder=FOLDER"), "module:attr" of one's own, or in a market that brings its relevance along, a name
that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from relevance.cached import ScoreTable
from relevance.errors import CheckpointError
from relevance.extras import require
from relevance.oracle import GRADE_GAIN, OracleScorer
from relevance.pretrained import pretrained_of
from relevance.protocol import RelevanceScorer, load_object, score_pairs
from scenarios.config.scenario import Scenario, unknown_scorer
from scenarios.errors import ScenarioError
from scenarios.markets.checkpoints import check_checkpoint, checkpoint_folder, model_key
from scenarios.markets.kind import Progress, stage_of
from scenarios.markets.plug_ins import is_own, own_scorer
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.public_models import PublicModel, check_model
from scenarios.markets.registry import source_of
from scenarios.storage import cache as disk
from scenarios.storage.command_progress import Stage
from scenarios.storage.machine import threads
from simulator.arrays import FloatArray, IntArray
from simulator.scoring import DeviceScorer, LiveScorer, OnHost

if TYPE_CHECKING:
    from relevance.hcmrm import HcmrmScorer

KEPT_SCORERS = ("bm25", "hcmrm")
"""Scorers whose scores are kept on disk, beside public models. The others take no time, or nothing says when
their code changed."""
OWN_CHUNK = 8192
"""Pairs that a scorer of one's own is given at once, so that what it finished before an error is kept."""


def relevance_of(
    prepared: Prepared, scorer: str, *, cache: Path | None = None, progress: Progress | None = None
) -> Relevance:
    """Score every pair that can meet; where the scenario says `serving.scoring: live`, load the scorer alone.

    A scorer of one's own is a callable that takes the corpus and returns an object with `score(query, ad)`.

    Args:
        cache: the results folder, under which scores are kept; None keeps nothing.

    Raises:
        CheckpointError: HCMRM's checkpoint, or a public model, is missing or damaged.
        PluginError, ScorerError: a scorer of one's own cannot be loaded, or returns what is no relevance.
        ScenarioError: a public model has no graded pairs to be calibrated on.
        StoreError: the cache cannot be written.
        TableError: the table of auctions has no such column.
    """
    if prepared.scenario.serving.scoring == "live":
        return Relevance(scorer, live_scorer(prepared, scorer, cache=cache))
    brought = prepared.source.relevance(scorer)
    if brought is not None:
        return Relevance(scorer, brought)
    query, column = np.nonzero(prepared.candidate >= 0)
    ad = prepared.candidate[query, column]
    table = _scored(prepared, scorer, query, ad, prepared.candidate, cache, progress)
    row = table.rows(query, ad)
    score = np.zeros(prepared.candidate.shape)
    score[query, column] = table.score[row]
    if table.grade_probabilities is None:
        return Relevance(scorer, score)
    probabilities = np.zeros((*prepared.candidate.shape, len(GRADE_GAIN)))
    probabilities[query, column] = table.grade_probabilities[row]
    return Relevance(scorer, score, probabilities)


def live_scorer(prepared: Prepared, scorer: str, *, cache: Path | None = None) -> LiveScorer | None:
    """The scorer of a name, to be asked during a run; None if every pair is alike.

    Raises:
        CheckpointError, PluginError: see `relevance_of`.
    """
    if scorer == "none":
        return None
    made, keep = load_scorer(prepared, scorer, cache=cache), prepared.scenario.serving.cache_queries
    on_device = scorer == "hcmrm" and prepared.scenario.hcmrm.device != "cpu"
    return LiveScorer(cast(DeviceScorer, made) if on_device else OnHost(made, scorer), keep)


def pair_scores(
    prepared: Prepared,
    scorer: str,
    query: IntArray,
    ad: IntArray,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> ScoreTable:
    """Score any pairs I[P] of queries and ads, each once; with the same errors as `relevance_of`.

    Raises:
        ScenarioError: the market has no texts.
    """
    return _scored(prepared, scorer, query, ad, np.stack((query, ad)), cache, progress)


def scores_kept(prepared: Prepared, scorer: str, cache: Path) -> bool:
    """Whether `relevance_of` need not run a model whose scores it could keep.

    Raises:
        CheckpointError: HCMRM's checkpoint is missing.
    """
    live = prepared.scenario.serving.scoring == "live"
    if live or not prepared.source.has_texts:
        return True
    if pretrained_of(scorer):
        return PublicModel(prepared, scorer, cache).is_kept(prepared.candidate)
    if scorer not in KEPT_SCORERS:
        return True
    return disk.read_scores(_kept_path(prepared, scorer, prepared.candidate, cache)) is not None


def check_scorers(scenario: Scenario, scorers: Iterable[str]) -> None:
    """Find out before the work whether scorers can be had at all.

    Raises:
        CheckpointError, PluginError: see `relevance_of`.
        ScenarioError: there is no such scorer.
        MissingExtraError: HCMRM, or a public model, is not installed.
        TableError: the market is a table that lacks a scorer's column, or that cannot be read.
    """
    if not (source := source_of(scenario)).has_texts:
        source.check_brought(scenario, scorers)
        return
    for scorer in (*scorers, *scenario.serving.cheap_scorers):
        if trouble := unknown_scorer(scorer):
            raise ScenarioError(trouble, field="--scorer")  # those of the file were checked with it
        if scorer == "hcmrm":
            require("torch", "transformers", extra="hcmrm", needed_by="HCMRM")
            check_checkpoint(scenario)
        elif pretrained_of(scorer):
            check_model(scenario, scorer)
        elif is_own(scorer):
            load_object(scorer, "scorer")


def load_scorer(prepared: Prepared, scorer: str, *, cache: Path | None = None) -> RelevanceScorer:
    """The scorer of a name, ready to score pairs of the prepared corpus.

    Args:
        cache: the results folder, under which the scores that calibrate a public model are kept.

    Raises:
        CheckpointError, PluginError, ScorerError: see `relevance_of`.
        ScenarioError: the market has no texts, or see `relevance_of`.
    """
    corpus = prepared.corpus
    if scorer == "none":
        return _Alike()
    if scorer == "oracle":
        return OracleScorer(prepared.source.grade)
    if scorer == "hcmrm":
        return load_hcmrm(prepared)
    if pretrained_of(scorer):
        return PublicModel(prepared, scorer, cache).scorer()
    if is_own(scorer):
        return own_scorer(scorer, corpus)
    if wrong := unknown_scorer(scorer):
        raise ScenarioError(wrong, file=prepared.scenario.name, field="scorer", remedy="take one of these")
    from relevance.lexical import Bm25Scorer  # imports numba where that is installed

    return Bm25Scorer(corpus)


class _Alike:
    """No relevance: 1 for every pair."""

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        return np.ones(query.size)

    def of_queries(self, texts: tuple[str, ...]) -> _Alike:
        return self


def load_hcmrm(prepared: Prepared) -> HcmrmScorer:
    """A scenario's HCMRM on its device, on a processor with all of a process's threads. Imports torch.

    Raises:
        CheckpointError: the checkpoint is missing or damaged, or this machine has no such device.
    """
    from relevance.hcmrm import HcmrmScorer

    scenario = prepared.scenario
    settings = scenario.hcmrm
    try:
        return HcmrmScorer.load(
            prepared.corpus,
            checkpoint_folder(scenario),
            device=settings.device,
            threads=threads(),
            calibration=settings.calibration,
            score=settings.score,
            precision=settings.precision,
        )
    except CheckpointError as error:
        if error.file is not None:
            raise
        raise CheckpointError(error, file=scenario.place, field="hcmrm") from error  # it does not fit


def _scored(
    prepared: Prepared,
    scorer: str,
    query: IntArray,
    ad: IntArray,
    key: IntArray,
    cache: Path | None,
    progress: Progress | None,
) -> ScoreTable:
    """The scores of pairs I[P], made or read from disk, where `key` tells them from other pairs."""
    stage = stage_of(progress, Stage("scoring", scorer))
    if pretrained_of(scorer):
        return PublicModel(prepared, scorer, cache).table(query, ad, key, stage)
    if cache is None or scorer not in KEPT_SCORERS:
        return _score(prepared, scorer, query, ad, stage)
    path = _kept_path(prepared, scorer, key, cache)
    table = disk.read_scores(path)
    if table is None:
        table = _score(prepared, scorer, query, ad, stage)
        disk.write_scores(path, table)
    return table


def _score(
    prepared: Prepared,
    scorer: str,
    query: IntArray,
    ad: IntArray,
    progress: Callable[[int, int], None] | None,
) -> ScoreTable:
    corpus = prepared.corpus
    if scorer == "none":
        return ScoreTable.build(query, ad, np.ones(query.size))
    if scorer == "hcmrm":
        if progress is not None:
            progress(0, query.size)  # importing torch and loading the model take their time, too
        return ScoreTable.build(query, ad, *load_hcmrm(prepared).read(query, ad, progress))
    made = load_scorer(prepared, scorer)
    if is_own(scorer):
        score = score_pairs(made, query, ad, scorer, corpus=corpus, chunk=OWN_CHUNK, progress=progress)
    else:
        score = score_pairs(made, query, ad, scorer)
    return ScoreTable.build(query, ad, score)


def _kept_path(prepared: Prepared, scorer: str, key: IntArray, cache: Path) -> Path:
    """Where a scorer's scores of the pairs that `key` tells from others are kept."""
    model = model_key(prepared.scenario) if scorer == "hcmrm" else ""
    return disk.score_table_path(cache, scorer, prepared.corpus.fingerprint(), key, model)
