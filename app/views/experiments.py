"""Page Experiments: arms held against a baseline over many seeds, and what a platform's split would say."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import streamlit as st

from app import figures, files, job_panel, jobs, session, start_box
from app.download import chart_with_data
from app.wording import MISSING, metric_name
from scenarios import StoredExperiment

KIND = "experiment"
CHOICE, FILE, MADE = "experiment", "experiment-file", "experiment-made"
DESIGNS = {
    "common": "Each arm on the whole market, with the same luck",
    "independent": "Each arm on the whole market, with luck of its own",
    "query_split": "Query split: one market, each query falls to an arm",
    "budget_split": "Budget split: a market for each arm, with its part of every budget",
}


def page(folders: list[Path]) -> None:
    """Draw the page."""
    st.title("Which arm is better, and how sure is that?")
    _start_one(expanded=not folders)
    if not folders:
        st.write("No experiment has been run yet. Start one above, or in a terminal:")
        st.code("relbid experiment scenarios/experiments/interference.yaml", language="bash")
        st.write(
            "It takes some minutes, can be stopped and started again, and is stored in "
            f"`{session.results_root()}`."
        )
        return
    names = {folder.name: folder for folder in folders}
    if (made := st.session_state.pop(MADE, None)) in names:
        st.session_state[CHOICE] = made
    if st.session_state.get(CHOICE) not in names:
        st.session_state[CHOICE] = folders[0].name
    name = st.selectbox("Experiment, newest first", list(names), key=CHOICE)
    try:
        found = session.experiment(names[str(name)])
        replicates = found.replicates()
    except (ValueError, OSError) as error:
        st.error(f"This experiment cannot be opened.\n\n{error}")
        st.write("Run it again with `relbid experiment FILE`, or choose another one above.")
        return
    _arms(found)
    level = f"{100 * found.plan.experiment.confidence:g}%"
    for (design,), rows in found.summary.group_by("design", maintain_order=True):
        _design(found, str(design), rows, level)
    _interference(found, level)
    st.download_button(
        "All replicates (CSV)",
        replicates.write_csv(),
        f"{name}-replicates.csv",
        "text/csv",
        icon=":material/download:",
    )


def _start_one(*, expanded: bool) -> None:
    with st.expander("Start an experiment", icon=":material/play_circle:", expanded=expanded):
        file = start_box.choose_file(files.EXPERIMENTS, "Experiment file", FILE)
        start_box.start_button(file, _start)
        start_box.foot(file, "experiment", "docs/experiments.md")
    for job in jobs.all_jobs(session.results_root()):
        if job.kind == KIND:
            title = f"Experiment {Path(job.subject).name.removesuffix('.yaml')}"
            job_panel.watch(job, title, "Start it again: what is finished is not repeated.", finished=_made)


def _start(file: Path) -> None:
    root = session.results_root()
    found = jobs.latest(root, KIND, str(file))
    if found is not None and jobs.is_alive(found):
        return
    try:
        jobs.start(root, KIND, str(file), [KIND, str(file), "--out", str(root)])
    except (ValueError, OSError) as error:
        st.session_state[start_box.FAULT] = str(error)


def _made(outcome: jobs.Outcome) -> None:
    """Open it when it has come to its end."""
    if outcome.progress.result is not None:
        st.session_state[MADE] = Path(outcome.progress.result).name


def _arms(found: StoredExperiment) -> None:
    experiment = found.plan.experiment
    first = found.summary.filter(pl.col("design") == "common")
    metric = first["metric"][0] if len(first) else ""
    said = [
        f"{row['arm']} changes {metric_name(metric).lower()} by {_signed(row['change_value'])} "
        f"({_signed(row['change_t_low'])} to {_signed(row['change_t_high'])})"
        for row in first.filter(pl.col("metric") == metric).iter_rows(named=True)
    ]
    if said:
        st.markdown(f"#### Against {experiment.baseline}, {'; '.join(said)}.")
    arms = "; ".join(
        f"{name}{' (the baseline)' if name == experiment.baseline else ''}: "
        + (", ".join(f"`{field} = {value}`" for field, value in fields.items()) or "the scenario as it is")
        for name, fields in experiment.arms.items()
    )
    st.caption(f"{len(found.seeds)} seeds. Arms: {arms}.")
    if not found.reached:
        st.warning("The intervals are wider than asked for: the most seeds that it allows were not enough.")


def _design(found: StoredExperiment, design: str, rows: pl.DataFrame, level: str) -> None:
    st.subheader(DESIGNS.get(design, design))
    baseline = found.plan.experiment.baseline
    with st.container(key=f"figures-{design}"):
        for number, part in enumerate(figures.by_size(rows)):
            drawn = figures.forest(part, baseline, level, large=number > 0)
            chart_with_data(drawn, part, f"changes-{design}-{number + 1}")
    st.caption(
        "Dots: change of the mean, paired by seed; bars: Student's intervals. Grey: changes too small for "
        "this many seeds to be found with probability 0.8."
    )
    with st.expander("The figures as a table"):
        st.dataframe(_table(rows, baseline), hide_index=True)


def _interference(found: StoredExperiment, level: str) -> None:
    if not len(found.interference):
        return
    st.subheader("What a split says, beside the truth")
    baseline = found.plan.experiment.baseline
    for (arm,), rows in found.interference.group_by("arm", maintain_order=True):
        drawn = figures.split_errors(rows, baseline, level)
        chart_with_data(drawn, rows, f"interference-{arm}")
        st.dataframe(
            rows.select(
                pl.col("metric").map_elements(metric_name, pl.String).alias("Metric"),
                pl.col("design").str.replace("_", " ").alias("Design"),
                *(
                    (100 * pl.col(column)).round(2).alias(title)
                    for column, title in (
                        ("truth_change", "Truth (%)"),
                        ("estimate_change", "Estimate (%)"),
                        ("error_change", "Error (%)"),
                        ("spread_of_one", "Spread of one run (%)"),
                    )
                ),
            ),
            hide_index=True,
        )
    st.caption(
        "The truth runs each arm on the whole market with the same luck. Arms that share budgets or queries "
        "take from one another, which a split counts as their own doing."
    )


def _table(rows: pl.DataFrame, baseline: str) -> pl.DataFrame:
    return rows.select(
        pl.col("arm").alias("Arm"),
        pl.col("metric").map_elements(metric_name, pl.String).alias("Metric"),
        pl.col("baseline_mean").round(4).alias(f"Mean of {baseline}"),
        pl.col("arm_mean").round(4).alias("Mean of the arm"),
        *(
            (100 * pl.col(column)).round(2).alias(title)
            for column, title in (
                ("change_value", "Change (%)"),
                ("change_t_low", "from (%)"),
                ("change_t_high", "to (%)"),
                ("change_boot_low", "bootstrap from (%)"),
                ("change_boot_high", "bootstrap to (%)"),
                ("change_detectable", "Detectable (%)"),
            )
        ),
    )


def _signed(change: float) -> str:
    return f"{change:+.1%}" if math.isfinite(change) else MISSING


if __name__ == "__main__":
    page(session.stored_experiments())
