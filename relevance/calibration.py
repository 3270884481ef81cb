"""Calibration: a ranking score becomes P(positive), fitted on pairs that no training has seen.

Temperature scaling (Guo et al. 2017) keeps the order of all scores. Here it has a shift, as Platt scaling
has, because a ranking score is no logit. Isotonic regression may make scores equal, and needs more pairs. All
functions are pure. P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from relevance.arrays import BoolArray, FloatArray
from relevance.extras import require

EDGE = 1e-9
"""Scores are clipped to [EDGE, 1 - EDGE] before their log odds are taken."""


@dataclass(frozen=True, slots=True)
class TemperatureCalibration:
    """sigmoid(logit(score) / temperature + shift)."""

    name: ClassVar[str] = "temperature"

    temperature: float
    shift: float

    def __post_init__(self) -> None:
        if not (1e-6 <= self.temperature <= 1e6 and np.isfinite(self.shift)):
            raise ValueError(
                f"temperature {self.temperature} must be from 1e-6 to 1e6, and shift {self.shift} finite"
            )

    def __call__(self, score: FloatArray) -> FloatArray:
        """[P] -> [P]."""
        return np.asarray(expit(_log_odds(score) / self.temperature + self.shift))


@dataclass(frozen=True, slots=True)
class IsotonicCalibration:
    """Linear between knots: `score` [N] rises, `probability` [N] does not fall; constant outside."""

    name: ClassVar[str] = "isotonic"

    score: tuple[float, ...]
    probability: tuple[float, ...]

    def __post_init__(self) -> None:
        knots, values = np.asarray(self.score), np.asarray(self.probability)
        fits = knots.ndim == values.ndim == 1 and knots.size == values.size > 0
        if (
            not fits
            or not np.isfinite(knots).all()
            or (np.diff(knots) <= 0).any()
            or (np.diff(values) < 0).any()
        ):
            raise ValueError("knots of an isotonic calibration must rise, one probability each")
        if not all(((side >= 0.0) & (side <= 1.0)).all() for side in (knots, values)):
            raise ValueError("knots and probabilities of an isotonic calibration must lie in [0, 1]")

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
        ValueError: all pairs are positive, or none.
    """
    _check(positive)
    odds, sign = _log_odds(score), np.where(positive, 1.0, -1.0)

    def cost(at: FloatArray) -> float:
        return float(np.logaddexp(0.0, -sign * (odds * np.exp(-at[0]) + at[1])).mean())

    # Bounded: a score that separates the classes without error would get a temperature of 0.
    found = minimize(cost, np.zeros(2), method="L-BFGS-B", bounds=((-5.0, 5.0), (-50.0, 50.0)))
    return TemperatureCalibration(float(np.exp(found.x[0])), float(found.x[1]))


def fit_isotonic(score: FloatArray, positive: BoolArray) -> IsotonicCalibration:
    """Isotonic regression of "positive" on the score; arguments and errors as of `fit_temperature`."""
    _check(positive)
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


def _check(positive: BoolArray) -> None:
    if positive.all() or not positive.any():
        raise ValueError("a calibration needs pairs of both kinds, positive and negative")
