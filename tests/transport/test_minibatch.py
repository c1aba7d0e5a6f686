import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from sot_filter.errors import SolverError
from sot_filter.transport import Measure, Outcome, PushPullProblem, Solution, cost, find_neighbours, solve
from sot_filter.transport.batches import draw_batches

MODES = ("minibatch", "online")
#: Looks at all rows often enough that the noise of the draws is small.
LONG: dict[str, dict[str, Any]] = {
    "minibatch": {"batch_rows": 200, "batches": 12},
    "online": {"batch_rows": 40, "epochs": 30},
}
QUICK: dict[str, dict[str, Any]] = {"minibatch": {"batches": 4}, "online": {"epochs": 1}}
TIGHT = {"threshold": 1e-10, "marginal_threshold": 1e-7, "max_iterations": 2000}


def posed(toy: Callable, objective: str, n: int = 400, **parameters: float) -> PushPullProblem:
    """A problem with masses, and with a tilt and a coupling where the objective takes them."""
    drawn = toy(n, 40)
    problem = drawn.problem(**({"tau": 0.05} if objective == "exact" else {}) | parameters)
    problem = dataclasses.replace(problem, rows=Measure.of_counts(drawn.rows, torch.randint(1, 4, (n,))))
    if objective == "exact":
        return problem
    coupling = find_neighbours(problem.rows, 6)
    return dataclasses.replace(problem, coupling=coupling, tilt=0.05 + 0.01 * torch.randn(n).double())


def spread(a: Tensor, b: Tensor) -> float:
    """The largest difference of two potentials, but for a constant."""
    difference = a - b
    return float((difference - difference.mean()).abs().max())


def apart(found: Solution, exact: Solution) -> float:
    """How far the potentials are from the exact ones on the mean."""
    sides = (found.psi_safe - exact.psi_safe, found.psi_harmful - exact.psi_harmful)
    return float(sum((side - side.mean()).abs().mean() for side in sides))


def away(found: Solution, exact: Solution) -> float:
    """How far the potentials are from the exact ones."""
    return max(spread(found.psi_safe, exact.psi_safe), spread(found.psi_harmful, exact.psi_harmful))


def same(a: Solution, b: Solution) -> bool:
    """Whether every tensor of two solutions is the same."""
    return all(
        torch.equal(x, getattr(b, name)) if isinstance(x, Tensor) else x == getattr(b, name)
        for name, x in vars(a).items()
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("objective", ["coupled", "exact"])
@pytest.mark.parametrize("rho", [0.1, math.inf])
def test_potentials_and_ranking_come_near_the_exact_ones(toy: Callable, mode: str, objective: str, rho: float) -> None:
    problem = posed(toy, objective, rho_safe=rho, rho_harmful=rho)
    exact = solve(problem, mode=objective, **TIGHT)
    found = solve(problem, mode=mode, objective=objective, **LONG[mode])
    nothing = dataclasses.replace(
        exact, psi_safe=torch.zeros_like(exact.psi_safe), psi_harmful=torch.zeros_like(exact.psi_harmful)
    )
    assert away(found, exact) < 0.15 * away(nothing, exact)
    assert spearmanr(found.score, exact.score).statistic > 0.998
    assert float(found.log_weights.exp().sum()) == pytest.approx(1)
    assert found.objective == pytest.approx(exact.objective, abs=2e-3)
    assert found.effective_sample_size == pytest.approx(exact.effective_sample_size, rel=0.1)
    assert (found.kept_share is None) == (objective == "exact")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("objective", ["coupled", "exact"])
@pytest.mark.parametrize("parameters", [{}, {"rho_safe": 0.0, "rho_harmful": 0.0}])
def test_a_batch_of_all_rows_or_free_marginals_are_the_exact_solve(
    toy: Callable, mode: str, objective: str, parameters: dict[str, float]
) -> None:
    problem = posed(toy, objective, 60, **parameters)
    found = solve(problem, mode=mode, objective=objective, batch_rows=10 if parameters else 60)
    assert same(found, solve(problem, mode=objective))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("objective", ["coupled", "exact"])
def test_polish_ends_at_the_exact_solve(toy: Callable, mode: str, objective: str) -> None:
    problem = posed(toy, objective)
    exact = solve(problem, mode=objective, **TIGHT)
    rough, *finer = (
        solve(problem, mode=mode, objective=objective, batch_rows=50, polish=passes, **QUICK[mode])
        for passes in (0, 2, 60)
    )
    assert rough.outcome is Outcome.APPROXIMATE
    assert finer[-1].outcome is Outcome.CONVERGED
    far = [away(found, exact) for found in (rough, *finer)]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 1e-3
    errors = [found.marginal_error_safe for found in (rough, *finer)]
    assert errors == sorted(errors, reverse=True)
    certificates = [found.certificate for found in (rough, *finer)]
    assert certificates == sorted(certificates, reverse=True)


@pytest.mark.parametrize("mode", MODES)
def test_marginal_errors_are_those_of_the_coupling_of_all_rows(toy: Callable, mode: str) -> None:
    problem = posed(toy, "exact", 100)
    found = solve(problem, mode=mode, objective="exact", batch_rows=30)
    sides = [(problem.safe, found.psi_safe, found.pull, found.marginal_error_safe)]
    sides.append((problem.harmful, found.psi_harmful, found.push, found.marginal_error_harmful))
    for reference, psi, f, error in sides:
        cost = 1 - problem.rows.points @ reference.points.T
        plan = (
            torch.exp((f[:, None] + psi - cost) / problem.epsilon) * reference.mass * found.log_weights.exp()[:, None]
        )
        torch.testing.assert_close(plan.sum(1), found.log_weights.exp())
        assert float((plan.sum(0) - reference.mass).abs().sum()) == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_balanced_potentials_are_those_of_pot_at_the_weights(toy: Callable, mode: str) -> None:
    """Marginals that are met to some error leave potentials that POT, given the weights, finds again."""
    problem = posed(toy, "exact", 120, epsilon=0.1)
    found = solve(problem, mode=mode, objective="exact", **LONG[mode] | {"batch_rows": 60})
    w, b = found.log_weights.exp().numpy(), problem.safe.mass.numpy()
    cost = 1 - (problem.rows.points @ problem.safe.points.T).numpy()
    plan = ot.sinkhorn(w, b, cost, problem.epsilon, "sinkhorn_log", 20_000, 1e-12)
    sums = problem.epsilon * np.log(plan / (w[:, None] * b)) + cost
    for ours, theirs in ((found.psi_safe.numpy(), sums[0]), (found.pull.numpy(), sums[:, 0])):
        difference = ours - theirs
        assert np.abs(difference - difference.mean()).max() < 0.12 * np.ptp(theirs)
        assert spearmanr(ours, theirs).statistic > 0.97


def test_larger_batches_are_nearer_on_average(toy: Callable) -> None:
    problem = posed(toy, "exact")
    exact = solve(problem, mode="exact", **TIGHT)
    far = [
        np.mean(
            [
                apart(solve(problem, mode="minibatch", objective="exact", batch_rows=b, batches=12, seed=s), exact)
                for s in range(4)
            ]
        )
        for b in (12, 40, 130)
    ]
    assert far[0] > 1.5 * far[1] > 1.5**2 * far[2]


def test_more_batches_take_noise_and_leave_bias(toy: Callable) -> None:
    problem = posed(toy, "exact")
    few, many, more = (
        torch.stack(
            [
                solve(problem, mode="minibatch", objective="exact", batch_rows=20, batches=k, seed=s).psi_safe
                for s in range(3)
            ]
        )
        for k in (4, 16, 64)
    )
    noise = [float(psi.std(0).mean()) for psi in (few, many, more)]
    assert noise[0] > 1.5 * noise[1] > 1.5**2 * noise[2]
    exact = solve(problem, mode="exact", **TIGHT).psi_safe
    assert spread(more.mean(0), exact) > 4 * noise[2]


def test_online_error_falls_with_the_stream(toy: Callable) -> None:
    problem = posed(toy, "exact")
    exact = solve(problem, mode="exact", **TIGHT)
    far = [
        np.mean(
            [
                apart(solve(problem, mode="online", objective="exact", batch_rows=20, epochs=e, seed=s), exact)
                for s in range(3)
            ]
        )
        for e in (1, 4, 16)
    ]
    assert far[0] > 1.4 * far[1] > 1.4**2 * far[2]


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_is_a_draw(toy: Callable, mode: str) -> None:
    problem = posed(toy, "coupled", 100)
    one, again, other = (solve(problem, mode=mode, batch_rows=30, seed=s, **QUICK[mode]) for s in (1, 1, 2))
    assert same(one, again)
    assert not torch.equal(one.psi_safe, other.psi_safe)


@pytest.mark.parametrize("mode", MODES)
def test_the_kernel_budget_of_a_batch_does_not_change_the_answer(toy: Callable, mode: str) -> None:
    problem = posed(toy, "exact", 100)
    cached, tiled = (
        solve(problem, mode=mode, objective="exact", batch_rows=30, memory_budget=m, **QUICK[mode])
        for m in (1 << 30, 0)
    )
    torch.testing.assert_close(cached.score, tiled.score)


@pytest.mark.parametrize("mode", MODES)
def test_no_kernel_of_all_rows_is_held(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor that any operation makes is a tile, a batch's kernel, or the rows themselves."""
    monkeypatch.setitem(cost._TILE_BYTES, "cpu", 100 * 250 * 4)
    n, m, d = 3000, 250, 8
    problem = PushPullProblem(*(Measure.uniform(normalize(torch.randn(k, d))) for k in (n, m, m)))
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, tuple | list) else [made]:
                if isinstance(tensor, Tensor):
                    largest = max(largest, tensor.numel())
            return made

    with Watch():
        solve(problem, mode=mode, objective="exact", batch_rows=100, **QUICK[mode])
    assert max(100 * m, n * d) <= largest <= n * m / 10


@pytest.mark.parametrize(("draws", "counts"), [((4, 25), {1}), ((2, 25), {0, 1}), ((6, 25), {1, 2})])
def test_equal_masses_are_drawn_equally_often(draws: tuple[int, int], counts: set[int]) -> None:
    drawn = draw_batches(torch.full((100,), 0.01), *draws, torch.Generator().manual_seed(0))
    assert drawn.shape == draws
    assert set(torch.bincount(drawn.flatten(), minlength=100).tolist()) == counts


def test_draws_are_in_proportion_to_mass() -> None:
    mass = torch.rand(50).double() ** 3
    mass /= mass.sum()
    counts = torch.bincount(draw_batches(mass, 10, 100, torch.Generator().manual_seed(0)).flatten(), minlength=50)
    assert float((counts - 1000 * mass).abs().max()) < 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("options", "said"),
    [({"batch_rows": 0}, "batch_rows of at least 1"), ({"objective": "paper"}, "coupled or exact; got 'paper'")],
)
def test_options_out_of_range_are_named(toy: Callable, mode: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SolverError, match=said):
        solve(posed(toy, "exact", 30), mode=mode, **options)
    with pytest.raises(SolverError, match="tau above 0"):
        solve(posed(toy, "exact", 30, tau=0.0), mode=mode)
    with pytest.raises(SolverError, match="without tilt and coupling"):
        solve(posed(toy, "coupled", 30), mode=mode, objective="exact")
