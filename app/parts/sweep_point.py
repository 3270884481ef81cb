"""One point of a sweep, opened: its settings and figures, its exact scenario, and a run of it."""

from __future__ import annotations

import polars as pl
import streamlit as st

from app import jobs
from app.export import scenario_text
from app.figures import trade_off_figures as figures
from app.language import names, t
from app.parts import job_panel, sweep_tables
from app.parts.download import download
from app.wording import metric_name
from scenarios import SweepResult, point_scenario

POINT, SEED, CHART = "sweep-point", "sweep-seed", "chart-sweep-front"


def opened(found: SweepResult) -> int | None:
    """The point that is open, if the sweep has it."""
    point = st.session_state.get(POINT)
    return point if point in set(found.points["point"].to_list()) else None


def open_clicked() -> None:
    """Open the clicked point."""
    clicked = figures.selected_id(st.session_state.get(CHART))
    if clicked is not None:
        open_point(int(clicked))


def open_point(point: int) -> None:
    """Open a point; only before the page is drawn, or in a callback."""
    st.session_state[POINT] = point
    st.session_state.pop(SEED, None)


def close() -> None:
    """Open none."""
    st.session_state.pop(POINT, None)
    st.session_state.pop(SEED, None)


def draw(found: SweepResult) -> None:
    """The opened point, or how to open one."""
    rows = {row["point"]: row for row in found.points.iter_rows(named=True)}
    if st.session_state.get(POINT) not in rows:
        st.session_state[POINT] = None
    point = st.selectbox(
        t("sweeps.open"),
        list(rows),
        index=None,
        format_func=names(rows, lambda index: f"{index}: {sweep_tables.point_text(found, rows[index])}"),
        key=POINT,
        placeholder=t("sweeps.open_placeholder"),
        on_change=lambda: st.session_state.pop(SEED, None),
    )
    if point is None:
        return
    row = rows[point]
    with st.container(border=True):
        settings = sweep_tables.point_text(found, row)
        st.markdown(f"#### {t('sweeps.point', point=point, settings=settings)}")
        if not row["feasible"]:
            st.warning(t("sweeps.breaks"))
        with st.container(horizontal=True):
            for metric in (*found.sweep.file.directions, *sweep_tables.further_of(found)):
                error = row.get(f"{metric}_se")
                said = sweep_tables.amount(metric, error)
                st.metric(
                    metric_name(metric),
                    sweep_tables.amount(metric, row[metric]),
                    t("sweeps.within", error=said, seeds=row["seeds"]) if error else None,
                    delta_color="off",
                    delta_arrow="off",
                )
        draw_table(found, sweep_tables.seeds_table(found, int(point)))
        _take_away(found, int(point))


def draw_table(found: SweepResult, table: pl.DataFrame) -> None:
    """A table of points or seeds, its metrics with two decimals."""
    columns = {
        name: st.column_config.NumberColumn(format="%.2f") for name in sweep_tables.figures_in(found, table)
    }
    st.dataframe(table, hide_index=True, column_config=columns)


def _take_away(found: SweepResult, point: int) -> None:
    own = found.replicates.filter(pl.col("point") == point).sort("seed")
    seeds = own["seed"].to_list()
    if st.session_state.get(SEED) not in seeds:
        st.session_state[SEED] = seeds[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        seed = st.selectbox(t("sweeps.seed_of"), seeds, key=SEED, width=160)
        scenario = point_scenario(found, point, int(seed))
        row = own.row(by_predicate=pl.col("seed") == seed, named=True)
        text = scenario_text(scenario, row, list(found.sweep.file.directions))
        about = t("download.exact_point_help")
        download(t("download.exact_point"), text, f"{scenario.name}.yaml", help=about)
        st.button(
            t("sweeps.run"),
            icon=":material/play_arrow:",
            on_click=job_panel.start,
            args=("run", scenario.name, ["run", f"{jobs.HERE}/scenario.yaml"], {"scenario.yaml": text}),
            help=t("sweeps.run_help"),
        )
    title = t("sweeps.run_title", point=point)
    job_panel.follow("run", scenario.name, title, t("sweeps.run_again"), t("sweeps.run_done"))
