"""The platform's click prediction: learnt from clicks (click_learning.py), or the truth with an error.

The second, for controlled experiments:

    log pctr = log m + signal (log p - log m) + bias + sigma z

with p the true P(click | examined) of the pair, m its average over the queries that the ad meets, z noise
keyed by the pair. At signal 0 the platform knows an ad's average only; at signal 1 and sigma 0 it knows the
truth.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from relevance.ranges import check_ranges
from simulator.arrays import FloatArray, IntArray

KINDS, FEEDBACKS = ("signal", "learnt"), ("own", "shared")


@dataclass(frozen=True, slots=True)
class CtrModel:
    """Where the platform's click prediction comes from, and how good it is."""

    kind: str = "signal"  # learnt: from the clicks on its own pages
    # Of a learnt one
    feedback: str = "own"  # from which pages; shared: those of the warm-up, ranked without relevance
    relevance: bool = False  # whether the relevance that ranks a page is a feature
    first_guess: Annotated[float, Gt(0), Lt(1)] = 0.05  # P(click | examined) before any click
    # Of a signal
    signal: Annotated[float, Ge(-10), Le(10)] = (
        0.5  # share of the pair's own log click rate that the platform sees
    )
    bias: Annotated[float, Ge(-100), Le(100)] = 0.0  # on the log scale, the same for all
    sigma: Annotated[float, Ge(0), Le(100)] = 0.3  # noise on the log scale, per pair

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("feedback", FEEDBACKS)):
            if (given := getattr(self, name)) not in known:
                raise ValueError(f"pctr.{name} must be one of {', '.join(known)}, got {given!r}")
        check_ranges(self, "pctr")

    @property
    def learnt(self) -> bool:
        """Whether it is learnt from clicks."""
        return self.kind == "learnt"

    @property
    def shared(self) -> bool:
        """Whether all rankings of a market have the same learnt prediction, which stays as it is."""
        return self.learnt and self.feedback == "shared"


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
