"""What reads foreign files runs no code, names stay in their folder, the dashboard is for this machine."""

import ast
import json
import os
import socket
import tomllib
from pathlib import Path

import pytest

from scenarios import ScenarioError, load_experiment, load_scenario, load_sweep
from tests.app.server import dashboard

REPOSITORY = Path(__file__).parents[1]
SOURCES = [
    path
    for name in ("app", "relevance", "scenarios", "simulator")
    for path in (REPOSITORY / name).rglob("*.py")
]


def calls(path: Path):
    """(dotted name, call) of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def arguments(call: ast.Call) -> dict[str, str]:
    return {keyword.arg or "**": ast.unparse(keyword.value) for keyword in call.keywords}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_text_is_run_and_no_foreign_pickle_is_read(path):
    for name, call in calls(path):
        assert name not in ("eval", "exec", "compile", "os.system", "yaml.load", "yaml.unsafe_load"), name
        given = arguments(call)
        if name.startswith("pickle.") and "load" in name:
            assert path.name == "study.py", "only what a study's own command has written"
        if name == "torch.load":
            assert given.get("weights_only") == "True"
        if name in ("np.load", "numpy.load"):
            assert given.get("allow_pickle", "False") == "False"
        assert given.get("shell", "False") == "False"


def test_modules_are_imported_by_name_where_plug_ins_are_loaded_and_nowhere_else():
    found = {
        str(path.relative_to(REPOSITORY))
        for path in SOURCES
        for name, _ in calls(path)
        if name in ("import_module", "importlib.import_module", "__import__")
    }
    own = {
        "scenarios/studies/pool.py",  # the work of a process, named in the code
    }
    plug_ins = {"relevance/protocol.py", "simulator/policies/__init__.py"}
    assert found - own <= plug_ins | {path for path in found if path.startswith("simulator/policies/")}


def test_the_dashboard_takes_nothing_typed_for_a_plug_in():
    """No page calls what loads plug-ins."""
    for path in (REPOSITORY / "app").rglob("*.py"):
        names = {name.rpartition(".")[2] for name, _ in calls(path)}
        assert not names & {"load_object", "own_scorer", "make_policy", "import_module"}, path


def test_uploads_are_small():
    config = tomllib.loads((REPOSITORY / "app" / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "127.0.0.1"
    assert config["server"]["maxUploadSize"] <= 20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at listening sockets in /proc")
def test_the_dashboard_listens_to_this_machine_alone(tmp_path):
    with dashboard(tmp_path) as address:
        port = int(address.rpartition(":")[2])
        listening = []
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
                host, _, number = line.split()[1].partition(":")
                if int(number, 16) == port and line.split()[3] == "0A":
                    listening.append(host)
        assert listening == ["0100007F"]  # 127.0.0.1 in the order of this processor's bytes
        if other := _other_address():
            with socket.socket() as knock:
                knock.settimeout(2)
                assert knock.connect_ex((other, port)) != 0


def _other_address() -> str | None:
    """An address of this machine that others could reach."""
    try:
        found = socket.gethostbyname(socket.gethostname())
    except OSError:
        return None
    return None if found.startswith("127.") else found


NAMES = ("../x", "..", ".hidden", "a/b", "/etc/x", "a\\b", "", "a" * 65, "x\n", "x\x00", "\u202ex")


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_out_of_the_results(tmp_path, name):
    quoted = json.dumps(name)
    (tmp_path / "s.yaml").write_text(f"schema: 1\nname: {quoted}\n")
    with pytest.raises(ScenarioError):
        load_scenario(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text(f"schema: 1\nname: {quoted}\nover: {{fusion.relevance: [1]}}\n")
    with pytest.raises(ScenarioError):
        load_sweep(tmp_path / "s.yaml")
    for text in (
        f"name: {quoted}\nbaseline: A\narms: {{A: {{}}, B: {{}}}}\n",
        f"name: e\nbaseline: A\narms: {{A: {{}}, {quoted}: {{}}}}\n",
    ):
        (tmp_path / "s.yaml").write_text(f"schema: 1\n{text}")
        with pytest.raises(ScenarioError):
            load_experiment(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "b.__class__", "b if q else r", "(lambda: b)()", "b; q", "open", "b[0]", "'b'"],
)
def test_a_formula_is_no_python(tmp_path, text):
    (tmp_path / "s.yaml").write_text(
        f"schema: 1\nname: s\nfusion: {{rule: formula, expression: {json.dumps(text)}}}\n"
    )
    with pytest.raises(ScenarioError, match=r"line 3, fusion\.expression: character \d+: "):
        load_scenario(tmp_path / "s.yaml")


def test_files_that_a_file_names_are_read_as_what_they_should_be(tmp_path):
    """A path outside the project is read as a scenario, and refused as one; devices are not read."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "other.txt").write_text("root:x:0:0:secret\n")
    for named, words in (
        (tmp_path / "other.txt", "needs 'key: value' lines at the top|2 problems|not valid YAML|problems"),
        ("/dev/zero", "is a device or a pipe"),
        (tmp_path / "pipe.yaml", "is a device or a pipe"),
        (tmp_path, "is a folder"),
        ("s.yaml", "is this very file"),
        ("nowhere/../../../x.yaml", "no such file"),
    ):
        (tmp_path / "s.yaml").write_text(
            f"schema: 1\nname: s\nscenario: {named}\nover: {{fusion.relevance: [1]}}\n"
        )
        with pytest.raises(ScenarioError, match=rf"s\.yaml, line 3, scenario: .*({words})"):
            load_sweep(tmp_path / "s.yaml")
