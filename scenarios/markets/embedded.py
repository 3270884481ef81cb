"""The embedded world as a market: a catalogue, its queries and ads, with texts, frames and true grades."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from relevance.corpus import Corpus
from relevance.words import words_of
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.kind import CalibrationPairs, Found, MarketSource, Progress, drawn_by, stage_of
from scenarios.storage import cache as disk
from simulator import retrieval
from simulator.arrays import FloatArray, GradeArray, IntArray
from simulator.fusion import FusionRule
from simulator.market import Market, build_market, keyword_index, retrieve_candidates
from simulator.retrieval import Candidates
from simulator.scoring import RelevanceSource
from simulator.world import Split, World, build_world, graded_pairs
from simulator.world.intents import Intent, read_intent, vocabulary


@dataclass(frozen=True, slots=True)
class EmbeddedWorld(MarketSource):
    """One split of a world."""

    world: World
    kept: Path | None = None
    """The results folder, under which candidates are kept."""
    called: ClassVar[str] = "the embedded world"

    @classmethod
    def is_kept(cls, scenario: Scenario, cache: Path) -> bool:
        return disk.kept_frames(scenario.world, scenario.split, cache) is not None

    @classmethod
    def read(cls, scenario: Scenario, cache: Path | None, progress: Progress | None) -> Self:
        stage = stage_of(progress, "drawing key frames")
        world = disk.cached_world(scenario.world, scenario.split, cache, stage)
        if world.corpus.n_queries == 0:
            raise ScenarioError(
                f"none of {scenario.world.query_pool:,} queries belongs to the split '{scenario.split}'",
                file=scenario.place,
                field="world.query_pool",
                remedy="draw more",
            )
        return cls(world, cache)

    def candidates(self, scenario: Scenario) -> Candidates:
        k, reach = scenario.retrieval.candidates, scenario.retrieval.reach
        return disk.cached_candidates(
            scenario.world,
            scenario.split,
            self.kept,
            k,
            reach,
            lambda: retrieve_candidates(self.world, k, reach),
        )

    @property
    def corpus(self) -> Corpus:
        return self.world.corpus

    @property
    def popularity(self) -> FloatArray:
        return self.world.query_popularity

    def grade(self, query: IntArray, ad: IntArray) -> GradeArray:
        return self.world.truth.grade(query, ad)

    def calibrated_on(self, scenario: Scenario) -> str:
        return f"graded pairs of the world's split {_other_split(scenario)}"

    def calibration_pairs(self, scenario: Scenario, *, frames: bool) -> CalibrationPairs:
        split = _other_split(scenario)
        world = (
            disk.cached_world(scenario.world, split, self.kept)
            if frames
            else build_world(scenario.world, split, draw=False)
        )
        return CalibrationPairs(world.corpus, graded_pairs(world, split).of(split), own=False)

    def market(
        self, candidate: Candidates | int, relevance: RelevanceSource, scenario: Scenario, rule: FusionRule
    ) -> Market:
        return build_market(
            self.world,
            candidate,
            relevance,
            reach=scenario.retrieval.reach,
            **drawn_by(scenario, rule),
        )

    def find(self, text: str, scenario: Scenario) -> Found:
        index, k = keyword_index(self.world, scenario.retrieval.reach, [text]), scenario.retrieval.candidates
        keyword = retrieval.matching_keywords(index, 0)[:k]
        return Found(
            words=tuple(zip(words_of(text), index.words(0), strict=True)),
            ad=index.keyword_ad[keyword],
            keyword=tuple(self.world.keyword[one] for one in keyword),
            match=retrieval.retrieve(index, np.zeros(1, dtype=np.int64), k).recall[0, : keyword.size],
        )

    def with_query(self, text: str) -> tuple[Self, bool]:
        world, truth = self.world, self.world.truth
        known = vocabulary(world.catalog)
        words = (word if word in known else retrieval.correct(word, sorted(known)) for word in words_of(text))
        intent = read_intent(world.catalog, tuple(words))
        product, colour, brand = intent or Intent(product=0)  # not known: nobody looks at its grades
        wider = replace(
            world,
            corpus=replace(world.corpus, query_text=(*world.corpus.query_text, text)),
            truth=replace(
                truth,
                query_product=np.append(truth.query_product, product),
                query_colour=np.append(truth.query_colour, colour),
                query_brand=np.append(truth.query_brand, brand),
            ),
            query_popularity=np.append(world.query_popularity, 0.0),
        )
        return replace(self, world=wider, kept=None), intent is not None

    def without_frames(self) -> Self:
        corpus = self.world.corpus
        bare = replace(corpus, frames=corpus.frames[:, :0].copy())
        return replace(self, world=replace(self.world, corpus=bare))


def _other_split(scenario: Scenario) -> Split:
    """A split of the world whose queries and ads are not in the market."""
    return "test" if scenario.split == "validation" else "validation"
