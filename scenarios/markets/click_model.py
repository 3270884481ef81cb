"""A click model fitted on a log (`relbid fit-pctr`), as a file that scenarios name in `pctr.model`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from scenarios.config.load import FileKind, read_file
from scenarios.config.scenario import ScorerName, Settings
from simulator import pctr
from simulator.arrays import FloatArray, GradeArray
from simulator.market import Market, with_settings
from simulator.pctr import FittedCtr
from simulator.retrieval import Candidates


class Figures(Settings):
    """How good predicted click probabilities are, on the part of the log that was held out."""

    log_loss: float
    """Per impression, natural logarithm."""
    calibration_error: float
    """|predicted - clicked| share, averaged over 20 groups of equally many impressions by prediction."""
    predicted_to_clicked: float
    """Expected clicks over clicks."""
    auc: float


class CtrFile(Settings):
    """What `relbid fit-pctr` writes."""

    kind: Literal["pctr"]
    schema_version: Literal[1] = Field(alias="schema")
    scenario: str
    """Name of the scenario whose log it was fitted on."""
    scorer: ScorerName | None
    """Whose relevance is a feature, if any."""
    coefficients: FittedCtr
    examination: tuple[float, ...]
    """P(examined) by slot, as estimated from the log; the first is the scenario's own."""
    impressions: int
    clicks: int
    before: Figures
    after: Figures


CTR_FILE = FileKind(
    CtrFile, "a click model", "what relbid fit-pctr writes", "relbid fit-pctr SCENARIO makes one"
)


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """What a platform knows of the pairs that can meet, [U, K]; 0 in padding."""

    relevance: FloatArray
    match: GradeArray  # 0 exact, 1 phrase, 2 broad


@dataclass(frozen=True, slots=True)
class PreparedCtr:
    """A fitted model and the features of a prepared world's pairs."""

    coefficients: FittedCtr
    features: PairFeatures


def read_ctr_file(path: Path | str) -> CtrFile:
    """Read what `relbid fit-pctr` wrote.

    Raises:
        ScenarioError: it cannot be read or is no such file.
    """
    return read_file(path, CTR_FILE)[0]


def pair_features(found: Candidates, relevance: FloatArray | None) -> PairFeatures:
    """Features of a world's candidates; `relevance` F[U, K] of a scorer, if that is a feature."""
    return PairFeatures(np.zeros(found.ad.shape) if relevance is None else relevance, found.recall)


def with_fitted_ctr(market: Market, fitted: PreparedCtr) -> Market:
    """The same market, ranked by the fitted predictions; budgets and all other draws stay as they were."""
    features = fitted.features
    refined = pctr.refine(fitted.coefficients, market.pctr, features.relevance, features.match)
    return with_settings(market, pctr=refined)
