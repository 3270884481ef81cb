"""Result folders are whole or absent, whenever the writer dies."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from scenarios import StoreError
from scenarios.config.scenario import Scenario
from scenarios.runs.results import list_results, read_result, result_folder, write_result
from scenarios.storage.whole import LOCK, LOCKS, alone, check_writable, whole_folder, whole_path

SCENARIO = Scenario(schema=1, name="tiny")
POINTS = pl.DataFrame({"scorer": ["none", "oracle"], "revenue": [1.0, 0.1 + 0.2]})
LOG = pl.DataFrame({"query": [0, 1], "price_micros": [5, 7]})


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))


def hidden(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob(".writing-*"))


def test_what_was_written_is_read_back(tmp_path):
    folder = write_result(tmp_path / "new" / "results", SCENARIO, {"revenue": 0.1 + 0.2}, POINTS, LOG)
    assert folder == result_folder(tmp_path / "new" / "results", SCENARIO)
    assert folder.name.startswith("tiny-")
    stored = read_result(folder)
    assert stored.scenario == SCENARIO
    assert stored.metrics == {"revenue": 0.1 + 0.2}
    assert stored.points.equals(POINTS)
    assert stored.log().equals(LOG)
    assert list_results(folder.parent) == [folder]
    assert hidden(folder.parent) == []


def test_equal_scenarios_give_equal_bytes_and_one_folder(tmp_path):
    first = write_result(tmp_path, SCENARIO, {"revenue": 1.0}, POINTS, LOG)
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    second = write_result(tmp_path, SCENARIO, {"revenue": 1.0}, POINTS, LOG)
    assert {path.name: path.read_bytes() for path in second.iterdir()} == before
    assert visible(tmp_path) == [first.name]


def test_other_settings_give_another_folder(tmp_path):
    assert result_folder(tmp_path, SCENARIO) != result_folder(
        tmp_path, SCENARIO.model_copy(update={"seed": 2})
    )


def fill(folder, **texts):
    with whole_folder(folder) as part:
        for name, text in texts.items():
            (part / name).write_text(text)


def test_a_failing_writer_leaves_nothing_and_spares_what_was_there(tmp_path):
    def fail():
        with whole_folder(tmp_path / "a") as part:
            (part / "one").write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left on device.*--out"):
        fail()
    assert list(tmp_path.iterdir()) == []

    fill(tmp_path / "a", one="old")
    with pytest.raises(StoreError):
        fail()
    assert (tmp_path / "a" / "one").read_text() == "old"
    assert hidden(tmp_path) == []


KILLED = """
import sys, time
from pathlib import Path
from scenarios.storage.whole import whole_folder

with whole_folder(Path(sys.argv[1])) as part:
    (part / "whole").write_text("new")
    with (part / "slow").open("w") as file:
        file.write("half of it")
        file.flush()
        print("writing", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("existing", [False, True])
def test_a_kill_while_writing_leaves_the_old_or_nothing(tmp_path, existing):
    target = tmp_path / "results" / "tiny-1234"
    if existing:
        fill(target, whole="old")
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
    finally:
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    assert visible(target.parent) == (["tiny-1234"] if existing else [])
    if existing:
        assert (target / "whole").read_text() == "old"
        assert [path.name for path in target.iterdir()] == ["whole"]
    assert list_results(target.parent) == []
    left, lock = hidden(target.parent)
    assert lock == left + LOCK

    # What the dead writer left goes with the next write, at once: its lock says that it is dead.
    fill(target, whole="new")
    assert hidden(target.parent) == []
    assert (target / "whole").read_text() == "new"


def test_writers_of_one_folder_at_a_time_both_succeed(tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom scenarios.storage.whole import whole_folder\n"
        "for _ in range(50):\n"
        "    with whole_folder(Path(sys.argv[1])) as part:\n"
        "        for name in 'ab': (part / name).write_text(sys.argv[2])"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "t"), w]) for w in ("1", "2")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len({(tmp_path / "t" / name).read_text() for name in "ab"}) == 1
    assert hidden(tmp_path) == []


def test_a_failing_writer_leaves_no_new_folders_above(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "new" / "deep" / "made"):
        raise RuntimeError
    (tmp_path / "file").touch()
    with pytest.raises(StoreError), whole_path(tmp_path / "odd" / ".." / "file" / "x"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_unwritable_root_is_found_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file/results: cannot be written \(Not a directory\).*--out"):
        check_writable(tmp_path / "file" / "results")
    for name, there in (("gone", "nowhere"), ("loop", "loop")):  # such as to a disk that is not plugged in
        (tmp_path / name).symlink_to(there)
        with pytest.raises(StoreError, match=rf"{name}: cannot be written \(is a link that leads nowhere\)"):
            check_writable(tmp_path / name)


def test_where_you_stand_is_locked_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "here" / LOCKS).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with alone(Path()):
        assert (tmp_path / LOCKS / "here").is_file()


def test_a_place_where_no_file_can_grow_is_left_as_it_was(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(27, "File too large")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match=r"cannot be written \(File too large\)"):
        check_writable(tmp_path / "new" / "results")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_another_command_removes_while_it_is_tried_is_made_again(tmp_path, monkeypatch):
    made, root = Path.mkdir, tmp_path / "results"
    others = iter((True, False, False))

    def mkdir(path, *options, **named):
        made(path, *options, **named)
        if path == root and next(others):
            root.rmdir()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    check_writable(root)
    assert next(others) is False  # tried twice


@pytest.mark.parametrize("damage", ["missing", "truncated", "no metrics"])
def test_damaged_results_are_named(tmp_path, damage):
    folder = write_result(tmp_path, SCENARIO, {"revenue": 1.0}, POINTS, LOG)
    if damage == "missing":
        (folder / "points.parquet").unlink()
    elif damage == "truncated":
        (folder / "points.parquet").write_bytes(b"PAR1")
    else:
        (folder / "metrics.json").write_text("{")
    with pytest.raises(StoreError, match=r"tiny-.*run the scenario again"):
        read_result(folder)


def test_a_lock_that_cannot_be_taken_is_named(tmp_path):
    (tmp_path / ".locks" / "scores.parquet").mkdir(parents=True)  # as one that belongs to somebody else
    with (
        pytest.raises(StoreError, match=r".locks/scores.parquet: is a folder"),
        alone(tmp_path / "scores.parquet"),
    ):
        pass


def test_a_lock_that_is_a_pipe_or_a_folder_is_refused_before_the_work(tmp_path):
    os.mkfifo(tmp_path / LOCK)
    with pytest.raises(StoreError, match=r"\.lock: is a device or a pipe; remove it"):
        check_writable(tmp_path)
    (tmp_path / "other" / LOCK).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"\.lock: is a folder, not a file; remove it"):
        check_writable(tmp_path / "other")
    (tmp_path / LOCKS).mkdir()
    os.mkfifo(tmp_path / LOCKS / "scores")
    with (
        pytest.raises(StoreError, match=r"\.locks/scores: is a device or a pipe; remove it"),
        alone(tmp_path / "scores"),
    ):
        pass
