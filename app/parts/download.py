"""A chart with the download of its data below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from app.language import t
from scenarios.reporting.theme import QUIET


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
        st.download_button(
            t("download.data"),
            table.write_csv(),
            f"{name}.csv",
            "text/csv",
            icon=":material/download:",
            type="tertiary",
            key=f"download-{name}",
        )
