"""Every case that there is, and samples of them."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from benchmarks.fuzz import damage, plug_ins
from benchmarks.fuzz.cases import (
    Case,
    Field,
    commands,
    options_of,
    schema_fields,
    training_fields,
    with_value,
)
from benchmarks.fuzz.values import ARGUMENTS, JSON_VALUES, YAML_VALUES, wrong_type
from benchmarks.fuzz.workplace import COMMANDS, READERS, TRAINING, Workplace

SCENARIO_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("run", "tiny.yaml"), ("run", "tiny.yaml"), ("run", "tiny.yaml"), ("prepare", "tiny.yaml"),
    ("ask", "red mug", "tiny.yaml"), ("show", "tiny.yaml"),
    ("profile", "tiny.yaml", "--out", "measured.json", "--repeats", "1"),
    ("tune", "tiny.yaml", "--max-irrelevant", "0.5", "--evaluations", "1", "--markets", "1",
     "--queries", "50"),
    ("capacity", "served.yaml", "--latency-ms", "50", "--seeds", "1", "--most", "1"),
)  # fmt: skip
"""Commands that read a scenario, in turn for its fields."""
MARK = "@@value@@"
MOST = 18
"""Keys of one JSON file that are tried, its first ones: a file of metrics has a hundred of a kind."""


def universe(place: Workplace) -> list[Case]:
    """All cases."""
    return [
        *_of_schemas(place),
        *_of_settings(),
        *_of_trainings(),
        *_of_options(place),
        *_of_json_files(place),
        *_of_files(place),
        *damage.of_tables(place),
        *plug_ins.cases(),
    ]


def sample(cases: Sequence[Case], n: int, seed: int) -> list[Case]:
    """So many cases.

    First each class of each group, and each field, option, file and plug-in; then one of every class of
    every field, then any.
    """
    order = list(cases)
    random.Random(seed).shuffle(order)
    chosen: dict[int, Case] = {}
    seen: set[Any] = set()

    def take(is_new: Callable[[Any, Any, Any], bool]) -> None:
        for number, case in enumerate(order):
            keys = (case.group, "kind", case.kind), (case.group, "what", case.what), case.key
            if len(chosen) < n and number not in chosen and is_new(*(key not in seen for key in keys)):
                chosen[number] = case
                seen.update(keys)

    take(lambda kind, what, both: kind and what)
    take(lambda kind, what, both: kind)
    take(lambda kind, what, both: what)
    take(lambda kind, what, both: both)
    take(lambda kind, what, both: True)
    return list(chosen.values())


# Fields


def models() -> Mapping[str, tuple[type[BaseModel], str, tuple[tuple[str, ...], ...]]]:
    """The schemas of files: group -> the model, a file of it, and the commands that read one."""
    from scenarios.config.scenario import Scenario
    from scenarios.config.service_profile import ProfileFile
    from scenarios.studies.ablations.ablation import AblationFile
    from scenarios.studies.experiments.experiment import Experiment
    from scenarios.studies.sweeps.sweep_file import SweepFile

    return {
        "scenario fields": (Scenario, "tiny.yaml", SCENARIO_COMMANDS),
        "sweep fields": (SweepFile, "swept.yaml", (("sweep", "swept.yaml", "--dry-run"),)),
        "experiment fields": (Experiment, "compared.yaml", (("experiment", "compared.yaml", "--dry-run"),)),
        "ablation fields": (AblationFile, "ablated.yaml", (("ablate", "ablated.yaml", "--dry-run"),)),
        "profile fields": (ProfileFile, "profile.json", (("show", "served.yaml"),)),
    }


@cache
def _data_of(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _texts_of(field: Field, values: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for kind, texts in values.items():
        for text in (wrong_type(field.kinds),) if kind == "wrong type" else texts:
            yield kind, text


def _of_schemas(place: Workplace) -> Iterator[Case]:
    for group, (model, file, argvs) in models().items():
        turn = itertools.cycle(argvs)
        for field in schema_fields(model):
            for kind, text in (*_texts_of(field, YAML_VALUES), ("other encoding", "")):
                argv = next(turn)
                read = next(
                    (one for one in argv if one.endswith(".yaml") and model.__name__ == "Scenario"), file
                )
                data = _data_of(place.template / read)

                def whole(field: Field = field, data: Any = data) -> str:
                    return json.dumps(with_value(data, field, MARK))

                if text:
                    change, refuse = _write(read, whole, text), field.refuses(text)
                else:
                    change, refuse = _write(read, whole, '"caf\u00e9"', coding="latin-1"), True
                yield Case(group, field.name, kind, argv, change, _named(field, read), refuse)


def _named(field: Field, *others: str) -> tuple[str, ...]:
    keys = [key for key in field.path if not key.startswith("[")]
    plug_ins = [value for _, value in field.beside if isinstance(value, str) and ":" in value]
    return (keys[-1], *others, *plug_ins)


def _write(
    file: str, whole: Callable[[], str], value: str = "", rest: str = "", coding: str = "utf-8"
) -> Callable[[Path], None]:
    """Write a text in which a value stands for the mark; it is made when it is written."""

    def change(folder: Path) -> None:
        text = whole().replace(f'"{MARK}"', value) + (f"\n{rest}" if rest else "")
        (folder / file).write_bytes(text.encode(coding, "surrogatepass" if coding == "utf-8" else "strict"))

    return change


def _of_settings() -> Iterator[Case]:
    """Fields of a scenario that are set on the command line, alone or in the file of a study."""
    from scenarios.config.scenario import Scenario

    turn = itertools.cycle(
        (*SCENARIO_COMMANDS, ("sweep", "swept.yaml", "--dry-run"),
         ("experiment", "compared.yaml", "--dry-run"), ("corpus", "evaluate", "market.yaml"),
         ("replay", "table.yaml"))
    )  # fmt: skip
    for field in schema_fields(Scenario):
        if field.beside or any(key.startswith("[") for key in field.path):
            continue
        for kind, text in _texts_of(field, YAML_VALUES):
            if "\0" in text:
                continue
            yield Case(
                "--set of a scenario", field.name, kind, (*next(turn), "--set", f"{field.name}={text}"),
                names=(field.path[-1], "--set"), refuse=field.refuses(text),
            )  # fmt: skip


def _of_trainings() -> Iterator[Case]:
    for field in training_fields():
        for kind, text in _texts_of(field, YAML_VALUES):
            yield Case(
                "training settings", field.name, kind, (*TRAINING, "--set", f"{field.name}={text}"),
                names=(field.path[-1], "--set"), refuse=field.refuses(text),
            )  # fmt: skip


# Options


def _of_options(place: Workplace) -> Iterator[Case]:
    for path, command in commands():
        every = (*path, *place.arguments(COMMANDS[path]))
        begin = " ".join(path)

        def case(name: str, *rest: Any, begin: str = begin, **more: Any) -> Case:
            return Case("options", f"{begin} {name}", *rest, **more)

        for option in options_of(path, command):
            whole = path if option.name == "--example" else every  # which a table is not an example of
            names = (option.name, option.name.strip("-").upper(), "FILE", "FOLDER", "an argument")
            if option.is_flag:
                yield case(option.name, "twice", (*whole, option.name, option.name))
                yield case(option.name, "a value", (*whole, f"{option.name}=maybe"), names=names, refuse=True)
                continue
            for kind, texts in ARGUMENTS.items():
                for text in texts:
                    argv = _with_option(whole, len(path), option.name, option.position, text)
                    named = (*names, text[:30] or "''")
                    yield case(option.name, kind, argv, names=named, refuse=option.refuses(text))
            if option.is_path:
                for kind, text in damage.PATHS.items():
                    argv = _with_option(whole, len(path), option.name, option.position, text)
                    named = (*names, Path(text).name, text[:40])
                    yield case(option.name, kind, argv, damage.odd_paths, named)
        unknown = (*every, "--no-such")
        yield case("unknown", "unknown", unknown, names=("--no-such",), refuse=path != ("app",))
        yield case("too many", "unknown", (*every, "a", "b", "c"))
    for port in ("99999", "-1", "0x50", "", "nan", "1e3"):
        argv = ("app", f"--server.port={port}")
        yield Case("options", "app --server.port", "huge", argv, names=("--server.port",), refuse=True)


def _with_option(
    whole: Sequence[str], start: int, name: str, position: int | None, text: str
) -> tuple[str, ...]:
    argv = list(whole)
    if position is None:
        if name in argv:  # the last one counts
            at = argv.index(name, start)
            argv[at + 1] = text
            return tuple(argv)
        return (*argv, f"{name}={text}")
    at = start + position
    if at < len(argv) and not argv[at].startswith("--"):
        argv[at] = text
    else:
        argv.insert(at, text)
    return tuple(argv)


# Files


def reader_of(place: Workplace, name: str) -> tuple[str, ...] | None:
    """The command that reads a file of the folder; None: none is known."""
    for begin, argv in READERS:
        if name.startswith(begin):
            return tuple(place.arguments(argv, name))
    return None


def _of_json_files(place: Workplace) -> Iterator[Case]:
    """Every key of every JSON file, and of the first line of JSON lines."""
    for name in place.files():
        if not name.endswith((".json", ".jsonl")) or name.endswith("tokenizer.json"):
            continue
        argv = reader_of(place, name)
        assert argv is not None, name
        text = (place.template / name).read_text()
        first, rest = (text, "") if name.endswith(".json") else text.split("\n", 1)
        data = json.loads(first)
        for path in itertools.islice(_leaves(data), MOST):
            label = ".".join(map(str, path))

            def whole(path: Any = path, data: Any = data, drop: bool = False) -> str:
                return json.dumps(_replaced(data, path, MARK, drop=drop))

            for kind, value in _texts_of(Field((), ()), JSON_VALUES):
                change = _write(name, whole, value, rest)
                yield Case("keys of JSON files", f"{name}: {label}", kind, argv, change, _file_names(name))
            if path and isinstance(path[-1], str):
                change = _write(name, partial(whole, drop=True), rest=rest)
                yield Case(
                    "keys of JSON files", f"{name}: {label}", "missing", argv, change, _file_names(name)
                )


def _leaves(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(data, list) and data:
        yield from _leaves(data[0], (*path, 0))


def _replaced(data: Any, path: tuple[Any, ...], value: Any, *, drop: bool = False) -> Any:
    if not path:
        return value
    copied = dict(data) if isinstance(data, dict) else list(data)
    if len(path) == 1 and drop:
        copied.pop(path[0])
    else:
        copied[path[0]] = _replaced(data[path[0]], path[1:], value, drop=drop)
    return copied


def _file_names(name: str) -> tuple[str, ...]:
    path = Path(name)
    if path.suffix == ".yaml":
        return (path.name, f"relbid: {path.stem}, ")  # what fits no market names the scenario
    if path.parent.name == "market_corpus":
        return (path.name, path.parent.name, "judged.parquet")
    return (path.name, path.parent.name) if path.parent.name else (path.name,)


def _of_files(place: Workplace) -> Iterator[Case]:
    names = place.files()
    for name in names:
        argv = reader_of(place, name)
        assert argv is not None, f"no command is known that reads {name}"
        for kind, change in damage.of_file(place, name, names):
            yield Case("files", name, kind, argv, change, _file_names(name))
