import math
from collections.abc import Callable

import numpy as np
import ot
import pytest
import torch
from scipy.special import logsumexp

from sot_filter.errors import ReferenceError
from sot_filter.transport import Measure
from sot_filter.transport.held_out import draw_folds, held_out_potentials


@pytest.mark.parametrize(("safe", "harmful", "folds"), [(40, 41, 5), (5, 300, 5), (12, 9, 2)])
def test_every_fold_has_its_share_of_both_references(safe: int, harmful: int, folds: int) -> None:
    drawn = draw_folds(safe, harmful, folds, 3)
    for part, size in ((drawn[:safe], safe), (drawn[safe:], harmful)):
        counts = torch.bincount(part, minlength=folds)
        assert len(counts) == folds
        assert int(counts.min()) == size // folds
        assert int(counts.max()) == -(-size // folds)
    assert torch.equal(drawn, draw_folds(safe, harmful, folds, 3))
    assert not torch.equal(drawn, draw_folds(safe, harmful, folds, 4))


@pytest.mark.parametrize("sizes", [(4, 100), (100, 4)])
def test_a_reference_smaller_than_the_folds_is_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ReferenceError, match="at least 5 rows"):
        draw_folds(*sizes, 5, 0)


def brute(
    safe: Measure, harmful: Measure, folds: torch.Tensor, epsilon: float, rhos: tuple[float, float], kept: np.ndarray
) -> np.ndarray:
    """Fold by fold: ψ from POT or from plain damped Sinkhorn iterations, and the potential by its definition."""
    rows = torch.cat([safe.points, harmful.points]).numpy()
    folds_ = folds.numpy()
    f = np.full((2, len(rows)), np.nan)
    for fold in range(folds_.max() + 1):
        own = folds_ == fold
        w = kept[own] / kept[own].sum()
        for k, (reference, part, rho) in enumerate(
            ((safe, folds_[: len(safe)], rhos[0]), (harmful, folds_[len(safe) :], rhos[1]))
        ):
            known = part != fold
            c = 1 - rows[own] @ reference.points.numpy()[known].T
            b = reference.mass.numpy()[known] / reference.mass.numpy()[known].sum()
            psi = np.zeros(len(b))
            if rho == math.inf:
                coupling = ot.sinkhorn(w, b, c, epsilon, "sinkhorn_log", 20_000, 1e-12)
                sums = epsilon * np.log(coupling / (w[:, None] * b)) + c
                psi = sums[0] - b @ sums[0]
            elif rho > 0:
                for _ in range(150):
                    inner = -epsilon * logsumexp((psi - c) / epsilon, b=b, axis=1)
                    outer = -epsilon * logsumexp((inner[:, None] - c) / epsilon, b=w[:, None], axis=0)
                    psi = rho / (rho + epsilon) * outer
            f[k, own] = -epsilon * logsumexp((psi - c) / epsilon, b=b, axis=1)
    return f


@pytest.mark.parametrize("rhos", [(0.0, 0.0), (0.1, 0.0), (0.0, 0.3), (math.inf, math.inf)])
@pytest.mark.parametrize("weighted", [False, True])
def test_potentials_are_those_of_the_references_without_the_fold(
    toy: Callable, rhos: tuple[float, float], weighted: bool
) -> None:
    t = toy(m=20)
    safe = Measure.of_counts(t.safe, torch.randint(1, 4, (20,)))
    harmful = Measure.of_counts(t.harmful, torch.randint(1, 4, (21,)))
    folds = draw_folds(20, 21, 5, 0)
    kept = torch.rand(41).double() if weighted else None
    found = held_out_potentials(safe, harmful, folds, 0.1, *rhos, kept)
    expected = brute(safe, harmful, folds, 0.1, rhos, np.ones(41) if kept is None else kept.numpy())
    # 30 iterations: what they lack of ρ = inf is far below what a cost unit is known to.
    apart = 1e-4 if max(rhos) == math.inf else 1e-8
    np.testing.assert_allclose(torch.stack(found).numpy(), expected, rtol=0, atol=apart)


def test_no_row_is_judged_by_itself_or_its_fold(toy: Callable) -> None:
    t = toy()
    folds = draw_folds(40, 41, 5, 0)
    moved = t.safe.clone()
    moved[0] = -moved[0]
    before, after = (
        held_out_potentials(Measure.uniform(p), Measure.uniform(t.harmful), folds, 0.05) for p in (t.safe, moved)
    )
    others = (folds == folds[0]) & (torch.arange(81) > 0)
    assert torch.equal(before[0][others], after[0][others])
    assert (before[0][folds != folds[0]] != after[0][folds != folds[0]]).all()
    same = torch.arange(81) > 0
    assert torch.equal(before[1][same], after[1][same]), "the other reference has not changed"


def test_a_copy_of_a_row_in_another_fold_is_found_and_one_in_its_own_is_not() -> None:
    points = torch.eye(6, dtype=torch.float64)[[0, 0, 1, 2, 3, 4, 5, 5]]
    folds = torch.tensor([0, 1, 0, 1, 0, 1, 0, 0])
    pull, push = held_out_potentials(Measure.uniform(points[:4]), Measure.uniform(points[4:]), folds, 0.01)
    assert float(pull[0]) == pytest.approx(0.01 * math.log(2), abs=1e-9), "one of two left, at cost 0"
    assert float(push[6]) == pytest.approx(1), "its copy lies in its own fold"


def test_half_precision_references_give_single_precision_potentials(toy: Callable) -> None:
    t = toy(dtype=torch.float32)
    folds = draw_folds(40, 41, 5, 0)
    half, single = (
        held_out_potentials(Measure.uniform(t.safe.to(kind)), Measure.uniform(t.harmful.to(kind)), folds, 0.05)
        for kind in (torch.bfloat16, torch.float32)
    )
    assert half[0].dtype == torch.float32
    torch.testing.assert_close(torch.stack(half), torch.stack(single), atol=4e-3, rtol=0)
    assert len(half[0].unique()) > 75, "not the few values that half precision tells apart"
