"""Coverage by brute force and by its promise on rows like the reference's own; kinds by hand."""

import numpy as np
import pytest

from sot_filter.audit import covered, difference, nearest
from tests.audit.points import kinds, unit


def test_the_nearest_is_that_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, reference = unit(20, 4, 1), unit(15, 4, 2)
    monkeypatch.setattr("sot_filter.audit.coverage._TILE", 15 * 6)
    np.testing.assert_allclose(nearest(rows, reference), (rows @ reference.T).max(1), rtol=1e-6)
    groups = np.arange(15) // 2
    expected = np.where(groups[:, None] == groups, -1, reference @ reference.T).max(1)
    np.testing.assert_allclose(nearest(reference, reference, groups), expected, rtol=1e-6)


def test_one_group_has_no_other() -> None:
    points = unit(3, 4, 0)
    assert nearest(points, points, np.zeros(3, np.int64)).tolist() == [-1] * 3


def test_few_rows_like_the_references_own_are_not_covered() -> None:
    missed = []
    for seed in range(20):
        reference, rows = kinds(200, 1, seed), kinds(300, 1, 100 + seed)
        own = nearest(reference, reference, np.arange(200))
        missed.append((~covered(nearest(rows, reference), own, 0.05)).mean())
    # A row of one's own has one other less to be near to than a new row, so the promise holds on the safe side.
    assert 0.02 < np.mean(missed) < 0.055


def test_rows_of_another_kind_are_not_covered() -> None:
    reference, rows = kinds(200, 1, 1), kinds(100, -1, 2)
    own = nearest(reference, reference, np.arange(200))
    assert not covered(nearest(rows, reference), own, 0.05).any()
    assert not covered(np.ones(3, np.float32), np.empty(0, np.float32), 0.05).any()


def test_kinds_that_the_reference_lacks_are_named() -> None:
    rows = ["en"] * 70 + ["de"] * 20 + ["fr"] * 9 + ["la"]
    found = difference(rows, ["en"] * 98 + ["fr"] * 2, rare=0.05)
    assert found.lacking == {"de": pytest.approx(0.2)}, "two of a hundred may well be half of nine in a hundred"
    assert found.total_variation == pytest.approx(0.28)
    assert not difference(rows, ["en"] * 20, rare=0.05).lacking, "twenty rows cannot tell"
    assert difference(rows, rows, rare=0.05).total_variation == 0
    assert difference(["a"], ["b"], rare=0.05).total_variation == 1
    assert difference(rows, ["en"] * 995 + ["fr"] * 5, rare=0.05).lacking == {
        "de": pytest.approx(0.2),
        "fr": pytest.approx(0.09),
    }
