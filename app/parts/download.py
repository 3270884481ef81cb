"""Downloads, and a chart with the download of its data below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from app.language import t
from scenarios.reporting.theme import QUIET

MIME = {".csv": "text/csv", ".yaml": "application/yaml"}


def download(label: str, data: str, file: str, **more: Any) -> None:
    """A button that saves a text as a file; `more` as of `st.download_button`."""
    st.download_button(label, data, file, MIME[Path(file).suffix], icon=":material/download:", **more)


def chart_with_data(
    figure: go.Figure, table: pl.DataFrame, name: str, on_select: Callable[[], None] | None = None
) -> None:
    """Draw a figure, and a button that saves `table` as `<name>.csv`.

    Args:
        on_select: called when a point is clicked; the event is kept in the session state as `chart-<name>`.
    """
    clicks: dict[str, Any] = {} if on_select is None else {"on_select": on_select, "selection_mode": "points"}
    with st.container():
        st.plotly_chart(figure, config=QUIET, key=f"chart-{name}", **clicks)
        key = f"download-{name}"
        download(t("download.data"), table.write_csv(), f"{name}.csv", type="tertiary", key=key)
