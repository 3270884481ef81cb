"""Page Health: whom the market serves under A and B: concentration, small and large, newcomers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from app import session
from app.days import over_days
from app.figures import health_figures as figures
from app.language import t, t_plain
from app.parts import health
from app.parts.download import chart_with_data
from app.parts.health import NUMBERS, RETURNS, SHARES, Held
from app.session import Opened
from app.setting import in_words
from app.texts import message
from app.wording import is_clear, scorer_name

KEYS = ()


def page(opened: Opened) -> None:
    """Draw the page."""
    st.title(t("health.title"))
    try:
        a, b = over_days(opened.prepared, [opened.a, opened.b], whole=False)
        who = [session.who_brought_what(opened.prepared, one) for one in (opened.a, opened.b)]
    except ValueError as error:
        st.error(f"{t('scorers.cannot_simulate', scorer=scorer_name(opened.b.scorer))}\n\n{message(error)}")
        return
    found = health.held_figures(a.of, b.of, *who)
    st.markdown(f"#### {_summary(found)}")
    st.caption(t("health.basis", n=len(a.of), a=in_words(opened.a), b=in_words(opened.b)))
    groups = zip(
        (SHARES, NUMBERS, RETURNS),
        figures.titles(),
        (t("health.shares_x"), t("health.numbers_x"), t("health.returns_x")),
        strict=True,
    )
    with st.container(key="figures"):
        for number, (names, title, axis) in enumerate(groups):
            own = [one for one in found if one.name in names]
            if own:
                chart_with_data(figures.held(own, title, axis), health.table(own), f"health-{number}")
    st.dataframe(health.table(found), hide_index=True)
    st.caption(t("health.what"))
    if not any(one.name == "newcomer_impression_share" for one in found):
        st.info(t("health.no_newcomers"))


def _summary(found: Sequence[Held]) -> str:
    """What is clear, in one sentence, the furthest from zero first; else that nothing is."""
    clear = []
    for one in found:
        difference = one.against.difference
        if is_clear(difference):
            clear.append((abs(difference.value) / max(difference.standard_error, 1e-12), one))
    if not clear:
        return t("health.nothing_clear")
    clear.sort(key=lambda pair: -pair[0])
    said = [
        t_plain(
            "health.moves",
            name=health.figure_name(one.name),
            a=health.written(one.name, float(np.nanmean(one.a))),
            b=health.written(one.name, float(np.nanmean(one.b))),
        )
        for _, one in clear[:3]
    ]
    return t("health.summary", n=len(clear), of=len(found), said=t("words.semicolon").join(said))


if __name__ == "__main__":
    page(session.current())
