"""Out-of-fold evidence: against scikit-learn's fit, and that no row has a say in its own."""

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.linear_model import Ridge

from sot_filter.audit import near_duplicates, out_of_fold_evidence
from sot_filter.audit.margin import _discriminant, _nearest
from tests.audit.points import kinds, unit


@pytest.mark.parametrize("m", [9, 60])
def test_the_discriminant_is_scikit_learns_ridge(m: int) -> None:
    points, rows, is_safe = unit(m, 20, 1), unit(5, 20, 2), np.arange(m) % 3 == 0
    weight = np.where(is_safe, 0.5 / is_safe.sum(), 0.5 / (~is_safe).sum())
    judge = Ridge(alpha=0.01).fit(points.astype(float), np.where(is_safe, 1.0, -1.0), sample_weight=weight)
    found = _discriminant(points, is_safe, rows)
    expected = judge.predict(rows.astype(float))
    # The offset, which this one leaves out, is brought to zero by the scaling.
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-6)


def test_neighbours_are_those_of_brute_force_outside_the_group() -> None:
    points, groups = unit(50, 4, 3), np.arange(50) // 3
    chosen = np.arange(50) % 2 == 0
    for i, found in enumerate(_nearest(points, chosen, groups)):
        others = [points[i] @ points[j] for j in range(50) if chosen[j] and groups[j] != groups[i]]
        assert found == pytest.approx(np.sort(others)[-10:].mean(), abs=1e-6)


def test_wrong_labels_stand_out() -> None:
    points = np.concatenate([kinds(180, 1, 1), kinds(20, -1, 2), kinds(200, -1, 3)])
    is_safe = np.arange(400) < 200
    evidence = out_of_fold_evidence(points, is_safe, np.arange(400))
    worst = np.argsort(evidence[:200])[:20]
    assert (worst >= 180).mean() >= 0.9


def test_a_copy_with_the_same_wrong_label_cannot_vouch_for_a_row() -> None:
    # Twelve copies of one harmful row in the safe reference: among themselves they look at home.
    copies = np.repeat(kinds(1, -1, 9), 12, axis=0)
    points = np.concatenate([kinds(88, 1, 1), copies, kinds(100, -1, 3)])
    is_safe = np.arange(200) < 100
    known = out_of_fold_evidence(points, is_safe, near_duplicates(points, 0.99))
    unknown = out_of_fold_evidence(points, is_safe, np.arange(200))
    assert known[88:100].max() < np.median(known[100:]) + 1
    assert unknown[88:100].mean() > known[88:100].mean() + 1


def test_it_turns_over_with_the_labels_and_is_the_seeds() -> None:
    points = np.concatenate([kinds(60, 1, 1, apart=0.3), kinds(60, -1, 2, apart=0.3)])
    is_safe = np.arange(120) < 60
    groups = np.arange(120)
    found = out_of_fold_evidence(points, is_safe, groups)
    np.testing.assert_allclose(found, -out_of_fold_evidence(points, ~is_safe, groups), atol=1e-6)
    assert (found == out_of_fold_evidence(points, is_safe, groups)).all()
    other = out_of_fold_evidence(points, is_safe, groups, seed=1)
    assert not np.array_equal(found, other)
    assert np.corrcoef(rankdata(found), rankdata(other))[0, 1] > 0.95


def test_references_that_are_the_same_point_say_nothing() -> None:
    points = np.tile(unit(1, 4, 0), (80, 1))
    assert not out_of_fold_evidence(points, np.arange(80) < 40, np.arange(80)).any()
