"""Real faults: kills, full and read-only disks, two commands at once, memory, clocks.

Nothing half-written is read as whole, nothing that was finished is lost, and the same command continues.
"""

import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from filelock import lock_descriptor

from benchmarks.fuzz.workplace import AUCTIONS, TRAINING
from scenarios import (
    StoreError,
    list_results,
    load_experiment,
    load_scenario,
    load_sweep,
    run_experiment,
    run_sweep,
)
from scenarios.runs.results import result_folder
from scenarios.runs.scenario_run import run_to_folder
from scenarios.storage.whole import LOCK, LOCKS, TEMPORARY, alone, remove_stale, whole_folder, whole_path
from scenarios.studies import run_study as engine
from scenarios.studies.study import read_status
from tests.relevance.tiny import tiny_corpus
from tests.scenarios import miniature
from tests.scenarios.test_cli import REPOSITORY

SWEEP = (
    "schema: 1\nname: swept\nscenario: tiny.yaml\n"
    "over: {fusion.relevance: [0.5, 1], scorer: [none, oracle]}\n"
)
EXPERIMENT = (
    "schema: 1\nname: compared\nscenario: tiny.yaml\nbaseline: A\n"
    "arms: {A: {fusion.relevance: 0.5}, B: {fusion.relevance: 2}}\nseeds: 12\n"
)
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(REPOSITORY),
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "NO_COLOR": "1",
}


@pytest.fixture
def files(tmp_path, tiny_text):
    """A folder with a scenario, a sweep and an experiment."""
    for name, text in (("tiny", tiny_text), ("swept", SWEEP), ("compared", EXPERIMENT)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scenarios.cli", *map(str, arguments)]
    silent = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=ENVIRONMENT, stdout=silent, stderr=silent, text=True)


# kill -9


@pytest.mark.parametrize(("command", "made", "size"), [("run", "tiny-*", 5), ("experiment", "compared-*", 4)])
def test_killed_at_random_moments_a_command_goes_on_to_the_same_bytes(files, command, made, size):
    file = f"{made.partition('-')[0]}.yaml"
    rng = random.Random(5)
    for wait in (0.0, rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.6)):
        process = start(command, file, cwd=files)
        # From the first sign of work on: before that there is nothing to harm.
        end = time.monotonic() + 120
        while not (files / "results").exists() and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(wait)
        process.kill()
        process.wait()
        process.communicate()
        for folder in (files / "results").glob(made):  # whole, or not there
            assert len(content(folder)) == size
    process = start(command, file, cwd=files)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    [folder] = (files / "results").glob(made)
    process = start(command, file, "--out", "undisturbed", cwd=files)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    [undisturbed] = (files / "undisturbed").glob(made)
    assert content(folder) == content(undisturbed)


TRAIN = """
import sys, time
from pathlib import Path
import torch
from relevance.corpus import LabelledCorpus
from relevance.hcmrm.training import train as module
from relevance.hcmrm.training.train import train
from relevance.hcmrm.training.train_config import TrainConfig

torch.set_num_threads(1)
sizes = dict(hidden_size=16, num_heads=2, visual_layers=1, text_layers=1, fusion_layers=1,
             intermediate_size=16, embed_dim=8, conv_stem=(4, 4, 4, 16))
config = TrainConfig(word_steps=20, align_steps=8, finetune_steps=24, validate_every=8, validation_pairs=200,
                     align_batch=8, ads_per_step=4, model=sizes)
train(LabelledCorpus.load(Path(sys.argv[1])), Path(sys.argv[2]), config, save_every_s=0.0,
      progress=lambda at: print(at.stage, at.step, flush=True))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    from simulator.world import LabelledWorlds, WorldConfig, labelled_corpus

    folder = tmp_path_factory.mktemp("corpus")
    config = WorldConfig(
        train_advertisers=36,
        validation_advertisers=36,
        test_advertisers=36,
        ads_per_advertiser=4,
        query_pool=2000,
    )
    labelled_corpus(LabelledWorlds((7,), None, config)).save(folder / "corpus")
    return folder / "corpus"


def test_a_training_that_is_killed_goes_on_to_the_same_weights(corpus, tmp_path):
    def training(out: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TRAIN, str(corpus), str(tmp_path / out)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True)

    whole = training("whole")
    process = training("killed")
    assert process.stdout is not None
    for _ in range(random.Random(3).randrange(22, 50)):  # of 52 steps, after each of which it saves
        process.stdout.readline()
    process.kill()
    process.communicate()
    state = tmp_path / "killed" / "training-state.safetensors"
    assert state.is_file()
    again, err = (process := training("killed")).communicate(timeout=300)
    assert process.returncode == 0, err
    assert len(again.splitlines()) < 52, "it continues where it was"
    steps, err = whole.communicate(timeout=300)
    assert whole.returncode == 0, err
    assert len(steps.splitlines()) == 52
    for name in ("model.safetensors", "config.json", "tokenizer.json", "keywords.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    # Half a state is no state.
    state.write_bytes(state.read_bytes()[:-100])
    _, err = (process := training("killed")).communicate(timeout=300)
    assert process.returncode != 0
    assert "training-state.safetensors: damaged" in err


# Disks


def mounted(*arguments: object) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB, and a function that leaves so many bytes of it free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted("-t", "tmpfs", "-o", "size=8m", "tmpfs", disk)

    def leave(free: int) -> None:
        filler = disk / "filler"
        filler.unlink(missing_ok=True)
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        os.truncate(filler, max(0, filler.stat().st_size - free))

    try:
        yield disk, leave
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.parametrize("free", [0, 16_384, 40_960])
def test_a_full_disk_is_said_and_harms_nothing(files, small_disk, free):
    disk, leave = small_disk
    out = disk / "results"
    scenario = load_scenario(files / "tiny.yaml")
    _, before = run_to_folder(scenario, out)
    kept = content(before)
    other = scenario.model_copy(update={"seed": 9})
    leave(free)
    full = r"No space left on device.*; (choose another folder with --out|name another file)"
    with pytest.raises(StoreError, match=full):
        run_to_folder(other, out)
    with pytest.raises(StoreError, match=full):
        run_experiment(load_experiment(files / "compared.yaml"), cache=out)
    assert list_results(out) == [before]
    assert content(before) == kept
    assert not list(out.glob(f"{TEMPORARY}*"))

    leave(4_000_000)
    _, after = run_to_folder(other, out)
    assert set(content(after)) == set(kept)
    assert sorted(list_results(out)) == sorted([before, after])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_text):
    """A folder with what the commands read that write much."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "tiny.yaml").write_text(tiny_text)
    (folder / "compared.yaml").write_text(EXPERIMENT)
    miniature.write_own(folder / "own")
    AUCTIONS.write_parquet(folder / "auctions.parquet")
    tiny_corpus().save(folder / "corpus")
    return folder


WRITING = {
    "run": ("tiny.yaml", "--no-sweep", "--out"),
    "experiment": ("compared.yaml", "--workers", "1", "--out"),
    "replay": ("auctions.parquet", "--out"),
    "corpus": ("import", "own", "--frames", "3", "--size", "256", "--out"),
    "train": (*TRAINING[1:3], *TRAINING[5:], "--cache", "results", "--out"),
}


@pytest.mark.parametrize("command", WRITING)
def test_a_command_on_a_full_disk_says_so_and_leaves_nothing_half_written(inputs, small_disk, command):
    disk, leave = small_disk
    leave(4096)
    process = start(command, *WRITING[command], disk / "made", cwd=inputs)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2, err
    [message] = [line for line in err.splitlines() if line.startswith("relbid: ")]
    assert "No space left on device" in message
    assert "Traceback" not in err
    left = [path for path in (disk / "made").rglob("*") if path.is_file() and path.stat().st_size]
    hidden = [path for path in left if not {".cache", ".locks"} & {*path.relative_to(disk / "made").parts}]
    assert not hidden, hidden


@pytest.mark.parametrize("command", ["show", "run"])
def test_a_full_standard_output_is_said(inputs, tmp_path, command):
    more = (*WRITING["run"], str(tmp_path / "made")) if command == "run" else ("tiny.yaml",)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "scenarios.cli", command, *more],
            cwd=inputs, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300,
            check=False,
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "relbid: standard output: No space left on device"


@pytest.mark.parametrize("words", [("show", "nothing.yaml"), ("run", "tiny.yaml", "--out", "made")])
def test_a_full_standard_error_leaves_the_exit_code(inputs, words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "scenarios.cli", *words],
            cwd=inputs, env=ENVIRONMENT, stdout=full, stderr=full, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 2


@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_folder_that_is_deleted_under_one_s_feet_is_said(tmp_path, command):
    gone = tmp_path / "gone"
    gone.mkdir()
    words = [sys.executable, "-m", "scenarios.cli", command, WRITING[command][0]]
    text = f"cd {shlex.quote(str(gone))} && rmdir {shlex.quote(str(gone))} && exec {shlex.join(words)}"
    done = subprocess.run(
        ["sh", "-c", text], env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2, done.stderr
    [message] = done.stderr.strip().splitlines()
    assert "the folder where you stand is not there any more" in message


def test_a_sweep_on_a_full_disk_stops_and_goes_on(files, small_disk):
    disk, leave = small_disk
    out, sweep = disk / "results", load_sweep(files / "swept.yaml")
    run_to_folder(load_scenario(files / "tiny.yaml"), out)  # frames and scores are there
    leave(8192)
    with pytest.raises(StoreError, match="No space left on device"):
        run_sweep(sweep, out, workers=1)
    leave(4_000_000)
    folder = run_sweep(sweep, out, workers=1)
    status = read_status(folder)
    assert status is not None
    assert (status.state, status.done, status.failed) == ("done", 4, 0), "a full disk is no failed point"


def test_a_checkpoint_on_a_full_disk_stays_what_it_was(small_disk):
    from relevance.hcmrm.checkpoint import SHIPPED, Checkpoint
    from relevance.hcmrm.training.state_file import write_state

    disk, leave = small_disk
    checkpoint = Checkpoint.load(SHIPPED)
    leave(1_000_000)
    with pytest.raises(OSError, match="No space left on device"):
        checkpoint.save(disk / "model")
    assert not list((disk / "model").iterdir())
    with pytest.raises(OSError, match="No space left on device"):
        write_state(disk / "state.safetensors", {"model": checkpoint.model.state_dict()})
    assert not (disk / "state.safetensors").exists()


def test_output_that_must_not_be_written_is_found_before_the_work(files):
    if os.geteuid() != 0:
        pytest.skip("a read-only mount needs root")
    out = files / "results"
    out.mkdir()
    mounted("--bind", out, out)
    try:
        mounted("-o", "remount,ro,bind", out)
        process = start("run", "tiny.yaml", cwd=files)
        stdout, err = process.communicate(timeout=120)
    finally:
        subprocess.run(["umount", "-l", str(out)], check=False)
    assert process.returncode == 2
    assert (
        err
        == "relbid: results: cannot be written (Read-only file system); choose another folder with --out\n"
    )
    assert stdout == ""
    assert not list(out.iterdir())


# Two at once

HOLD = """
import sys, time
from pathlib import Path
from scenarios.storage.whole import alone
with alone(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(120)
"""


def held(place: Path) -> subprocess.Popen[str]:
    """A process that is at work on a place."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_command_keeps_off_and_a_dead_one_does_not_stand_in_the_way(files):
    scenario, out = load_scenario(files / "tiny.yaml"), files / "results"
    folder = result_folder(out, scenario)
    holder = held(folder)
    try:
        words = rf"{folder.name}: another relbid run \(process {holder.pid}\) is at work on it; wait for it"
        with pytest.raises(StoreError, match=words):
            run_to_folder(scenario, out)
        assert not folder.exists()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (out / LOCKS / folder.name).exists(), "what a dead process leaves is a file without a lock"
    run_to_folder(scenario, out)
    assert list_results(out) == [folder]


def test_other_outputs_of_one_folder_are_free(tmp_path):
    with alone(tmp_path / "a"), alone(tmp_path / "b"), pytest.raises(StoreError), alone(tmp_path / "a"):
        pass
    with alone(tmp_path / "a"):
        pass


def test_two_trainings_in_one_folder_are_refused(corpus, tmp_path):
    from relevance.corpus import LabelledCorpus
    from scenarios.models.training import train_model

    with alone(tmp_path / "model"), pytest.raises(StoreError, match="another relbid command"):
        train_model(LabelledCorpus.load(corpus), tmp_path / "model", settings={"finetune_steps": 1})
    assert not (tmp_path / "model").exists()


# Memory

RULES = """
import os, signal
import numpy as np
from simulator.fusion import Product

class Hungry(Product):
    pass

def hungry(how):
    in_worker = os.environ.get("POLARS_MAX_THREADS") == "1" and os.getppid() != int(os.environ["RELBID_TEST"])
    if how == 1 and in_worker:
        os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does to the greediest
    if how == 2 and in_worker:
        np.ones(2**50)
    return Product()
"""


def test_processes_that_are_killed_or_find_no_memory_cost_only_their_points(files, monkeypatch):
    (files / "hungry_rules.py").write_text(RULES)
    (files / "s.yaml").write_text(
        "schema: 1\nname: hungry\nscenario: tiny.yaml\nover:\n  fusion:\n"
        + "".join(
            f'    - {{rule: custom, object: "hungry_rules:hungry", settings: {{how: {how}}}}}\n'
            for how in (0, 1, 2)
        )
        + "    - {rule: product}\n"
    )
    monkeypatch.chdir(files)
    environment = {**ENVIRONMENT, "RELBID_TEST": str(os.getpid())}
    environment.pop("POLARS_MAX_THREADS")
    command = [sys.executable, "-m", "scenarios.cli", "sweep", "s.yaml", "--workers", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    assert "2 failed, see results/sweeps/hungry-" in done.stderr
    [folder] = (files / "results" / "sweeps").glob("hungry-*")
    assert sorted(pl.read_parquet(folder / "points.parquet")["point"]) == [0, 3]
    failures = {
        failure["point"]: failure["error"]
        for failure in map(json.loads, (path.read_text() for path in (folder / "failures").iterdir()))
    }
    assert failures[1].startswith("its process died 5 times (exit code -9")
    assert "memory" in failures[1]
    assert "Unable to allocate" in failures[2]


def test_a_command_without_memory_says_so(files):
    (files / "huge.yaml").write_text(
        (files / "tiny.yaml").read_text().replace("n_queries: 2000", "n_queries: 1000000000")
    )
    process = start("run", "huge.yaml", cwd=files)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert err.splitlines()[-1].startswith("relbid: ")
    assert "memory" in err.splitlines()[-1]
    assert "Traceback" not in err


# Clocks


def test_a_clock_that_jumps_makes_no_nonsense_of_durations(files, monkeypatch):
    hours = iter(range(0, 10**6, 7))
    # The clock on the wall goes back and forth by hours; durations come from one that nobody sets.
    monkeypatch.setattr(engine.time, "time", lambda: 1.7e9 + (-1) ** next(hours) * 3600.0 * next(hours))
    seen = []
    folder = run_sweep(load_sweep(files / "swept.yaml"), files / "results", workers=1, report=seen.append)
    assert all(0.0 <= status.elapsed_s < 600.0 for status in seen)
    assert all(status.rate_per_s is None or status.rate_per_s > 0 for status in seen)
    assert all(status.left_s is None or 0.0 <= status.left_s < 600.0 for status in seen)
    status = read_status(folder)
    assert status is not None
    assert (status.state, status.done) == ("done", 4)


def test_a_clock_that_jumps_does_not_take_a_writer_s_files_away(tmp_path):
    with whole_folder(tmp_path / "slow") as part:
        (part / "one").write_text("1")
        os.utime(part, (0, 0))  # as if it had begun in 1970
        remove_stale(tmp_path)
        assert part.exists(), "its writer lives"
        with whole_path(tmp_path / "quick.txt") as quick:
            quick.write_text("2")
    assert content(tmp_path / "slow") == {"one": b"1"}
    assert (tmp_path / "quick.txt").read_text() == "2"
    dead = tmp_path / f"{TEMPORARY}deadbeef"
    dead.mkdir()
    os.utime(dead, (0, 0))
    remove_stale(tmp_path)
    assert not dead.exists()


def test_a_lock_without_its_folder_is_removed_only_where_nobody_holds_it(tmp_path):
    """A writer may just have made its lock, or have been killed before it made its folder."""
    lock = tmp_path / f"{TEMPORARY}begunnow{LOCK}"
    with lock.open("w") as held:
        assert lock_descriptor(held.fileno(), blocking=False)
        remove_stale(tmp_path)
        assert lock.exists()
    remove_stale(tmp_path)
    assert not lock.exists()
    lock.touch()
    (tmp_path / f"{TEMPORARY}notes").mkdir()  # a user's own
    with whole_path(tmp_path / "progress.json") as part:
        part.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{TEMPORARY}notes", "progress.json"]


def test_the_message_names_the_command_that_holds_a_place(tmp_path):
    words = rf"results/a: another relbid sweep \(process {os.getpid()}\) is at work on it; wait for it"
    place = tmp_path / "results" / "a"
    with alone(place, "sweep"), pytest.raises(StoreError, match=words), alone(place, "report"):
        pass
    (place.parent / LOCKS / place.name).write_text("")  # as on a full disk
    with (place.parent / LOCKS / place.name).open("a") as held:
        assert lock_descriptor(held.fileno(), blocking=False)
        with pytest.raises(StoreError, match="a: another relbid report is at work"), alone(place, "report"):
            pass


def test_frames_that_a_killed_writer_left_are_not_read(files):
    """A cache file counts under its own name alone, and one that is cut short is drawn again."""
    scenario, out = load_scenario(files / "tiny.yaml"), files / "results"
    _, folder = run_to_folder(scenario, out)
    before = content(folder)
    [frames] = (out / ".cache").glob("frames-*.npy")
    pixels = np.load(frames).copy()
    frames.write_bytes(frames.read_bytes()[:-5000])
    for path in (out / ".cache").glob("scores-*"):
        path.write_bytes(path.read_bytes()[:100])
    _, again = run_to_folder(scenario, out)
    assert content(again) == before
    assert np.array_equal(np.load(frames), pixels)


DRAWING = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from scenarios.models.labelled import _serve_the_command
with ProcessPoolExecutor(1, get_context("forkserver"), initializer=_serve_the_command) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def test_processes_that_draw_frames_end_with_a_command_that_is_killed():
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", DRAWING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        drawing = psutil.Process(int(running.stdout.readline()))
        running.kill()
    until = time.monotonic() + 60
    with contextlib.suppress(psutil.NoSuchProcess):
        while drawing.status() != psutil.STATUS_ZOMBIE:  # where nobody asks for what has ended
            assert time.monotonic() < until
            time.sleep(0.05)


def test_a_device_or_a_pipe_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    words = "pipe: is a device or a pipe; name another file"
    with pytest.raises(StoreError, match=words), whole_path(tmp_path / "pipe") as part:
        part.write_text("1")
    with pytest.raises(StoreError, match="is a device or a pipe"), whole_folder(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
