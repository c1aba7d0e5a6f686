"""The truncated decomposition against LAPACK's whole one in float64."""

import pytest
import torch

from sot_filter.training.low_rank import truncated_svd


def a_matrix(rows: int, columns: int, seed: int, rank: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(side, rank, generator=random, dtype=torch.float64) for side in (rows, columns))
    return left @ right.T


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (30, 20)])
def test_it_is_the_exact_one_and_draws_no_random_numbers(shape: tuple[int, int]) -> None:
    matrix = a_matrix(*shape, seed=0, rank=6) + 1e-6 * a_matrix(*shape, seed=9, rank=20)
    before = torch.get_rng_state()
    found = truncated_svd(matrix, 6)
    assert torch.equal(torch.get_rng_state(), before)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(found.values, values[:6], rtol=1e-10, atol=0)
    torch.testing.assert_close(found.left @ found.left.T, left[:, :6] @ left[:, :6].T, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.right @ found.right.T, right[:6].T @ right[:6], rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [(300, 200), (8, 8)])
def test_directions_that_are_not_there_are_zero(shape: tuple[int, int]) -> None:
    matrix = a_matrix(*shape, seed=0, rank=2)
    found = truncated_svd(matrix, 5)
    assert [part.shape for part in found] == [(shape[0], 5), (5,), (shape[1], 5)]
    assert int((found.values > 0).sum()) == 2
    assert int(found.left.any(0).sum()) == int(found.right.any(0).sum()) == 2
    torch.testing.assert_close(found.left @ found.values.diag() @ found.right.T, matrix)


def test_a_flat_spectrum_still_gives_orthonormal_directions_near_the_best() -> None:
    matrix = torch.randn(400, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = truncated_svd(matrix, 10)
    torch.testing.assert_close(found.left.T @ found.left, torch.eye(10, dtype=torch.float64))
    best = torch.linalg.svdvals(matrix)[:10]
    assert float(found.values.square().sum() / best.square().sum()) > 0.85


def test_at_most_the_shorter_side_and_nothing_of_nothing() -> None:
    assert truncated_svd(torch.ones(3, 7), 9).values.shape == (3,)
    assert not truncated_svd(torch.zeros(3, 7), 2).left.any()
