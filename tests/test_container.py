"""The steps of the Dockerfile, as far as they can be tried without a container engine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.test_safety import REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COPIED = [name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M) for name in line.split()[:-1]]


def test_what_is_copied_is_there_and_not_ignored():
    allowed = [
        line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    assert sorted(allowed) == sorted(COPIED)
    assert all((REPOSITORY / name).exists() for name in COPIED)


def test_the_packages_and_files_that_the_wheel_is_made_of_are_copied():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert all(any(fnmatch(name, package) for name in COPIED) for package in packages)
    assert {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]} <= {*COPIED}


def test_both_stages_install_extras_that_there_are():
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installs = re.findall(r'pip install --constraint (\S+) "\.\[(.*?)\]"', DOCKERFILE)
    assert len(installs) == len(re.findall(r"^FROM base AS ", DOCKERFILE, re.M)) == 2
    assert all(file in COPIED and {*names.split(",")} <= {*extras} for file, names in installs)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a container's process is ended by a signal")
def test_its_command_serves_the_dashboard(tmp_path: Path):
    [command] = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.M)
    name, *arguments = json.loads(command)
    assert name == "relbid"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [one.replace("8501", str(port)) for one in arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-m", "scenarios.cli", *arguments], cwd=tmp_path, env=environment,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:  # fmt: skip
        try:
            answer, until = "", time.monotonic() + 60
            while answer != "ok" and time.monotonic() < until:
                assert running.poll() is None
                time.sleep(0.2)
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health") as page:
                        answer = page.read().decode()
                except urllib.error.URLError:
                    continue
            assert answer == "ok"
        finally:
            running.send_signal(signal.SIGTERM)
    assert running.returncode is not None
