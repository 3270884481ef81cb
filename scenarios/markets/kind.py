"""What a kind of market must give: one class for each kind, which `registry` finds by `market.kind`.

Nothing here says how a market is stored or drawn: a kind may read a table, build a world, or read a corpus.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from scenarios.errors import ScenarioError
from simulator.arrays import FloatArray, GradeArray, IntArray

if TYPE_CHECKING:
    import polars as pl

    from relevance.corpus import Corpus, Labels
    from scenarios.config.scenario import Scenario
    from simulator.fusion import FusionRule
    from simulator.log import Impressions
    from simulator.market import Market
    from simulator.retrieval import Candidates
    from simulator.scoring import RelevanceSource
    from simulator.world import World

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


def stage_of(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    """The progress of one stage, called with (done, total)."""
    return None if progress is None else lambda done, total: progress(name, done, total)


class Found(NamedTuple):
    """What retrieval makes of a text: the words that it reads, and the ads that bid on them, best first."""

    words: tuple[tuple[str, str], ...]
    """Each word as typed and as read."""
    ad: IntArray
    """[n] candidates."""
    keyword: tuple[str, ...]
    """[n] the bid keyword that brings each."""
    match: GradeArray
    """[n] how closely it meets the text; see `simulator.retrieval.RECALLS`."""


class CalibrationPairs(NamedTuple):
    """Graded pairs that scores are calibrated on."""

    corpus: Corpus
    labels: Labels
    own: bool
    """Whether they are of the market's own queries, by its own numbers."""


def absolute(path: Path) -> Path:
    """Where a file of a market is. Links are not followed: a message names the link that a user gave."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def leave_out(scenario: Scenario, field: str, reason: str, remedy: str = "leave it out") -> ScenarioError:
    """The error that a setting has no meaning in this kind of market."""
    return ScenarioError(reason, file=scenario.place, field=field, remedy=remedy)


class MarketSource(ABC):
    """Where the queries and ads of a scenario come from: U queries, K candidates of each at most.

    The class methods look at a scenario before anything is read. An instance holds what was read or built.
    Scenarios share it where their blocks `scenarios.config.scenario.PREPARED` are equal. It can be pickled.
    """

    __slots__ = ()

    called: ClassVar[str]
    """The kind in words, for messages."""
    has_texts: ClassVar[bool] = True
    """Whether there are texts to read (`corpus`) and true grades of pairs (`grade`). Without them the market
    brings the relevance of its pairs itself (`relevance`)."""
    has_other_days: ClassVar[bool] = True
    """Whether another seed brings other queries."""

    @classmethod
    def completed(cls, scenario: Scenario, folder: Path) -> Scenario:
        """The scenario of a file in `folder`, with what the files of its market decide filled in.

        Raises:
            ScenarioError: a block has no meaning in this kind of market.
            TableError: a file cannot be read.
        """
        cls.refuse_meaningless(scenario)
        return scenario

    @classmethod  # noqa: B027  (a kind may refuse nothing)
    def refuse_meaningless(cls, scenario: Scenario) -> None:
        """Refuse blocks that have no meaning in this kind of market, in a file or as set over one.

        Raises:
            ScenarioError: names the first one.
        """

    @classmethod  # noqa: B027  (where there are texts, scorers read them)
    def check_brought(cls, scenario: Scenario, scorers: Iterable[str]) -> None:
        """Find out before the work whether a market without texts brings the relevance by these scorers.

        Raises:
            TableError: it does not, or a file cannot be read.
        """

    @classmethod
    def is_kept(cls, scenario: Scenario, cache: Path) -> bool:
        """Whether `read` finds on disk what takes long to make."""
        return True

    @classmethod
    @abstractmethod
    def read(cls, scenario: Scenario, cache: Path | None, progress: Progress | None) -> Self:
        """Read or build the market of a scenario.

        Args:
            cache: the results folder, under which slow parts are kept; None keeps nothing.

        Raises:
            StoreError: the cache cannot be written.
            TableError: a file cannot be read.
        """

    @abstractmethod
    def candidates(self, scenario: Scenario) -> Candidates:
        """The ads that can meet each of U queries."""

    @property
    def world(self) -> World | None:
        """The embedded world, where this is one."""
        return None

    @property
    def corpus(self) -> Corpus | None:
        """Texts of queries, texts and frames of ads; None where there is nothing to read."""
        return None

    @property
    def popularity(self) -> FloatArray:
        """Share of the traffic of each of U queries; asked of markets that have texts."""
        raise NotImplementedError

    @property
    def notes(self) -> tuple[str, ...]:
        """What this market says of itself and what is modelled, for whoever reads its results."""
        return ()

    def grade(self, query: IntArray, ad: IntArray) -> GradeArray:
        """True grades 0..3 of pairs I[P], -1 where they are unknown; asked of markets that have texts."""
        raise NotImplementedError

    def relevance(self, scorer: str) -> FloatArray | None:
        """Relevance F[U, K] (0 in padding) that the market brings; None: a scorer must read the texts.

        Raises:
            TableError: the market should bring it, and does not.
        """
        return None

    def calibrated_on(self, scenario: Scenario) -> str:
        """What `calibration_pairs` are, in words."""
        return ""

    def calibration_pairs(self, scenario: Scenario, *, frames: bool) -> CalibrationPairs | None:
        """Graded pairs that the metrics do not use, or of the market's own queries; None: none are known.

        Args:
            frames: whether frames are looked at.
        """
        return None

    @abstractmethod
    def market(
        self, candidate: Candidates | int, relevance: RelevanceSource, scenario: Scenario, rule: FusionRule
    ) -> Market:
        """The simulator's market.

        Args:
            candidate: the candidates of all queries; K where they are found batch by batch.
        """

    def n_queries(self, scenario: Scenario) -> int:
        """How many queries come, over all days."""
        return scenario.traffic.n_queries * scenario.traffic.days

    def find(self, text: str, scenario: Scenario) -> Found:
        """The ads that can meet a query of any text; asked of markets that have texts."""
        raise NotImplementedError

    def with_query(self, text: str) -> tuple[Self, bool]:
        """The market with one more query, the last, which no user asks; asked of markets that have texts.

        Returns:
            The market, and whether the grades of the new query are known.
        """
        raise NotImplementedError

    def known(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The metrics of a run; NaN for those that nothing in this market can say."""
        return dict(metrics)

    def named(self, log: Impressions) -> pl.DataFrame:
        """One row per shown ad, under the names that its owner gave."""
        return log.impressions()

    def without_frames(self) -> Self:
        """The same market without key frames."""
        return self


def drawn_by(scenario: Scenario, rule: FusionRule) -> dict[str, Any]:
    """A scenario's blocks and the rule as arguments of `simulator.market.draw_market`."""
    return {
        "seed": scenario.seed,
        "rule": rule,
        "traffic": scenario.traffic,
        "auction": scenario.auction,
        "users_model": scenario.users,
        "bidder_model": scenario.bidders,
        "ctr_model": scenario.pctr,
        "serving": scenario.serving,
    }
