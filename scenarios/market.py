"""A scenario's market: build the world once, score each scorer's pairs once, settle as often as asked.

prepare       world and candidates: what no sweep changes
relevance_of  a scorer's relevance of every pair that can meet, from disk where it was computed before
settle        the market of a scenario run through a day: metrics and log
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import relevance
from relevance.cached import ScoreTable
from relevance.errors import PluginError
from relevance.lexical import Bm25Scorer
from relevance.oracle import GRADE_GAIN, OracleScorer
from relevance.protocol import RelevanceScorer, check_scorer, load_object, score_pairs
from scenarios import cache as disk
from scenarios.load import override
from scenarios.schema import PREPARED, Scenario
from simulator.arrays import FloatArray, IntArray
from simulator.engine import simulate
from simulator.log import SimulationLog
from simulator.market import Market, build_market, retrieve_candidates
from simulator.metrics import market_metrics
from simulator.world import World

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

SHIPPED_CHECKPOINT = Path(str(relevance.__file__)).parent / "hcmrm" / "checkpoint"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A world and which ads can meet which query: `candidate` I[U, K], -1 padding."""

    scenario: Scenario
    world: World
    candidate: IntArray


@dataclass(frozen=True, slots=True)
class Relevance:
    """A scorer's relevance F[U, K] of the candidates (0 in padding), and its P(grade) F[U, K, 4] if any."""

    scorer: str
    score: FloatArray
    grade_probabilities: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """One run of a market."""

    market: Market
    log: SimulationLog
    metrics: dict[str, float]


def prepare(scenario: Scenario, *, cache: Path | None = None, progress: Progress | None = None) -> Prepared:
    """Build a scenario's world and retrieve every query's candidates.

    Args:
        cache: the results folder, under which key frames are kept; None draws them anew.

    Raises:
        StoreError: the cache cannot be written.
    """
    stage = _stage(progress, "drawing key frames")
    world = disk.cached_world(scenario.world, scenario.split, cache, stage)
    return Prepared(scenario, world, retrieve_candidates(world, scenario.retrieval.candidates))


def relevance_of(
    prepared: Prepared, scorer: str, *, cache: Path | None = None, progress: Progress | None = None
) -> Relevance:
    """Score every pair that can meet: a name in SCORERS, or "module:attr" of your own.

    A scorer of your own is a callable that takes the corpus and returns an object with `score(query, ad)`.
    Its scores are not kept on disk, since nothing says when its code has changed.

    Raises:
        CheckpointError: HCMRM's checkpoint is missing or damaged.
        PluginError, ScorerError: your own scorer cannot be loaded, or returns what is no relevance.
        StoreError: the cache cannot be written.
    """
    query, column = np.nonzero(prepared.candidate >= 0)
    ad = prepared.candidate[query, column]
    stage = _stage(progress, f"scoring with {scorer}")
    table = _scored(prepared, scorer, query, ad, cache, stage)
    row = table.rows(query, ad)
    score = np.zeros(prepared.candidate.shape)
    score[query, column] = table.score[row]
    if table.grade_probabilities is None:
        return Relevance(scorer, score)
    probabilities = np.zeros((*prepared.candidate.shape, len(GRADE_GAIN)))
    probabilities[query, column] = table.grade_probabilities[row]
    return Relevance(scorer, score, probabilities)


def settle(
    prepared: Prepared,
    relevance: Relevance,
    settings: Mapping[str, object] | None = None,
    *,
    n_queries: int | None = None,
    progress: Progress | None = None,
) -> Settled:
    """Run the prepared market with a scorer's relevance.

    Args:
        settings: fields to replace in the scenario, e.g. `{"fusion.relevance": 2.0}`.
        n_queries: settle an even sample of this many of the day's queries, with budgets scaled down alike; a
            preview.

    Raises:
        ScenarioError: a field does not exist, refuses its value, or would need another world (see PREPARED).
    """
    scenario = override(prepared.scenario, settings, fixed=PREPARED) if settings else prepared.scenario
    market = market_of(prepared, relevance, scenario)
    if n_queries is not None:
        market = thin(market, n_queries)
    log = simulate(market, _stage(progress, "settling the day"))
    return Settled(market, log, market_metrics(log, market))


def market_of(prepared: Prepared, relevance: Relevance, scenario: Scenario | None = None) -> Market:
    """The market of a scenario on a prepared world."""
    scenario = scenario or prepared.scenario
    return build_market(
        prepared.world,
        prepared.candidate,
        relevance.score,
        seed=scenario.seed,
        rule=scenario.fusion.build(),
        traffic=scenario.traffic,
        auction=scenario.auction,
        users_model=scenario.users,
        bidder_model=scenario.bidders,
        ctr_model=scenario.pctr,
        serving=scenario.serving,
    )


def thin(market: Market, n_queries: int) -> Market:
    """An even sample of a market's arrivals, with budgets scaled down by the same factor."""
    total = market.query.size
    if n_queries >= total:
        return market
    kept = np.arange(n_queries) * total // n_queries
    return replace(
        market,
        arrival_s=market.arrival_s[kept],
        query=market.query[kept],
        budget_micros=market.budget_micros * n_queries // total,
    )


def check_scorers(scenario: Scenario, scorers: Iterable[str]) -> None:
    """Find out before the work whether scorers can be had at all.

    Raises:
        CheckpointError, PluginError: see `relevance_of`.
    """
    for scorer in scorers:
        if scorer == "hcmrm":
            disk.checkpoint_hash(checkpoint_folder(scenario))
        elif ":" in scorer:
            load_object(scorer, "scorer")


def checkpoint_folder(scenario: Scenario) -> Path:
    """Where a scenario's HCMRM checkpoint lies."""
    return Path(scenario.hcmrm.checkpoint) if scenario.hcmrm.checkpoint else SHIPPED_CHECKPOINT


def _scored(
    prepared: Prepared,
    scorer: str,
    query: IntArray,
    ad: IntArray,
    cache: Path | None,
    progress: Callable[[int, int], None] | None,
) -> ScoreTable:
    """The scores of pairs [P], made or read from disk."""
    world, corpus = prepared.world, prepared.world.corpus
    if scorer == "none":
        return ScoreTable.build(query, ad, np.ones(query.size))
    if scorer == "oracle":  # knows the truth, which the corpus's fingerprint does not cover
        return ScoreTable.build(query, ad, score_pairs(OracleScorer(world.truth.grade), query, ad, scorer))
    if ":" in scorer:
        return ScoreTable.build(query, ad, score_pairs(_own_scorer(scorer, prepared), query, ad, scorer))

    path = None
    checkpoint = checkpoint_folder(prepared.scenario)
    if cache is not None:
        model = disk.checkpoint_hash(checkpoint) if scorer == "hcmrm" else ""
        path = disk.score_table_path(cache, scorer, corpus.fingerprint(), prepared.candidate, model)
        if (kept := disk.read_scores(path)) is not None:
            return kept
    if scorer == "bm25":
        table = ScoreTable.build(query, ad, score_pairs(Bm25Scorer(corpus), query, ad, scorer))
    else:
        from relevance.hcmrm import HcmrmScorer  # imports torch
        from relevance.hcmrm.device import use_device

        # Half the cores: threads that wait for one another crawl where something else keeps a core busy.
        use_device(prepared.scenario.hcmrm.device, threads=max(1, (os.cpu_count() or 1) // 2))
        model_scorer = HcmrmScorer.load(corpus, checkpoint, device=prepared.scenario.hcmrm.device)
        probabilities = model_scorer.grade_probabilities(query, ad, progress)
        table = ScoreTable.build(query, ad, probabilities @ np.asarray(GRADE_GAIN), probabilities)
    if path is not None:
        disk.write_scores(path, table)
    return table


def _own_scorer(name: str, prepared: Prepared) -> RelevanceScorer:
    factory = load_object(name, "scorer")
    if not callable(factory):
        raise PluginError(f"scorer '{name}': must be a callable that takes the corpus and returns a scorer")
    try:
        scorer: RelevanceScorer = factory(prepared.world.corpus)
    except Exception as error:  # a stranger's code may raise anything
        raise PluginError(f"scorer '{name}': making it failed ({type(error).__name__}: {error})") from error
    faults = check_scorer(scorer, prepared.world.corpus, np.random.default_rng(0))
    if faults:
        raise PluginError(f"scorer '{name}': {'; '.join(faults)}")
    return scorer


def _stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)
