"""Ridge logistic columns against scipy on the same objective, one by one."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from sot_filter.transport.logistic import ridge_logistic

STRENGTH = 1e-3


def draw(m: int, d: int, columns: int) -> tuple[Tensor, Tensor]:
    """Rows times their side, nearly separable, and weights of which some are zero."""
    side = torch.where(torch.arange(m) < m // 2, 1.0, -1.0).double()
    points = torch.randn(m, d, dtype=torch.float64)
    points[:, 0] += 2 * side
    weights = torch.poisson(torch.ones(m, columns, dtype=torch.float64))
    return torch.cat([points, torch.ones(m, 1)], 1) * side[:, None], weights / weights.sum(0)


def objective(at: np.ndarray, signed: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    margins = signed @ at
    penalised = np.r_[at[:-1], 0.0]
    gradient = -signed.T @ (weights / (1 + np.exp(margins))) + STRENGTH * penalised
    return float(weights @ np.logaddexp(0, -margins) + STRENGTH / 2 * penalised @ penalised), gradient


@pytest.mark.parametrize(("m", "d"), [(60, 8), (30, 50), (12, 12)])
def test_every_column_is_the_minimum_of_its_own_objective(m: int, d: int) -> None:
    signed, weights = draw(m, d, 4)
    found = ridge_logistic(signed, weights, torch.zeros(d + 1, 4), STRENGTH, sought=1e-9, steps=500)
    for column in range(4):
        given = signed.numpy(), weights[:, column].numpy()
        value, gradient = objective(found[:, column].numpy(), *given)
        best = minimize(objective, np.zeros(d + 1), given, jac=True, method="BFGS", options={"gtol": 1e-8})
        assert np.abs(gradient).max() < 1e-7
        assert value == pytest.approx(best.fun, rel=1e-7)
        np.testing.assert_allclose(signed.numpy() @ found[:, column].numpy(), signed.numpy() @ best.x, atol=5e-3)


def test_the_start_does_not_matter() -> None:
    signed, weights = draw(60, 8, 3)
    cold = ridge_logistic(signed, weights, torch.zeros(9, 3), STRENGTH, sought=1e-9, steps=500)
    warm = ridge_logistic(signed, weights, cold + 0.5 * torch.randn(9, 3), STRENGTH, sought=1e-9, steps=500)
    torch.testing.assert_close(warm, cold, atol=1e-6, rtol=1e-6)


def test_rows_that_count_nothing_need_not_be_there() -> None:
    signed, weights = draw(60, 8, 1)
    counted = weights[:, 0] > 0
    start = torch.zeros(9, 1)
    whole = ridge_logistic(signed, weights, start, STRENGTH, sought=1e-9, steps=500)
    part = ridge_logistic(signed[counted], weights[counted], start, STRENGTH, sought=1e-9, steps=500)
    torch.testing.assert_close(whole, part, atol=1e-6, rtol=1e-6)


def test_single_precision_and_an_early_end_cost_little() -> None:
    signed, weights = draw(200, 40, 6)
    exact = ridge_logistic(signed, weights, torch.zeros(41, 6), STRENGTH, sought=1e-9, steps=500)
    loose = ridge_logistic(signed, weights.float(), torch.zeros(41, 6), STRENGTH)
    margins = signed @ exact
    assert float((signed @ loose - margins).abs().mean()) < 0.01 * float(margins.std())
