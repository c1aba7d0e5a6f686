"""Mode centroid: the coupled solve where the sample is all rows, a stratified estimate of it where it is not."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from sot_filter.errors import SolverError
from sot_filter.transport import Cells, Measure, PushPullProblem, find_neighbours, solve, stratified


def problem(n: int = 600, k: int = 10, rho: float = 0.1, sample: float = 1.0, probes: int = 10):
    """The coupled problem of n rows, that of a sample of them, the centroids of all, and which rows were drawn."""
    generator = torch.Generator().manual_seed(0)
    d = 16
    topics = normalize(torch.randn(k, d, generator=generator), dim=1)
    rows = normalize(
        topics[torch.randint(0, k, (n,), generator=generator)] + 0.2 * torch.randn(n, d, generator=generator), dim=1
    )
    safe = Measure.uniform(normalize(topics[:5].repeat(8, 1) + 0.2 * torch.randn(40, d, generator=generator), dim=1))
    harmful = Measure.uniform(
        normalize(topics[4:9].repeat(8, 1) + 0.2 * torch.randn(40, d, generator=generator), dim=1)
    )
    cell = (rows @ topics.T).argmax(1)
    kept = torch.rand(n, generator=generator) < sample
    order = torch.nonzero(kept)[:, 0]
    order = order[cell[order].argsort(stable=True)]
    present = torch.bincount(cell[order], minlength=k) > 0
    membership = (present.cumsum(0) - 1)[cell[order]]
    mass = torch.bincount(cell, minlength=k)[present].double()
    total = torch.zeros(k, d, dtype=torch.float64).index_add_(0, cell, rows.double())[present]
    cells = Cells(topics[present], torch.bincount(membership), probes)

    def pose(measure: Measure, coupling) -> PushPullProblem:
        return PushPullProblem(
            measure, safe, harmful, epsilon=0.1, tau=0.05, rho_safe=rho, rho_harmful=rho, coupling=coupling
        )

    every, some = (
        Measure.uniform(rows),
        Measure(rows[order], stratified(torch.ones(len(order)), membership, mass).float()),
    )
    exact = pose(every, find_neighbours(every, 6))
    own = pose(some, find_neighbours(some, 6, cells))
    centroids = Measure.of_counts((total / mass[:, None]).float(), mass)
    return exact, own, {"centroids": centroids, "membership": membership}, order


def spearman(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([values.argsort().argsort().double() for values in (a, b)]))[0, 1])


@pytest.mark.parametrize("rho", [0.0, 0.1, math.inf])
def test_with_every_row_in_the_sample_it_is_mode_coupled(rho) -> None:
    exact, own, options, order = problem(rho=rho)
    whole = solve(exact, mode="coupled", threshold=1e-9, marginal_threshold=1e-5)
    found = solve(own, mode="centroid", threshold=1e-9, marginal_threshold=1e-5, **options)
    assert found.outcome is whole.outcome
    torch.testing.assert_close(found.score, whole.score[order], atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(found.psi_harmful, whole.psi_harmful, atol=1e-4, rtol=1e-3)
    assert found.kept_share == pytest.approx(whole.kept_share, abs=1e-4)


def test_centroids_make_a_start_that_saves_iterations() -> None:
    _, own, options, _ = problem(rho=math.inf)
    assert solve(own, mode="centroid", **options).iterations < solve(own, mode="coupled").iterations


@pytest.mark.parametrize("rho", [0.0, 0.1])
def test_half_of_the_rows_give_nearly_the_potentials_and_ranking_of_all(rho) -> None:
    exact, own, options, order = problem(n=2000, rho=rho, sample=0.5)
    whole, found = solve(exact, mode="coupled"), solve(own, mode="centroid", **options)
    assert spearman(found.score, whole.score[order]) > 0.98
    assert float((found.psi_harmful - whole.psi_harmful).abs().max()) < 0.02


def test_a_lopsided_sample_is_put_right_by_the_masses_of_the_centroids() -> None:
    rows = normalize(torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    cell = rows[:, 0] > 0.3
    # Of one side all rows are drawn, of the other every eighth.
    drawn = torch.nonzero(cell | (torch.arange(2000) % 8 == 0))[:, 0]
    membership = cell[drawn].long()
    counts = torch.bincount(cell.long()).double()
    mass = stratified(torch.ones(len(drawn)), membership, counts)
    side = torch.zeros(2, dtype=torch.float64).index_add_(0, membership, mass)
    torch.testing.assert_close(side, counts / 2000)
    assert float(mass.sum()) == pytest.approx(1)


def test_membership_that_does_not_fit_is_refused() -> None:
    _, own, options, _ = problem()
    with pytest.raises(SolverError, match="one of 10 centroids for each of 600 rows"):
        solve(own, mode="centroid", centroids=options["centroids"], membership=options["membership"][:-1])
    with pytest.raises(SolverError, match="one of 10 centroids"):
        solve(own, mode="centroid", centroids=options["centroids"], membership=options["membership"] + 1)
