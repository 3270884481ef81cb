"""A box on a page in which a file is chosen, read, and run by a command of `relbid`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app import files

FAULT = "start-fault"
"""In the session state: why the last start came to nothing."""


def choose_file(kind: tuple[str, str], label: str, key: str) -> Path:
    """One of the shipped files or of your own, with what its head says of it."""
    offered = files.offered(kind)
    name = st.selectbox(
        label,
        list(offered),
        key=key,
        help="Those that come with relbid, and those in the folder where the dashboard was started.",
    )
    file = offered[str(name)]
    if text := files.about(file):
        st.markdown(text)
    return file


def start_button(file: Path, start: Callable[[Path], None]) -> None:
    """The button that starts it; a callback, so that the page is drawn with what it has started."""
    st.button("Start", type="primary", icon=":material/play_arrow:", on_click=start, args=(file,))


def foot(file: Path, command: str, described_in: str) -> None:
    """What went wrong with the last start, the same in a terminal, and the file itself."""
    here = Path.cwd()
    typed = file.relative_to(here) if file.is_relative_to(here) else file
    st.caption(f"In a terminal: `relbid {command} {typed}`. How to write a file: {described_in}.")
    if fault := st.session_state.pop(FAULT, None):
        st.error(fault)
    with st.expander("The file", icon=":material/description:"):
        st.code(file.read_text(encoding="utf-8"), language="yaml")
