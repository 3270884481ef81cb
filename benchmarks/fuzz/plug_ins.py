"""Plug-ins that misbehave: scorers, fusion rules and bid policies, each in every way at every place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import yaml

from benchmarks.fuzz.cases import Case
from benchmarks.fuzz.workplace import SCENARIO

RAISED: Mapping[str, str] = {
    "raises": "raise ValueError('no')",
    "raises much": "raise ValueError('x' * 5000)",
    "raises lines": "raise ValueError('one\\ntwo\\nthree')",
    "raises silently": "raise Mute()",
    "SystemExit": "raise SystemExit(0)",
    "SystemExit 3": "import sys; sys.exit(3)",
    "SystemExit text": "raise SystemExit('bye')",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "BaseException": "raise BaseException('base')",
    "StopIteration": "raise StopIteration",
    "MemoryError": "raise MemoryError('none')",
    "RecursionError": "again = lambda: again(); again()",
    "OSError": "open('/no/such/file')",
    "AssertionError": "assert False",
    "warning": "import warnings; warnings.warn('careful')",
}
NEVER = "import time; time.sleep(1000)"
RETURNED: Mapping[str, str] = {
    "none": "None",
    "complex": "{x} + 0.5j",
    "nan": "{x} * np.nan",
    "infinity": "{x} + np.inf",
    "negative": "{x} - 5",
    "huge": "{x} + 1e300",
    "wrong shape": "{x}[:-1]",
    "wrong shape 2": "np.stack([{x}, {x}])",
    "scalar": "0.5",
    "texts": "np.array(['a'] * {x}.size).reshape({x}.shape)",
    "objects": "np.array([object()] * {x}.size).reshape({x}.shape)",
    "ragged": "[[1], [1, 2]]",
    "generator": "(one for one in [1])",
    "module": "np",
    "dates": "np.zeros({x}.shape, dtype='datetime64[s]')",
    "dict": "{{'a': 1}}",
    "masked": "np.ma.masked_all({x}.shape)",
}
HEAD = """\
import sys
import numpy as np


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("mute")


def tried():
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename.rpartition("/")[2]  # not its folders, which may be a checkout
        if "check" in frame.f_code.co_name or "check" in name:
            return True
        frame = frame.f_back
    return False


"""
MODULES: Mapping[str, tuple[str, str]] = {
    "scorer": (
        "0.5 + 0.0 * query",
        "class Plug:\n    def __init__(self, corpus):\n        {constructor}\n\n"
        "    def score(self, query, ad):\n        {method}\n        return {result}\n",
    ),
    "fusion rule": (
        "np.asarray(bid * (0.1 + pctr * relevance), dtype=np.float64)",
        "class Plug:\n    def __init__(self):\n        {constructor}\n\n"
        "    def score(self, bid, pctr, relevance):\n        {method}\n        return {result}\n\n"
        "    def bid_for_score(self, score, pctr, relevance):\n        {other}\n"
        "        with np.errstate(all='ignore'):\n            return {inverse}\n",
    ),
    "bid policy": (
        "np.full(value.shape, 0.8)",
        "from simulator.policies import Bids\n\n\n"
        "class Plug:\n    def __init__(self):\n        {constructor}\n\n"
        "    def start(self, budget, value):\n        {method}\n"
        "        return (), Bids({result}, np.ones(value.shape))\n\n"
        "    def adjust(self, state, report, u):\n        value = report.value\n        {other}\n"
        "        return state, Bids({later}, np.ones(value.shape))\n",
    ),
}
BLOCKS: Mapping[str, str] = {
    "fusion rule": 'fusion: {{rule: custom, object: "{module}:Plug"}}\n',
    "bid policy": 'bidders: {{policies: [{{policy: "{module}:Plug", share: 1.0}}]}}\n',
}
PLACES = ("import", "attribute", "constructor", "method", "later")


def cases() -> Iterator[Case]:
    """Every kind of plug-in at every place with everything that it should not do."""
    for kind in MODULES:
        yield from _cases(kind, "method", "behaves", "pass", None)
        for place in PLACES:
            for what, code in {**RAISED, "never returns": NEVER}.items():
                yield from _cases(kind, place, what, code, None)
        for place in ("method", "later"):
            for what, result in RETURNED.items():
                yield from _cases(kind, place, f"returns {what}", "pass", result)
    for what, text in {
        "is none": "Plug = None\n", "is a number": "Plug = 7\n", "is a module": "import os as Plug\n",
        "takes nothing": "def Plug():\n    return 1\n", "gives none": "def Plug(*a, **k):\n    return None\n",
        "is no Python": "this is no Python\n", "is not UTF-8": "x = '\udce9'\n",
        "imports itself": "from {module} import Plug\n",
        "lacks it": "x = 1\n", "is abstract": "class Plug:\n    pass\n",
    }.items():  # fmt: skip
        for kind in MODULES:
            yield from _written(
                kind, "module", what, lambda module, text=text: text.replace("{module}", module)
            )


def _cases(kind: str, place: str, what: str, code: str, result: str | None) -> Iterator[Case]:
    good, body = MODULES[kind]
    later = "if not tried():\n            "
    parts = dict.fromkeys(("constructor", "method", "other"), "pass")
    if place == "constructor":
        parts["constructor"] = code
    elif place in ("method", "later") and result is None:
        parts["method"] = code if place == "method" else later + code
        parts["other"] = parts["method"]
    wrong = (
        good if result is None else result.replace("{x}", f"({good})").replace("{{", "{").replace("}}", "}")
    )
    inverse = "np.maximum(np.asarray(score / (0.1 + pctr * relevance), dtype=np.float64), 0.0)"
    if result is not None and place == "later":
        wrong = f"({good}) if tried() else ({wrong})"
    parts |= {"result": wrong, "later": wrong, "inverse": inverse}
    text = HEAD
    if place == "import":
        text += code + "\n"
    if place == "attribute":
        body = body.replace("class Plug", "class Hidden")
        text += (
            f"def __getattr__(name):\n    if name == 'Plug':\n        {code}\n        return Hidden\n"
            "    raise AttributeError(name)\n\n\n"
        )
    text += body.format(**parts)
    yield from _written(kind, place, what, lambda module: text)


def _written(kind: str, place: str, what: str, text: Callable[[str], str]) -> Iterator[Case]:
    module = "plug_" + hashlib.blake2b(f"{kind}{place}{what}".encode(), digest_size=6).hexdigest()
    source = text(module).encode("utf-8", "surrogateescape")
    scenario = SCENARIO
    if kind == "bid policy" or kind == "fusion rule":
        scenario += BLOCKS[kind].format(module=module)
    data = yaml.safe_load(scenario)
    if kind == "scorer":
        data["scorer"], data["compare"] = f"{module}:Plug", [f"{module}:Plug"]

    def change(folder: Path) -> None:
        (folder / f"{module}.py").write_bytes(source)
        (folder / "plugged.yaml").write_text(yaml.safe_dump(data))

    argvs: list[tuple[str, ...]] = [("run", "plugged.yaml")]
    if kind == "scorer":
        argvs.append(("judge", "market_corpus", "--by", f"{module}:Plug", "--out", "plugged.parquet"))
        argvs.append(("ask", "new toast bread", "plugged.yaml"))  # which has candidates
    hangs = what == "never returns"
    harmless = ["behaves", "warning", "returns masked"]
    if kind == "fusion rule" and place == "later":  # any score may be ranked by
        harmless += ["returns negative", "returns huge"]
    for argv in argvs:
        yield Case(
            f"plug-ins: {kind}", f"{argv[0]}, {place}", what, argv, change, (module, "plugged.yaml"),
            refuse=what not in harmless and not hangs, accept=what == "behaves", reads_python=True,
            hangs=hangs,
        )  # fmt: skip
