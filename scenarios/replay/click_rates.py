"""Click rates fitted to a log: what pCTR and relevance together say of an ad, shown or not.

pCTR is wrong in a way that depends on what was shown. The log has the clicks of ads whose score was high; of
an ad that it passed over despite a high pCTR, the relevance was low, and so are its clicks. As the score is
made of bid, pCTR and relevance, an ad's being shown says nothing more of its clicks once pCTR and relevance
are given, so a regression on both, fitted to the shown ads, holds for the others too.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from scenarios.markets.table.auctions import Auctions
from simulator.arrays import FloatArray, IntArray

KNOTS = (0.1, 0.3, 0.6)
"""Where the slope of the log click rate in a relevance changes. It is flat before the first: ads of relevance
0 are never shown where relevance is a factor of the score, so nothing is known of them but what those above
show.
"""
FOLDS = 5
LEAST_PCTR = 1e-6


def fitted_rates(auctions: Auctions, examined: FloatArray) -> FloatArray:
    """P(click | looked at) F[U, K] of all candidates, from the log's clicks; 0 in padding.

    The rate is pCTR x exp(a linear function of log pCTR, and a piecewise linear one of each relevance). It
    maximises the likelihood of clicks ~ Poisson(examination x rate), with a standard normal prior of each
    slope of a standardised feature: few clicks leave pCTR as it is, up to a factor. The rate of a pair comes
    from a fit to other pairs (cross-fitting), so that it does not know the pair's own clicks (Chernozhukov
    and others 2018, "Double/debiased machine learning for treatment and structural parameters").

    Args:
        examined: P(looked at) F[U, K] of shown ads, 0 of the others.
    """
    assert auctions.clicked is not None
    shown, met = examined > 0, auctions.candidate >= 0
    pctr = np.maximum(auctions.pctr, LEAST_PCTR)
    feature = np.stack(
        [np.log(pctr), *(np.maximum(one - k, 0.0) for one in auctions.relevance.values() for k in KNOTS)],
        axis=-1,
    )
    feature = (feature - feature[shown].mean(axis=0)) / (feature[shown].std(axis=0) + 1e-9)
    rate = np.zeros_like(pctr)
    fold = pairs_of(auctions) % FOLDS
    for one in range(FOLDS):
        held_out, others = met & (fold == one), shown & (fold != one)
        expected, clicks = (examined * pctr)[others], auctions.clicked[others]
        if clicks.any():
            intercept, *slope = _poisson(feature[others], expected, clicks.astype(np.float64))
            factor = np.exp(intercept + feature[held_out] @ np.asarray(slope))
        else:
            factor = np.ones(np.count_nonzero(held_out))
        rate[held_out] = np.minimum(pctr[held_out] * factor, 1.0)
    return rate


def pairs_of(auctions: Auctions) -> IntArray:
    """Numbers I[U, K] of the pairs of query text and ad; without texts every event is a query of its own."""
    own = np.arange(auctions.candidate.size).reshape(auctions.candidate.shape)
    if auctions.pair is None:
        return own
    return np.where(auctions.pair >= 0, auctions.pair, auctions.pair.max(initial=-1) + 1 + own)


def _poisson(feature: FloatArray, expected: FloatArray, clicks: FloatArray) -> FloatArray:
    """Intercept and slopes F[1 + n] of the log of clicks F[R] over expected ones F[R], features F[R, n]."""

    def loss(beta: FloatArray) -> tuple[float, FloatArray]:
        log_factor = np.minimum(beta[0] + feature @ beta[1:], 30.0)
        mean = expected * np.exp(log_factor)
        gap = mean - clicks
        gradient = np.append(gap.sum(), feature.T @ gap + beta[1:])
        return float(mean.sum() - clicks @ log_factor + 0.5 * beta[1:] @ beta[1:]), gradient

    start = np.zeros(1 + feature.shape[1])
    start[0] = np.log(clicks.sum() / expected.sum())
    found: FloatArray = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return found
