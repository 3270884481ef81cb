"""Calibration: a ranking score becomes P(positive), fitted on pairs that no training has seen.

Temperature scaling (Guo et al. 2017) keeps the order of all scores. Here it has a shift, as Platt scaling
has, because a ranking score is no logit. Isotonic regression may make scores equal, and needs more pairs. All
functions are pure. P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, get_args

import numpy as np
from annotated_types import Ge, Le, MinLen
from scipy.optimize import minimize
from scipy.special import expit, logit

from relevance.arrays import BoolArray, FloatArray
from relevance.extras import require
from relevance.ranges import Share, check_columns, check_ranges, check_within

EDGE = 1e-9
"""Scores are clipped to [EDGE, 1 - EDGE] before their log odds are taken."""


@dataclass(frozen=True, slots=True)
class TemperatureCalibration:
    """sigmoid(logit(score) / temperature + shift)."""

    name: ClassVar[str] = "temperature"

    temperature: Annotated[float, Ge(1e-6), Le(1e6)]
    shift: Annotated[float, Ge(-1e6), Le(1e6)]

    def __post_init__(self) -> None:
        check_ranges(self)

    def __call__(self, score: FloatArray) -> FloatArray:
        """[P] -> [P]."""
        return np.asarray(expit(_log_odds(score) / self.temperature + self.shift))


@dataclass(frozen=True, slots=True)
class IsotonicCalibration:
    """Linear between knots: `score` [N] rises, `probability` [N] does not fall; constant outside."""

    name: ClassVar[str] = "isotonic"

    score: Annotated[tuple[Share, ...], MinLen(1)]
    probability: Annotated[tuple[Share, ...], MinLen(1)]

    def __post_init__(self) -> None:
        check_ranges(self)
        check_columns(score=self.score, probability=self.probability)
        if (np.diff(self.score) <= 0).any() or (np.diff(self.probability) < 0).any():
            raise ValueError("knots of an isotonic calibration must rise, one probability each")

    def __call__(self, score: FloatArray) -> FloatArray:
        """[P] -> [P]."""
        return np.asarray(np.interp(score, self.score, self.probability))


Calibration = TemperatureCalibration | IsotonicCalibration
"""A map from scores in [0, 1] to probabilities that never falls."""


def fit_temperature(score: FloatArray, positive: BoolArray) -> TemperatureCalibration:
    """The temperature and the shift with the largest likelihood.

    Args:
        score: [P] in [0, 1].
        positive: [P], grade 2 and up.

    Raises:
        ValueError: all pairs are positive, or none; or an argument is of another kind.
    """
    _check(score, positive)
    odds, sign = _log_odds(score), np.where(positive, 1.0, -1.0)

    def cost(at: FloatArray) -> float:
        return float(np.logaddexp(0.0, -sign * (odds * np.exp(-at[0]) + at[1])).mean())

    # Bounded: a score that separates the classes without error would get a temperature of 0.
    found = minimize(cost, np.zeros(2), method="L-BFGS-B", bounds=((-5.0, 5.0), (-50.0, 50.0)))
    return TemperatureCalibration(float(np.exp(found.x[0])), float(found.x[1]))


def fit_isotonic(score: FloatArray, positive: BoolArray) -> IsotonicCalibration:
    """Isotonic regression of "positive" on the score; arguments and errors as of `fit_temperature`."""
    _check(score, positive)
    require("sklearn", extra="world", needed_by="isotonic calibration")
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, positive.astype(float))
    return IsotonicCalibration(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


FITS: Mapping[str, Callable[[FloatArray, BoolArray], Calibration]] = {
    TemperatureCalibration.name: fit_temperature,
    IsotonicCalibration.name: fit_isotonic,
}
"""Calibrations by name."""


def calibration_from(name: str, stored: Mapping[str, Any]) -> Calibration:
    """The calibration whose fields were stored as JSON.

    Raises:
        KeyError, TypeError, ValueError: there is no such calibration.
    """
    kinds: dict[str, Callable[..., Calibration]] = {kind.name: kind for kind in get_args(Calibration)}
    return kinds[name](**{field: tuple(at) if isinstance(at, list) else at for field, at in stored.items()})


def _log_odds(score: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(score, EDGE, 1.0 - EDGE)))


def _check(score: FloatArray, positive: BoolArray) -> None:
    check_columns(score=score, positive=positive)
    check_within("score", score, 0, 1)
    if positive.all() or not positive.any():
        raise ValueError("a calibration needs pairs of both kinds, positive and negative")
