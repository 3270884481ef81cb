"""Several people look at one dashboard at once; `python -m benchmarks.sessions` has more of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.sessions import try_sessions


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_everybody_sees_their_own_formula(results: Path) -> None:
    """First of all, on a server that imports what it needs while they all wait."""
    # In a thread of its own: the browser that other tests leave open has an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        faults, memory = pool.submit(try_sessions, results, 3, 9).result()
    assert not faults
    assert len(memory) == 2
