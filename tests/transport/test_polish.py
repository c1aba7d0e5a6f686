"""A pass over all rows: one Sinkhorn step of the exact problem, in parts of any size."""

import math
from functools import partial

import pytest
import torch
from torch.nn.functional import normalize

from sot_filter.errors import SolverError
from sot_filter.transport import Measure, PushPullProblem, column_sums, conditional_plan, next_potential
from sot_filter.transport.coupled import given_weights
from sot_filter.transport.sinkhorn import fused_pass, kernels


def problem(rho: float, n: int = 700, d: int = 12, dtype: torch.dtype = torch.float64) -> PushPullProblem:
    generator = torch.Generator().manual_seed(0)
    points = normalize(torch.randn(n + 90, d, generator=generator, dtype=dtype), dim=1)
    mass = torch.rand(50, generator=generator, dtype=dtype) + 0.1
    return PushPullProblem(
        Measure.uniform(points[:n]),
        Measure(points[n : n + 50], mass / mass.sum()),
        Measure.uniform(points[n + 50 :]),
        epsilon=0.05,
        rho_safe=rho,
        rho_harmful=rho,
    )


def weights(n: int) -> torch.Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 1e-3


@pytest.mark.parametrize("rho", [0.0, 0.1, math.inf])
@pytest.mark.parametrize("from_zero", [True, False])
def test_a_pass_is_one_sinkhorn_step_on_all_rows(rho: float, from_zero: bool) -> None:
    posed, v = problem(rho), weights(700)
    psi = [torch.zeros_like(side.mass) for side in (posed.safe, posed.harmful)]
    if not from_zero and rho:
        psi = [0.1 * torch.randn(len(p), generator=torch.Generator().manual_seed(2), dtype=p.dtype) for p in psi]
    steps, _ = fused_pass(kernels(posed, 0), psi, partial(given_weights, (v / v.sum()).log()))
    for side, before, step in zip((posed.safe, posed.harmful), psi, steps, strict=True):
        sums = column_sums(posed.rows.points, v, side, before, posed.epsilon)
        found, error = next_potential(sums, float(v.sum()), side, before, posed.epsilon, rho)
        torch.testing.assert_close(found, step.psi, atol=1e-10, rtol=1e-9)
        assert error == pytest.approx(step.marginal_error, abs=1e-10)


def test_the_sums_are_those_of_the_plan() -> None:
    posed, v = problem(0.1, n=30), weights(30)
    psi = torch.linspace(-0.2, 0.2, 50, dtype=torch.float64)
    plan = conditional_plan(posed.rows.points, posed.safe, psi, 0.05)
    torch.testing.assert_close(column_sums(posed.rows.points, v, posed.safe, psi, 0.05), v @ plan)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 37, 256, 699])
def test_parts_in_any_split_give_the_same_sums(size: int, dtype: torch.dtype) -> None:
    posed, v = problem(0.1, dtype=dtype), weights(700)
    psi = torch.linspace(-0.2, 0.2, 50, dtype=dtype)
    whole = column_sums(posed.rows.points, v, posed.safe, psi, 0.05)
    assert whole.dtype == torch.float64
    assert float(whole.sum()) == pytest.approx(float(v.sum()), rel=1e-12)
    parts = zip(posed.rows.points.split(size), v.split(size), strict=True)
    added = sum(column_sums(points, own, posed.safe, psi, 0.05) for points, own in parts)
    torch.testing.assert_close(added, whole, atol=0, rtol=1e-12)


def test_a_point_that_no_row_is_near_is_found_where_single_precision_would_lose_it() -> None:
    rows = normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1]]), dim=1)
    far = Measure.uniform(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    sums = column_sums(rows, torch.ones(2), far, torch.zeros(2), 0.01)
    gap = (rows @ far.points.T).double()
    wanted = torch.logsumexp((gap[:, 1] - gap[:, 0]) / 0.01, 0)
    assert float(sums[1].log()) == pytest.approx(float(wanted), rel=1e-5)
    psi, _ = next_potential(sums, 2.0, far, torch.zeros(2), 0.01, math.inf)
    assert psi.dtype == torch.float32
    assert bool(psi.isfinite().all())


def test_potentials_that_do_not_fit_are_refused() -> None:
    posed = problem(0.1, n=30)
    with pytest.raises(SolverError, match="a potential of 50 values"):
        column_sums(posed.rows.points, weights(30), posed.safe, torch.zeros(40), 0.05)
