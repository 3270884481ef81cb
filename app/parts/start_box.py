"""A box on a page in which a file is chosen, read, and run by a command of `relbid`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app import files
from app.language import names, t, t_plain
from app.parts.job_panel import show_fault
from app.texts import code
from app.wording import about_file


def choose_file(kind: tuple[str, str], label: str, key: str) -> Path:
    """One of the shipped files or of your own, with what its head says of it."""
    offered = files.offered(kind)
    name = st.selectbox(
        label,
        list(offered),
        format_func=names(offered, _file_name),
        key=key,
        help=t("start.file_help"),
    )
    file = offered[str(name)]
    st.markdown(about_file(file))
    return file


def start_button(file: Path, start: Callable[[Path], None]) -> None:
    """The button that starts it; a callback, so that the page is drawn with what it has started."""
    st.button(t("start.button"), type="primary", icon=":material/play_arrow:", on_click=start, args=(file,))


def foot(file: Path, command: str, described_in: str) -> None:
    """The same in a terminal, what went wrong with the last start, and the file itself."""
    here = Path.cwd()
    typed = file.relative_to(here) if file.is_relative_to(here) else file
    st.caption(t("start.terminal", command=code(f"relbid {command} {typed}"), page=described_in))
    show_fault(command, "estimate")
    with st.expander(t("start.file"), icon=":material/description:"):
        st.code(file.read_text(encoding="utf-8"), language="yaml")


def _file_name(name: str) -> str:
    shipped = name.removesuffix(files.SHIPPED)
    return name if shipped == name else t_plain("start.shipped", name=shipped)
