"""A chart with the download of its data below."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from app.figures.common import QUIET
from app.language import t


def chart_with_data(figure: go.Figure, table: pl.DataFrame, name: str) -> None:
    """Draw a figure, and a button that saves `table` as `<name>.csv`."""
    with st.container():
        st.plotly_chart(figure, config=QUIET, key=f"chart-{name}")
        st.download_button(
            t("download.data"),
            table.write_csv(),
            f"{name}.csv",
            "text/csv",
            icon=":material/download:",
            type="tertiary",
            key=f"download-{name}",
        )
