import dataclasses
import math
from collections.abc import Callable

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit, logsumexp
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize

from sot_filter.errors import SolverError
from sot_filter.transport import (
    Measure,
    Outcome,
    PushPullProblem,
    Solution,
    find_neighbours,
    fold_duplicates,
    log_odds,
    score_rows,
    solve,
)
from sot_filter.transport.coupled import _EDGE, POPULATION, Field, _divergence, solve_coupled

TIGHT = {"threshold": 1e-13, "marginal_threshold": 1e-9, "max_iterations": 5000}
FREE = {"rho_safe": 0.0, "rho_harmful": 0.0}
SETTINGS = [
    FREE,
    FREE | {"tau": 0.005, "epsilon": 0.1},
    FREE | {"push_strength": 0.3, "tau": 0.03},
    {"rho_safe": 0.1, "rho_harmful": 0.3},
    {"rho_safe": 0.0, "rho_harmful": 0.1, "push_strength": 0.4},
    {},
]


def coupled(
    toy: Callable, n: int = 120, m: int = 40, k: int | None = 8, tilt: float = 0.01, seed: int = 0, **parameters: float
) -> PushPullProblem:
    """A problem with masses, a tilt that undoes what all rows have in common, and a coupling unless k is None."""
    t = toy(n, m, seed=seed)
    rows = Measure.of_counts(t.rows, torch.randint(1, 4, (n,)))
    problem = dataclasses.replace(
        t.problem(**parameters), rows=rows, coupling=None if k is None else find_neighbours(rows, k)
    )
    g = gradient(problem)
    return dataclasses.replace(problem, tilt=g.median() + tilt * torch.randn(n).double())


def gradient(problem: PushPullProblem) -> Tensor:
    """g [n] of free marginals."""
    total = torch.zeros_like(problem.rows.mass)
    for sign, reference in ((1 - problem.push_strength, problem.safe), (-problem.push_strength, problem.harmful)):
        kernel = (problem.rows.points @ reference.points.T - 1) / problem.epsilon + reference.mass.log()
        total -= sign * problem.epsilon * kernel.logsumexp(1)
    return total


def neighbourhoods(problem: PushPullProblem) -> np.ndarray:
    """The matrix A, with its share of the whole population."""
    n, u = len(problem.rows), problem.rows.mass.numpy()
    if problem.coupling is None:
        return np.tile(u, (n, 1))
    return (1 - POPULATION) * problem.coupling.plan().apply(torch.eye(n).double()).numpy() + POPULATION * u


def transport(w: np.ndarray, problem: PushPullProblem, side: str) -> float:
    """One transport term: POT's value, or where no marginal is asked for, each row's own least by itself."""
    reference, rho = getattr(problem, side), getattr(problem, f"rho_{side}")
    c, b, epsilon = 1 - (problem.rows.points @ reference.points.T).numpy(), reference.mass.numpy(), problem.epsilon
    if rho == 0:
        return float(w @ (-epsilon * logsumexp(-c / epsilon, b=b, axis=1)))
    relaxed = {} if rho == math.inf else {"unbalanced": [math.inf, rho], "unbalanced_type": "KL"}
    return float(ot.solve(c, w, b, reg=epsilon, reg_type="KL", tol=1e-14, max_iter=20_000, **relaxed).value)


def objective(log_odds_: np.ndarray, problem: PushPullProblem, a: np.ndarray) -> float:
    """J(r) as it is written in the module, coin by coin."""
    r, u, balance = expit(log_odds_), problem.rows.mass.numpy(), problem.push_strength
    v = u * r
    total = v.sum()
    pull, push = (transport(v / total, problem, side) for side in ("safe", "harmful"))
    s = a @ r
    coins = r * np.log(r / s[:, None]) + (1 - r) * np.log((1 - r) / (1 - s[:, None]))
    tilt = float(v @ problem.tilt.numpy())
    return total * ((1 - balance) * pull - balance * push) - tilt + problem.tau * float(u @ (a * coins).sum(1))


def free_objective(problem: PushPullProblem, r: Tensor) -> Tensor:
    """J of keep shares r where marginals are free, fit for automatic differentiation."""
    a, u = torch.tensor(neighbourhoods(problem)), problem.rows.mass

    def entropy(p: Tensor) -> Tensor:
        return -torch.xlogy(p, p) - torch.xlogy(1 - p, 1 - p)

    return u @ (r * (gradient(problem) - problem.tilt)) + problem.tau * (u @ (entropy(a @ r) - entropy(r)))


def least(problem: PushPullProblem) -> tuple[np.ndarray, float]:
    """The least J of free marginals, by L-BFGS on the keep shares' log-odds."""

    def value(at: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.tensor(at, requires_grad=True)
        j = free_objective(problem, torch.sigmoid(x)) / problem.tau
        j.backward()
        return float(j.detach()), x.grad.numpy()

    rules = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 0, "gtol": 1e-9}
    found = minimize(value, np.zeros(len(problem.rows)), jac=True, method="L-BFGS-B", options=rules)
    return found.x, problem.tau * found.fun


@pytest.mark.parametrize("settings", SETTINGS[:3])
@pytest.mark.parametrize("k", [None, 1, 5, 25])
def test_free_marginals_reach_the_least_objective(toy: Callable, settings: dict[str, float], k: int | None) -> None:
    problem = coupled(toy, 25, 10, k, **settings)
    solution = solve(problem, mode="coupled")
    at, best = least(problem)
    assert solution.objective == pytest.approx(best, abs=1e-9)
    np.testing.assert_allclose(expit(solution.score.numpy()), expit(at), atol=1e-4)
    assert solution.iterations == 1


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("k", [None, 5])
def test_solution_is_stationary_for_an_objective_that_pot_evaluates(
    toy: Callable, settings: dict[str, float], k: int | None
) -> None:
    problem = coupled(toy, 20, 8, k, **settings)
    solution = solve(problem, mode="coupled", **TIGHT)
    a, at = neighbourhoods(problem), solution.score.numpy()
    assert solution.certificate < 1e-13
    assert solution.objective == pytest.approx(objective(at, problem, a), abs=1e-8)
    rng = np.random.default_rng(0)
    for _ in range(3):
        step = 1e-3 * rng.normal(size=20)
        slope = (objective(at + step, problem, a) - objective(at - step, problem, a)) / 2e-3
        assert slope == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("settings", SETTINGS[3:])
def test_potentials_of_marginals_are_those_of_pot_at_the_kept_weights(
    toy: Callable, settings: dict[str, float]
) -> None:
    problem = coupled(toy, 40, 15, **settings)
    solution = solve(problem, mode="coupled", **TIGHT)
    w = solution.log_weights.exp().numpy()
    assert max(solution.marginal_error_safe, solution.marginal_error_harmful) < 1e-9
    for side, f in (("safe", solution.pull), ("harmful", solution.push)):
        rho, reference = getattr(problem, f"rho_{side}"), getattr(problem, side)
        assert float(w @ f.numpy()) == pytest.approx(transport(w, problem, side), abs=1e-8), "the constant is right"
        if rho == math.inf:
            c, b = 1 - (problem.rows.points @ reference.points.T).numpy(), reference.mass.numpy()
            plan = ot.sinkhorn(w, b, c, problem.epsilon, "sinkhorn_log", 20_000, 1e-12)
            sums = problem.epsilon * np.log(plan / (w[:, None] * b)) + c
            np.testing.assert_allclose((f - f[0]).numpy(), sums[:, 0] - sums[0, 0], atol=1e-7)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("k", [None, 8])
def test_every_row_is_what_the_references_and_its_neighbourhoods_make_it(
    toy: Callable, settings: dict[str, float], k: int | None
) -> None:
    problem = coupled(toy, k=k, **settings)
    solution = solve(problem, mode="coupled", **TIGHT)
    balance, score = problem.push_strength, solution.score.numpy()
    g = ((1 - balance) * solution.pull - balance * solution.push).numpy()
    a = neighbourhoods(problem)
    local = logit(a @ expit(score))
    np.testing.assert_allclose(score, (problem.tilt.numpy() - g) / problem.tau + a @ local, atol=1e-4)
    np.testing.assert_allclose(solution.local_log_odds.numpy(), local, atol=1e-9)
    kept = problem.rows.mass.numpy() * expit(score)
    assert solution.kept_share == pytest.approx(kept.sum())
    np.testing.assert_allclose(solution.log_weights.exp().numpy(), kept / kept.sum())
    assert solution.temperature is None
    assert (solution.gap is None) == (settings.get("rho_safe") != 0 or settings.get("rho_harmful") != 0)


def test_the_map_never_raises_the_objective(toy: Callable) -> None:
    problem = coupled(toy, **FREE)
    field, own = Field(problem), 3 * torch.randn(120).double()
    for start in (own, torch.zeros(120).double(), 5 * torch.randn(120).double(), torch.full((120,), -9.0).double()):
        at, values = start, []
        for _ in range(60):
            values.append(field.term(at) - float(field.mass @ (torch.sigmoid(at) * own)))
            at = field.map(at, own)
        assert (np.diff(values) <= 1e-13).all()
        assert values[0] - values[-1] > 1e-3


def test_the_gap_bounds_how_far_the_objective_is_from_its_least(toy: Callable) -> None:
    problem = coupled(toy, 40, 15, **FREE)
    best = solve(problem, mode="coupled")
    assert 0 <= best.gap < 1e-6
    a = neighbourhoods(problem)
    for spread in (0.01, 0.3, 3.0):
        start = best.score + spread * torch.randn(40).double()
        there = solve(problem, mode="coupled", start=start, threshold=1e9)
        assert torch.equal(there.score, start)
        assert there.objective == pytest.approx(objective(start.numpy(), problem, a), abs=1e-10)
        assert 0 <= there.objective - best.objective <= there.gap
        r = torch.sigmoid(start).requires_grad_()
        free_objective(problem, r).backward()
        # The least of <gradient, r> over all keep shares is where each is 0 or 1.
        furthest = float(r.grad @ r.detach() - r.grad.clamp_max(0).sum())
        assert there.gap == pytest.approx(furthest, rel=1e-6)


def test_without_a_coupling_the_kept_share_is_the_likeliest_proportion(toy: Callable) -> None:
    """One neighbourhood is a mixture of two known densities, whose proportion of greatest likelihood is a root."""
    problem = coupled(toy, k=None, **FREE)
    solution = solve(problem, mode="coupled")
    own = ((0.5 * solution.push - 0.5 * solution.pull + problem.tilt) / problem.tau).numpy()
    u, ratio = problem.rows.mass.numpy(), np.exp(own)
    share = brentq(lambda h: u @ ((ratio - 1) / (h * ratio + 1 - h)), 1e-9, 1 - 1e-9, xtol=1e-14)
    assert solution.kept_share == pytest.approx(share, abs=1e-5)
    np.testing.assert_allclose(solution.score.numpy(), own + logit(share), atol=1e-4)


def of_own(rows: Tensor, own: Tensor, k: int | None = 8) -> PushPullProblem:
    """A problem whose references say nothing, so that ``own`` log-odds are what the tilt says."""
    one = Measure.uniform(normalize(torch.ones(1, rows.shape[1]).to(rows)))
    measure = Measure.uniform(rows)
    return PushPullProblem(
        measure, one, one, tilt=0.02 * own, coupling=None if k is None else find_neighbours(measure, k), **FREE
    )


def above(score: Tensor, harm: Tensor) -> float:
    """The share of pairs in which the safe row scores above the harmful one: AUROC."""
    return float((score[~harm][:, None] > score[harm]).double().mean())


def test_rare_harmful_rows_among_safe_ones_are_not_smoothed_away() -> None:
    """Six among six hundred, scattered: ranked as by the references alone, where a mean over neighbours loses them."""
    rows, harm = normalize(torch.randn(600, 6).double()), torch.zeros(600, dtype=torch.bool)
    harm[torch.randperm(600)[:6]] = True
    own = torch.where(harm, -3.0, 5.0).double() + 1.5 * torch.randn(600).double()
    problem = of_own(rows, own)
    solution = solve(problem, mode="coupled")
    smoothed = problem.coupling.plan().apply(own)
    assert above(solution.score, harm) > above(own, harm) - 0.002
    assert above(smoothed, harm) < above(own, harm) - 0.01
    assert 0.003 < 1 - solution.kept_share < 0.02


def test_where_all_are_safe_the_neighbours_add_a_constant() -> None:
    own = 8 + 1.5 * torch.randn(400).double()
    solution = solve(of_own(normalize(torch.randn(400, 6).double()), own), mode="coupled")
    added = solution.score - own
    assert float(added.std()) < 0.25
    assert spearmanr(solution.score, own).statistic > 0.99
    assert solution.kept_share > 0.999


def test_rows_that_sit_together_share_their_fate() -> None:
    """Harmful rows of one corner, told from the others poorly by the references, are found by their company."""
    corner = normalize(torch.randn(80, 6) + torch.tensor([4.0, 0, 0, 0, 0, 0]))
    others = normalize(torch.randn(320, 6) - torch.tensor([2.0, 0, 0, 0, 0, 0]))
    harm = torch.arange(400) < 80
    # The log-odds of two normal populations 0.7 of a deviation from the middle are the draws themselves.
    own = torch.where(harm, -1.0, 1.0).double() + 2**0.5 * torch.randn(400).double()
    solution = solve(of_own(torch.cat([corner, others]).double(), own), mode="coupled")
    assert above(own, harm) < 0.88
    assert above(solution.score, harm) > 0.97
    assert 1 - solution.kept_share == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("settings", SETTINGS)
def test_order_of_rows_and_references_does_not_matter(toy: Callable, settings: dict[str, float]) -> None:
    problem = coupled(toy, **settings)
    solution, order = solve(problem, mode="coupled", **TIGHT), torch.randperm(120)
    rows = Measure(problem.rows.points[order], problem.rows.mass[order])
    shuffled = dataclasses.replace(
        problem,
        rows=rows,
        safe=Measure.uniform(problem.safe.points.flip(0)),
        tilt=problem.tilt[order],
        coupling=find_neighbours(rows, 8),
    )
    again = solve(shuffled, mode="coupled", **TIGHT)
    torch.testing.assert_close(again.score, solution.score[order], atol=1e-4, rtol=0)


def test_what_the_tilt_takes_the_offset_of_the_score_gives(toy: Callable) -> None:
    """A tilt that is a multiple of -g is another τ and another J: the tilt enters only beside g."""
    problem = dataclasses.replace(coupled(toy, **FREE), tilt=None)
    plain = solve(problem, mode="coupled")
    g = 0.5 * plain.pull - 0.5 * plain.push
    doubled = solve(dataclasses.replace(problem, tilt=-g), mode="coupled")
    sharper = solve(dataclasses.replace(problem, tau=problem.tau / 2), mode="coupled")
    torch.testing.assert_close(doubled.score, sharper.score, atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("k", [None, 8])
def test_any_row_is_scored_as_a_row_of_the_solve_would_be(
    toy: Callable, settings: dict[str, float], k: int | None
) -> None:
    problem = coupled(toy, k=k, tilt=0.0, **settings)
    balance, offset = problem.push_strength, problem.tilt[0]
    solution = solve(problem, mode="coupled", **TIGHT)

    def extended(points: Tensor) -> Tensor:
        scores = score_rows(
            points,
            problem.safe,
            solution.psi_safe,
            problem.harmful,
            solution.psi_harmful,
            problem.epsilon,
            balance,
        )
        plan = None if problem.coupling is None else problem.coupling.plan(points)
        return log_odds((scores.score + offset) / problem.tau, plan, solution.local_log_odds, problem.rows.mass)

    torch.testing.assert_close(extended(problem.rows.points), solution.score, atol=1e-4, rtol=0)
    torch.testing.assert_close(extended(problem.rows.points[5:7]), solution.score[5:7], atol=1e-4, rtol=0)
    assert extended(problem.rows.points[:0]).shape == (0,)
    along = torch.linspace(0, 1, 4001).double()[:, None]
    worst, best = problem.rows.points[solution.score.argmin()], problem.rows.points[solution.score.argmax()]
    path = extended(normalize((1 - along) * worst + along * best))
    torch.testing.assert_close(
        path[[0, -1]], torch.stack([solution.score.min(), solution.score.max()]), atol=1e-4, rtol=0
    )
    assert float(path.diff().abs().max()) < 0.03 * float(path[-1] - path[0])


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_start_at_the_solution_ends_there_at_once(toy: Callable, settings: dict[str, float]) -> None:
    problem = coupled(toy, **settings)
    solution = solve(problem, mode="coupled", **TIGHT)
    again = solve(problem, mode="coupled", start=solution.score, potentials=(solution.psi_safe, solution.psi_harmful))
    assert again.iterations == 1
    torch.testing.assert_close(again.score, solution.score, atol=1e-5, rtol=0)
    other = solve(problem, mode="coupled", start=torch.randn(120), **TIGHT)
    torch.testing.assert_close(other.score, solution.score, atol=1e-3, rtol=0)


def test_a_free_marginal_has_no_potential_to_start_from(toy: Callable) -> None:
    problem = coupled(toy, **FREE)
    potentials = (torch.randn(40).double(), torch.randn(41).double())
    expected, found = (solve(problem, mode="coupled", **options) for options in ({}, {"potentials": potentials}))
    assert torch.equal(found.score, expected.score)
    assert not found.psi_safe.any()


@pytest.mark.parametrize("settings", [*SETTINGS, FREE | {"tau": 0.1}, FREE | {"tau": 1e-4}])
@pytest.mark.parametrize("k", [None, 8])
def test_single_and_double_precision_agree(toy: Callable, settings: dict[str, float], k: int | None) -> None:
    problem = coupled(toy, k=k, **settings)
    rows = Measure(problem.rows.points.float(), problem.rows.mass.float())
    single = dataclasses.replace(
        problem,
        rows=rows,
        safe=Measure.uniform(problem.safe.points.float()),
        harmful=Measure.uniform(problem.harmful.points.float()),
        tilt=problem.tilt.float(),
        coupling=None if k is None else find_neighbours(rows, 8),
    )
    expected, found = solve(problem, mode="coupled"), solve(single, mode="coupled")
    assert found.score.dtype == torch.float32
    assert found.outcome is expected.outcome is Outcome.CONVERGED
    # What is certain to one in a million is held at the edge, where the last digits of a share are nats.
    likely = expit(expected.score.numpy()), expit(found.score.numpy())
    np.testing.assert_allclose(likely[1], likely[0], atol=2e-4)
    assert spearmanr(expected.score, found.score).statistic > 0.9999
    assert found.objective == pytest.approx(expected.objective, abs=1e-6)


@pytest.mark.parametrize("k", [None, 8])
def test_sets_that_are_all_but_certainly_safe_keep_their_ranks_in_single_precision(k: int | None) -> None:
    """Neighbourhoods within 1e-5 of being kept whole: single precision has no such digits next to one."""
    rows, own = normalize(torch.randn(300, 6).double()), 6 + 1.5 * torch.randn(300).double()
    expected = solve(of_own(rows, own, k), mode="coupled")
    found = solve(of_own(rows.float(), own.float(), k), mode="coupled")
    assert 1 - expected.kept_share < 1e-5
    torch.testing.assert_close(found.score.double(), expected.score, atol=5e-3, rtol=0)


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0, 80.0])
def test_divergences_of_nearly_equal_coins_have_their_digits(size: float) -> None:
    p, change = size * torch.randn(1000), 1e-2 * torch.randn(1000)
    expected = _divergence(p.double(), (p + change).double())
    torch.testing.assert_close(_divergence(p, p + change).double(), expected, rtol=2e-2, atol=2e-7)
    certain = p.abs() > 12
    if certain.any():
        single = _divergence(p, p + change).double()[certain]
        torch.testing.assert_close(single, expected[certain], rtol=0.1, atol=1e-12)


@pytest.mark.parametrize("k", [None, 8])
def test_rows_that_the_references_hardly_tell_apart_are_still_ranked(k: int | None) -> None:
    """A large τ makes all log-odds small, not equal."""
    rows, own = normalize(torch.randn(50, 6).double()), 1e-2 * torch.randn(50).double()
    solution = solve(of_own(rows, own, k), mode="coupled")
    assert solution.outcome is Outcome.CONVERGED
    assert spearmanr(solution.score, own).statistic > 0.7


def same_solve(problem: PushPullProblem, points: Tensor, mass: Tensor, tilt: Tensor, k: int) -> Solution:
    rows = Measure(points, mass)
    return solve(
        dataclasses.replace(problem, rows=rows, tilt=tilt, coupling=find_neighbours(rows, k) if k else None),
        mode="coupled",
        **TIGHT,
    )


def test_duplicates_are_one_row_of_their_masses_and_count_once_among_neighbours(toy: Callable) -> None:
    """Without a graph, or with all rows in it, folding is exact; k counts distinct rows, so otherwise fold first."""
    problem = coupled(toy, 60, 20, **FREE)
    copies = torch.randint(1, 4, (60,))
    points, tilt = (x.repeat_interleave(copies, 0) for x in (problem.rows.points, problem.tilt))
    mass = torch.full((len(points),), 1 / len(points)).double()
    distinct, folded, index = fold_duplicates(points, mass)
    first = torch.zeros(60, dtype=torch.int64).scatter_(0, index, torch.arange(len(points)))
    exact: list[bool] = []
    for k in (0, 1000, 4):
        apart = same_solve(problem, points, mass, tilt, k)
        together = same_solve(problem, distinct, folded, tilt[first], k)
        torch.testing.assert_close(apart.score, apart.score[first][index], atol=1e-6, rtol=0)
        exact.append(float((apart.score - together.score[index]).abs().max()) < 1e-4)
        assert spearmanr(apart.score, together.score[index]).statistic > 0.8
    assert exact == [True, True, False]


@pytest.mark.parametrize("size", [30.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_odds_of_any_size_stay_finite(size: float, dtype: torch.dtype) -> None:
    rows = normalize(torch.randn(100, 6)).to(dtype)
    for own in (size * torch.randn(100), size * torch.rand(100), -size * torch.rand(100)):
        problem = of_own(rows, own.to(dtype))
        solution = solve(problem, mode="coupled")
        for values in (solution.score, solution.log_weights, solution.local_log_odds):
            assert values.isfinite().all()
        for value in (solution.objective, solution.certificate, solution.gap, solution.kept_share):
            assert math.isfinite(value)
        assert solution.certificate < 1e-6
        # The neighbours add no more than the log-odds of the edge.
        assert float((solution.score - own).abs().max()) <= -logit(_EDGE) + 1e-3 + 1e-5 * size


@pytest.mark.parametrize("own", [3.0, -3.0])
def test_sets_of_one_kind_are_kept_or_left_whole(own: float) -> None:
    values = own + 0.5 * torch.randn(300).double()
    solution = solve(of_own(normalize(torch.randn(300, 6).double()), values), mode="coupled")
    assert solution.kept_share == pytest.approx(float(own > 0), abs=0.02)
    assert spearmanr(solution.score, values).statistic > 0.9


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("one row", lambda t: (t.rows[:1], t.safe, t.harmful)),
        ("equal rows", lambda t: (t.rows[:1].repeat(50, 1), t.safe, t.harmful)),
        ("zero rows", lambda t: (torch.zeros_like(t.rows), t.safe, t.harmful)),
        ("equal references", lambda t: (t.rows, t.safe, t.safe)),
    ],
)
@pytest.mark.parametrize("settings", [FREE, {}])
def test_nothing_to_rank_by_is_flat(toy: Callable, name: str, change: Callable, settings: dict[str, float]) -> None:
    rows, safe, harmful = (Measure.uniform(x) for x in change(toy(dtype=torch.float32)))
    problem = PushPullProblem(rows, safe, harmful, coupling=find_neighbours(rows, 8), **settings)
    solution = solve(problem, mode="coupled")
    assert solution.outcome is Outcome.FLAT
    assert torch.isfinite(solution.score).all()


@pytest.mark.parametrize("n", [2, 5, 8])
def test_fewer_rows_than_neighbours(toy: Callable, n: int) -> None:
    problem = coupled(toy, n, 10, **FREE)
    assert solve(problem, mode="coupled").objective == pytest.approx(least(problem)[1], abs=1e-7)


def test_references_of_five_rows_and_rows_without_embedding(toy: Callable) -> None:
    t = toy(60, 5, dtype=torch.float32)
    rows = Measure.uniform(torch.cat([t.rows, torch.zeros(2, 16)]))
    for settings in (FREE, {"rho_safe": 0.1, "rho_harmful": 0.1}):
        problem = PushPullProblem(
            rows, Measure.uniform(t.safe), Measure.uniform(t.harmful), coupling=find_neighbours(rows, 8), **settings
        )
        solution = solve(problem, mode="coupled")
        assert solution.outcome is Outcome.CONVERGED
        assert float(solution.score[60]) == pytest.approx(float(solution.score[61]), abs=1e-4)


@pytest.mark.parametrize("settings", SETTINGS)
def test_too_few_iterations_are_said(toy: Callable, settings: dict[str, float]) -> None:
    solution = solve(coupled(toy, **settings), mode="coupled", max_iterations=1)
    free = settings.get("rho_safe") == settings.get("rho_harmful") == 0
    assert solution.outcome is (Outcome.CONVERGED if free else Outcome.NOT_CONVERGED)
    assert solution.iterations == 1


def test_solving_twice_gives_the_same_bits(toy: Callable) -> None:
    problem = coupled(toy, **SETTINGS[3])
    assert torch.equal(solve(problem, mode="coupled").score, solve(problem, mode="coupled").score)


@pytest.mark.parametrize("settings", [{"tau": 0.0}, {}])
def test_tau_and_iterations_above_zero_are_asked_for(toy: Callable, settings: dict[str, float]) -> None:
    problem = toy(5, 5).problem(**settings)
    with pytest.raises(SolverError, match="tau above 0"):
        solve_coupled(problem, max_iterations=0 if not settings else 5)


@pytest.mark.parametrize("mode", ["exact", "paper"])
def test_other_modes_refuse_what_only_this_one_takes(toy: Callable, mode: str) -> None:
    problem = toy(12, 6).problem()
    for extra in ({"tilt": torch.zeros(12)}, {"coupling": find_neighbours(problem.rows, 3)}):
        with pytest.raises(SolverError, match=r"without tilt and coupling.*mode coupled"):
            solve(dataclasses.replace(problem, **extra), mode=mode)
