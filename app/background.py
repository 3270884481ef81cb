"""Simulations that nobody waits for, such as those of the curve: one after the other, beside the pages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Worker:
    """A thread that works off the newest list of tasks, and rests while a page simulates itself.

    A task that fails ends its list: the page meets the same failure where it asks for the same.
    """

    def __init__(self) -> None:
        self._tasks: list[Callable[[], object]] = []
        self._changed = threading.Condition()
        self._pages = 0
        self._lists = 0
        self._at_work_on = 0
        self._thread: threading.Thread | None = None

    def want(self, tasks: Sequence[Callable[[], object]]) -> None:
        """Work off these, in the place of those that were wanted before."""
        with self._changed:
            self._tasks = list(tasks)
            self._lists += 1
            if self._tasks and self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    @property
    def busy(self) -> bool:
        """Whether anything is still to be done."""
        return self._thread is not None

    def superseded(self) -> bool:
        """For a task that takes long: whether something else has been wanted since it was begun."""
        return self._at_work_on != self._lists

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While a page simulates, nothing new is begun here."""
        with self._changed:
            self._pages += 1
        try:
            yield
        finally:
            with self._changed:
                self._pages -= 1
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._pages)
                if not self._tasks:
                    self._thread = None
                    return
                task = self._tasks.pop(0)
                self._at_work_on = self._lists
            try:
                task()
            except Exception:  # a page that asks for the same says what is wrong
                with self._changed:
                    if not self.superseded():
                        self._tasks = []
