"""Replicates against solves of the same halves done one by one, and the range of a score against Student."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy.stats import t as student
from torch import Tensor

from sot_filter.transport import (
    Measure,
    PushPullProblem,
    Replicates,
    Solution,
    c_transform,
    calibration,
    cost,
    draw_halves,
    find_neighbours,
    fit_replicates,
    replicate_scores,
    score_range,
    score_rows,
    solve,
)
from sot_filter.transport.calibration import calibrate
from sot_filter.transport.coupled import Field
from sot_filter.transport.direction import Direction, fit_direction
from sot_filter.transport.held_out import draw_folds, held_out_potentials
from tests.transport.conftest import Toy

EPSILON, STRENGTH, BALANCE, FOLDS = 0.1, 1e-3, 0.4, 3
Solved = tuple[PushPullProblem, Solution, Direction | None, Tensor]


def solve_all(
    rows: Measure,
    safe: Measure,
    harmful: Measure,
    folds: Tensor,
    learn: bool = True,
    rho: float = 0.0,
    counts: Tensor | None = None,
) -> Solved:
    """The whole solve, step by step."""
    learned, margins = None, torch.zeros(len(folds), dtype=torch.float64)
    if learn:
        learned, margins = fit_direction(safe, harmful, folds, [STRENGTH])
    pull, push = held_out_potentials(safe, harmful, folds, EPSILON, 0.0, rho)
    fitted, _ = calibrate(BALANCE * push - (1 - BALANCE) * pull, margins, len(safe), counts)
    learned_part = torch.zeros_like(rows.mass) if learned is None else learned.margin(rows.points)
    tilt = fitted.tau * (fitted.direction * learned_part + fitted.offset)
    problem = PushPullProblem(
        rows,
        safe,
        harmful,
        push_strength=BALANCE,
        epsilon=EPSILON,
        tau=fitted.tau,
        rho_safe=0.0,
        rho_harmful=rho,
        tilt=tilt,
        coupling=find_neighbours(rows, 4),
    )
    return problem, solve(problem, mode="coupled"), learned, folds


@pytest.fixture
def drawn(toy: Callable[..., Toy]) -> Toy:
    return toy(n=80, m=45)


def whole(drawn: Toy, learn: bool = True, rho: float = 0.0) -> Solved:
    safe, harmful = Measure.uniform(drawn.safe), Measure.uniform(drawn.harmful)
    folds = draw_folds(len(safe), len(harmful), FOLDS, 0)
    return solve_all(Measure.uniform(drawn.rows), safe, harmful, folds, learn, rho)


@pytest.mark.parametrize("learn", [True, False])
def test_references_that_count_once_give_the_solution_itself(drawn: Toy, learn: bool) -> None:
    problem, solution, learned, folds = whole(drawn, learn)
    scores = replicate_scores(problem, solution, learned, folds, torch.ones(len(folds), 2))
    torch.testing.assert_close(scores, solution.score[:, None].expand(-1, 2), atol=3e-3, rtol=0)


@pytest.mark.parametrize("learn", [True, False])
def test_a_replicate_is_the_solve_of_its_rows(drawn: Toy, learn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, solution, learned, folds = whole(drawn, learn)
    counts = draw_halves(len(drawn.safe), len(drawn.harmful), 3, 5)
    # Counts of all kinds, as a bootstrap draws them.
    counts[:, 2] *= 1 + torch.arange(len(counts)) % 3
    scores = replicate_scores(problem, solution, learned, folds, counts)
    for r in range(3):
        chosen = counts[:, r] >= 1
        # The calibration's ridge goes by the number of rows it is given, and half of them are not.
        monkeypatch.setattr(calibration, "_RIDGE", float(chosen.double().mean()))
        parts = []
        for side, part in (
            (problem.safe, slice(0, len(problem.safe))),
            (problem.harmful, slice(len(problem.safe), None)),
        ):
            mine, count = chosen[part], counts[part, r].double()
            mass = count[mine] / count[mine].sum()
            parts.append(Measure(side.points[mine], mass))
        _, alone, _, _ = solve_all(problem.rows, *parts, folds[chosen], learn, counts=counts[chosen, r])
        monkeypatch.undo()
        torch.testing.assert_close(scores[:, r], alone.score, atol=0.05, rtol=0)
        assert float((alone.score - solution.score).abs().mean()) > 0.1, "the half tells something else"


def test_relaxed_marginals_keep_the_potentials_of_the_solution(drawn: Toy) -> None:
    problem, solution, _, folds = whole(drawn, learn=False, rho=0.1)
    counts = draw_halves(len(drawn.safe), len(drawn.harmful), 1, 2)
    found = replicate_scores(problem, solution, None, folds, counts)[:, 0]
    points, m = torch.cat([problem.safe.points, problem.harmful.points]), len(problem.safe)
    score, held_out = torch.zeros_like(found), torch.zeros(len(points), dtype=torch.float64)
    for sign, side, psi, part in (
        (BALANCE - 1, problem.safe, solution.psi_safe, slice(0, m)),
        (BALANCE, problem.harmful, solution.psi_harmful, slice(m, None)),
    ):
        mass = side.mass * counts[part, 0].double()
        score += sign * c_transform(problem.rows.points, Measure(side.points, mass / mass.sum()), psi, EPSILON)
        for i in range(len(points)):
            known = folds[part] != folds[i]
            rest = Measure(side.points[known], mass[known] / mass[known].sum())
            held_out[i] += sign * c_transform(points[i : i + 1], rest, psi[known], EPSILON)[0]
    fitted, _ = calibrate(held_out, torch.zeros_like(held_out), m, counts[:, 0])
    own = fitted.transport * score + fitted.offset
    torch.testing.assert_close(found, Field(problem).settle(own, own), atol=3e-3, rtol=0)


def streamed(problem: PushPullProblem, solution: Solution, replicates: Replicates, points: Tensor) -> Tensor:
    """The replicates' scores of rows that come by, from one pass over the references."""
    columns = replicates.columns(problem.safe, problem.harmful)
    psi, balance = (solution.psi_safe, solution.psi_harmful), problem.push_strength
    found = score_rows(
        points, problem.safe, psi[0], problem.harmful, psi[1], problem.epsilon, balance, columns=columns
    )
    plan = None if problem.coupling is None else problem.coupling.plan(points)
    mass = torch.ones(1) if problem.coupling is None else problem.rows.mass
    return replicates.score(points, balance * found.pushes - (1 - balance) * found.pulls, plan, mass)


@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize("rho", [0.0, 0.1])
@pytest.mark.parametrize("coupled", [True, False])
def test_what_is_left_of_replicates_scores_the_solves_own_rows_as_they_did(
    drawn: Toy, learn: bool, rho: float, coupled: bool
) -> None:
    problem, solution, learned, folds = whole(drawn, learn, rho)
    if not coupled:
        problem = replace(problem, coupling=None)
        solution = solve(problem, mode="coupled")
    counts = draw_halves(len(problem.safe), len(problem.harmful), 6, 1)
    wanted = replicate_scores(problem, solution, learned, folds, counts, 1.5)
    replicates = fit_replicates(problem, solution, learned, folds, counts, 1.5)
    assert len(replicates.local) == (len(problem.rows) if coupled else 1)
    found = streamed(problem, solution, replicates, problem.rows.points)
    torch.testing.assert_close(found.double(), wanted.double(), atol=2e-4, rtol=0)
    assert float(wanted.std(1).mean()) > 0.1, "the halves tell different things"


def test_a_row_that_no_solve_has_seen_is_scored_as_its_copy_in_the_solve(drawn: Toy, toy: Callable[..., Toy]) -> None:
    """A new row weighs nothing; put into the solve with next to no mass, it gets what it got outside."""
    problem, solution, learned, folds = whole(drawn)
    counts, new = draw_halves(len(problem.safe), len(problem.harmful), 4, 1), toy(n=30, m=45, seed=7).rows
    found = streamed(problem, solution, fit_replicates(problem, solution, learned, folds, counts), new)
    assert problem.tilt is not None
    assert learned is not None
    rows = Measure.of_counts(torch.cat([problem.rows.points, new]), torch.tensor([1.0] * 80 + [1e-7] * 30))
    slope = torch.linalg.lstsq(
        torch.stack([learned.margin(problem.rows.points), torch.ones(80).double()], 1), problem.tilt[:, None]
    ).solution
    tilt = slope[0] * learned.margin(rows.points) + slope[1]
    joint = replace(problem, rows=rows, tilt=tilt, coupling=None)
    alone = replace(problem, coupling=None)
    scores = replicate_scores(joint, solve(joint, mode="coupled"), learned, folds, counts)
    apart = fit_replicates(alone, solve(alone, mode="coupled"), learned, folds, counts)
    torch.testing.assert_close(streamed(alone, solution, apart, new), scores[80:], atol=1e-3, rtol=0)
    assert found.isfinite().all()


def test_replicates_do_not_depend_on_each_other_nor_on_tiles(drawn: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, solution, learned, folds = whole(drawn)
    counts = draw_halves(len(drawn.safe), len(drawn.harmful), 5, 0)
    together = replicate_scores(problem, solution, learned, folds, counts)
    alone = torch.cat([replicate_scores(problem, solution, learned, folds, counts[:, r : r + 1]) for r in range(5)], 1)
    torch.testing.assert_close(together, alone, atol=2e-2, rtol=0)
    monkeypatch.setitem(cost._TILE_BYTES, "cpu", 4000)
    torch.testing.assert_close(replicate_scores(problem, solution, learned, folds, counts), together)


def test_a_tau_that_was_set_makes_all_scores_sharper(drawn: Toy) -> None:
    problem, _, learned, folds = whole(drawn)
    assert problem.tilt is not None
    set_tau = replace(problem, tau=problem.tau / 2)
    solution = solve(set_tau, mode="coupled")
    once = torch.ones(len(folds), 1)
    scores = replicate_scores(set_tau, solution, learned, folds, once, sharpness=2.0)
    torch.testing.assert_close(scores[:, 0], solution.score, atol=1e-2, rtol=0)


def test_the_smallest_references_still_give_finite_scores(drawn: Toy) -> None:
    safe, harmful = Measure.uniform(drawn.safe[:FOLDS]), Measure.uniform(drawn.harmful[:FOLDS])
    folds = draw_folds(FOLDS, FOLDS, FOLDS, 0)
    problem, solution, learned, _ = solve_all(Measure.uniform(drawn.rows), safe, harmful, folds)
    scores = replicate_scores(problem, solution, learned, folds, draw_halves(FOLDS, FOLDS, 8, 0))
    assert scores.isfinite().all()


def test_halves_are_halves_and_come_again_by_their_seed() -> None:
    counts = draw_halves(40, 61, 400, 3)
    assert torch.equal(counts, draw_halves(40, 61, 400, 3))
    assert not torch.equal(counts, draw_halves(40, 61, 400, 4))
    taken = counts >= 1
    assert set(taken[:40].sum(0).tolist()) == {20}
    assert set(taken[40:].sum(0).tolist()) == {31}
    assert float((taken.double().mean(1) - 0.5).abs().max()) < 0.1
    assert float(counts[~taken].max()) < 1e-9


@pytest.mark.parametrize("replicates", [4, 16, 100])
def test_the_range_is_students(replicates: int) -> None:
    scores = torch.randn(20_000, replicates + 1, dtype=torch.float64)
    low, high = score_range(scores[:, :-1])
    half = (high - low) / 2 / scores[:, :-1].std(1)
    wanted = student.ppf(0.95, replicates - 1) * (1 + 1 / replicates) ** 0.5
    torch.testing.assert_close(half, torch.full_like(half, wanted), rtol=5e-3, atol=0)
    inside = ((scores[:, -1] >= low) & (scores[:, -1] <= high)).double().mean()
    assert 0.89 < float(inside) < 0.91
