"""Page Experiments: arms compared with a baseline over many seeds, and what a platform's split would say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import streamlit as st

from app import files, jobs, notes, session
from app.figures import experiment_figures as figures
from app.language import t, t_plain
from app.parts import job_panel, start_box, uplift
from app.parts.download import chart_with_data, download
from app.texts import Markdown, code, message
from app.wording import MISSING, metric_name
from scenarios import StoredExperiment, list_experiments

KIND = "experiment"
CHOICE, FILE, MADE = "experiment", "experiment-file", "experiment-made"
KEYS = (CHOICE,)


def page(folders: list[Path]) -> None:
    """Draw the page."""
    st.title(t("experiments.title"))
    _start_one(expanded=not folders)
    if not folders:
        st.write(t("experiments.empty"))
        st.code("relbid experiment scenarios/experiments/interference.yaml", language="bash")
        st.write(t("experiments.duration", folder=code(session.results_root())))
        return
    names = {folder.name: folder for folder in folders}
    if (made := st.session_state.pop(MADE, None)) in names:
        st.session_state[CHOICE] = made
    if st.session_state.get(CHOICE) not in names:
        st.session_state[CHOICE] = folders[0].name
    called = notes.titles(session.results_root(), folders)
    name = st.selectbox(t("experiments.experiment"), list(names), format_func=called.__getitem__, key=CHOICE)
    try:
        found = session.experiment(names[str(name)])
        replicates = found.replicates()
    except (ValueError, OSError) as error:
        st.error(f"{t('experiments.cannot_open')}\n\n{message(error)}")
        st.write(t("experiments.remedy"))
        return
    _arms(found)
    level = f"{100 * found.plan.experiment.confidence:g}%"
    for (design,), rows in found.summary.group_by("design", maintain_order=True):
        _design(found, str(design), rows, level)
    _interference(found, level)
    download(t("download.replicates"), replicates.write_csv(), f"{name}-replicates.csv")


def _start_one(*, expanded: bool) -> None:
    with st.expander(t("experiments.start"), icon=":material/play_circle:", expanded=expanded):
        file = start_box.choose_file(files.EXPERIMENTS, t("experiments.file"), FILE)
        start_box.start_button(file, _start)
        start_box.foot(file, "experiment", "docs/experiments.md")
    for job in jobs.all_jobs(session.results_root()):
        if job.kind == KIND:
            job_panel.watch(job, _title(job.subject), t("experiments.again"), finished=_made)


def _title(subject: str) -> str:
    """What a job does: an experiment of a file, or a setting of the sliders on whole days."""
    name = Path(subject).name.removesuffix(".yaml")
    return uplift.title_of(subject) or t_plain("experiments.one", name=name)


def _start(file: Path) -> None:
    job_panel.start(KIND, str(file), [KIND, str(file)])


def _made(outcome: jobs.Outcome) -> None:
    if outcome.progress.result is not None:
        st.session_state[MADE] = Path(outcome.progress.result).name


def _arms(found: StoredExperiment) -> None:
    experiment = found.plan.experiment
    first = found.summary.filter(pl.col("design") == "common")
    metric = first["metric"][0] if len(first) else ""
    said = [
        t(
            "experiments.change",
            arm=row["arm"],
            metric=metric_name(metric).lower(),
            change=_signed(row["change_value"]),
            low=_signed(row["change_t_low"]),
            high=_signed(row["change_t_high"]),
        )
        for row in first.filter(pl.col("metric") == metric).iter_rows(named=True)
    ]
    if said:
        changes = Markdown(t("words.semicolon").join(said))
        st.markdown(f"#### {t('experiments.headline', baseline=experiment.baseline, changes=changes)}")
    arms = [
        t(
            "experiments.arm",
            arm=t("experiments.baseline", arm=name) if name == experiment.baseline else name,
            fields=Markdown(", ".join(code(f"{field} = {value}") for field, value in fields.items()))
            or t("experiments.as_is"),
        )
        for name, fields in experiment.arms.items()
    ]
    said_of_arms = Markdown(t("words.semicolon").join(arms))
    st.caption(t("experiments.arms", n=len(found.seeds), arms=said_of_arms))
    if not found.reached:
        st.warning(t("experiments.too_wide"))


def _design(found: StoredExperiment, design: str, rows: pl.DataFrame, level: str) -> None:
    st.subheader(t(f"experiments.design_{design}"))
    baseline = found.plan.experiment.baseline
    with st.container(key=f"figures-{design}"):
        for number, part in enumerate(figures.by_size(rows)):
            drawn = figures.forest(part, baseline, level, large=number > 0)
            chart_with_data(drawn, part, f"changes-{design}-{number + 1}")
    st.caption(t("experiments.forest_caption"))
    with st.expander(t("experiments.table")):
        st.dataframe(_table(rows, baseline), hide_index=True)


def _interference(found: StoredExperiment, level: str) -> None:
    if not len(found.interference):
        return
    st.subheader(t("experiments.interference"))
    baseline = found.plan.experiment.baseline
    for (arm,), rows in found.interference.group_by("arm", maintain_order=True):
        drawn = figures.split_errors(rows, str(arm), baseline, level)
        chart_with_data(drawn, rows, f"interference-{arm}")
        st.dataframe(
            rows.select(
                _named(rows, "metric", metric_name).alias(t("experiments.column_metric")),
                _named(rows, "design", lambda design: t(f"experiments.name_{design}")).alias(
                    t("experiments.column_design")
                ),
                *_percent(
                    truth_change="truth",
                    estimate_change="estimate",
                    error_change="error",
                    spread_of_one="spread",
                ),
            ),
            hide_index=True,
        )
    st.caption(t("experiments.interference_caption"))


def _table(rows: pl.DataFrame, baseline: str) -> pl.DataFrame:
    mean = t_plain("experiments.column_baseline_mean", baseline=baseline)
    return rows.select(
        pl.col("arm").alias(t("experiments.column_arm")),
        _named(rows, "metric", metric_name).alias(t("experiments.column_metric")),
        pl.col("baseline_mean").round(4).alias(mean),
        pl.col("arm_mean").round(4).alias(t("experiments.column_arm_mean")),
        *_percent(
            change_value="change", change_t_low="from", change_t_high="to", change_detectable="detectable"
        ),
    )


def _percent(**columns: str) -> Iterator[pl.Expr]:
    """Columns in per cent, by the ends of their titles' keys."""
    for column, title in columns.items():
        yield (100 * pl.col(column)).round(2).alias(t(f"experiments.column_{title}"))


def _named(rows: pl.DataFrame, column: str, name: Callable[[str], str]) -> pl.Series:
    """A column in the reader's language. Not by Polars' threads, which know of no reader."""
    return pl.Series(column, [name(value) for value in rows[column]], dtype=pl.String)


def _signed(change: float) -> str:
    return f"{change:+.1%}" if math.isfinite(change) else MISSING


if __name__ == "__main__":
    page(list_experiments(session.results_root()))
