"""Where results lie, and the files that a page offers to run."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from app.texts import Markdown, markdown
from scenarios import DEFAULT_SCENARIO

WORLDS, MOST_WORLDS = 4, 32

MOST = 200
MAX_BYTES = 1_000_000
SKIPPED = {"results", "models", "build", "node_modules"}

SWEEPS, EXPERIMENTS = ("sweeps", "over"), ("experiments", "arms")
"""(folder of the package, a key at the top of each such file)."""

SHIPPED = " (shipped)"
"""At the end of the names of those that come with relbid."""


def results_root() -> Path:
    """Where results lie: `relbid app --out` says so by an environment variable."""
    return Path(os.environ.get("RELBID_RESULTS", "results")).absolute()


def worlds_compared() -> int:
    """Over how many worlds the first screen compares: `relbid app --worlds` says so likewise."""
    text = os.environ.get("RELBID_WORLDS", "")
    return min(max(int(text), 1), MOST_WORLDS) if text.isascii() and text.isdecimal() else WORLDS


def offered(kind: tuple[str, str], here: Path | None = None) -> dict[str, Path]:
    """Name as shown -> file: the shipped ones first, then your own by their paths.

    Args:
        kind: SWEEPS or EXPERIMENTS.
        here: the project's folder, that of the process by default; links that lead out of it are left out.
    """
    folder, key = kind
    shipped = {path.resolve(): path for path in sorted((DEFAULT_SCENARIO.parent / folder).glob("*.yaml"))}
    found = {f"{path.stem}{SHIPPED}": path for path in shipped.values()}
    here = (here or Path.cwd()).resolve()
    for path in _yaml_files(here):
        resolved = path.resolve()
        if len(found) >= MOST:
            break
        if resolved not in shipped and resolved.is_relative_to(here) and _has(path, key):
            found[str(path.relative_to(here))] = path
    return found


def about(path: Path) -> Markdown:
    """The comment at the head of a file: its lines to the letter, and what it indents as code."""
    lines: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            text = line.lstrip("#").removeprefix(" ").rstrip()
            code, before = text.startswith("  "), lines[-1].startswith("    ") if lines else False
            if code:
                lines += [*([""] if lines and not before else []), f"    {text.strip()}"]
            elif lines and text and not before:
                lines[-1] += f" {text}"
            else:
                lines += [*([""] if before else []), text]
    return Markdown("\n".join(line if line.startswith("    ") else markdown(line) for line in lines))


def about_key(path: Path) -> str | None:
    """The key of the text on a file that comes with relbid, as in `about.sweeps_search`; None for another."""
    shipped = DEFAULT_SCENARIO.parent.resolve()
    if path.resolve().parent.parent != shipped:
        return None
    return f"about.{path.parent.name}_{path.stem.replace('-', '_')}"


def _yaml_files(here: Path) -> Iterator[Path]:
    """At most two folders down."""
    for pattern in ("*.yaml", "*/*.yaml", "*/*/*.yaml"):
        with contextlib.suppress(OSError):
            for path in sorted(here.glob(pattern)):
                parts = path.relative_to(here).parts
                if not any(part.startswith(".") or part in SKIPPED for part in parts):
                    yield path


def _has(path: Path, key: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        if path.is_file() and path.stat().st_size <= MAX_BYTES:
            return re.search(rf"^{key}\s*:", path.read_text(encoding="utf-8"), re.MULTILINE) is not None
    return False
