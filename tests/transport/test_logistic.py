"""Ridge logistic columns against scipy on the same objective, one by one."""

import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import softplus

from sot_filter.transport.logistic import ridge_logistic

STRENGTH = 1e-3


def draw(m: int, d: int, columns: int) -> tuple[Tensor, Tensor]:
    """Rows times their side, nearly separable, and weights of which some are zero."""
    side = torch.where(torch.arange(m) < m // 2, 1.0, -1.0).double()
    points = torch.randn(m, d, dtype=torch.float64)
    points[:, 0] += 2 * side
    weights = torch.poisson(torch.ones(m, columns, dtype=torch.float64))
    return torch.cat([points, torch.ones(m, 1)], 1) * side[:, None], weights / weights.sum(0)


def by_scipy(signed: Tensor, weights: Tensor) -> Tensor:
    def loss(v: object) -> tuple[float, object]:
        at = torch.as_tensor(v, dtype=torch.float64).requires_grad_()
        value = weights @ softplus(-(signed @ at)) + STRENGTH / 2 * at[:-1].square().sum()
        value.backward()
        return float(value), at.grad.numpy()

    start = torch.zeros(signed.shape[1], dtype=torch.float64).numpy()
    found = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000})
    return torch.from_numpy(found.x)


@pytest.mark.parametrize(("m", "d"), [(60, 8), (30, 50), (12, 12)])
def test_every_column_is_the_minimum_of_its_own_objective(m: int, d: int) -> None:
    signed, weights = draw(m, d, 4)
    found = ridge_logistic(signed, weights, torch.zeros(d + 1, 4), STRENGTH, sought=1e-9, steps=500)
    for column in range(4):
        wanted = by_scipy(signed, weights[:, column])
        torch.testing.assert_close(found[:, column], wanted, atol=1e-5, rtol=1e-5)


def test_the_start_does_not_matter() -> None:
    signed, weights = draw(60, 8, 3)
    cold = ridge_logistic(signed, weights, torch.zeros(9, 3), STRENGTH, sought=1e-9, steps=500)
    warm = ridge_logistic(signed, weights, cold + 0.5 * torch.randn(9, 3), STRENGTH, sought=1e-9, steps=500)
    torch.testing.assert_close(warm, cold, atol=1e-6, rtol=1e-6)


def test_the_default_stops_within_a_hundredth_of_a_nat() -> None:
    signed, weights = draw(200, 40, 6)
    exact = ridge_logistic(signed, weights, torch.zeros(41, 6), STRENGTH, sought=1e-9, steps=500)
    loose = ridge_logistic(signed, weights.float(), torch.zeros(41, 6), STRENGTH)
    assert float((signed @ (loose - exact)).abs().max()) < 1e-2
