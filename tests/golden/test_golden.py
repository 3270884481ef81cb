"""The stored traces tell what the code does; after a wanted change: `python -m tests.golden.regenerate`."""

import pytest

from simulator.auction import MECHANISMS
from simulator.fusion import RULES
from tests.golden.trace import FOLDER, RULE_OF_TRACE, TRACES_OF_MECHANISM, trace, trace_names


def test_every_rule_scorer_and_mechanism_has_its_trace() -> None:
    assert set(RULE_OF_TRACE) == set(RULES), "a registered rule needs settings for its traces"
    assert set(TRACES_OF_MECHANISM) == set(MECHANISMS), "a registered mechanism needs traces"
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(trace_names())


@pytest.mark.parametrize("live", [False, True], ids=["table", "live"])
@pytest.mark.parametrize("name", trace_names())
def test_trace_is_replayed(name: str, live: bool) -> None:
    assert trace(name, live=live) == (FOLDER / f"{name}.txt").read_text()
