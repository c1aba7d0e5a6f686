import math
from collections.abc import Callable

import pytest
import torch
from scipy.stats import spearmanr

from sot_filter.errors import SolverError
from sot_filter.transport import Measure, solve
from sot_filter.transport.online import OnlinePotentials


def stream(toy: Callable, batches: int, objective: str = "exact", rho: float = math.inf) -> tuple:
    drawn = toy(600, 30)
    shared = {"tau": 0.05, "rho_safe": rho, "rho_harmful": rho}
    problem = drawn.problem(**shared)
    potentials = OnlinePotentials(problem.safe, problem.harmful, objective=objective, **shared)
    generator = torch.Generator().manual_seed(0)
    for _ in range(batches):
        rows = torch.randint(0, 600, (60,), generator=generator)
        potentials.update(drawn.rows[rows], torch.ones(60))
    return problem, potentials


@pytest.mark.parametrize("objective", ["coupled", "exact"])
@pytest.mark.parametrize("rho", [0.1, math.inf])
def test_a_long_stream_finds_the_potentials_of_all_rows(toy: Callable, objective: str, rho: float) -> None:
    """Without neighbours, mode coupled is one neighbourhood: the stream's population."""
    problem, potentials = stream(toy, 400, objective, rho)
    exact = solve(problem, mode=objective)
    for ours, theirs in zip(potentials.psi, (exact.psi_safe, exact.psi_harmful), strict=True):
        assert spearmanr(ours, theirs).statistic > 0.97
        assert float((ours - theirs - (ours - theirs).mean()).abs().max()) < 0.1 * float(theirs.max() - theirs.min())
    assert potentials.seen == 400 * 60
    if objective == "coupled":
        assert potentials.kept_share == pytest.approx(exact.kept_share, abs=0.08)


def test_one_batch_looked_at_long_is_the_solve_of_it(toy: Callable) -> None:
    drawn = toy(50, 20)
    problem = drawn.problem()
    potentials = OnlinePotentials(problem.safe, problem.harmful, objective="exact", iterations=400)
    potentials.update(drawn.rows, torch.ones(50))
    exact = solve(problem, mode="exact", threshold=1e-12, marginal_threshold=1e-7, max_iterations=3000)
    torch.testing.assert_close(potentials.psi[0], exact.psi_safe, atol=1e-5, rtol=0)
    torch.testing.assert_close(potentials.psi[1], exact.psi_harmful, atol=1e-5, rtol=0)


def test_masses_count_as_copies(toy: Callable) -> None:
    drawn = toy(40, 20)
    problem = drawn.problem()
    masses, copies = (OnlinePotentials(problem.safe, problem.harmful) for _ in range(2))
    counts = torch.randint(1, 4, (40,))
    for part in (slice(0, 15), slice(15, 40)):
        masses.update(drawn.rows[part], counts[part].double())
        copies.update(drawn.rows[part].repeat_interleave(counts[part], 0), torch.ones(int(counts[part].sum())))
    for a, b in zip(masses.psi, copies.psi, strict=True):
        torch.testing.assert_close(a, b)


def test_free_marginals_have_no_potential_and_batches_no_order_inside(toy: Callable) -> None:
    _, free = stream(toy, 3, rho=0.0)
    assert all(float(psi.abs().max()) == 0 for psi in free.psi)
    drawn = toy(40, 20)
    problem, order = drawn.problem(), torch.randperm(40)
    one, other = (OnlinePotentials(problem.safe, problem.harmful) for _ in range(2))
    one.update(drawn.rows, torch.ones(40))
    other.update(drawn.rows[order], torch.ones(40))
    torch.testing.assert_close(one.psi[0], other.psi[0])


def test_what_cannot_be_taken_is_said(toy: Callable) -> None:
    problem = toy(5, 5).problem()
    with pytest.raises(SolverError, match="epsilon and tau above 0"):
        OnlinePotentials(problem.safe, problem.harmful, tau=0)
    potentials = OnlinePotentials(problem.safe, problem.harmful)
    with pytest.raises(SolverError, match="finite vectors"):
        potentials.update(torch.full((2, 16), math.nan), torch.ones(2))
    with pytest.raises(SolverError, match="positive masses"):
        potentials.update(toy(2, 5).rows, torch.tensor([1.0, -0.5]))
    assert isinstance(potentials.sides[0][0], Measure)
