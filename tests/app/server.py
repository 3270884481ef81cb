"""A dashboard of one's own, for tests and screenshots, and a browser to look at it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPOSITORY = Path(__file__).parents[2]
MAIN = REPOSITORY / "app" / "main.py"
CHROMIUM = "/usr/bin/chromium"
START_S = 180.0
SETTLE_MS = 240_000


def chromium() -> str | None:
    """Where a chromium is."""
    return CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium")


@contextlib.contextmanager
def dashboard(results: Path, cwd: Path | None = None, script: Path = MAIN) -> Iterator[str]:
    """Run the dashboard on a results folder, started in a folder, and give its address.

    Args:
        script: another one than the dashboard's, which draws what is to be looked at.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "RELBID_TOUR": "0",
        **os.environ,
        "RELBID_RESULTS": str(results),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    options = ["--server.headless=true", f"--server.port={port}"]
    log_path = results / "dashboard.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*command, *options], env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=cwd
        )
        try:
            wait_until_healthy(process, f"http://127.0.0.1:{port}/_stcore/health", log_path)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=chromium(), args=["--disable-dev-shm-usage", "--no-sandbox"]
        )
        try:
            yield found
        finally:
            found.close()


def wait_until_drawn(page: Page) -> None:
    """Wait until the script has run and nothing is being redrawn."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=SETTLE_MS)
    page.wait_for_timeout(300)
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=SETTLE_MS)


def wait_until_healthy(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2) as answer:
            if answer.status == 200:
                return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise RuntimeError(f"the dashboard did not start:\n{log.read_text()}")
