"""A tour of five steps for a newcomer, below the bar. Once skipped, it does not come back by itself.

That somebody has ended it is an empty file of the results folder, `.tour`. The gear starts it again.
`RELBID_TOUR=0` in the environment leaves it out.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import streamlit as st

from app import address
from app.language import t
from scenarios import StoreError, write_whole_file

STEP, FILE = "tour", ".tour"
OPEN = "tour-open"
"""In the session's state: the step has just changed."""

EXAMPLE = "b*q*r^0.3"
STEPS = ("trade_off", "trade_off", "trade_off", "inspector", "formula")
"""The page that each step is about; the style sheet frames what it is about there."""


def draw(root: Path, page: str) -> None:
    """Draw the step that the reader is at, if any.

    Args:
        root: the results folder.
        page: the page that is shown, such as "trade_off".
    """
    if os.environ.get("RELBID_TOUR") == "0":
        return
    if STEP not in st.session_state:
        st.session_state[STEP] = 0 if (root / FILE).exists() else 1
    step = st.session_state[STEP]
    if not 1 <= step <= len(STEPS):
        return
    about = STEPS[step - 1]
    last = step == len(STEPS)
    with st.container(key=f"tour-{step}", border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**{t('tour.step', step=step, steps=len(STEPS))}** {t(f'tour.step_{step}', formula=EXAMPLE)}"
        )
        st.button(
            t("tour.done" if last else "tour.next"), key="tour-next", on_click=_go, args=(root, step + 1)
        )
        if not last:
            st.button(t("tour.skip"), key="tour-skip", type="tertiary", on_click=_go, args=(root, 0))
    # A step about another page opens it, once.
    if st.session_state.pop(OPEN, False) and about != page:
        st.switch_page(f"views/{about}_page.py", query_params=address.of_page({}))


def again() -> None:
    """The button that starts the tour again."""
    if os.environ.get("RELBID_TOUR") != "0":
        st.button(t("tour.again"), icon=":material/tour:", on_click=_start, width="stretch")


def _start() -> None:
    st.session_state[STEP], st.session_state[OPEN] = 1, True


def _go(root: Path, step: int) -> None:
    st.session_state[STEP], st.session_state[OPEN] = step, True
    if not 1 <= step <= len(STEPS):
        with contextlib.suppress(StoreError):  # then it comes back with the next visit
            write_whole_file(root / FILE, "")
