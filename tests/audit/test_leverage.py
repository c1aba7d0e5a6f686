"""Influence against leaving clusters out for real; shifts of a ranking against SciPy and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import spearmanr

from sot_filter.audit import influence, ranking_shift
from tests.audit.points import unit


@pytest.mark.parametrize("k", [1, 3, 12])
def test_leaving_a_cluster_out_moves_potentials_so(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, reference = unit(30, 5, 1), unit(12, 5, 2)
    offset = np.random.default_rng(3).normal(size=12).astype(np.float32)
    member, epsilon = np.arange(12) % k, 0.3

    def potential(left: np.ndarray) -> np.ndarray:
        return -epsilon * logsumexp(offset[left] - (1 - rows @ reference[left].T) / epsilon, axis=1)

    whole = potential(np.ones(12, bool))
    plan = np.exp(offset - (1 - rows @ reference.T) / epsilon + whole[:, None] / epsilon)
    felt = influence(rows, reference, offset, epsilon, member)
    np.testing.assert_allclose(felt.mass, [plan[:, member == c].sum(1).mean() for c in range(k)], rtol=1e-4)
    assert felt.mass.sum() == pytest.approx(1)
    if k > 1:
        moved = [(potential(member != c) - whole).std() for c in range(k)]
        np.testing.assert_allclose(felt.swing, moved, rtol=1e-3, atol=1e-7)
    monkeypatch.setattr("sot_filter.audit.leverage._TILE", 12 * 7)
    again = influence(rows, reference, offset, epsilon, member)
    np.testing.assert_allclose(again.swing, felt.swing, rtol=1e-5, atol=1e-6)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=40))
def test_the_correlation_is_scipys(pairs: list[tuple[int, int]]) -> None:
    one, other = np.asarray(pairs, np.float32).T
    found = ranking_shift(one, other, 0.5).spearman
    if len({*one.tolist()}) == 1 or len({*other.tolist()}) == 1:
        assert found == 0
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)


def test_kept_rows_that_leave_are_counted() -> None:
    before = np.float32([5, 4, 3, 2, 1, 0])
    assert ranking_shift(before, before, 0.5).kept_changed == 0
    assert ranking_shift(before, np.float32([5, 4, 0, 3, 2, 1]), 0.5).kept_changed == pytest.approx(1 / 3)
    assert ranking_shift(before, -before, 0.5).kept_changed == 1
