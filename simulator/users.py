"""Station 6, users: who clicks, by the position-based model.

A user looks at slot s with probability examination[s] and, having looked, clicks with the ad's attraction,
which depends on the true grade (Craswell, Zoeter, Taylor and Ramsey 2008, "An experimental comparison of
click position-bias models"; Chuklin, Markov and de Rijke 2015, "Click Models for Web Search", section 3.3).
"""

from dataclasses import dataclass

import numpy as np

from simulator.arrays import BoolArray, FloatArray, GradeArray


@dataclass(frozen=True, slots=True)
class UserModel:
    """How users behave and what ads are worth to them; one number per grade 0..3 unless said."""

    attraction: tuple[float, float, float, float] = (0.01, 0.03, 0.08, 0.14)  # mean P(click | examined)
    appeal_sigma: float = 0.3  # spread of log appeal between ads of the same grade
    examination: tuple[float, ...] = (1.0, 0.7, 0.5, 0.35)  # P(examined) by slot; there are as many slots
    value_of_seeing: tuple[float, float, float, float] = (-0.02, -0.005, 0.005, 0.01)  # currency, if examined
    worth_of_click: tuple[float, float, float, float] = (0.1, 0.4, 1.0, 1.2)  # times the value per click

    def __post_init__(self) -> None:
        for name in ("attraction", "examination"):
            if not all(0.0 <= p <= 1.0 for p in getattr(self, name)):
                raise ValueError(f"users.{name} must be probabilities in [0, 1], got {getattr(self, name)}")
        if not self.examination:
            raise ValueError("users.examination needs one probability per slot, got none")


def attraction(model: UserModel, grade: GradeArray, appeal: FloatArray) -> FloatArray:
    """P(click | examined) F[...] of ads with true grades I8[...] and appeals F[...] (standard normals)."""
    # exp(sigma z - sigma^2 / 2) has mean 1: the spread between ads does not change a grade's average.
    factor = np.exp(model.appeal_sigma * appeal - 0.5 * model.appeal_sigma**2)
    return np.minimum(np.asarray(model.attraction, dtype=np.float64)[grade] * factor, 1.0)


def click_probability(examination: FloatArray, attraction: FloatArray) -> FloatArray:
    """P(click) F[..., S] in slots with examination F[S], of the ads shown there with attraction F[..., S]."""
    return examination * attraction


def clicks(p_click: FloatArray, u: FloatArray) -> BoolArray:
    """Clicks B[..., S] from click probabilities F[..., S] and uniforms F[..., S]."""
    return u < p_click
