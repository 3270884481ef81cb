"""The platform's click prediction: the true click probability, seen through an estimate.

    log pctr = log m + signal (log p - log m) + bias + sigma z

with p the true P(click | examined) of the pair, m its average over the queries that the ad meets, z noise
keyed by the pair. At signal 0 the platform knows an ad's average only; at signal 1 and sigma 0 it knows the
truth. On top of it there may be a logistic model, fitted on a log of clicks, that calibrates it and adds what
else the platform sees of a pair:

    logit pctr' = intercept + prediction logit pctr + relevance r + match[m]
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class CtrModel:
    """How good the platform's click prediction is."""

    signal: float = 0.5  # share of the pair's own log click rate that the platform sees
    bias: float = 0.0  # on the log scale, the same for all
    sigma: float = 0.3  # noise on the log scale, per pair

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise ValueError(f"pctr.sigma must not be negative, got {self.sigma}")


@dataclass(frozen=True, slots=True)
class FittedCtr:
    """Coefficients of the logistic model; the defaults leave a prediction as it is."""

    intercept: float = 0.0
    prediction: float = 1.0  # of the log odds of the platform's prediction
    relevance: float = 0.0  # of a scorer's relevance in [0, 1]
    match: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of exact, phrase and broad match


def ad_average(parts: Iterable[tuple[FloatArray, IntArray, FloatArray]], n_ads: int) -> FloatArray:
    """Average attraction of each ad over the traffic that it meets, F[A] (0 if none).

    A part holds some queries: attraction F[Q, K], candidates I[Q, K] and the queries' traffic shares F[Q].
    However the queries are parted, the sums are the same bits.
    """
    total, weight = np.zeros(n_ads), np.zeros(n_ads)
    for attraction, candidate, popularity in parts:
        met = candidate >= 0
        traffic = np.broadcast_to(popularity[:, None], candidate.shape)[met]
        np.add.at(total, candidate[met], traffic * attraction[met])
        np.add.at(weight, candidate[met], traffic)
    return np.divide(total, weight, out=np.zeros(n_ads), where=weight > 0)


def predict(model: CtrModel, attraction: FloatArray, average: FloatArray, noise: FloatArray) -> FloatArray:
    """Predicted P(click | examined) F[...] from the truth F[...], the ad's average F[...] and normals F[...].

    Pairs whose attraction or average is 0 get 0.
    """
    possible = (attraction > 0) & (average > 0)
    log_true = np.log(np.where(possible, attraction, 1.0))
    log_average = np.log(np.where(possible, average, 1.0))
    log_pctr = log_average + model.signal * (log_true - log_average) + model.bias + model.sigma * noise
    return np.where(possible, np.minimum(np.exp(log_pctr), 1.0), 0.0)


def refine(
    model: FittedCtr, predicted: FloatArray, relevance: FloatArray, match: NDArray[np.integer]
) -> FloatArray:
    """The fitted P(click | examined) F[...] of pairs with predictions F[...] (0 stays 0).

    `relevance` F[...] is a scorer's; `match` I[...] says how the keyword met the query: 0 exact, 1 phrase,
    2 broad.
    """
    log_odds = (
        model.intercept
        + model.prediction * logit(predicted)
        + model.relevance * relevance
        + np.asarray(model.match, dtype=np.float64)[match]
    )
    return np.where(predicted > 0, 1.0 / (1.0 + np.exp(-log_odds)), 0.0)


def logit(p: FloatArray) -> FloatArray:
    """Log odds F[...] of probabilities F[...], which are kept a little way from 0 and 1."""
    inside = np.clip(p, 1e-6, 1.0 - 1e-6)
    return np.log(inside / (1.0 - inside))
