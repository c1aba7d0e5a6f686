"""Groups of near duplicates against SciPy's connected components."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from sot_filter.audit import near_duplicates
from tests.audit.points import unit


@given(st.integers(0, 40), st.integers(0, 99), st.sampled_from([0.5, 0.8, 0.95]))
def test_groups_are_connected_components(n: int, seed: int, threshold: float) -> None:
    points = unit(n, 3, seed)
    groups = near_duplicates(points, threshold)
    assert groups.shape == (n,)
    if not n:
        return
    _, label = connected_components(points @ points.T >= threshold)
    assert ((groups[:, None] == groups) == (label[:, None] == label)).all()
    assert (groups <= np.arange(n)).all()
    assert (groups[groups] == groups).all(), "a group is named by its first row"


def test_tiles_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    points = unit(60, 3, 1)
    whole = near_duplicates(points, 0.8)
    monkeypatch.setattr("sot_filter.audit.repeats._TILE", 7 * 60)
    assert (near_duplicates(points, 0.8) == whole).all()


def test_a_row_without_direction_is_alone() -> None:
    assert near_duplicates(np.zeros((3, 2), np.float32), 0.95).tolist() == [0, 1, 2]
