from collections.abc import Callable

import numpy as np
import ot
import pytest
import torch

from sot_filter.errors import SolverError
from sot_filter.transport import Measure, c_transform, conditional_plan, find_clusters, score_rows, solve


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scoring_the_solves_own_rows_gives_its_own_numbers(toy: Callable, dtype: torch.dtype) -> None:
    problem = toy(dtype=dtype).problem(push_strength=0.4)
    solution = solve(problem)
    scores = score_rows(
        problem.rows.points, problem.safe, solution.psi_safe, problem.harmful, solution.psi_harmful, 0.05, 0.4
    )
    for name in ("pull", "push", "score"):
        torch.testing.assert_close(getattr(scores, name), getattr(solution, name), atol=1e-6, rtol=0)


def test_parts_agree_with_the_c_transform_and_brute_force_neighbours(toy: Callable) -> None:
    t = toy()
    safe, harmful = Measure.uniform(t.safe), Measure.uniform(t.harmful)
    psi_safe, psi_harmful = torch.randn(40).double() * 0.1, torch.randn(41).double() * 0.1
    scores = score_rows(t.rows, safe, psi_safe, harmful, psi_harmful, 0.05, 0.3, tile=13)
    torch.testing.assert_close(scores.pull, c_transform(t.rows, safe, psi_safe, 0.05))
    torch.testing.assert_close(scores.push, c_transform(t.rows, harmful, psi_harmful, 0.05))
    torch.testing.assert_close(scores.score, -(0.7 * scores.pull - 0.3 * scores.push))
    for nearest, similarity, points in (
        (scores.nearest_safe, scores.nearest_safe_similarity, t.safe),
        (scores.nearest_harmful, scores.nearest_harmful_similarity, t.harmful),
    ):
        distance = torch.cdist(t.rows, points)
        assert torch.equal(nearest, distance.argmin(1))
        torch.testing.assert_close(similarity, 1 - distance.min(1).values ** 2 / 2)


def test_rows_are_scored_by_themselves(toy: Callable) -> None:
    t = toy(dtype=torch.float32)
    sides = (Measure.uniform(t.safe), torch.zeros(40), Measure.uniform(t.harmful), torch.zeros(41))
    together = score_rows(t.rows, *sides, 0.05, 0.5)
    apart = score_rows(t.rows[70:71], *sides, 0.05, 0.5)
    torch.testing.assert_close(apart.score, together.score[70:71], atol=3e-7, rtol=0)
    assert score_rows(t.rows[:0], *sides, 0.05, 0.5).score.shape == (0,)


@pytest.mark.parametrize(("d", "m"), [(16, 41), (384, 300)])
@pytest.mark.parametrize("size", [1, 2, 3, 15, 17, 250])
def test_what_a_row_gets_does_not_hang_on_the_rows_beside_it(toy: Callable, d: int, m: int, size: int) -> None:
    t = toy(n=500, m=m, d=d, dtype=torch.float32)
    safe, harmful = Measure.uniform(t.safe), Measure.uniform(t.harmful)
    sides = (safe, torch.zeros(len(safe)), harmful, torch.randn(len(harmful)) * 0.1, 0.05, 0.5)
    options = {
        "clusters": find_clusters(t.harmful),
        "columns": (torch.rand(len(safe), 5), torch.rand(len(harmful), 5)),
        "read": lambda block: block.amax(1),
    }
    together = score_rows(t.rows, *sides, **options)
    for start in (0, 77, 241):
        part = slice(start, start + size)
        for tile in (None, 40):
            apart = score_rows(t.rows[part], *sides, **options, tile=tile)
            for one, other in zip(apart, together, strict=True):
                assert torch.equal(one, other[part])


@pytest.mark.parametrize("spread", [0.01, 3.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_are_potentials_at_other_masses_and_other_psi(
    toy: Callable, spread: float, dtype: torch.dtype
) -> None:
    """From the same kernel, also where ψ lies so far apart (60 ε) that it has to be in the kernel."""
    t, epsilon = toy(dtype=dtype), 0.05
    counted = torch.arange(41, dtype=dtype) + 1
    safe, harmful = Measure.uniform(t.safe), Measure(t.harmful, counted / counted.sum())
    psi = [torch.randn(len(side), dtype=dtype) * spread for side in (safe, harmful)]
    counts = [torch.rand(len(side), 3, dtype=dtype) + 0.1 for side in (safe, harmful)]
    counts[0][::2, 0] = 1e-12
    other = [p + torch.rand(len(p), dtype=dtype) for p in psi]
    columns = tuple(
        torch.cat([c / (side.mass @ c), ((q - p) / epsilon).exp()[:, None]], 1)
        for side, c, p, q in zip((safe, harmful), counts, psi, other, strict=True)
    )
    found = score_rows(t.rows, safe, psi[0], harmful, psi[1], epsilon, 0.5, columns=columns, tile=50)
    tolerance = {"atol": 1e-6 if dtype == torch.float32 else 1e-10, "rtol": 1e-6}
    for potentials, side, c, p, q in zip(
        (found.pulls, found.pushes), (safe, harmful), counts, psi, other, strict=True
    ):
        for r in range(3):
            mass = side.mass * c[:, r]
            wanted = c_transform(t.rows, Measure(side.points, mass / mass.sum()), p, epsilon)
            torch.testing.assert_close(potentials[:, r], wanted, **tolerance)
        torch.testing.assert_close(potentials[:, 3], c_transform(t.rows, side, q, epsilon), **tolerance)
    bare = score_rows(t.rows, safe, psi[0], harmful, psi[1], epsilon, 0.5, tile=50)
    assert bare.pulls.shape == (len(t.rows), 0)
    torch.testing.assert_close(found.score, bare.score, **tolerance)


def test_what_is_read_off_is_the_contrast_of_both_references(toy: Callable) -> None:
    t = toy()
    sides = (Measure.uniform(t.safe), torch.zeros(40), Measure.uniform(t.harmful), torch.zeros(41), 0.05, 0.5)
    found = score_rows(t.rows, *sides, read=lambda block: block.topk(3, 1).values.mean(1), tile=17)
    near = [(t.rows @ y.T).sort(1).values[:, -3:].mean(1) for y in (t.safe, t.harmful)]
    torch.testing.assert_close(found.contrast, near[0] - near[1])
    assert not score_rows(t.rows, *sides).contrast.any()


def test_potentials_of_another_reference_are_refused(toy: Callable) -> None:
    t = toy()
    sides = (Measure.uniform(t.safe), torch.zeros(40), Measure.uniform(t.harmful), torch.zeros(40))
    with pytest.raises(SolverError, match="potential of 41 values"):
        score_rows(t.rows, *sides, 0.05, 0.5)


@pytest.mark.parametrize("tile", [13, 8192])
def test_claims_are_those_of_an_independent_coupling(toy: Callable, tile: int) -> None:
    problem = toy().problem(push_strength=0.4, rho_safe=1.0)
    solution = solve(problem, threshold=1e-12, marginal_threshold=1e-9, max_iterations=5000)
    clusters = find_clusters(problem.harmful.points)
    w, cost = solution.log_weights.exp(), 1 - problem.rows.points @ problem.harmful.points.T
    coupling = ot.sinkhorn(w.numpy(), problem.harmful.mass.numpy(), cost.numpy(), 0.05, "sinkhorn_log", 10_000, 1e-12)
    expected = coupling / coupling.sum(1, keepdims=True)
    sides = (problem.rows.points, problem.safe, solution.psi_safe, problem.harmful, solution.psi_harmful, 0.05, 0.4)
    plan = conditional_plan(problem.rows.points, problem.harmful, solution.psi_harmful, 0.05)
    np.testing.assert_allclose(plan.numpy(), expected, atol=1e-6)
    scores, without = score_rows(*sides, clusters=clusters, tile=tile), score_rows(*sides, tile=tile)
    shares = np.stack([expected[:, clusters.assignment.numpy() == k].sum(1) for k in range(len(clusters))], axis=1)
    np.testing.assert_allclose(scores.cluster_share.numpy(), shares.max(1), atol=1e-6)
    np.testing.assert_array_equal(scores.cluster.numpy(), shares.argmax(1))
    for name in ("score", "pull", "push", "nearest_harmful_similarity"):
        assert torch.equal(getattr(scores, name), getattr(without, name)), "clusters are evidence only"
    assert without.cluster.unique().tolist() == [0]
    assert without.cluster_share.unique().tolist() == [1]
