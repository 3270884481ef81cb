"""Runs a sample of the cases in processes, and counts what is found."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SILENT_S = 180.0
"""A process that has said nothing for so long is stuck at a case."""
NOBODY = 65_534
MEMORY = 8 * 2**30
"""Bytes of a process. What asks for more is a finding, and no danger to the machine."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1",
    "RELBID_WAITING_S": "0.2", "COLUMNS": "100",
}  # fmt: skip


@dataclass
class Report:
    """How many cases of each group were tried, and what was found."""

    tried: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, str]] = field(default_factory=list)
    """(title of the case, what is wrong)."""
    took_s: float = 0.0
    spent: Counter[str] = field(default_factory=Counter)
    """Milliseconds of the processor, of the cases of each group."""

    def text(self, most: int = 60) -> str:
        """A table by group, the first findings, and the sum."""
        found = Counter(title.split(" | ")[0] for title, _ in self.findings)
        kinds = Counter(what.split(":")[0] for _, what in self.findings)
        lines = [
            f"{n:7,} tried {found[group]:6,} findings {self.spent[group] / n:7.0f} ms each  {group}"
            for group, n in sorted(self.tried.items())
        ]
        lines += [f"{title}\n    {what}" for title, what in self.findings[:most]]
        lines += [f"{n:7,} {kind}" for kind, n in kinds.most_common()]
        n = sum(self.tried.values())
        used = f"{sum(self.spent.values()) / 1000:.0f} s of the processor"
        lines.append(f"{len(self.findings):,} findings in {n:,} cases, {self.took_s:.0f} s, {used}")
        return "\n".join(lines)


def run_cases(
    root: Path, n: int, seed: int, workers: int, only: str = "", progress: Callable[[str], None] | None = None
) -> Report:
    """Run a sample of so many cases."""
    report, began = Report(), time.monotonic()
    running = [_Process(root / str(k), n, seed, k, workers, only) for k in range(workers)]
    with selectors.DefaultSelector() as selector:
        for process in running:
            process.start(selector)
        told, shown = 0.0, 0
        while any(not one.done for one in running):
            for key, _ in selector.select(timeout=1.0):
                key.data.take(report)
            for one in running:
                one.watch(selector, report)
            if progress is not None and time.monotonic() - told > 10.0:
                told = time.monotonic()
                for title, what in report.findings[shown:]:
                    progress(f"{title}\n    {what}")
                shown = len(report.findings)
                progress(f"{sum(report.tried.values()):,} of {n:,} cases, {len(report.findings):,} findings")
    report.took_s = time.monotonic() - began
    return report


class _Process:
    """A process that runs every k-th case, started anew where it ends too early."""

    def __init__(self, root: Path, n: int, seed: int, k: int, workers: int, only: str) -> None:
        self.task: dict[str, Any] = {
            "root": str(root), "n": n, "seed": seed, "k": k, "workers": workers, "only": only, "start": 0,
        }  # fmt: skip
        self.done, self.at, self.heard = False, None, time.monotonic()
        self.at: tuple[int, str] | None = None

    def start(self, selector: selectors.BaseSelector) -> None:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--worker", json.dumps(self.task)]
        log = Path(self.task["root"]).with_suffix(".log")
        self.popen = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log.open("ab"), stdin=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT}, bufsize=0,
        )  # fmt: skip
        assert self.popen.stdout is not None
        self.rest, self.heard = b"", time.monotonic() + 120.0  # it makes its folder first
        os.set_blocking(self.popen.stdout.fileno(), False)
        selector.register(self.popen.stdout, selectors.EVENT_READ, self)

    def take(self, report: Report) -> None:
        assert self.popen.stdout is not None
        raw = self.popen.stdout.read() or b""
        *lines, self.rest = (self.rest + raw).split(b"\n")
        for line in lines:
            self.heard = max(self.heard if self.at is None else 0.0, time.monotonic())
            message = json.loads(line)
            if "begin" in message:
                self.at = message["begin"], message["title"]
                self.heard = time.monotonic()
            elif "end" in message:
                self.at = None
                report.tried[message["group"]] += 1
                report.spent[message["group"]] += message["ms"]
                if message["finding"]:
                    report.findings.append((message["title"], message["finding"]))
            else:
                self.done = True

    def watch(self, selector: selectors.BaseSelector, report: Report) -> None:
        assert self.popen.stdout is not None
        code = self.popen.poll()
        if self.popen.stdout.closed or (self.done and code is None):
            return
        stuck = time.monotonic() - self.heard > SILENT_S
        if code is None and not stuck:
            return
        if code is None:
            self.popen.kill()
            self.popen.wait()
        self.take(report)
        selector.unregister(self.popen.stdout)
        self.popen.stdout.close()
        if self.done:
            return
        if self.at is None:
            said = Path(self.task["root"]).with_suffix(".log").read_text()[-2000:]
            raise RuntimeError(f"a process ended with {code}: {said}")
        number, title = self.at
        report.tried[title.split(" | ")[0]] += 1
        report.findings.append((title, "hang: killed" if stuck else f"died: exit code {code}"))
        self.task["start"], self.at = number + 1, None
        self.start(selector)


def work(task: dict[str, Any]) -> None:
    """The cases of one process; says of each when it begins and what was found."""
    from benchmarks.fuzz.referee import finding_of
    from benchmarks.fuzz.universe import sample, universe
    from benchmarks.fuzz.workplace import Workplace

    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    root = Path(task["root"])
    _as_nobody(root)
    place = Workplace(root / "place")
    place.make()
    _limit_memory()
    cases = [case for case in universe(place) if task["only"] in case.title]
    chosen = sample(cases, task["n"], task["seed"])
    for number in range(task["k"], len(chosen), task["workers"]):
        if number < task["start"]:
            continue
        case = chosen[number]
        say.write(json.dumps({"begin": number, "title": case.title}) + "\n")
        began = time.process_time()
        answer = {"group": case.group, "title": case.title, "finding": finding_of(case, place)}
        ms = 1000 * (time.process_time() - began)
        say.write(json.dumps({"end": number, **answer, "ms": round(ms)}) + "\n")
    say.write(json.dumps({"done": True}) + "\n")


def nobody_has_python() -> bool:
    """Whether any user may read the interpreter's modules: some stand in the home of root."""
    places = [Path(os.__file__).resolve(), Path(__file__).resolve()]
    return all(part.stat().st_mode & 0o001 for place in places for part in place.parents)


def _as_nobody(root: Path) -> None:
    """Go on as a user who may write in this folder alone: what does wrong must harm nothing else."""
    root.mkdir(parents=True, exist_ok=True)
    if os.name == "posix" and os.geteuid() == 0 and nobody_has_python():
        os.chown(root, NOBODY, NOBODY)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.environ.update(HOME=str(root), TMPDIR=str(root))


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**30, 2 * 2**30))
