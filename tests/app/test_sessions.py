"""Several people look at one dashboard at once; `python -m benchmarks.sessions` has more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sessions import try_sessions


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_everybody_sees_their_own_formula(results: Path) -> None:
    """First of all, on a server that imports what it needs while they all wait."""
    faults, memory = try_sessions(results, 3, 9)
    assert not faults
    assert len(memory) == 2
