"""A public checker for bid policies."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from relevance.errors import PluginError
from relevance.plug_in import Plugin, class_name, raised, text_of
from relevance.protocol import as_numbers, kind_of_answer
from simulator.arrays import FloatArray, IntArray
from simulator.policies.policy import N_UNIFORMS, BidPolicy, Bids, Report

_N, _TICKS = 12, 8
MOST = 1e6
"""The largest multiplier."""


def check_policy(policy: BidPolicy, name: str | None = None) -> list[str]:
    """Try a policy on made-up reports; say in words what makes it unfit for a run.

    An empty list means that nothing was found: multipliers are in [0, MOST], participation is in
    [0, 1], both have one number per advertiser; the answer depends on state, report and uniforms alone, and
    on no other advertiser than the own; arguments stay as they were; no advertiser at all, empty reports and
    budgets of nothing are survived.

    Args:
        name: what the user is told to wait for; by default its class's name.
    """
    try:
        with Plugin(f"bid policy {name or class_name(policy)}"), np.errstate(all="ignore"):
            if not isinstance(policy, BidPolicy):
                return ["the policy must have the methods start(budget, value) and adjust(state, report, u)"]
            return _faults(policy)
    except PluginError as error:
        return [text_of(error.at())]
    except Exception as error:  # a user's policy may raise anything, and the answer is given in words
        return [f"the policy raised {raised(error)}"]


def _faults(policy: BidPolicy) -> list[str]:
    everybody = np.arange(_N)
    bids, changed = _follow(policy, everybody)
    faults = [f"{changed} changes the arrays that it is given"] if changed else []
    for tick, one in enumerate(bids):
        if wrong := unfit(one, _N):
            return [*faults, f"{wrong} ({'at the start' if tick == 0 else f'after {tick} reports'})"]
    if not _equal(bids, _follow(policy, everybody)[0]):
        return [
            *faults,
            "the same reports are answered differently: it must not draw random numbers or remember",
        ]
    if not _same_state_same_answer(policy):
        faults.append(
            "the same state is answered differently the second time: adjust must return a new state"
        )
    for some, what in (
        (everybody[::-1], "the order of the advertisers"),
        (everybody[2::3], "which other advertisers follow it"),
    ):
        if not _equal([_rows(one, some) for one in bids], _follow(policy, some)[0]):
            faults.append(f"the answer to an advertiser depends on {what}")
    if wrong := next(filter(None, (unfit(one, 0) for one in _follow(policy, everybody[:0])[0])), ""):
        faults.append(f"{wrong} (for no advertisers)")
    return faults


def _follow(policy: BidPolicy, who: IntArray) -> tuple[list[Bids], str]:
    """Bids of the advertisers `who` over all ticks, and which method changed its arguments, if one did."""
    report = _report(0).of(who)
    given = (report.budget.copy(), report.value.copy())
    state, first = policy.start(*given)
    changed = "" if _untouched(given, (report.budget, report.value)) else "start"
    bids = [read_bids(first)]
    for tick in range(_TICKS):
        report, u = _report(tick).of(who), _uniforms(tick)[who]
        state, next_bids = policy.adjust(state, report, u)
        if not _untouched((*_arrays(report), u), (*_arrays(_report(tick).of(who)), _uniforms(tick)[who])):
            changed = "adjust"
        bids.append(read_bids(next_bids))
    return bids, changed


def _same_state_same_answer(policy: BidPolicy) -> bool:
    state, _ = policy.start(_report(0).budget, _report(0).value)
    for tick in range(_TICKS):
        before = state
        state, bids = policy.adjust(before, _report(tick), _uniforms(tick))
        first = read_bids(bids)
        if not _equal([first], [policy.adjust(before, _report(tick), _uniforms(tick))[1]]):
            return False
    return True


def _report(tick: int) -> Report:
    """A report in which everything happens to somebody: no budget, no clicks, a lot of both, nothing sold."""
    rng = np.random.default_rng((20, tick))
    budget = np.where(np.arange(_N) % 5 == 4, 0.0, np.linspace(1.0, 300.0, _N))
    spent = budget / _TICKS * rng.uniform(0.0, 1.0, _N) * (np.arange(_N) % 3 > 0) * (tick != 3)
    clicks = np.ceil(spent * rng.uniform(0.5, 2.0, _N))
    conversions = np.floor(clicks * rng.uniform(0.0, 0.4, _N))
    value = np.linspace(0.5, 4.0, _N)
    sold = np.array([1.5, 1.0, 0.0]) * (tick != 3)
    return Report(
        time_s=900.0 * (tick + 1),
        day=0,
        ticks_left=float(_TICKS - 1 - tick),
        budget=budget,
        remaining=budget * (1 - (tick + 1) / _TICKS),
        value=value,
        impressions=20 * clicks,
        clicks=clicks,
        spent=spent,
        conversions=conversions,
        conversion_value=conversions * 20 * value,
        slot_price=sold,
        slot_clicks=sold / 10,
    )


def _uniforms(tick: int) -> FloatArray:
    return np.random.default_rng((21, tick)).random((_N, N_UNIFORMS))


def unfit(bids: Any, n: int) -> str:
    """What is wrong with the bids of n advertisers; empty: nothing."""
    for name, most in (("multiplier", MOST), ("participation", 1.0)):
        answer = getattr(bids, name, None)
        if answer is None:
            return f"{name} is missing from {kind_of_answer(bids)}: give Bids(multiplier, participation)"
        values = as_numbers(answer)
        if values is None:
            return f"{name} must be floats of shape ({n},), not {kind_of_answer(answer)}"
        if values.shape != (n,) or not np.issubdtype(np.asarray(answer).dtype, np.floating):
            return f"{name} must be floats of shape ({n},), not {np.asarray(answer).dtype} {values.shape}"
        wrong = ~(np.isfinite(values) & (values >= 0) & (values <= most))
        if wrong.any():
            wanted = "a number in [0, 1]" if most == 1.0 else f"finite, from 0 to {most:,.0f}"
            return f"{name} must be {wanted}, got {values[np.argmax(wrong)]}"
    return ""


def _arrays(report: Report) -> tuple[FloatArray, ...]:
    values = (getattr(report, name) for name in report.__dataclass_fields__)
    return tuple(value for value in values if isinstance(value, np.ndarray))


def _untouched(given: Sequence[FloatArray], kept: Sequence[FloatArray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(given, kept, strict=True))


def _equal(a: Sequence[Bids], b: Sequence[Bids]) -> bool:
    # To rounding: adding up in another order is no dependence.
    return all(
        x.shape == y.shape and np.allclose(x, y, rtol=1e-9, atol=1e-12)
        for one, other in zip(a, b, strict=True)
        for x, y in zip(read_bids(one), read_bids(other), strict=True)
    )


def _rows(bids: Bids, who: IntArray) -> Bids:
    return Bids(bids.multiplier[who], bids.participation[who])


def read_bids(bids: Any) -> Bids:
    """Bids as arrays of their own, whatever object has them by these names."""
    return Bids(np.array(bids.multiplier), np.array(bids.participation))
