"""Where relbid calls a plug-in: whatever that raises, or if it takes long, the user is told whose code it is.

A plug-in may raise anything, `SystemExit` and `KeyboardInterrupt` included, which would end relbid as if the
user had. Only an interrupt that really came ends it.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from relevance.errors import PluginError, cut, did_you_mean, quoted

WAITING = "RELBID_WAITING_S"
"""The environment variable that says after how many seconds a call is said to be waited for."""
WAITING_S = 20.0


class EscapedError(Exception):
    """A plug-in raised what is meant to end a program; the text names it."""


def class_name(thing: object) -> str:
    """The name of its class, whatever that class answers when it is asked for its name."""
    return str(type.__dict__["__name__"].__get__(type(thing)))


def raised(error: BaseException) -> str:
    """What a plug-in raised, in one line: `ValueError: no such word`."""
    name = "" if type(error) is EscapedError else class_name(error)  # isinstance may ask the error itself
    # A class may be named over many lines.
    parts = (" ".join(part.split()) for part in (name, text_of(error)))
    return cut(": ".join(part for part in parts if part))


def text_of(error: BaseException) -> str:
    """The text of what a plug-in raised; empty where there is none, and asking for it may raise anything."""
    try:
        if isinstance(error, OSError) and error.strerror:
            return ": ".join(str(part) for part in (error.strerror, error.filename) if part)
        return str(error)
    except BaseException:
        return ""


def misfit(factory: Callable[..., Any], settings: Mapping[str, object]) -> str:
    """Why a class or function cannot be called with these settings, in words; empty: nothing is known."""
    try:
        known = inspect.signature(factory).parameters.values()
    except BaseException:  # a stranger's object may raise anything, and many of C's have none
        return ""
    named = [one for one in known if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    names = [one.name for one in named]
    for setting in settings:
        if setting not in names and not any(one.kind == one.VAR_KEYWORD for one in known):
            has = f"it has {', '.join(names)}" if names else "it has none"
            return f"has no setting {quoted(setting)}: {has}{did_you_mean(setting, names)}"
    lacks = next((one.name for one in named if one.default is one.empty and one.name not in settings), None)
    return f"needs the setting {quoted(lacks)}" if lacks else ""


class Plugin:
    """A plug-in's name, and the way to call it: `with plugin: scorer.score(...)`.

    What is raised in the block and is no Exception (SystemExit, GeneratorExit, a KeyboardInterrupt that
    nobody typed) becomes an EscapedError. A block that takes longer than WAITING_S, or $RELBID_WAITING_S,
    is said to be waited for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        """In words: `scorer 'my_module:Scorer'`."""
        self._depth, self._interrupted, self._ended = 0, False, threading.Event()
        self._process = os.getpid()
        self._before: list[tuple[int, Any]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Plugin, (self.name,)

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        self._interrupted, self._ended, self._process = False, threading.Event(), os.getpid()
        threading.Thread(target=self._watch, args=(self._ended, _patience_s()), daemon=True).start()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if callable(before := signal.getsignal(number)):
                    self._before.append((number, before))
                    signal.signal(number, self._marked(before))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:  # the child of a plug-in's own fork, which would be a second relbid
            os._exit(0 if error is None else 1)
        self._depth -= 1
        if self._depth == 0:
            self._ended.set()
            for number, before in self._before:
                signal.signal(number, before)
            self._before.clear()
        if error is not None and not isinstance(error, Exception) and not self._interrupted:
            raise EscapedError(raised(error)) from error

    def ask(self, doing: str, method: Callable[..., Any], /, *arguments: Any, **settings: Any) -> Any:
        """What a plug-in's method answers.

        Args:
            doing: what it does, before the error in the message: `score() raised`.

        Raises:
            PluginError: it raised something.
        """
        try:
            with self:
                return method(*arguments, **settings)
        except Exception as error:  # a stranger's code may raise anything
            raise PluginError(f"{doing} {raised(error)}", file=self.name) from error

    def call(self, made: object, name: str, *arguments: Any) -> Any:
        """What the method of a name answers, of what a plug-in has made; the method may be a property.

        Raises:
            PluginError: it raised something.
        """
        return self.ask(f"{name}() raised", lambda: getattr(made, name)(*arguments))

    def _marked(self, before: Callable[..., Any]) -> Callable[..., Any]:
        """A signal's handler that also remembers that the signal came."""

        def handler(*arguments: Any) -> None:
            self._interrupted = True
            before(*arguments)

        return handler

    def _watch(self, ended: threading.Event, patience_s: float) -> None:
        """Say that a call is waited for, ever more rarely, until it has ended."""
        since, waited = time.monotonic(), patience_s
        while not ended.wait(waited):  # as long again as it has taken
            waited = time.monotonic() - since
            print(f"relbid: waiting for {self.name}, {waited:.3g} s so far; Ctrl-C ends it", file=sys.stderr)


def _patience_s() -> float:
    try:
        return min(max(float(os.environ.get(WAITING, "")), 0.01), 1e6)
    except ValueError:
        return WAITING_S
