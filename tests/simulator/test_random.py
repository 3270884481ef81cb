import numpy as np
import pytest
from hypothesis import given, strategies as st

from simulator.random import normals, pair_normals, pair_uniforms, text_key, uniforms


@given(start=st.integers(0, 10**9), cut=st.integers(0, 20), width=st.integers(1, 9))
def test_rows_do_not_depend_on_batching(start: int, cut: int, width: int) -> None:
    whole = uniforms(7, "click", start, 20, width)
    parts = [uniforms(7, "click", start, cut, width), uniforms(7, "click", start + cut, 20 - cut, width)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_seed_station_and_row_all_matter() -> None:
    draws = [uniforms(*key, 4, 5) for key in ((1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1))]
    for i, one in enumerate(draws):
        for other in draws[:i]:
            assert not np.array_equal(one, other)


def test_uniforms_and_normals_have_their_moments() -> None:
    u, z = uniforms(1, "u", 0, 50_000, 4).ravel(), normals(1, "z", 0, 50_000, 4).ravel()
    assert u.min() >= 0
    assert u.max() < 1
    assert u.mean() == pytest.approx(1 / 2, abs=4 * np.sqrt(1 / 12 / u.size))
    assert z.mean() == pytest.approx(0, abs=4 / np.sqrt(z.size))
    assert z.std() == pytest.approx(1, abs=4 / np.sqrt(2 * z.size))
    assert np.isfinite(z).all()


def test_pairs_are_keyed_by_value_and_order() -> None:
    query, ad = np.arange(300)[:, None], np.arange(200)[None, :]
    table = pair_uniforms(1, "noise", query, ad)
    assert np.array_equal(table[5:9, 3], pair_uniforms(1, "noise", query[5:9, 0], np.full(4, 3)))
    assert not np.array_equal(table[:200, :200], table[:200, :200].T)
    assert np.unique(table).size == table.size
    assert table.mean() == pytest.approx(1 / 2, abs=4 * np.sqrt(1 / 12 / table.size))
    # Neighbours are unrelated, in both directions.
    for a, b in ((table[1:], table[:-1]), (table[:, 1:], table[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)
    assert pair_normals(1, "noise", query, ad).std() == pytest.approx(1, abs=0.02)


def test_text_key_is_the_same_everywhere() -> None:
    assert text_key("red kettle") == 3654035633521843998
