"""A scenario's market: build the world once, score each scorer's pairs once, simulate as often as asked.

prepare       world and candidates: what no sweep changes
relevance_of  a scorer's relevance of every pair that can meet, from disk where it was computed before
simulate        the market of a scenario run through a day: metrics and log
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import relevance
from relevance.cached import ScoreTable
from relevance.errors import CheckpointError, PluginError
from relevance.oracle import GRADE_GAIN, OracleScorer
from relevance.protocol import RelevanceScorer, check_scorer, load_object, score_pairs
from scenarios.config.load import override
from scenarios.config.market_kinds import TableMarket
from scenarios.config.scenario import PREPARED, HcmrmSettings, Scenario
from scenarios.errors import ScenarioError, did_you_mean, quoted
from scenarios.markets.click_model import PreparedCtr, pair_features, read_ctr_file, with_fitted_ctr
from scenarios.markets.table.auctions import Auctions, relevance_by
from scenarios.markets.table.table_market import known_metrics, read_market, scenario_market
from scenarios.storage import cache as disk
from simulator.arrays import MICROS as MICROS, FloatArray, IntArray
from simulator.auction import check_vcg
from simulator.clock import engine
from simulator.fusion import FusionRule
from simulator.log import SimulationLog, Sink, both
from simulator.market import Market, build_market, retrieve_candidates, with_settings
from simulator.measures.market_metrics import Totals, market_metrics
from simulator.serving import FALLBACK as FALLBACK
from simulator.world import World

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

SHIPPED_CHECKPOINT = Path(str(relevance.__file__)).parent / "hcmrm" / "checkpoint"
SHIPPED_CHECKPOINTS: Mapping[str, Path] = {
    "shipped": SHIPPED_CHECKPOINT,
    "graded": SHIPPED_CHECKPOINT.with_name("checkpoint-graded"),
    "pqvm": SHIPPED_CHECKPOINT.with_name("checkpoint-pqvm"),
    "bce": SHIPPED_CHECKPOINT.with_name("checkpoint-bce"),
}
"""Checkpoints of the package by their names in scenario files. The last three have no soft markers
and are of equal steps, data and seed: graded labels; the same after pre-training with pseudo-queries; the
previous kind of model, trained with binary labels and without pseudo-queries."""


OWN_CHUNK = 8192
"""Pairs that a scorer of one's own is asked for at once."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A world or a table, and which ads can meet which query: `candidate` I[U, K], -1 padding."""

    scenario: Scenario
    source: World | Auctions
    candidate: IntArray
    cheap: Mapping[str, FloatArray] = field(default_factory=dict)  # relevance by scorers that serving names
    ctr: PreparedCtr | None = None  # of the click model that the scenario names, if it does

    @property
    def world(self) -> World:
        """The embedded world.

        Raises:
            ScenarioError: the market is a table, which has no texts, frames or keywords.
        """
        if isinstance(self.source, Auctions):
            raise ScenarioError(
                f"{self.scenario.name}, market.kind: this needs the texts and frames of the embedded world, "
                "which a table of auctions has not"
            )
        return self.source


@dataclass(frozen=True, slots=True)
class Relevance:
    """A scorer's relevance F[U, K] of the candidates (0 in padding), and its P(grade) F[U, K, 4] if any."""

    scorer: str
    score: FloatArray
    grade_probabilities: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Simulation:
    """One run of a market."""

    market: Market
    log: SimulationLog
    metrics: dict[str, float]


def prepare(scenario: Scenario, *, cache: Path | None = None, progress: Progress | None = None) -> Prepared:
    """Build a scenario's world and retrieve every query's candidates.

    Args:
        cache: the results folder, under which key frames are kept; None draws them anew.

    Raises:
        PluginError: your own fusion rule cannot be loaded, or is not fit for an auction.
        ScenarioError: the click model that it names is missing or damaged.
        StoreError: the cache cannot be written.
        TableError: the table of auctions that it names cannot be read, or holds what no auction can.
    """
    rule_of(scenario)  # before the work, not after
    if isinstance(scenario.market, TableMarket):
        auctions = read_market(scenario.market)
        cheap = {name: relevance_by(auctions, name) for name in scenario.serving.cheap_scorers}
        return Prepared(scenario, auctions, auctions.candidate, cheap)
    fitted = None if scenario.pctr.model is None else read_ctr_file(scenario.pctr.model)
    stage = _stage(progress, "drawing key frames")
    world = disk.cached_world(scenario.world, scenario.split, cache, stage)
    prepared = Prepared(scenario, world, retrieve_candidates(world, scenario.retrieval.candidates))
    prepared = replace(
        prepared,
        cheap={
            name: relevance_of(prepared, name, cache=cache, progress=progress).score
            for name in scenario.serving.cheap_scorers
        },
    )
    if fitted is None:
        return prepared
    known = None
    if fitted.scorer is not None:
        known = relevance_of(prepared, fitted.scorer, cache=cache, progress=progress).score
    features = pair_features(world, prepared.candidate, known)
    return replace(prepared, ctr=PreparedCtr(fitted.coefficients, features))


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
    if isinstance(prepared.source, Auctions):
        return Relevance(scorer, relevance_by(prepared.source, scorer))
    query, column = np.nonzero(prepared.candidate >= 0)
    ad = prepared.candidate[query, column]
    stage = _stage(progress, f"scoring with {scorer}")
    table = _scored(prepared, scorer, query, ad, prepared.candidate, cache, stage)
    row = table.rows(query, ad)
    score = np.zeros(prepared.candidate.shape)
    score[query, column] = table.score[row]
    if table.grade_probabilities is None:
        return Relevance(scorer, score)
    probabilities = np.zeros((*prepared.candidate.shape, len(GRADE_GAIN)))
    probabilities[query, column] = table.grade_probabilities[row]
    return Relevance(scorer, score, probabilities)


def pair_scores(
    prepared: Prepared,
    scorer: str,
    query: IntArray,
    ad: IntArray,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> ScoreTable:
    """Score any pairs [P] of the world, every one once; as `relevance_of` does, with the same errors."""
    pairs = np.stack((query, ad))
    return _scored(prepared, scorer, query, ad, pairs, cache, _stage(progress, f"scoring with {scorer}"))


def frames_kept(scenario: Scenario, cache: Path) -> bool:
    """Whether `prepare` finds the key frames on disk, and need not draw them."""
    return isinstance(scenario.market, TableMarket) or disk.frames_kept(scenario.world, scenario.split, cache)


def scores_kept(prepared: Prepared, scorer: str, cache: Path) -> bool:
    """Whether `relevance_of` need not run a model whose scores it could keep.

    Raises:
        CheckpointError: HCMRM's checkpoint is missing.
    """
    if isinstance(prepared.source, Auctions) or scorer not in disk.KEPT_SCORERS:
        return True
    return disk.read_scores(_kept_scores(prepared, scorer, prepared.candidate, cache)) is not None


def simulate(
    prepared: Prepared,
    relevance: Relevance,
    settings: Mapping[str, object] | None = None,
    *,
    n_queries: int | None = None,
    sink: Sink | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Run the prepared market with a scorer's relevance.

    Args:
        settings: fields to replace in the scenario, e.g. `{"fusion.relevance": 2.0}`.
        n_queries: simulate an even sample of this many of the day's queries, with budgets scaled down alike;
            a preview.
        sink: takes the log's shown ads in parts (see `simulator.log.Sink`), and none are kept in memory.

    Raises:
        ScenarioError: a field does not exist, refuses its value, or would need another world (see PREPARED).
    """
    scenario = override(prepared.scenario, settings, fixed=PREPARED) if settings else prepared.scenario
    market = market_of(prepared, relevance, scenario)
    if n_queries is not None:
        market = thin(market, n_queries)
    return simulate_market(prepared, market, sink=sink, progress=progress)


def simulate_market(
    prepared: Prepared, market: Market, *, sink: Sink | None = None, progress: Progress | None = None
) -> Simulation:
    """Run a market that `market_of` has made; see `simulate`."""
    stage = _stage(progress, "simulating the day")
    if sink is None:
        log = engine.simulate(market, stage)
        metrics = market_metrics(log, market)
    else:
        totals = Totals(market)
        log = engine.simulate(market, stage, both(totals.add, sink))
        metrics = totals.metrics(log)
    if isinstance(prepared.source, Auctions):
        metrics = known_metrics(metrics, prepared.source)
    return Simulation(market, log, metrics)


def market_of(prepared: Prepared, relevance: Relevance, scenario: Scenario | None = None) -> Market:
    """The market of a scenario on a prepared world.

    Raises:
        ScenarioError: it names another click model, or other scorers in serving, than were prepared.
    """
    scenario = scenario or prepared.scenario
    if scenario.pctr.model != prepared.scenario.pctr.model:
        raise ScenarioError(f"{scenario.name}, pctr.model: is read before a run; set it in the scenario")
    if isinstance(prepared.source, Auctions):
        market = scenario_market(prepared.source, relevance.score, scenario, rule_of(scenario))
        return _with_cheap(market, prepared, scenario)
    market = build_market(
        prepared.world,
        prepared.candidate,
        relevance.score,
        seed=scenario.seed,
        rule=rule_of(scenario),
        traffic=scenario.traffic,
        auction=scenario.auction,
        users_model=scenario.users,
        bidder_model=scenario.bidders,
        ctr_model=scenario.pctr,
        serving=scenario.serving,
    )
    market = _with_cheap(market, prepared, scenario)
    return market if prepared.ctr is None else with_fitted_ctr(market, prepared.ctr)


def rule_of(scenario: Scenario) -> FusionRule:
    """The fusion rule of a scenario.

    Raises:
        PluginError: your own rule cannot be loaded, or is not fit for an auction.
        ScenarioError: VCG is asked for and your own rule is not affine in the bid.
    """
    rule = scenario.fusion.build()
    if scenario.auction.mechanism == "vcg":
        try:
            check_vcg(rule, scenario.users.examination)
        except ValueError as error:
            raise ScenarioError(f"{scenario.name}, auction.mechanism: {error}") from None
    return rule


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
        user=None if market.user is None else market.user[kept],
        arm=None if market.arm is None else market.arm[kept],
        budget_micros=market.budget_micros * n_queries // total,
    )


def check_scorers(scenario: Scenario, scorers: Iterable[str]) -> None:
    """Find out before the work whether scorers can be had at all.

    Raises:
        CheckpointError, PluginError: see `relevance_of`.
    """
    if isinstance(scenario.market, TableMarket):
        return  # its columns are looked at where it is read
    for scorer in (*scorers, *scenario.serving.cheap_scorers):
        if scorer == "hcmrm":
            try:
                disk.checkpoint_hash(checkpoint_folder(scenario))
            except CheckpointError as error:
                name = scenario.hcmrm.checkpoint or "shipped"
                hint = did_you_mean(name, SHIPPED_CHECKPOINTS)
                raise CheckpointError(
                    f"{scenario.name}, hcmrm.checkpoint {quoted(name)}{hint}: {error}"
                ) from error
        elif ":" in scorer:
            load_object(scorer, "scorer")


def _with_cheap(market: Market, prepared: Prepared, scenario: Scenario) -> Market:
    return with_settings(
        market,
        fallback_relevance=_cheap(prepared, scenario, "fallback"),
        first_stage_relevance=_cheap(prepared, scenario, "first_stage"),
    )


def _cheap(prepared: Prepared, scenario: Scenario, role: str) -> FloatArray | None:
    """Relevance by a scorer that serving names, by its role there; None where it needs none."""
    name = getattr(scenario.serving, role)
    if name in scenario.serving.cheap_scorers and name not in prepared.cheap:
        raise ScenarioError(
            f"{scenario.name}, serving.{role}: is scored before a run; set it in the scenario"
        )
    return prepared.cheap.get(name)


def checkpoint_folder(scenario: Scenario) -> Path:
    """Where a scenario's HCMRM checkpoint lies: a name in SHIPPED_CHECKPOINTS, or a folder."""
    name = scenario.hcmrm.checkpoint or "shipped"
    return SHIPPED_CHECKPOINTS.get(name, Path(name))


def _model_key(scenario: Scenario) -> str:
    """What decides the scores that a checkpoint gives."""
    settings, usual = scenario.hcmrm, HcmrmSettings()
    parts = [disk.checkpoint_hash(checkpoint_folder(scenario))]
    parts += [settings.calibration] if settings.calibration != usual.calibration else []
    parts += [settings.precision] if settings.precision != usual.precision else []
    return "-".join(parts)


def _scored(
    prepared: Prepared,
    scorer: str,
    query: IntArray,
    ad: IntArray,
    key: IntArray,
    cache: Path | None,
    progress: Callable[[int, int], None] | None,
) -> ScoreTable:
    """The scores of pairs [P], made or read from disk, where `key` tells them from other pairs."""
    world, corpus = prepared.world, prepared.world.corpus
    if scorer == "none":
        return ScoreTable.build(query, ad, np.ones(query.size))
    if scorer == "oracle":  # knows the truth, which the corpus's fingerprint does not cover
        return ScoreTable.build(query, ad, score_pairs(OracleScorer(world.truth.grade), query, ad, scorer))
    if ":" in scorer:
        own = own_scorer(scorer, prepared)
        score = score_pairs(own, query, ad, scorer, corpus=corpus, chunk=OWN_CHUNK, progress=progress)
        return ScoreTable.build(query, ad, score)

    path = None
    if cache is not None:
        path = _kept_scores(prepared, scorer, key, cache)
        if (kept := disk.read_scores(path)) is not None:
            return kept
    if scorer == "bm25":
        from relevance.lexical import Bm25Scorer  # imports numba where that is installed

        table = ScoreTable.build(query, ad, score_pairs(Bm25Scorer(corpus), query, ad, scorer))
    else:
        if progress is not None:
            progress(0, query.size)  # importing torch and loading the model take their time, too
        from relevance.hcmrm import HcmrmScorer  # imports torch
        from relevance.hcmrm.device import use_device

        # Half the cores: threads that wait for one another crawl where something else keeps a core busy.
        settings = prepared.scenario.hcmrm
        use_device(settings.device, threads=max(1, (os.cpu_count() or 1) // 2))
        model_scorer = HcmrmScorer.load(
            corpus,
            checkpoint_folder(prepared.scenario),
            device=settings.device,
            calibration=settings.calibration,
            precision=settings.precision,
        )
        table = ScoreTable.build(query, ad, *model_scorer.read(query, ad, progress))
    if path is not None:
        disk.write_scores(path, table)
    return table


def _kept_scores(prepared: Prepared, scorer: str, key: IntArray, cache: Path) -> Path:
    """Where a built-in scorer's scores of the pairs that `key` tells from others are kept."""
    model = _model_key(prepared.scenario) if scorer == "hcmrm" else ""
    corpus = prepared.world.corpus.fingerprint()
    return disk.score_table_path(cache, scorer, corpus, key, model)


def own_scorer(name: str, prepared: Prepared) -> RelevanceScorer:
    """Make the scorer that "module:attr" names, and try it.

    Raises:
        PluginError: it cannot be loaded, or is no scorer.
    """
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
