"""The embedded world as a market: a catalogue, its queries and ads, with texts, frames and true grades."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from relevance.corpus import Corpus
from scenarios.config.scenario import Scenario
from scenarios.markets.kind import MarketSource, Progress, stage_of
from scenarios.storage import cache as disk
from simulator.arrays import FloatArray, GradeArray, IntArray
from simulator.fusion import FusionRule
from simulator.market import Market, build_market, retrieve_candidates
from simulator.world import World


@dataclass(frozen=True, slots=True)
class EmbeddedWorld(MarketSource):
    """One split of a world."""

    world: World
    called: ClassVar[str] = "the embedded world"

    @classmethod
    def is_kept(cls, scenario: Scenario, cache: Path) -> bool:
        return disk.frames_kept(scenario.world, scenario.split, cache)

    @classmethod
    def read(cls, scenario: Scenario, cache: Path | None, progress: Progress | None) -> Self:
        stage = stage_of(progress, "drawing key frames")
        return cls(disk.cached_world(scenario.world, scenario.split, cache, stage))

    def candidates(self, scenario: Scenario) -> IntArray:
        return retrieve_candidates(self.world, scenario.retrieval.candidates)

    @property
    def corpus(self) -> Corpus:
        return self.world.corpus

    def grade(self, query: IntArray, ad: IntArray) -> GradeArray:
        return self.world.truth.grade(query, ad)

    def market(
        self, candidate: IntArray, relevance: FloatArray, scenario: Scenario, rule: FusionRule
    ) -> Market:
        return build_market(
            self.world,
            candidate,
            relevance,
            seed=scenario.seed,
            rule=rule,
            traffic=scenario.traffic,
            auction=scenario.auction,
            users_model=scenario.users,
            bidder_model=scenario.bidders,
            ctr_model=scenario.pctr,
            serving=scenario.serving,
        )

    def n_queries(self, scenario: Scenario) -> int:
        return scenario.traffic.n_queries * scenario.traffic.days

    def without_frames(self) -> Self:
        corpus = self.world.corpus
        bare = replace(corpus, frames=corpus.frames[:, :0].copy())
        return replace(self, world=replace(self.world, corpus=bare))
