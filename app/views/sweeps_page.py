"""Page Sweeps: start, watch and continue sweeps; which settings are best, and which field moves what."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import streamlit as st

from app import files, jobs, notes, session
from app.figures import sweep_figures as figures
from app.language import names, t, t_plain
from app.parts import job_panel, start_box, sweep_point, sweep_tables
from app.parts.download import chart_with_data, download
from app.texts import code, markdown, message
from app.wording import duration, method_name, metric_name
from scenarios import (
    Status,
    SweepResult,
    best_points,
    list_sweeps,
    load_sweep,
    read_failures,
    read_status,
    sensitivity,
    sweep_folder,
)

CHOICE, FILE, OTHER, AXES = "sweep", "sweep-file", "sweep-other", "sweep-axes"
BOUND, BOUND_OF = "sweep-bound", "sweep-bound-of"
CHART = "sweep-front"
KEYS = (CHOICE, OTHER, BOUND, sweep_point.POINT, sweep_point.SEED)
REDRAW_S = 5.0
"""How often the figures of a running sweep are drawn again."""

USUAL_BOUND = 2.0
"""Of irrelevant ads, in per cent, where a sweep has no constraints on metrics."""


def page() -> None:
    """Draw the page."""
    st.title(t("sweeps.title"))
    folders = _folders()
    _start_one(expanded=not folders)
    if not folders:
        st.info(t("sweeps.empty", folder=code(session.results_root())))
        return
    if st.session_state.get(CHOICE) not in folders:
        st.session_state[CHOICE] = next(iter(folders))
    called = notes.titles(session.results_root(), list(folders.values()))
    name = st.selectbox(
        t("sweeps.sweep"),
        list(folders),
        format_func=called.__getitem__,
        key=CHOICE,
        on_change=sweep_point.close,
    )
    folder = folders[name]
    running = _state(folder)
    st.fragment(_results, run_every=REDRAW_S if running else None)(folder, running)
    _compare(folder, {other: path for other, path in folders.items() if other != name}, called)


def _folders() -> dict[str, Path]:
    """Sweeps by their names: those that have no folder yet, or could not begin, and those that have one."""
    root = session.results_root()
    stored = {folder.name: folder for folder in list_sweeps(root)}
    begun = [job for job in jobs.all_jobs(root) if job.kind == "sweep"]
    begun = [job for job in begun if job.subject not in stored and Path(job.subject).name == job.subject]
    # One that has got a folder and has none now was deleted by hand.
    begun = [job for job in begun if jobs.outcome(job).state not in ("done", "stopped")]
    return {job.subject: root / "sweeps" / job.subject for job in begun} | stored


def _start_one(*, expanded: bool) -> None:
    with st.expander(t("sweeps.start"), icon=":material/play_circle:", expanded=expanded):
        file = start_box.choose_file(files.SWEEPS, t("sweeps.file"), FILE)
        with st.container(horizontal=True):
            start_box.start_button(file, _start)
            st.button(
                t("sweeps.ask_estimate"),
                icon=":material/timer:",
                on_click=job_panel.start,
                args=("estimate", str(file), ["sweep", str(file), "--dry-run"]),
            )
        job = jobs.latest(session.results_root(), "estimate", str(file))
        if job is not None:
            job_panel.watch(job, t("sweeps.estimate_title"), t("sweeps.estimate_again"))
            if found := jobs.outcome(job).progress.found:
                st.info(markdown(sweep_tables.estimate_text(found["estimate"])))
                with st.expander(t("sweeps.its_points"), icon=":material/list:"):
                    st.code(found["points_in_words"], language=None)
        start_box.foot(file, "sweep", "docs/sweeps.md")


def _start(file: Path, *options: str) -> None:
    """Start or continue a sweep, as a process of its own."""
    try:
        name = sweep_folder(session.results_root(), load_sweep(file)).name
    except (ValueError, OSError) as error:
        job_panel.tell("sweep", error)
        return
    job_panel.start("sweep", name, ["sweep", str(file), *options])
    st.session_state[CHOICE] = name
    sweep_point.close()


def _state(folder: Path) -> bool:
    """Draw how far the sweep is and what can be done about it; return whether it is running."""
    job = jobs.latest(session.results_root(), "sweep", folder.name)
    if job is not None:
        title = t_plain("sweeps.one", name=folder.name)
        job_panel.watch(job, title, t("sweeps.again"), more=lambda: _live(folder))
        if jobs.is_alive(job):
            return True
    status = read_status(folder)
    if session.seems_at_work(status):
        assert status is not None
        st.info(t("sweeps.elsewhere", pid=status.pid))
        st.fragment(_live, run_every=job_panel.POLL_S)(folder)
        return True
    st.markdown(markdown(sweep_tables.state_text(status, running=False)))
    own = folder / "sweep.yaml"
    if job is not None and not own.exists():  # it could not begin
        own = Path(job.command[2])
    with st.container(horizontal=True):
        if status is None or status.done + status.failed < status.total:
            icon = ":material/resume:"
            st.button(t("sweeps.resume"), type="primary", icon=icon, on_click=_start, args=(own,))
        if status is not None and status.failed:
            retry = (own, "--retry-failed")
            st.button(t("sweeps.retry"), icon=":material/replay:", on_click=_start, args=retry)
    _failures(folder, status)
    return False


def _live(folder: Path) -> None:
    status = read_status(folder)
    if status is None:
        return
    cells: list[tuple[str, str]] = [
        (t("sweeps.live_done"), t("sweeps.live_of", done=status.done, total=status.total))
    ]
    if status.rate_per_s:
        cells.append((t("sweeps.live_rate"), f"{status.rate_per_s:.2g}"))
    if status.left_s is not None:
        cells.append((t("sweeps.live_left"), duration(status.left_s)))
    cells += [
        (t("sweeps.live_failed"), f"{status.failed:,}"),
        (t("sweeps.live_processes"), f"{status.workers}"),
    ]
    with st.container(horizontal=True):
        for label, value in cells:
            st.metric(label, value)
    _failures(folder, status)


def _failures(folder: Path, status: Status | None) -> None:
    if status is None or not status.failed:
        return
    failures = read_failures(folder)
    rows = [
        {
            t("sweeps.column_point"): one["point"],
            t("sweeps.column_seed"): one["seed"],
            t("sweeps.column_settings"): t("words.semicolon").join(
                f"{key} {sweep_tables.value_text(v)}" for key, v in one["settings"].items()
            ),
            t("sweeps.column_error"): str(one["error"]).partition("\n")[0],
        }
        for one in failures
    ]
    with st.expander(t("sweeps.failures", failed=len(rows)), icon=":material/error:"):
        st.dataframe(pl.DataFrame(rows), hide_index=True)
        if failures:
            st.code(failures[0]["error"], language=None)


def _results(folder: Path, running: bool) -> None:
    """Figures of the points that there are."""
    try:
        found = session.sweep(folder)
    except (ValueError, OSError) as error:
        if running:
            st.info(t("sweeps.none_yet"))
        elif (folder / "points.parquet").exists():
            st.error(f"{t('sweeps.cannot_open')}\n\n{message(error)}")
            st.write(t("sweeps.open_remedy"))
        else:
            st.info(t("sweeps.no_points"))
        return
    gain, _ = found.sweep.file.objectives
    seeds, least = len(found.sweep.seeds), int(found.points["seeds"].to_numpy().min())
    # A search knows its points only as it goes, and its status how many it may come to.
    status = read_status(folder)
    most = len(found.sweep.points) if status is None else status.total // seeds
    st.caption(
        t(
            "sweeps.basis_up_to" if least < seeds else "sweeps.basis",
            points=len(found.points),
            total=most,
            n=seeds,
            scenario=found.sweep.scenario.name,
            method=method_name(found.sweep.file.method),
        )
    )
    if BOUND not in st.session_state or st.session_state.get(BOUND_OF) != folder.name:
        st.session_state[BOUND], st.session_state[BOUND_OF] = _own_bound(found), folder.name
    bound = _share(st.session_state[BOUND])
    drawn = figures.sweep_front(found, sweep_point.opened(found), bound)
    chart_with_data(drawn, found.points, CHART, on_select=sweep_point.open_clicked)
    caption = t("sweeps.front_caption", front=_front_in_words(found))
    st.caption(caption if bound is None else t("sweeps.front_caption_bound", caption=caption))
    sweep_point.draw(found)
    _best(found)
    strengths = sensitivity(found)
    table = pl.DataFrame([one._asdict() for one in strengths])
    chart_with_data(figures.sensitivities(strengths), table, "sensitivity")
    offered = sweep_tables.all_metrics(found)
    metrics = st.multiselect(
        t("sweeps.axes"),
        offered,
        default=[metric for metric in sweep_tables.further_of(found) if metric in offered][:2],
        format_func=names(offered, metric_name),
        key=f"{AXES}-{folder.name}",
    )
    drawn = figures.parallel(found, [*found.sweep.file.directions, *metrics])
    chart_with_data(drawn, found.points, "parallel-coordinates")
    st.caption(t("sweeps.parallel_caption", metric=metric_name(gain).lower()))


def _best(found: SweepResult) -> None:
    gain, _ = found.sweep.file.objectives
    st.subheader(t("sweeps.best"))
    bound = st.number_input(
        t("sweeps.bound"), 0.0, 100.0, value=None, step=0.5, key=BOUND, placeholder=t("sweeps.any")
    )
    bounds = t("words.and").join(map(str, found.sweep.file.bounds))
    if bounds:
        st.caption(t("sweeps.own_bounds", bounds=bounds))
    best = best_points(found, _share(bound))
    if not len(best) and (bound is None or not found.points["feasible"].any()):
        st.info(t("sweeps.none_within", bounds=bounds) if bounds else t("sweeps.none_at_all"))
        return
    if not len(best):
        known = found.points.filter(pl.col("feasible"))["irrelevant_share"].drop_nans()
        said = t("sweeps.none_below", bound=bound)
        if len(known):
            said = t("sweeps.least", said=said, least=known.min())
        st.info(t("sweeps.raise_bound", said=said))
        return
    table = sweep_tables.points_table(found, best)
    sweep_point.draw_table(found, table)
    with st.container(horizontal=True):
        st.button(
            t("sweeps.open_best", point=best["point"][0]),
            icon=":material/open_in_full:",
            on_click=sweep_point.open_point,
            args=(int(best["point"][0]),),
        )
        download(t("download.points"), best.write_csv(), "best-points.csv")
    st.caption(t("sweeps.best_caption", metric=metric_name(gain).lower()))


def _own_bound(found: SweepResult) -> float | None:
    """The bound on irrelevant ads to begin with, in per cent: the sweep's, or none where it has others."""
    bounds = found.sweep.file.bounds
    own = [one.at_most for one in bounds if one.metric == "irrelevant_share" and one.at_most is not None]
    if own:
        return min(round(100 * min(own), 6), 100.0)
    return None if bounds else USUAL_BOUND


def _share(per_cent: float | None) -> float | None:
    return None if per_cent is None else per_cent / 100


def _front_in_words(found: SweepResult) -> str:
    file = found.sweep.file
    if not file.further:
        return t("sweeps.front_both")
    *others, last = (metric_name(metric).lower() for metric in file.directions)
    return t("sweeps.front_many", metrics=t("words.and").join([t("words.comma").join(others), last]))


def _compare(folder: Path, others: dict[str, Path], called: dict[str, str]) -> None:
    if not others:
        return
    st.subheader(t("sweeps.beside"))
    if st.session_state.get(OTHER) not in others:
        st.session_state[OTHER] = None
    other = st.selectbox(
        t("sweeps.other"),
        list(others),
        index=None,
        format_func=called.__getitem__,
        key=OTHER,
        placeholder=t("sweeps.other_placeholder"),
    )
    if other is None:
        return
    try:
        first, second = session.sweep(folder), session.sweep(others[str(other)])
    except (ValueError, OSError) as error:
        st.error(f"{t('sweeps.cannot_compare')}\n\n{message(error)}")
        return
    if first.sweep.file.directions != second.sweep.file.directions:
        named = t("words.and").join(metric_name(metric).lower() for metric in second.sweep.file.directions)
        st.info(t("sweeps.other_objectives", other=other, metrics=named))
        return
    bound = st.session_state[BOUND]
    both = pl.concat(
        [one.points.with_columns(sweep=pl.lit(one.folder.name)) for one in (first, second)],
        how="diagonal_relaxed",
    )
    chart_with_data(figures.two_fronts(first, second), both, "two-sweeps")
    for one in (first, second):
        best = best_points(one, _share(bound), n=1)
        what = _in_words(one, best) if len(best) else t("sweeps.no_point")
        if bound is None:
            st.markdown(t("sweeps.best_of_constrained", name=one.folder.name, what=what))
        else:
            st.markdown(t("sweeps.best_of", name=one.folder.name, bound=bound, what=what))
    if first.sweep.scenario.name != second.sweep.scenario.name or first.sweep.seeds != second.sweep.seeds:
        st.caption(t("sweeps.other_draws"))


def _in_words(found: SweepResult, best: pl.DataFrame) -> str:
    row = best.row(0, named=True)
    numbers = [
        f"{metric_name(metric).lower()} {sweep_tables.amount(metric, row[metric])}"
        for metric in found.sweep.file.directions
    ]
    settings = sweep_tables.point_text(found, row)
    metrics = t("words.and").join(numbers)
    return t_plain("sweeps.best_point", point=row["point"], settings=settings, metrics=metrics)


if __name__ == "__main__":
    page()
