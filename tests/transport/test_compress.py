from collections.abc import Callable

import pytest
import torch

from sot_filter.errors import SolverError
from sot_filter.transport import Measure, c_transform, solve
from sot_filter.transport.compress import compress


def test_means_and_masses_by_hand() -> None:
    points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    reference = Measure(points, torch.tensor([0.25, 0.25, 0.5]))
    small, index = compress(reference, torch.tensor([7, 7, 2]))
    torch.testing.assert_close(small.points, torch.tensor([[-1.0, 0.0], [0.5, 0.5]]))
    torch.testing.assert_close(small.mass, torch.tensor([0.5, 0.5]))
    assert index.tolist() == [1, 1, 0]


def test_the_mean_cost_to_a_cluster_is_the_cost_to_its_mean(toy: Callable) -> None:
    drawn = toy(20, 60)
    reference = Measure.of_counts(drawn.safe, torch.randint(1, 5, (60,)))
    small, index = compress(reference, torch.randint(0, 9, (60,)))
    cost = 1 - drawn.rows @ reference.points.T
    expected = torch.zeros(20, len(small)).double().index_add_(1, index, cost * reference.mass) / small.mass
    torch.testing.assert_close(1 - drawn.rows @ small.points.T, expected)
    assert float(small.points.norm(dim=1).max()) < 1


def test_clusters_of_equal_points_change_nothing(toy: Callable) -> None:
    drawn = toy(40, 15)
    problem = drawn.problem()
    copies = torch.arange(15).repeat_interleave(3)
    small, index = compress(Measure.uniform(drawn.safe[copies]), copies)
    torch.testing.assert_close(small.points, problem.safe.points)
    full, fewer = (
        solve(type(problem)(problem.rows, side, problem.harmful), mode="exact")
        for side in (Measure.uniform(drawn.safe[copies]), small)
    )
    torch.testing.assert_close(fewer.score, full.score)
    torch.testing.assert_close(fewer.psi_safe[index], full.psi_safe)


def test_a_mean_says_no_nearer_than_its_points(toy: Callable) -> None:
    """Jensen: exp of a mean is at most the mean of exp, so rows lie no nearer to the smaller reference."""
    drawn = toy(50, 60)
    reference = Measure.uniform(drawn.safe)
    assignment = torch.randint(0, 10, (60,))
    small, _ = compress(reference, assignment)
    full, fewer = (c_transform(drawn.rows, r, torch.zeros(len(r)), 0.05) for r in (reference, small))
    assert bool((fewer >= full - 1e-9).all())
    assert float((fewer - full).max()) > 1e-3


def test_an_assignment_of_other_points_is_refused(toy: Callable) -> None:
    reference = Measure.uniform(toy(5, 10).safe)
    for wrong in (torch.zeros(9, dtype=torch.int64), torch.zeros(10)):
        with pytest.raises(SolverError, match="a cluster for each of 10 reference points"):
            compress(reference, wrong)
