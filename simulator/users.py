"""Station 6, users: what a user looks at, clicks, is satisfied by and buys, and whether it comes back.

Three click models (Chuklin, Markov and de Rijke 2015, "Click Models for Web Search", chapter 3), in all of
which a user who looks at an ad clicks it with the ad's attraction, which depends on the true grade:

- position: slot s is looked at with probability examination[s], whatever is above it (Craswell, Zoeter,
  Taylor and Ramsey 2008, "An experimental comparison of click position-bias models").
- cascade: slots are read from the top, all until the first click, none after it (the same paper).
- dbn, the dynamic Bayesian network: read from the top; a click satisfies with a probability that depends on
  the grade, and a user who is not satisfied yet continues to the next slot with probability `perseverance`
  (Chapelle and Zhang 2009, "A dynamic Bayesian network click model for web search ranking").

In cascade and dbn looking at a slot depends on the ads above it. There, `examination` says only how many
slots a page has, and what the platform believes the weights of the slots to be, in prices (VCG) and payments
per impression. `expected_examination` gives the true weights.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from relevance.ranges import Seconds, Share, Spread, check_ranges
from simulator.arrays import BoolArray, FloatArray, GradeArray

CLICK_MODELS = ("position", "cascade", "dbn")
PerGrade = tuple[Share, Share, Share, Share]
"""A probability for each grade 0..3."""
Amount: TypeAlias = Annotated[float, Ge(-1e6), Le(1e6)]
Worth: TypeAlias = Annotated[float, Ge(0), Le(1e6)]


@dataclass(frozen=True, slots=True)
class UserModel:
    """How users behave and what ads are worth to them; tuples of four hold one number per grade 0..3."""

    attraction: PerGrade = (0.02, 0.04, 0.08, 0.12)  # mean P(click | examined)
    appeal_sigma: Spread = (
        0.8  # spread of log appeal between ads of the same grade: pictures draw clicks, too
    )
    examination: Annotated[tuple[Share, ...], MinLen(1), MaxLen(100)] = (
        1.0,
        0.7,
        0.5,
        0.35,
    )  # P(examined) by slot; there are as many slots
    # Currency, if examined.
    value_of_seeing: tuple[Amount, Amount, Amount, Amount] = (-0.02, -0.005, 0.005, 0.01)
    worth_of_click: tuple[Worth, Worth, Worth, Worth] = (0.1, 0.4, 1.0, 1.2)  # times the value per click
    click_model: str = "position"  # a name in CLICK_MODELS
    satisfaction: PerGrade = (0.05, 0.2, 0.6, 0.8)  # P(satisfied | clicked)
    perseverance: Share = 0.9  # dbn: P(looks at the next slot | looked at this one, not satisfied)
    conversion_rate: Worth = (
        0.0  # P(conversion | click) times worth_of_click; 0: conversions are not simulated
    )
    conversion_delay_s: Seconds = 3600.0  # mean time from click to conversion, exponential
    value_of_satisfaction: Amount = 0.05  # currency: what a satisfied click adds to a day's satisfaction
    return_rate: Share = 1.0  # P(a user who would search on a day does) at a satisfaction of 0
    return_elasticity: Annotated[float, Ge(0), Le(1e6)] = (
        0.0  # change of that probability per unit of satisfaction; 0: no loyalty
    )
    satisfaction_half_life_days: Annotated[float, Gt(0), Le(1e6)] = (
        7.0  # of the memory of a day's satisfaction
    )

    def __post_init__(self) -> None:
        check_ranges(self, "users")
        if self.click_model not in CLICK_MODELS:
            raise ValueError(
                f"users.click_model must be one of {', '.join(CLICK_MODELS)}, got {self.click_model!r}"
            )
        if self.conversion_rate > 0 and not all(
            0.0 <= self.conversion_rate * worth <= 1.0 for worth in self.worth_of_click
        ):
            raise ValueError(
                "users.conversion_rate times each users.worth_of_click must be a probability in [0, 1], got "
                f"{self.conversion_rate} times {self.worth_of_click}"
            )


def has_loyalty(model: UserModel) -> bool:
    """Whether users stay away on some days."""
    return model.return_rate < 1.0 or model.return_elasticity > 0.0


# Clicks


class Browsing(NamedTuple):
    """What a user did on a page; a satisfied click is a click, and a clicked ad was looked at."""

    examined: BoolArray  # [..., S]
    clicked: BoolArray  # [..., S]
    satisfied: BoolArray  # [..., S]


def attraction(model: UserModel, grade: GradeArray, appeal: FloatArray) -> FloatArray:
    """P(click | examined) F[...] of ads with true grades I8[...] and appeals F[...] (standard normals)."""
    # exp(sigma z - sigma^2 / 2) has mean 1: the spread between ads does not change a grade's average.
    factor = np.exp(model.appeal_sigma * appeal - 0.5 * model.appeal_sigma**2)
    return np.minimum(np.asarray(model.attraction, dtype=np.float64)[grade] * factor, 1.0)


def satisfaction(model: UserModel, grade: GradeArray) -> FloatArray:
    """P(satisfied | clicked) F[...] of ads with true grades I8[...]."""
    return np.asarray(model.satisfaction, dtype=np.float64)[grade]


def asks_satisfaction(model: UserModel) -> bool:
    """Whether anything depends on who is satisfied, so that it has to be drawn."""
    return model.click_model == "dbn" or model.return_elasticity > 0


def browse(
    model: UserModel,
    attraction: FloatArray,
    satisfaction: FloatArray | None,
    click_u: FloatArray,
    satisfy_u: FloatArray | None = None,
    continue_u: FloatArray | None = None,
) -> Browsing:
    """What users do on pages whose slots hold ads with attraction and satisfaction F[..., S]; empty slots 0.

    Runs in which nothing depends on satisfaction (see `asks_satisfaction`) pass None for it and its uniforms;
    nobody is satisfied then.

    Args:
        click_u: uniforms F[..., S] that belong to the ads.
        satisfy_u: uniforms F[..., S] that belong to the ads.
        continue_u: uniforms F[..., S] that belong to the slots; only dbn reads them.

    Raises:
        ValueError: dbn without satisfaction or the uniforms.
    """
    if model.click_model == "position":
        # One uniform does for both: u < e has probability e, and given that, u < e a has probability a.
        examination = np.asarray(model.examination, dtype=np.float64)
        examined = click_u < examination
        clicked = clicks(click_probability(examination, attraction), click_u)
        return Browsing(examined, clicked, _satisfied(clicked, satisfaction, satisfy_u))

    drawn = click_u < attraction  # whether each ad would be clicked if it were looked at
    would_satisfy = _satisfied(drawn, satisfaction, satisfy_u)
    if model.click_model == "cascade":
        continues = ~drawn
    elif satisfaction is None or satisfy_u is None or continue_u is None:
        raise ValueError("the click model dbn needs satisfaction, and uniforms for it and for continuing")
    else:
        continues = ~would_satisfy & (continue_u < model.perseverance)
    examined = np.ones_like(drawn)
    np.logical_and.accumulate(continues[..., :-1], axis=-1, out=examined[..., 1:])
    return Browsing(examined, examined & drawn, examined & would_satisfy)


def expected_examination(
    model: UserModel, attraction: FloatArray, satisfaction: FloatArray | None = None
) -> FloatArray:
    """P(examined) F[..., S] of the slots of pages with attraction and satisfaction F[..., S], in closed form.

    Times the attraction it is the click probability. Slot s + 1 is looked at if slot s was and its ad did not
    end the search: after a click in cascade, after a satisfied one or for lack of perseverance in dbn. Only
    dbn reads the satisfaction; ValueError where it is missing.
    """
    if model.click_model == "position":
        return np.broadcast_to(np.asarray(model.examination, dtype=np.float64), attraction.shape)
    if model.click_model == "cascade":
        continues = 1.0 - attraction
    elif satisfaction is None:
        raise ValueError("the click model dbn needs satisfaction, how likely a click on each ad satisfies")
    else:
        continues = model.perseverance * (1.0 - attraction * satisfaction)
    examination = np.ones_like(attraction)
    np.multiply.accumulate(continues[..., :-1], axis=-1, out=examination[..., 1:])
    return examination


def click_probability(examination: FloatArray, attraction: FloatArray) -> FloatArray:
    """P(click) F[..., S] in slots with examination F[S], of the ads shown there with attraction F[..., S]."""
    return examination * attraction


def clicks(p_click: FloatArray, u: FloatArray) -> BoolArray:
    """Clicks B[..., S] from click probabilities F[..., S] and uniforms F[..., S]."""
    return u < p_click


# Conversions


def conversion_probability(model: UserModel, grade: GradeArray) -> FloatArray:
    """P(conversion | click) F[...] on ads of true grades I8[...]."""
    return model.conversion_rate * np.asarray(model.worth_of_click, dtype=np.float64)[grade]


def conversion_value(model: UserModel, value_per_click: FloatArray) -> FloatArray:
    """What one conversion is worth to advertisers with values per click F[...], in currency (not at rate 0).

    The value per click is that of a click on a relevant ad, of worth 1, so that clicks are worth on average
    what they are without conversions.
    """
    return value_per_click / model.conversion_rate


def conversion_delay(
    model: UserModel, grade: GradeArray, convert_u: FloatArray, delay_u: FloatArray
) -> FloatArray:
    """Seconds F[...] from clicks on ads of grades I8[...] to their conversions, infinite where there is none.

    Exponential delays, the first model of Chapelle 2014, "Modeling delayed feedback in display advertising";
    uniforms F[...] belong to the ad.
    """
    delay = -model.conversion_delay_s * np.log1p(-delay_u)
    return np.where(convert_u < conversion_probability(model, grade), delay, np.inf)


# Satisfaction and return


def satisfaction_gained(
    model: UserModel, grade: GradeArray, examined: BoolArray, satisfied: BoolArray
) -> FloatArray:
    """What pages added to the satisfaction F[...] of their users, in currency.

    Computed from grades I8[..., S] and what was examined and satisfied B[..., S], both False in empty slots.
    """
    seen = np.where(examined, np.asarray(model.value_of_seeing, dtype=np.float64)[grade], 0.0)
    gained: FloatArray = (seen + model.value_of_satisfaction * satisfied).sum(axis=-1)
    return gained


def update_stock(model: UserModel, stock: FloatArray, utility: FloatArray) -> FloatArray:
    """Satisfaction F[M] after a day that gave F[M] to each user (`satisfaction_gained`, summed; 0 if absent).

    An exponentially weighted average of the days: the satisfaction of a user with equal days tends to what
    each of them gives, and that of a user who stays away tends to 0. Users of a search engine learn in this
    way from the quality of its ads: Hohnhold, O'Brien and Tang 2015, "Focusing on the long-term: it's good
    for users and business".
    """
    kept: float = 0.5 ** (1.0 / model.satisfaction_half_life_days)
    return kept * stock + (1.0 - kept) * utility


def return_probability(model: UserModel, stock: FloatArray) -> FloatArray:
    """P(searches) F[M], on a day that it would search, of a user with satisfaction F[M].

    Linear, as is the hidden cost of Abrams and Schwarz 2007, "Ad auction design and user experience", and
    nearly what Goli, Huang, Reiley and Riabov 2025, "Measuring consumer sensitivity to audio advertising",
    found over 21 months; clipped to [0, 1].
    """
    probability: FloatArray = np.clip(model.return_rate + model.return_elasticity * stock, 0.0, 1.0)
    return probability


def _satisfied(
    clicked: BoolArray, satisfaction: FloatArray | None, satisfy_u: FloatArray | None
) -> BoolArray:
    if satisfaction is None or satisfy_u is None:
        return np.zeros_like(clicked)
    return clicked & (satisfy_u < satisfaction)
