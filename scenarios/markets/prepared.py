"""What is made once for a market and shared by every run on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relevance.corpus import Corpus
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.click_model import PreparedCtr
from scenarios.markets.kind import MarketSource
from simulator.arrays import FloatArray, IntArray
from simulator.world import World


@dataclass(frozen=True, slots=True)
class Prepared:
    """A market's source, and which ads can meet which query: `candidate` I[U, K], -1 padding."""

    scenario: Scenario
    source: MarketSource
    candidate: IntArray
    cheap: Mapping[str, FloatArray] = field(default_factory=dict)
    """Relevance F[U, K] by the scorers that the block serving names."""
    ctr: PreparedCtr | None = None
    """Of the fitted click model that the scenario names, if it names one."""

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

    def without_frames(self) -> Prepared:
        """The same without the key frames, which nothing looks at once all pairs are scored."""
        return replace(self, source=self.source.without_frames())

    def _without_texts(self) -> ScenarioError:
        return ScenarioError(
            "this needs the texts and frames of the embedded world, "
            f"which {self.source.called} does not have",
            file=self.scenario.name,
            field="market.kind",
        )


@dataclass(frozen=True, slots=True)
class Relevance:
    """A scorer's relevance F[U, K] of the candidates (0 in padding), and its P(grade) F[U, K, 4] if any."""

    scorer: str
    score: FloatArray
    grade_probabilities: FloatArray | None = None
