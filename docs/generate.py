"""Pages of the site that are made of the code, as a hook of MkDocs: nothing in them is written by hand.

Commands come from their own help, fields of a scenario from the settings classes, metrics from their
declarations, and names of the packages from their docstrings. README, CONTRIBUTING, CHANGELOG and the card of
the shipped model are pages, too.
"""

from __future__ import annotations

import ast
import io
import os
import posixpath
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
COPIED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "relevance/hcmrm/checkpoint/README.md": "reference/model-card.md",
}
"""Files from outside `docs` that are pages, by their path in the repository."""
EXIT_CODES = """
| exit code | says |
|---|---|
| 0 | done |
| 1 | a defect, with its traceback; or some points or replicates of a study failed, the others are kept |
| 2 | what you can mend: one message says what and how; nothing half-written is left |
| 130 | stopped by Ctrl-C; studies and trainings continue with the same command |
"""
UNITS = {"Seconds": "s", "Money": "currency", "Share": "share", "_s": "s", "_days": "days", "_share": "share"}
"""Units by the type's name or by the ending of the field's."""


TYPES = {"integer": "whole number", "string": "text", "boolean": "true or false", "object": "map"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    made = {place: (ROOT / source).read_text(encoding="utf-8") for source, place in COPIED.items()}
    made |= {f"reference/{name}.md": page() for name, page in PAGES.items()}
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links out of `docs` lead to the pages made of those files; other files keep their name alone."""
    here = page.file.src_uri
    source = next((source for source, place in COPIED.items() if place == here), f"docs/{here}")

    def followed(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if re.match(r"[a-z]+:", target):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = COPIED.get(path, path.removeprefix("docs/"))
        if (ROOT / path).is_dir() or (place == path and not path.startswith("docs/")):
            return text
        return f"[{text}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    return re.sub(r"(?<!`)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)", followed, markdown)


def commands() -> str:
    """Every command with its help, and what exit codes mean."""
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    from typer.main import get_command
    from typer.testing import CliRunner

    from scenarios.cli.main import app

    parts = ["# Commands\n\n`relbid COMMAND --help` prints what stands here.\n", EXIT_CODES]
    names: list[tuple[str, ...]] = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", {})
        names += [(name, one) for one in below] or [(name,)]
    for name in names:
        text = CliRunner().invoke(app, [*name, "--help"], prog_name="relbid").output
        parts.append(f"## relbid {' '.join(name)}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


def metrics() -> str:
    """Every metric with its unit and definition."""
    from scenarios import METRICS

    better = {True: "more", False: "less", None: ""}
    rows = [
        f"| `{one.name}` | {one.unit} | {better[one.more_is_better]} | {one.definition} |"
        for one in METRICS.values()
    ]
    head = "| metric | unit | better | definition |\n|---|---|---|---|"
    return f"# Metrics\n\nAs in `metrics.json`, sweeps and constraints.\n\n{head}\n" + "\n".join(rows) + "\n"


def scenario() -> str:
    """Every field of a scenario: unit, default, bounds and meaning."""
    from scenarios import Scenario

    schema = Scenario.model_json_schema()
    parts = [
        "# Scenario fields\n\n`relbid show FILE` prints a scenario with every default, `relbid schema` the "
        "JSON schema for editors. `--set FIELD=VALUE` sets a field, such as `--set fusion.relevance=2`.\n"
    ]
    parts += [*_block("A scenario", schema, Scenario, ""), "\n"]
    for place, name in _blocks(schema):
        found = _class_of(name)
        about = schema["$defs"][name].get("description", "")
        parts += [f"## {place}\n\n{about}\n\n", *_block(place, schema["$defs"][name], found, place), "\n"]
    return "".join(parts)


def _blocks(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(title, name of the definition) of every block, in the order of a scenario."""
    seen: set[str] = set()

    def below(properties: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
        for field, value in properties.items():
            for name in re.findall(r"'#/\$defs/(\w+)'", str(value)):
                if name in seen:
                    continue
                seen.add(name)
                one = schema["$defs"][name]
                tag = next(
                    (
                        p["const"]
                        for key, p in one["properties"].items()
                        if key in ("kind", "rule") and "const" in p
                    ),
                    "",
                )
                title = f"{place}{field}" + (f": {tag}" if tag else "")
                yield title, name
                yield from below(one["properties"], f"{place}{field}.")

    yield from below(schema["properties"], "")


def _class_of(name: str) -> type:
    from scenarios.config import scenario as home
    from simulator import bidders, fusion, serving, sessions
    from simulator.world import world_config

    rule = name.removesuffix("Rule")
    modules = (home, bidders, serving, sessions, world_config)
    found = getattr(fusion, rule, None) if name.endswith("Rule") and name != "CustomRule" else None
    found = found or next((getattr(one, name) for one in modules if hasattr(one, name)), None)
    if found is None:
        from scenarios.config import fusion_rules, market_kinds

        found = getattr(fusion_rules, name, None) or getattr(market_kinds, name)
    return found  # type: ignore[no-any-return]


def _block(title: str, schema: dict[str, Any], settings: type, place: str) -> Iterator[str]:
    meanings, types = _meanings(settings)
    yield "| field | values | unit | default | meaning |\n|---|---|---|---|---|\n"
    for field, value in schema["properties"].items():
        said = value.get("description") or meanings.get(field, "")
        unit = next((unit for name, unit in UNITS.items() if name in types.get(field, "")), "")
        unit = unit or next((unit for name, unit in UNITS.items() if field.endswith(name)), "")
        cells = (f"`{field}`", _values(value), unit, _default(value, settings, field), said)
        yield "| " + " | ".join(" ".join(one.split()).replace("|", "\\|") for one in cells) + " |\n"


def _meanings(settings: type) -> tuple[dict[str, str], dict[str, str]]:
    """What the source says of each field, after it or below it; and how its type is written."""
    import inspect

    try:
        source = inspect.getsource(settings)
    except (OSError, TypeError):
        return {}, {}
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    said, types = {}, {}
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        said[node.target.id] = " ".join(comments[line] for line in lines if line in comments)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said[node.target.id] = str(after.value.value)
        types[node.target.id] = ast.unparse(node.annotation)
    return said, types


def _values(schema: dict[str, Any]) -> str:
    """What a field may be: a type with its bounds, or a choice."""
    if "anyOf" in schema or "oneOf" in schema:
        every = [_values(one) for one in schema.get("anyOf", schema.get("oneOf", []))]
        return " or ".join(dict.fromkeys(every))
    if "$ref" in schema:
        return "block"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        items = schema.get("items") or {}
        if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}: {_values(schema['prefixItems'][0])}"
        return f"list of {_values(items)}"
    low, over = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, under = schema.get("maximum"), schema.get("exclusiveMaximum")
    bounds = [f"from {low:g}" if low is not None else f"above {over:g}" if over is not None else ""]
    bounds += [f"to {high:g}" if high is not None else f"below {under:g}" if under is not None else ""]
    names = {
        "number": "number",
        "integer": "whole number",
        "string": "text",
        "boolean": "true or false",
        "object": "map",
    }
    return " ".join([names.get(kind, kind), *filter(None, bounds)])


def _default(schema: dict[str, Any], settings: type, field: str) -> str:
    if "default" not in schema:
        return "" if "$ref" in schema else "needed"
    value = schema["default"]
    if isinstance(value, dict):
        return "" if not value else "see below"
    return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"


def public_names() -> str:
    """The public names of `scenarios`, by the module that is their home."""
    import scenarios

    parts = ["# scenarios\n\nImported from the package: `from scenarios import load_scenario`.\n"]
    for node in ast.parse((ROOT / "scenarios" / "__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            parts.append(f"## {node.module}\n")
            for name in (one.name for one in node.names):
                value = getattr(scenarios, name)
                number = f"### {name}\n\n`{name} = {value}`\n"
                parts.append(number if isinstance(value, int) else f"::: scenarios.{node.module}.{name}\n")
    return "\n".join(parts)


def modules(package: str) -> str:
    """A page of a package: each module with its public names."""
    parts = [f"# {package}\n"]
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        parts.append(f"::: {name}\n    options: {{heading_level: 2, show_submodules: false}}\n")
    return "\n".join(parts)


def dashboard_modules() -> str:
    """The modules of the dashboard, which is a program and no library: what each is for."""
    rows = []
    for path in sorted((ROOT / "app").rglob("*.py")):
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append(f"| `{path.relative_to(ROOT)}` | {about.splitlines()[0] if about else ''} |")
    head = "# app\n\nA program on the public functions of `scenarios`; nothing is imported from it.\n"
    return f"{head}\n| file | is |\n|---|---|\n" + "\n".join(rows) + "\n"


PAGES = {
    "commands": commands,
    "scenario": scenario,
    "metrics": metrics,
    "scenarios": public_names,
    "simulator": lambda: modules("simulator"),
    "relevance": lambda: modules("relevance"),
    "app": dashboard_modules,
}
