"""Station 2 of a fit: how wrong pCTR is, and how often each candidate is clicked where it is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from scenarios.fitting.auction_log import AuctionLog, Finding
from scenarios.replay.click_rates import KNOTS, LEAST_PCTR
from simulator.arrays import FloatArray, IntArray

MOST_TURNS = 50


class Regression(NamedTuple):
    """A Poisson regression of clicks: log mean = offset + feature x beta."""

    beta: FloatArray  # [n]
    covariance: FloatArray  # [n, n], clustered


class ClickModel(NamedTuple):
    """Click rates of all candidates of a log, before and after what is known of their advertisers."""

    feature: FloatArray
    """F[U, K, n] a constant, log pCTR and hinges of the relevances, standardised among the shown ads."""
    pctr: FloatArray  # [U, K] at least LEAST_PCTR where there is a candidate
    examined: FloatArray  # [U, K] P(looked at), 0 where not shown
    clicks: FloatArray  # [U, K]
    advertiser: IntArray  # [U, K] 0 in padding
    n_advertisers: int
    strength: float
    """k of the gamma distribution (mean 1, variance 1 / k) of the advertisers' factors."""

    def beta(self, weight: FloatArray | IntArray | None = None) -> FloatArray:
        """Coefficients F[n] of log(rate / pCTR); events weigh F[U]."""
        shown = self.examined > 0
        each = None
        if weight is not None:
            each = np.broadcast_to(weight.astype(np.float64)[:, None], shown.shape)[shown]
        expected = (self.examined * self.pctr)[shown]
        return poisson(self.feature[shown], expected, self.clicks[shown], each, prior=1.0)

    def rate(self, beta: FloatArray) -> FloatArray:
        """P(click | looked at) F[U, K] by pCTR and relevance."""
        return np.minimum(self.pctr * np.exp(np.minimum(self.feature @ beta, 30.0)), 1.0)

    def evidence(self, rate: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Clicks F[N] of each advertiser, and those expected of rates F[U, K]."""
        owner = self.advertiser.ravel()
        clicks = np.bincount(owner, weights=self.clicks.ravel(), minlength=self.n_advertisers)
        expected = np.bincount(owner, weights=(self.examined * rate).ravel(), minlength=self.n_advertisers)
        return clicks.astype(np.float64), expected.astype(np.float64)

    def factors(self, rate: FloatArray, rng: np.random.Generator | None = None) -> FloatArray:
        """Each advertiser's factor F[N] on rates F[U, K]: its posterior mean, or a draw of it."""
        clicks, expected = self.evidence(rate)
        shape, over = clicks + self.strength, expected + self.strength
        return shape / over if rng is None else rng.gamma(shape, 1.0 / over)

    def rates(
        self, rng: np.random.Generator | None = None, weight: FloatArray | IntArray | None = None
    ) -> FloatArray:
        """P(click | looked at) F[U, K], 0 in padding: the best estimate, or a draw of what it may be."""
        rate = self.rate(self.beta(weight))
        return np.minimum(rate * self.factors(rate, rng)[self.advertiser], 1.0)


def poisson(
    feature: FloatArray,
    expected: FloatArray,
    clicks: FloatArray,
    weight: FloatArray | None = None,
    prior: float = 0.0,
) -> FloatArray:
    """Coefficients F[n] that maximise the likelihood of clicks F[R] ~ Poisson(expected x exp(feature beta)).

    Args:
        feature: F[R, n], a constant first.
        weight: of rows, F[R].
        prior: precision of a normal prior of all coefficients but the constant's.
    """
    weight = np.ones_like(clicks) if weight is None else weight
    beta = np.zeros(feature.shape[1])
    total = float(weight @ clicks)
    beta[0] = np.log(max(total, 0.5) / max(float(weight @ expected), 1e-12))
    ridge = np.full(beta.size, prior + 1e-9)
    ridge[0] = 1e-9
    for _ in range(MOST_TURNS):
        mean = weight * expected * np.exp(np.clip(feature @ beta, -30.0, 30.0))
        gradient = feature.T @ (weight * clicks - mean) - ridge * beta
        step = np.linalg.solve((feature.T * mean) @ feature + np.diag(ridge), gradient)
        beta = beta + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            break
    return beta


def clustered(feature: FloatArray, expected: FloatArray, clicks: FloatArray, cluster: IntArray) -> Regression:
    """The regression of `poisson` with a covariance that lets rows of a cluster I[R] depend on one another.

    The sandwich of Liang and Zeger 1986, "Longitudinal data analysis using generalized linear models", times
    C / (C - 1) for C clusters.
    """
    beta = poisson(feature, expected, clicks)
    mean = expected * np.exp(np.clip(feature @ beta, -30.0, 30.0))
    bread = np.linalg.pinv((feature.T * mean) @ feature)
    names, of = np.unique(cluster, return_inverse=True)
    score = np.zeros((names.size, feature.shape[1]))
    np.add.at(score, of, feature * (clicks - mean)[:, None])
    n = names.size
    return Regression(beta, bread @ (score.T @ score) @ bread * (n / max(n - 1, 1)))


def fit_clicks(log: AuctionLog, looked_at: FloatArray) -> ClickModel:
    """The click model of a log, whose slots are looked at with probability F[S].

    Raises:
        TableError: the table has no outcomes.
    """
    shown, auctions = log.shown, log.auctions
    assert auctions.position is not None
    assert auctions.clicked is not None
    met = auctions.candidate >= 0
    known = shown & (auctions.position <= looked_at.size)
    slot = np.where(known, auctions.position - 1, 0)
    examined = np.where(known, looked_at[slot], 0.0)
    pctr = np.where(met, np.maximum(auctions.pctr, LEAST_PCTR), 0.0)
    parts = [np.log(np.maximum(pctr, LEAST_PCTR))]
    parts += [np.maximum(one - knot, 0.0) for one in auctions.relevance.values() for knot in KNOTS]
    feature = np.stack(parts, axis=-1)
    among = feature[examined > 0] if known.any() else feature[met]
    feature = (feature - among.mean(axis=0)) / (among.std(axis=0) + 1e-9)
    feature = np.concatenate([np.ones((*met.shape, 1)), feature], axis=-1)
    model = ClickModel(
        feature=feature,
        pctr=pctr,
        examined=examined,
        clicks=np.where(examined > 0, auctions.clicked, 0.0),
        advertiser=np.where(met, auctions.advertiser[auctions.candidate], 0),
        n_advertisers=auctions.advertiser_id.len(),
        strength=1.0,
    )
    return model._replace(strength=_strength(*model.evidence(model.rate(model.beta()))))


def _strength(clicks: FloatArray, expected: FloatArray) -> float:
    """The k that maximises the likelihood of clicks F[N] ~ Poisson(expected x Gamma(k, 1 / k))."""
    seen = expected > 0
    c, e = clicks[seen], expected[seen]

    def loss(log_k: float) -> float:
        k = np.exp(log_k)
        return -float((gammaln(c + k) - gammaln(k) - k * np.log1p(e / k) - c * np.log(e + k)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.2), np.log(1e4)), method="bounded").x))


def findings(log: AuctionLog, looked_at: FloatArray, origin: str, model: ClickModel) -> Iterable[Finding]:
    """Examination by slot, and the factor and slope of pCTR with intervals clustered by query text."""
    for slot, chance in enumerate(looked_at.tolist(), start=1):
        says = f"relative to the first slot; {origin}"
        yield Finding("clicks", f"slot {slot} is looked at", chance, np.nan, np.nan, says)
    shown = model.examined > 0
    expected, clicks = (model.examined * model.pctr)[shown], model.clicks[shown]
    cluster = np.broadcast_to(log.cluster[:, None], shown.shape)[shown]
    one = np.ones((clicks.size, 1))
    if not clicks.any():
        says = "not identified: the log has no click"
        yield Finding("clicks", "factor of pCTR", np.nan, np.nan, np.nan, says)
        return
    says = "clicks over those that pCTR expects, of shown ads; intervals clustered by query text"
    level = clustered(one, expected, clicks, cluster)
    value, low, high = np.exp(_interval(level, 0)).tolist()
    yield Finding("clicks", "factor of pCTR", value, low, high, says)
    log_pctr = np.log(model.pctr[shown])
    if log_pctr.std() > 1e-9:
        centred = (log_pctr - log_pctr.mean())[:, None]
        slope = clustered(np.concatenate([one, centred], axis=1), expected, clicks, cluster)
        value, low, high = (1.0 + _interval(slope, 1)).tolist()
        says = "of log clicks in log pCTR, of shown ads; 1: pCTR scatters as much as the truth"
        yield Finding("clicks", "slope of pCTR", value, low, high, says)
    spread = model.strength**-0.5
    says = "standard deviation of advertisers' click rates beyond pCTR and relevance; no interval"
    yield Finding("clicks", "spread between advertisers", spread, np.nan, np.nan, says)


def _interval(found: Regression, place: int) -> FloatArray:
    error = 1.96 * float(np.sqrt(max(found.covariance[place, place], 0.0)))
    ends: FloatArray = found.beta[place] + np.array([0.0, -error, error])
    return ends
