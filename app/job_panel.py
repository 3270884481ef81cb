"""A job on a page: how far it is, a button that stops it, and how it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable

import streamlit as st

from app import jobs
from app.jobs import Job, Outcome
from scenarios import CommandProgress

POLL_S = 1.0

DIED = (
    "Its process ended without a word: it was killed, the memory ran out, or the machine was started anew. "
    "What was finished is kept."
)


def watch(
    job: Job,
    title: str,
    again: str,
    more: Callable[[], None] | None = None,
    finished: Callable[[Outcome], None] | None = None,
) -> None:
    """Draw a job, and draw it again every second while it runs; the page is drawn anew when it ends.

    Args:
        title: what it does, e.g. "Sweep exponent-threshold".
        again: what to do where it has not come to its end.
        more: draws what else there is to see while it runs.
        finished: called when it has ended under the reader's eyes, before the page is drawn anew.
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
    st.markdown(f"**{title}**")
    st.progress(share, "Stopping …" if now.state == "stopping" else in_words(progress))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Stop",
            icon=":material/stop_circle:",
            key=f"stop-{job.folder.name}",
            on_click=jobs.cancel,
            args=(job,),
            disabled=now.state == "stopping",
        )
        st.caption("It goes on if you close this page, and is here when you come back.")


def _ended(job: Job, now: Outcome, title: str, again: str) -> None:
    if now.state == "failed":
        st.error(f"{title} failed.\n\n{now.message}")
    elif now.state == "stopped":
        st.info(f"{title} was stopped. {again}")
    else:
        st.warning(f"{title} did not come to its end. {DIED} {again}")
    if printed := "\n".join(filter(None, [jobs.output(job), jobs.complaints(job)])):
        with st.expander("What the command printed"):
            st.code(printed, language=None)
    st.button("Dismiss", key=f"dismiss-{job.folder.name}", on_click=jobs.forget, args=(job,))


def in_words(progress: CommandProgress, clock: Callable[[], float] = time.time) -> str:
    """`Scoring with hcmrm: 1,200 of 3,000, 45 s left`."""
    if not progress.stage:
        return "Starting …"
    stage = progress.stage[:1].upper() + progress.stage[1:]
    parts = [f"{stage}: {progress.done:,} of {progress.total:,}"]
    took_s = progress.updated - progress.stage_started
    if progress.detail:
        parts.append(progress.detail)
    elif 0 < progress.done < progress.total and took_s > 1:
        left_s = took_s * (progress.total - progress.done) / progress.done
        left_s -= clock() - progress.updated
        parts.append(f"{duration(max(left_s, 0.0))} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
