"""`relbid app` as a process: a signal to it ends all of it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.app.server import REPOSITORY, wait_until_healthy

SOON_S = 10.0


def listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(os.name != "posix", reason="sends a signal of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_streamlit_and_frees_the_port(tmp_path: Path, number: signal.Signals) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "scenarios.cli", "app", "--out", str(tmp_path)]
    options = ["--server.headless=true", f"--server.port={port}"]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *options],
            cwd=REPOSITORY,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup would have it ignored
        )
    try:
        wait_until_healthy(process, f"http://127.0.0.1:{port}/_stcore/health", log)
        ours = psutil.Process(process.pid)
        family = [ours, *ours.children(recursive=True)]
        assert any("streamlit" in " ".join(one.cmdline()) for one in family)
        process.send_signal(number)
        process.wait(SOON_S)
        _, living = psutil.wait_procs(family, SOON_S)
        assert living == []
        end = time.monotonic() + SOON_S
        while listens(port) and time.monotonic() < end:
            time.sleep(0.1)
        assert not listens(port)
    finally:
        process.kill()
        process.wait()
