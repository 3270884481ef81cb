"""A job on a page: how far it is, a button that stops it, and how it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from app import jobs
from app.files import results_root
from app.jobs import Job, Outcome
from app.language import t, t_plain
from app.texts import markdown, message
from app.wording import duration, stage_name
from scenarios import CommandProgress

POLL_S = 1.0


def start(kind: str, subject: str, arguments: Sequence[str], files: Mapping[str, str] | None = None) -> None:
    """Start a job, unless one of its kind runs on the subject; for callbacks, see `show_fault`.

    Args:
        arguments: of `relbid`, without `--out`; see `jobs.start` for the others.
    """
    root = results_root()
    found = jobs.latest(root, kind, subject)
    if found is not None and jobs.is_alive(found):
        return
    try:
        jobs.start(root, kind, subject, [*arguments, "--out", str(root)], files)
    except (ValueError, OSError) as error:
        tell(kind, error)


def tell(kind: str, fault: Exception) -> None:
    """Keep for `show_fault` why a job of a kind could not start."""
    st.session_state[f"fault-{kind}"] = str(fault)


def show_fault(*kinds: str) -> None:
    """Why the last job of these kinds could not start, if so."""
    for kind in kinds:
        if fault := st.session_state.pop(f"fault-{kind}", None):
            st.error(message(fault))


def watch(
    job: Job,
    title: str,
    again: str,
    more: Callable[[], None] | None = None,
    finished: Callable[[Outcome], None] | None = None,
) -> None:
    """Draw a job, and draw it again every second while it runs. When it ends, the whole page is drawn again.

    Args:
        title: what it does, e.g. "Sweep exponent-threshold".
        again: what to do if it has not finished.
        more: draws what else there is to see while it runs.
        finished: called when it ends while it is shown, before the page is drawn again.
    """
    running = jobs.is_alive(job)

    def draw() -> None:
        now = jobs.outcome(job)
        if running and not now.alive:
            if finished is not None:
                finished(now)
            st.rerun()
        _draw(job, now, title, again, more)

    st.fragment(draw, run_every=POLL_S if running else None)()


def show(job: Job, title: str, again: str) -> None:
    """Draw a job once, for a page that draws itself again."""
    _draw(job, jobs.outcome(job), title, again, None)


def follow(kind: str, subject: str, title: str, again: str, done: str) -> None:
    """Draw the newest job of a kind on a subject, or why it could not start, and `done` where it is."""
    show_fault(kind)
    job = jobs.latest(results_root(), kind, subject)
    if job is not None:
        watch(job, title, again)
        if jobs.outcome(job).state == "done":
            st.success(markdown(done))


def _draw(job: Job, now: Outcome, title: str, again: str, more: Callable[[], None] | None) -> None:
    if now.state == "done":
        return
    with st.container(border=True, key=f"job-{job.folder.name}"):
        if now.alive:
            _running(job, now, title)
            if more is not None:
                more()
        else:
            _ended(job, now, title, again)


def _running(job: Job, now: Outcome, title: str) -> None:
    progress = now.progress
    share = min(progress.done / progress.total, 1.0) if progress.total else 0.0
    st.markdown(f"**{markdown(title)}**")
    said = t("jobs.stopping") if now.state == "stopping" else markdown(in_words(progress))
    st.progress(share, said)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            t("jobs.stop"),
            icon=":material/stop_circle:",
            key=f"stop-{job.folder.name}",
            on_click=jobs.cancel,
            args=(job,),
            disabled=now.state == "stopping",
        )
        st.caption(t("jobs.continues"))


def _ended(job: Job, now: Outcome, title: str, again: str) -> None:
    if now.state == "failed":
        st.error(f"{t('jobs.failed', title=title)}\n\n{message(now.message)}")
    elif now.state == "stopped":
        st.info(t("jobs.stopped", title=title, again=again))
    else:
        st.warning(t("jobs.died", title=title, again=again))
    if printed := "\n".join(filter(None, [jobs.output(job), jobs.complaints(job)])):
        with st.expander(t("jobs.printed")):
            st.code(printed, language=None)
    st.button(t("jobs.dismiss"), key=f"dismiss-{job.folder.name}", on_click=jobs.forget, args=(job,))


def in_words(progress: CommandProgress, clock: Callable[[], float] = time.time) -> str:
    """`Scoring with HCMRM: 1,200 of 3,000, 45 s left`.

    Where a command has details of its own, as a sweep has, the page shows them below.
    """
    if not progress.what:
        return t("jobs.starting")
    text = t_plain(
        "jobs.count",
        stage=stage_name(progress.what, progress.subject),
        done=progress.done,
        total=progress.total,
    )
    took_s = progress.updated - progress.stage_started
    if progress.detail or not 0 < progress.done < progress.total or took_s <= 1:
        return text
    left_s = took_s * (progress.total - progress.done) / progress.done
    left_s -= clock() - progress.updated
    return t_plain("jobs.left", text=text, time=duration(max(left_s, 0.0)))
