"""What is made once for a market and shared by every run on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from relevance.corpus import Corpus
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.kind import MarketSource
from simulator.arrays import FloatArray, IntArray
from simulator.market import Past
from simulator.retrieval import Candidates
from simulator.scoring import RelevanceSource
from simulator.world import World


@dataclass(frozen=True, slots=True)
class Prepared:
    """A market's source, and which ads can meet which query."""

    scenario: Scenario
    source: MarketSource
    cheap: Mapping[str, RelevanceSource] = field(default_factory=dict)
    """Relevance by the scorers that the block serving names."""
    pasts: dict[str, Past] = field(default_factory=dict, repr=False, compare=False)
    """See `scenarios.markets.simulation.shared_past`, which keeps them here."""
    candidates: Candidates | None = None
    """See `found`; None until somebody asks for them."""

    @property
    def found(self) -> Candidates:
        """The ads that can meet each of U queries. A live run does not ask for them."""
        if self.candidates is None:
            object.__setattr__(self, "candidates", self.source.candidates(self.scenario))
        assert self.candidates is not None
        return self.candidates

    @property
    def candidate(self) -> IntArray:
        """The ads of `found`, I[U, K], -1 padding."""
        return self.found.ad

    @property
    def cheap_tables(self) -> dict[str, FloatArray]:
        """`cheap` as tables F[U, K].

        Raises:
            ScenarioError: they are not scored beforehand.
        """
        return {name: Relevance(name, score).table for name, score in self.cheap.items()}

    @property
    def world(self) -> World:
        """The embedded world.

        Raises:
            ScenarioError: the market is of another kind.
        """
        if self.source.world is None:
            raise self._without_texts()
        return self.source.world

    @property
    def corpus(self) -> Corpus:
        """Texts of the queries, texts and frames of the ads.

        Raises:
            ScenarioError: the market has none.
        """
        if self.source.corpus is None:
            raise self._without_texts()
        return self.source.corpus

    @property
    def popularity(self) -> FloatArray:
        """Share of the traffic of each of U queries.

        Raises:
            ScenarioError: the market has no texts.
        """
        if not self.source.has_texts:
            raise self._without_texts()
        return self.source.popularity

    def without_frames(self) -> Prepared:
        """The same without the key frames, which nothing looks at once all pairs are scored.

        Where pairs are scored live they stay.
        """
        live = self.scenario.serving.scoring == "live"
        return self if live else replace(self, source=self.source.without_frames())

    def _without_texts(self) -> ScenarioError:
        return ScenarioError(
            f"this needs {'' if self.source.has_texts else 'the texts and frames of '}the embedded world, "
            f"which {self.source.called} does not have",
            file=self.scenario.place,
            field="market.kind",
        )


@dataclass(frozen=True, slots=True)
class Relevance:
    """A scorer's relevance, and its P(grade) F[U, K, 4] if it was scored beforehand and has them."""

    scorer: str
    score: RelevanceSource
    """Of the candidates F[U, K] (0 in padding), or the scorer itself where it is asked live."""
    grade_probabilities: FloatArray | None = None

    @property
    def table(self) -> FloatArray:
        """The relevance F[U, K].

        Raises:
            ScenarioError: it is not scored beforehand.
        """
        if not isinstance(self.score, np.ndarray):
            raise needs_tables()
        return self.score


def needs_tables(scenario: Scenario | None = None) -> ScenarioError:
    """What to raise where all pairs must have been scored, and are not."""
    return ScenarioError(
        "this needs the relevance of all pairs before a run",
        file=None if scenario is None else scenario.place,
        field="serving.scoring",
        remedy="set serving.scoring: table and serving.clock: profile",
    )
