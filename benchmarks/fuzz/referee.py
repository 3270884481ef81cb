"""Runs a case in this process, and says what is wrong with how the program answered."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.fuzz.cases import Case
from benchmarks.fuzz.runs import nobody_has_python
from benchmarks.fuzz.workplace import Workplace

LIMIT_S = 20.0
"""A case that takes more of the processor's time hangs, on however busy a machine."""
WAITING_S = 60.0
"""A case that takes longer by the clock hangs."""
LONG = ("train", "backtest")
"""Commands whose many steps or draws are legal, and take their time."""
LOOKS_S = 0.1
"""Seconds between looks at these limits, and at whether a plug-in is said to be waited for."""
LONGEST = 2000
"""Characters of a message that can still be read."""
PYTHON = re.compile(
    r"Traceback|\[Errno|<class |<function |object at 0x|(?<![\w/.])__\w+__(?!: unknown key)|NoneType"
    r"|\bPydantic|validation error|\bdtype\b|unexpected keyword|positional argument|not subscriptable"
    r"|has no attribute|not JSON serializable|must be str|PosixPath|list indices"
    r"|'(int|str|list|dict|float|bool|tuple|bytes)'|codec can't|\bbuiltin|_io\.|Errno \d|numpy\.|np\.|torch\."
    r"|object is not|not supported between|could not convert|invalid literal"
)
RAISED = re.compile(r"\b[A-Z][A-Za-z]*(?:Error|Exception|Exit|Interrupt)\b")
KEPT = re.compile(r"(^|/)(\.cache|\.locks|__pycache__)(/|$)|(^|/)\.lock$|\.incomplete(/|$)|^results$")
"""What a command may leave that was refused, as docs/safety.md says: caches, locks, and what a run
had finished when its scorer failed."""


class Overtime(BaseException):
    """A case takes too long."""


def finding_of(case: Case, place: Workplace) -> str | None:
    """What is wrong; None: nothing is."""
    if case.change is not None:
        case.change(place.folder)
    before = place.listing()
    code, out, err = _run(case, place)
    after = place.listing()
    try:
        return _verdict(case, code, out, err, before, after)
    finally:
        place.put_back(after)


def _verdict(
    case: Case, code: Any, out: str, err: str, before: dict[str, Any], after: dict[str, Any]
) -> str | None:
    if isinstance(code, BaseException):
        if isinstance(code, Overtime) and case.kind == "huge" and case.argv[0] in LONG and not case.refuse:
            return None
        if isinstance(code, Overtime):
            where = traceback.extract_tb(code.__traceback__)[-3:]
            return f"hang: in {', '.join(f'{one.name}:{one.lineno}' for one in where)}"
        where = traceback.extract_tb(code.__traceback__)
        own = [one for one in where if "/site-packages/" not in one.filename] or list(where)
        last = own[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        return f"traceback: {type(code).__name__} in {place} {str(code)[:200]}"
    message = _message(err)
    if case.hangs:
        if "waiting for" not in err:
            return f"hang: no word of waiting: {err[-300:]}"
        return None if code == 130 else f"exit code {code} after an interrupt: {message[-300:]}"
    if code in (0, None):
        return "nonsense: accepted a value out of its range" if case.refuse else None
    if case.accept:
        return f"nonsense: refused what is right: {message[-300:]}"
    if code == 1 and "failed, see" in err:
        return None
    if code != 2:
        return f"exit code: {code}: {message[-300:]}"
    if len(message) > LONGEST:
        return f"message: {len(message)} characters: {message[:200]}"
    if "relbid: " not in message and "Usage: " not in message and "Error: " not in message:
        return f"message: none: {err[-200:]!r}"
    spoken = re.search("Traceback", message)
    if not case.reads_python and "cannot import module" not in message:
        spoken = PYTHON.search(message) or RAISED.search(message)
    if spoken:
        return f"message: speaks Python ({spoken[0]}): {message[:400]}"
    if case.names and not any(name.lower() in message.lower() for name in case.names):
        return f"message: names none of {case.names}: {message[:400]}"
    changed = [name for name, about in after.items() if before.get(name) != about and not KEPT.search(name)]
    changed += [f"{name} (removed)" for name in before if name not in after and not KEPT.search(name)]
    return f"leftovers: {', '.join(sorted(changed)[:5])}" if changed else None


def _message(err: str) -> str:
    """What a command says at its end, without warnings, bars of progress and notices of waiting."""
    err = re.sub(r"^relbid: waiting for .*\n?", "", err, flags=re.MULTILINE)
    at = max(err.rfind("\nrelbid: "), err.rfind("\nUsage: "))
    if err.startswith(("relbid: ", "Usage: ")) and at < 0:
        at = 0
    return err[at:].strip() if at >= 0 else err.strip()


def _run(case: Case, place: Workplace) -> tuple[Any, str, str]:
    """A command in this process: its exit code or what it raised, and its outputs."""
    out, err = io.StringIO(), io.StringIO()
    before = (
        sys.argv,
        list(sys.path),
        set(sys.modules),
        signal.getsignal(signal.SIGINT),
        signal.getsignal(signal.SIGTERM),
    )
    sys.argv = ["relbid", *case.argv]
    code: Any = 0
    os.chdir(place.folder)
    try:
        with (
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(),
            _nobody(case), _in_time(case, err),
        ):  # fmt: skip
            _command(case)
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        code = error
    finally:
        sys.argv, sys.path[:] = before[0], before[1]
        for name in set(sys.modules) - before[2]:
            if name.startswith("plug_"):
                del sys.modules[name]
        signal.signal(signal.SIGINT, before[3])
        signal.signal(signal.SIGTERM, before[4])
        os.chdir(place.root)
    return code, out.getvalue(), err.getvalue()


def _command(case: Case) -> None:
    if case.argv[0].startswith("@"):
        import scenarios
        from scenarios.errors import UserError

        try:
            getattr(scenarios, case.argv[0][1:])(*case.argv[1:])
        except UserError as error:
            print(f"relbid: {error}", file=sys.stderr)
            sys.exit(2)
        return
    from scenarios.cli.main import main
    from scenarios.reporting import figures
    from scenarios.studies import run_study

    def replaced(*_: Any) -> None:
        raise SystemExit(0)

    with (
        mock.patch.object(os, "execve", replaced),  # the dashboard takes the place of this process
        mock.patch.object(run_study.pool, "work_through", run_study.pool.work_here),
        mock.patch.object(figures, "write_picture", lambda figure, path: path),  # a browser draws it
    ):
        main()


@contextlib.contextmanager
def _in_time(case: Case, err: io.StringIO) -> Iterator[None]:
    """End what takes too long; interrupt a plug-in that never returns when the user has been told."""
    began, until, over = time.process_time(), time.monotonic() + WAITING_S, False

    def look(*_: Any) -> None:
        nonlocal over, case
        if time.monotonic() > until or time.process_time() - began > LIMIT_S:
            over = True
            raise Overtime
        if case.hangs and "waiting for" in err.getvalue():
            case = replace(case, hangs=False)  # interrupted once
            os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGALRM, look)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, LOOKS_S, LOOKS_S)
    ended = False
    try:
        yield
        ended = True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        if over and not ended and not isinstance(sys.exc_info()[1], Overtime):
            raise Overtime


@contextlib.contextmanager
def _nobody(case: Case) -> Iterator[None]:
    """As a user who is not root, whom permissions bind."""
    if case.kind != "no permission" or os.geteuid() != 0 or not nobody_has_python():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
