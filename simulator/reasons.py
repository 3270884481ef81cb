"""Why an ad has its place and its price, in one sentence."""

from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Any, NamedTuple

_PLACE = "Slot {slot}: score {score:.4g} is number {slot}."
REASONS: Mapping[str, str] = {
    "pays_for_impression": _PLACE + " It pays {price:.4f} for being shown: {per_click:.2f} a click, by "
    "{mechanism}, times {p_click:.3f}, the predicted click probability.",
    "pays_bid": _PLACE + " It pays its bid, {price:.2f}.",
    "pays_reserve": _PLACE + " It pays the reserve, {price:.2f}: no rival below it asks for more.",
    "pays_externality": _PLACE + " It pays {price:.2f} of its bid {bid:.2f}: what its presence takes from "
    "the ads below.",
    "pays_score_reserve": _PLACE + " It pays {price:.2f} of its bid {bid:.2f}: the least that reaches the "
    "score reserve, {least_score:.4g}.",
    "pays_least_of_rule": _PLACE + " It pays {price:.2f}, the least bid at which the rule shows it: nobody "
    "ranks below.",
    "pays_to_keep": _PLACE + " It pays {price:.2f} of its bid {bid:.2f}: the least that keeps it above ad "
    "{rival} ({rival_score:.4g}).",
    "below_reserve": "Not eligible: its bid {bid:.2f} is below the reserve {reserve:.2f}.",
    "not_scored": "Not scored: the first stage keeps {keep} others.",
    "not_admitted": "Not eligible: the fusion rule admits no bid of {bid:.2f} at relevance {relevance:.2f}.",
    "below_score_reserve": "Not eligible: its score {score:.4g} is below the score reserve "
    "{least_score:.4g}.",
    "beaten_for_good": "Not shown: score {score:.4g} is below the last slot's {rival_score:.4g}; at "
    "relevance {relevance:.2f} no bid would reach it.",
    "beaten": "Not shown: score {score:.4g} is below the last slot's {rival_score:.4g}; it bids {bid:.2f} "
    "and would need {needed:.2f}.",
}
"""Why an ad is where it is, by the reason: sentences with the names of their facts."""


class Reason(NamedTuple):
    """A key of REASONS, and the facts of its sentence."""

    kind: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        return REASONS[self.kind].format(**self.facts)


class Terms(NamedTuple):
    """What holds for all ads of an auction."""

    mechanism: str
    reserve: float  # currency per click
    least_score: float = -inf  # the score reserve


def why_shown(
    terms: Terms,
    *,
    slot: int,
    score: float,
    price: float,
    bid: float,
    rival: int | None,
    rival_score: float,
    p_click: float | None = None,
) -> Reason:
    """Why an ad has its slot (from 1) at its price.

    Args:
        rival: the ad ranked next, by its number; None for none, with score -inf.
        p_click: the predicted click probability in the slot, where it is impressions that are paid for.
    """
    shown = {"slot": slot, "score": score, "price": price, "bid": bid}
    if p_click is not None:
        facts = {"per_click": price / p_click, "p_click": p_click, "mechanism": terms.mechanism}
        return Reason("pays_for_impression", shown | facts)
    if terms.mechanism == "first_price":
        return Reason("pays_bid", shown)
    if price <= terms.reserve:
        return Reason("pays_reserve", shown)
    if terms.mechanism == "vcg":
        return Reason("pays_externality", shown)
    if terms.least_score > rival_score:
        return Reason("pays_score_reserve", shown | {"least_score": terms.least_score})
    if rival is None:
        return Reason("pays_least_of_rule", shown)
    return Reason("pays_to_keep", shown | {"rival": rival, "rival_score": rival_score})


def why_not_shown(
    terms: Terms,
    *,
    score: float,
    bid: float,
    relevance: float,
    last_score: float,
    needed: Callable[[], float],
    passed_over_for: int | None = None,
) -> Reason:
    """Why an ad has no slot.

    Args:
        last_score: of the ad in the last slot.
        needed: gives the least bid that reaches the last slot, infinite where none does.
        passed_over_for: how many other ads the first of two stages kept, if it did not keep this one.
    """
    if bid < terms.reserve:
        return Reason("below_reserve", {"bid": bid, "reserve": terms.reserve})
    if passed_over_for is not None:
        return Reason("not_scored", {"keep": passed_over_for})
    if not isfinite(score):
        return Reason("not_admitted", {"bid": bid, "relevance": relevance})
    if score < terms.least_score:
        return Reason("below_score_reserve", {"score": score, "least_score": terms.least_score})
    beaten = {"score": score, "rival_score": last_score}
    if not isfinite(needed()):
        return Reason("beaten_for_good", beaten | {"relevance": relevance})
    return Reason("beaten", beaten | {"bid": bid, "needed": needed()})
