"""The verdicts on my formula as two signs in the bar; a click opens them in full."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import session
from app.bar import verdicts
from app.language import t
from app.setting import Setting, in_words, market_settings
from scenarios import Prepared, Scenario, Verdict, judge_rule, override

LAST = "bar-lamps"
"""In the session's state: the settings whose verdict on the market was drawn last, and what it was."""


def draw(
    spot: DeltaGenerator,
    scenario: Scenario,
    settings: tuple[Setting, Setting],
    market: Prepared | None = None,
) -> None:
    """Draw the signs of B against A; before a page has run, those that were drawn for the same settings.

    Args:
        spot: an empty place; what it holds is replaced.
        market: where the days of both settings may have been simulated; nothing is simulated for the signs.
    """
    last = st.session_state.get(LAST)
    days = last[1] if last is not None and last[0] == (scenario, settings) else None
    if market is not None:
        known = session.known_days(market, settings)
        if known == days:
            return
        days = known
    st.session_state[LAST] = (scenario, settings), days
    verdict = _judged(scenario, settings[1])
    fit = "fit" if verdict.traits is not None else "not_fit"
    market_kind = "unknown" if days is None else verdicts.market_verdict(*days).kind
    label = "  ".join(
        f"**{verdicts.SIGNS[kind]}** {t(f'verdicts.sign_{kind}')}" for kind in (fit, market_kind)
    )
    key = f"lamps-{fit}-{market_kind}"
    with spot.popover(label, help=t("bar.lamps_help"), key=key):
        verdicts.draw(verdict, *(days or ()))
        if days is None:
            st.caption(t("verdicts.not_yet"))
        else:
            st.caption(t("verdicts.against", n=len(days[1]), a=in_words(settings[0])))


@st.cache_resource(show_spinner=False, max_entries=100, hash_funcs=session.KEYS)
def _judged(scenario: Scenario, setting: Setting) -> Verdict:
    """Whether auctions can be run by a setting."""
    return judge_rule(override(scenario, market_settings(setting)).fusion.build())
