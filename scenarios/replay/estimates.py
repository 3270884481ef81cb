"""Estimates what other pages would have earned, from a log of pages and clicks. Arrays only.

Under the position-based model, P(click) = examination of the slot x attraction of the ad, a logged click at
slot k, divided by the examination of k, estimates the attraction without bias: inverse propensity weighting
by position (Joachims, Swaminathan and Schnabel 2017, "Unbiased learning-to-rank with biased feedback"). So a
new page that shows a logged pair at slot s collects the logged click with weight examination[s] /
examination[k].
For a pair that the log has not shown, nothing is known of clicks: those of a click model are taken that was
fitted to the log, examination x fitted rate (click_rates.py).

- model: pCTR alone, as it is.
- fitted: the fitted rates alone (the "direct method").
- ips: logged clicks, weights capped at `clip`, where the event showed the ad; the fitted rates elsewhere.
- sn: after the self-normalised estimator (Swaminathan and Joachims 2015, "The self-normalized estimator for
  counterfactual learning"): the total of the fitted rates times the ratio of capped weighted clicks to what
  they expect of the same weights. So the loss by the cap cancels, also for pairs that the log has not shown.
- dr: doubly robust (Dudik, Langford and Li 2011, "Doubly robust policy evaluation and learning"), position by
  position (Kiyohara and others 2022, "Doubly robust off-policy evaluation for ranking policies under the
  cascade behavior model"; Oosterhuis 2023, "Doubly robust estimation for correcting position bias in click
  feedback for unbiased learning to rank"): the total of the fitted rates, plus what logged clicks are beyond
  them. A pair's weight is how much the new pages look at it over how much the log did, both summed over
  all events of the query text: that is its propensity, and bids that change from event to event make it
  positive for more pairs than one event shows. It is right where examination is, and either the fitted rates
  are or the log has shown the pair and the cap did not bind.

Replaying a log to answer what another ranking would have done: Li, Chen, Kleban and Gupta 2015,
"Counterfactual estimation and optimization of click metrics in search engines"; for auctions Bayir, Xu, Zhu
and Shi 2019, "Genie: an open box counterfactual policy estimator for optimizing sponsored search
marketplace".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from simulator.arrays import BoolArray, FloatArray, IntArray

MIN_CLICKS = 200
"""Fewest clicks, on pairs seen in several slots, to estimate examination from."""
LEAST_EXPECTED = 1e-9
"""Fewest clicks that pCTR expects of a slot, to estimate how likely that is looked at."""
MAX_TURNS = 500


class Pages(NamedTuple):
    """U pages of S slots as a rule would show them; empty slots are all zeros."""

    price: FloatArray  # [U, S] currency per click
    expected: FloatArray  # [U, S] clicks by pCTR: examination x pCTR
    fitted: FloatArray  # [U, S] clicks by the fitted rates
    looked_at: FloatArray  # [U, S] examination
    pair: IntArray  # [U, S] number of query text and ad
    weight: (
        FloatArray  # [U, S] examination here over examination where the log showed the pair; 0: it did not
    )
    clicked: BoolArray  # [U, S] in the log


class Logged(NamedTuple):
    """What the log showed: U pages of K candidates."""

    looked_at: FloatArray  # [U, K] examination; 0 where not shown
    clicked: BoolArray  # [U, K]
    rate: FloatArray  # [U, K] fitted P(click | looked at), of all candidates
    pair: IntArray  # [U, K] as in Pages


class Estimate(NamedTuple):
    """A total over all pages, and its standard error with pages as independent draws."""

    total: float
    error: float


class Estimates(NamedTuple):
    """Clicks, or with a price, revenue."""

    model: Estimate
    fitted: Estimate
    ips: Estimate
    sn: Estimate
    dr: Estimate


def estimate(pages: Pages, log: Logged, clip: float, worth: FloatArray | None = None) -> Estimates:
    """Estimate the total worth of the clicks on some pages, `worth` F[U, S] per click (None: 1).

    Args:
        clip: largest weight.
    """
    worth = np.ones_like(pages.price) if worth is None else worth
    seen = pages.weight > 0
    capped = np.minimum(pages.weight, clip)
    model, fitted = (worth * pages.expected).sum(axis=1), (worth * pages.fitted).sum(axis=1)
    logged, unseen = _ips(pages, clip, worth)
    # Clicks that the rates expect among the capped ones: those of this slot, with the cap's loss.
    share = np.divide(capped, pages.weight, out=np.zeros_like(capped), where=seen)
    modelled = (worth * share * pages.fitted).sum(axis=1)
    return Estimates(
        _total(model),
        _total(fitted),
        _total(logged + unseen),
        _ratio(logged, modelled, fitted),
        _total(fitted + _residuals(pages, log, clip, worth)),
    )


def gain(pages: Pages, clip: float, earned: FloatArray) -> Estimate:
    """How much more these pages earn by ips than the log's, which earned F[U]; compared page by page."""
    logged, unseen = _ips(pages, clip, pages.price)
    return _total(logged + unseen - earned)


def _ips(pages: Pages, clip: float, worth: FloatArray) -> tuple[FloatArray, FloatArray]:
    """By page, F[U]: the worth of capped weighted clicks, and of those expected where the log has none."""
    logged = (worth * np.minimum(pages.weight, clip) * pages.clicked).sum(axis=1)
    return logged, (worth * np.where(pages.weight > 0, 0.0, pages.fitted)).sum(axis=1)


def _residuals(pages: Pages, log: Logged, clip: float, worth: FloatArray) -> FloatArray:
    """By logged page, F[U]: the worth of weighted clicks beyond those of the fitted rates."""
    n = 1 + int(max(pages.pair.max(initial=0), log.pair.max(initial=0)))
    now, before = _sums(pages.pair, pages.looked_at, n), _sums(log.pair, log.looked_at, n)
    mean_worth = _quotient(_sums(pages.pair, worth * pages.looked_at, n), now)
    weight = mean_worth * np.minimum(_quotient(now, before), clip)
    beyond = np.where(log.looked_at > 0, log.clicked - log.looked_at * log.rate, 0.0)
    residuals: FloatArray = (weight[log.pair] * beyond).sum(axis=1)
    return residuals


def _quotient(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def effective_sample_size(weight: FloatArray) -> float:
    """(sum w)^2 / sum w^2 of weights F[...] (Kish 1965, "Survey Sampling"); 0 of none."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def examination_by_pctr(position: IntArray, clicked: BoolArray, pctr: FloatArray) -> FloatArray | None:
    """Estimate P(examined) F[S] by slot, relative to the first: clicks over pCTR of the ads shown there.

    position I[...] from 1, 0 where not shown. This is right where pCTR is wrong by one factor everywhere. A
    ranking by a noisy pCTR puts ads with too high a pCTR on top, and then the lower slots get too high an
    estimate. None if the log has no click, or its pCTR expects none.
    """
    shown = position > 0
    slot = position[shown] - 1
    clicks = _sums(slot, clicked[shown])
    expected = _sums(slot, pctr[shown])
    if not clicks.any() or not (expected[expected > 0] > LEAST_EXPECTED).any():
        return None
    return _falling(clicks, np.where(expected > LEAST_EXPECTED, expected, 0.0))


def examination_by_pairs(position: IntArray, clicked: BoolArray, pair: IntArray) -> FloatArray | None:
    """Estimate P(examined) F[S] by slot, relative to the first, from ads seen in several slots of a query.

    `pair` I[...] numbers the pairs of query text and ad, -1 where there is none. Where one pair was shown in
    several slots, its clicks there differ by examination alone: "intervention harvesting"
    (Agarwal, Zaitsev, Wang, Li, Najork and Joachims 2019, "Estimating position bias without intrusive
    interventions"). Maximum likelihood of clicks ~ Poisson(examination x attraction of the pair), by
    alternating updates that each raise it. None if such pairs have fewer than MIN_CLICKS clicks, or none in
    some slot.
    """
    shown = (position > 0) & (pair >= 0)
    slot, click = position[shown] - 1, clicked[shown].astype(np.float64)
    n_slots = int(position.max(initial=0))
    _, group = np.unique(pair[shown], return_inverse=True)
    cell, at = np.unique(group * n_slots + slot, return_inverse=True)  # a pair in a slot
    group, slot = cell // n_slots, cell % n_slots
    moved = np.bincount(group)[group] > 1
    clicks, views = _sums(at, click), _sums(at, np.ones_like(click))
    group, slot, clicks, views = group[moved], slot[moved], clicks[moved], views[moved]
    by_slot = _sums(slot, clicks, n_slots)
    if by_slot.sum() < MIN_CLICKS or not by_slot.all():
        return None
    of_pair = _sums(group, clicks)
    alpha, expected = np.ones(n_slots), by_slot
    for _ in range(MAX_TURNS):
        looks = _sums(group, views * alpha[slot])
        attraction = np.divide(of_pair, looks, out=np.zeros_like(looks), where=looks > 0)
        expected = _sums(slot, views * attraction[group], n_slots)
        new = by_slot / expected
        new /= new[0]
        if np.abs(new - alpha).max() < 1e-6:
            break
        alpha = new
    return _falling(by_slot, expected)


def _sums(group: IntArray, values: FloatArray | BoolArray, n: int = 0) -> FloatArray:
    """Sums F[n] of values F[...] by group I[...]."""
    return np.bincount(group.ravel(), weights=values.ravel(), minlength=n).astype(np.float64)


def _falling(clicks: FloatArray, expected: FloatArray) -> FloatArray:
    """Clicks over expected ones F[S], which must not rise (isotonic regression); the first is 1."""
    used = expected > 0
    rate = isotonic_regression(clicks[used] / expected[used], weights=expected[used], increasing=False).x
    rate = np.interp(np.arange(clicks.size), np.flatnonzero(used), rate)  # slots that were never filled
    examination: FloatArray = rate / rate[0]
    return examination


def _total(per_page: FloatArray) -> Estimate:
    error = np.std(per_page, ddof=1) * np.sqrt(per_page.size) if per_page.size > 1 else np.nan
    return Estimate(float(per_page.sum()), float(error))


def _ratio(logged: FloatArray, modelled: FloatArray, model: FloatArray) -> Estimate:
    """sum(model) * sum(logged) / sum(modelled), with the error of its linear part; NaN over nothing."""
    if not modelled.sum() > 0:
        return Estimate(np.nan, np.nan)
    ratio, scale = logged.sum() / modelled.sum(), model.sum() / modelled.sum()
    influence = scale * (logged - ratio * modelled) + ratio * model
    return Estimate(float(ratio * model.sum()), _total(influence).error)
