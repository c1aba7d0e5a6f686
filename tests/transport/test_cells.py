"""Neighbours by cells: with all cells looked into the graph of all pairs; with few, rows of far cells are missed."""

import pytest
import torch
from torch.nn.functional import normalize

from sot_filter.transport import Cells, Measure, find_neighbours


def celled(n: int = 300, k: int = 12, probes: int = 12, seed: int = 0) -> tuple[Measure, Cells]:
    generator = torch.Generator().manual_seed(seed)
    points = normalize(torch.randn(n, 10, generator=generator), dim=1)
    centroids = normalize(torch.randn(k, 10, generator=generator), dim=1)
    cell = (points @ centroids.T).argmax(1)
    sizes = torch.bincount(cell, minlength=k)
    order = cell.argsort(stable=True)
    mass = torch.rand(n, generator=generator) + 0.1
    return Measure(points[order], mass / mass.sum()), Cells(centroids[sizes > 0], sizes[sizes > 0], probes)


def dense(plan, n: int) -> torch.Tensor:
    whole = torch.zeros(plan.rows, n)
    whole[plan.row, plan.column] = plan.value
    return whole


def test_with_all_cells_it_is_the_graph_of_all_pairs() -> None:
    rows, cells = celled()
    whole, by_cells = find_neighbours(rows, 6), find_neighbours(rows, 6, cells)
    torch.testing.assert_close(by_cells.reach, whole.reach)
    torch.testing.assert_close(dense(by_cells.plan(), 300), dense(whole.plan(), 300), atol=1e-6, rtol=1e-4)
    others = normalize(torch.randn(40, 10, generator=torch.Generator().manual_seed(5)), dim=1)
    torch.testing.assert_close(dense(by_cells.plan(others), 300), dense(whole.plan(others), 300), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("probes", [1, 2, 4])
def test_the_graph_keeps_every_mass_however_few_cells_are_looked_into(probes) -> None:
    rows, cells = celled(probes=probes)
    plan = dense(find_neighbours(rows, 6, cells).plan(), 300)
    torch.testing.assert_close(plan.sum(1), torch.ones(300))
    torch.testing.assert_close(rows.mass @ plan, rows.mass, atol=1e-6, rtol=1e-4)
    # What one of two rows has found, the other has too.
    assert torch.equal(plan > 0, plan.T > 0)


def test_more_cells_find_more_of_the_true_neighbours() -> None:
    rows, _ = celled()
    true = dense(find_neighbours(rows, 6).plan(), 300) > 0
    found = []
    for probes in (1, 3, 6, 12):
        _, cells = celled(probes=probes)
        plan = dense(find_neighbours(rows, 6, cells).plan(), 300) > 0
        found.append(float((plan & true).sum() / true.sum()))
    assert found == sorted(found)
    assert found[0] < 0.9
    assert found[-1] == 1.0


def test_known_cells_are_not_looked_up_again() -> None:
    rows, cells = celled(probes=3)
    graph = find_neighbours(rows, 6, cells)
    others = normalize(torch.randn(40, 10, generator=torch.Generator().manual_seed(6)), dim=1)
    nearest = cells.nearest(others)
    assert torch.equal(nearest, (others @ cells.centroids.T).topk(3, dim=1).indices)
    torch.testing.assert_close(dense(graph.plan(others, nearest), 300), dense(graph.plan(others), 300))
    # Told to look into one cell only, a point finds that cell's rows and no others.
    one = torch.full((40, 1), 2)
    start = int(cells.sizes[:2].sum())
    columns = graph.plan(others, one).column
    assert set(columns.tolist()) <= set(range(start, start + int(cells.sizes[2])))


def test_points_of_cells_with_fewer_rows_than_neighbours_take_all_of_them() -> None:
    points = normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    cells = Cells(points[[0, 3]], torch.tensor([3, 6]), 1)
    plan = find_neighbours(Measure.uniform(points), 8, cells).plan(points[:1])
    assert plan.column.numel() >= 3
    assert float(plan.value.sum()) == pytest.approx(1)


def test_no_points_have_no_neighbours() -> None:
    rows, cells = celled()
    plan = find_neighbours(rows, 6, cells).plan(rows.points[:0])
    assert plan.rows == plan.row.numel() == 0


def test_what_a_row_gets_does_not_hang_on_the_rows_beside_it() -> None:
    rows, cells = celled(probes=3)
    graph = find_neighbours(rows, 6, cells)
    others = normalize(torch.randn(50, 10, generator=torch.Generator().manual_seed(7)), dim=1)
    whole = dense(graph.plan(others), 300)
    for size in (1, 2, 7, 20):
        parts = [dense(graph.plan(others[i : i + size]), 300) for i in range(0, 50, size)]
        assert torch.equal(torch.cat(parts), whole)
