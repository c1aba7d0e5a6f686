from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import normalize, softplus

from sot_filter.transport import Measure
from sot_filter.transport.direction import STRENGTHS, fit_direction
from sot_filter.transport.held_out import draw_folds


def judge(safe: Measure, harmful: Measure, known: Tensor, strength: float) -> LogisticRegression:
    """scikit-learn's ridge logistic regression on the ``known`` rows: the same objective, by another solver."""
    points = torch.cat([safe.points, harmful.points])[known].numpy()
    side = np.repeat([1, -1], [len(safe), len(harmful)])[known]
    mass = torch.cat([safe.mass, harmful.mass])[known]
    model = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000)
    return model.fit(points, side, sample_weight=(mass / mass.sum()).numpy())


def measures(toy: Callable, **size: int) -> tuple[Measure, Measure, Tensor]:
    t = toy(**size)
    safe = Measure.of_counts(t.safe, torch.randint(1, 4, (len(t.safe),)))
    harmful = Measure.of_counts(t.harmful, torch.randint(1, 4, (len(t.harmful),)))
    return safe, harmful, draw_folds(len(safe), len(harmful), 5, 0)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_vector_and_held_out_margins_are_those_of_scikit_learn(toy: Callable, strength: float) -> None:
    safe, harmful, folds = measures(toy)
    direction, margins = fit_direction(safe, harmful, folds, [strength])
    whole = judge(safe, harmful, torch.ones_like(folds, dtype=torch.bool), strength)
    np.testing.assert_allclose(direction.vector.numpy(), whole.coef_[0], rtol=0, atol=2e-3 * np.abs(whole.coef_).max())
    assert direction.offset == pytest.approx(whole.intercept_[0], abs=2e-3 * np.abs(whole.coef_).max())
    assert direction.strength == strength
    points = torch.cat([safe.points, harmful.points])
    for fold in range(5):
        left_out = folds == fold
        expected = judge(safe, harmful, ~left_out, strength).decision_function(points[left_out].numpy())
        np.testing.assert_allclose(margins[left_out].numpy(), expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_the_strength_is_the_best_on_rows_left_out(toy: Callable) -> None:
    safe, harmful, folds = measures(toy)
    chosen, held = fit_direction(safe, harmful, folds)
    side = torch.cat([torch.ones(len(safe)), -torch.ones(len(harmful))]).double()
    mass = torch.cat([safe.mass, harmful.mass]) / 2

    def loss(margins: Tensor) -> float:
        return float(mass @ softplus(-side * margins))

    alone = {strength: loss(fit_direction(safe, harmful, folds, [strength])[1]) for strength in STRENGTHS}
    assert chosen.strength == min(alone, key=alone.__getitem__)
    assert chosen.strength not in (STRENGTHS[0], STRENGTHS[-1]), "the toy has a best strength inside the range"
    assert loss(held) == pytest.approx(alone[chosen.strength], abs=1e-4)


def test_a_rows_held_out_margin_does_not_depend_on_its_own_side(toy: Callable) -> None:
    """Where a row lies among those of its fold changes no other margin of that fold: none of them was fitted to."""
    safe, harmful, folds = measures(toy)
    moved = safe.points.clone()
    moved[0] = -moved[0]
    before, after = (fit_direction(Measure(p, safe.mass), harmful, folds, [1e-3])[1] for p in (safe.points, moved))
    others = (folds == folds[0]) & (torch.arange(len(folds)) > 0)
    torch.testing.assert_close(after[others], before[others], atol=5e-3, rtol=0)
    assert float((after[~others] - before[~others]).abs().max()) > 0.1


def test_order_rotation_and_the_exchange_of_the_sides(toy: Callable) -> None:
    safe, harmful, folds = measures(toy)
    direction, margins = fit_direction(safe, harmful, folds, [1e-3])
    order = torch.randperm(len(safe))
    whole = torch.cat([order, torch.arange(len(safe), len(folds))])
    turned = torch.linalg.qr(torch.randn(16, 16).double()).Q
    again, found = fit_direction(
        Measure(safe.points[order] @ turned, safe.mass[order]),
        Measure(harmful.points @ turned, harmful.mass),
        folds[whole],
        [1e-3],
    )
    torch.testing.assert_close(again.vector, direction.vector @ turned, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(found, margins[whole], atol=1e-2, rtol=1e-3)
    other, against = fit_direction(harmful, safe, folds.roll(-len(safe)), [1e-3])
    torch.testing.assert_close(other.vector, -direction.vector, atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(against, -margins.roll(-len(safe)), atol=1e-2, rtol=1e-3)


def test_a_margin_is_linear_and_in_the_dtype_of_the_references(toy: Callable) -> None:
    t = toy(dtype=torch.float32)
    safe, harmful = Measure.uniform(t.safe), Measure.uniform(t.harmful)
    direction, held = fit_direction(safe, harmful, draw_folds(40, 41, 5, 0))
    assert direction.vector.dtype == torch.float32
    assert held.dtype == torch.float64
    expected = t.rows.numpy() @ direction.vector.numpy() + direction.offset
    np.testing.assert_allclose(direction.margin(t.rows).numpy(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(direction.margin(t.rows.bfloat16()), direction.margin(t.rows), atol=0.3, rtol=0)


@pytest.mark.parametrize("rows", [5, 9])
@pytest.mark.parametrize("d", [3, 64])
def test_few_rows_of_few_or_many_dimensions(rows: int, d: int) -> None:
    """Five rows a side, in more dimensions than rows, are separable: only the penalty keeps the answer finite."""
    safe, harmful = (Measure.uniform(normalize(torch.randn(n, d).double())) for n in (rows, 40))
    folds = draw_folds(rows, 40, 5, 0)
    direction, margins = fit_direction(safe, harmful, folds, STRENGTHS)
    assert margins.isfinite().all()
    whole = judge(safe, harmful, torch.ones_like(folds, dtype=torch.bool), direction.strength)
    np.testing.assert_allclose(direction.vector.numpy(), whole.coef_[0], atol=5e-3 * np.abs(whole.coef_).max())


@pytest.mark.parametrize(
    ("name", "points"),
    [("equal references", None), ("zero vectors", torch.zeros(20, 8)), ("one point", torch.ones(20, 8) / 8**0.5)],
)
def test_references_that_do_not_differ_teach_nothing(name: str, points: Tensor | None) -> None:
    same = Measure.uniform(normalize(torch.randn(20, 8)) if points is None else points)
    folds = draw_folds(20, 20, 5, 0)
    folds[20:] = folds[:20]
    direction, margins = fit_direction(same, same, folds)
    assert float(direction.margin(same.points).abs().max()) < 2e-3
    assert float(margins.abs().max()) < 2e-3
