from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sot_filter.transport import Measure, Neighbours, cost, find_neighbours
from sot_filter.transport.neighbours import _LEAST_RAMP, _RAMP


def weighted(points: Tensor) -> Measure:
    return Measure.of_counts(points, torch.randint(1, 5, (len(points),)))


def dense(graph: Neighbours, points: Tensor | None = None) -> np.ndarray:
    return graph.plan(points).apply(torch.eye(len(graph.rows)).to(graph.rows.mass)).numpy()


def brute(rows: Measure, k: int) -> np.ndarray:
    """A from its definition: K by sorting whole rows of similarities, d by plain alternate scaling of a matrix."""
    z, u = rows.points.numpy(), rows.mass.numpy()
    similarity = z @ z.T
    reach = np.sort(similarity, axis=1)[:, -min(k, len(u))]
    far = np.minimum(reach[:, None], reach[None, :])
    kernel = np.clip(1 - (far - similarity) / np.maximum(_RAMP * (1 - far), _LEAST_RAMP), 0, 1)
    left, right = np.ones(len(u)), np.ones(len(u))
    for _ in range(20_000):
        left = 1 / (kernel @ (u * right))
        right = 1 / (kernel.T @ (u * left))
    return left[:, None] * kernel * (u * right)


@pytest.mark.parametrize("k", [1, 3, 8, 60, 500])
def test_the_plan_is_that_of_its_definition(toy: Callable, k: int) -> None:
    rows = weighted(toy(n=60).rows)
    graph = find_neighbours(rows, k)
    np.testing.assert_allclose(dense(graph), brute(rows, k), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-5), (torch.float64, 1e-8)])
def test_rows_keep_their_mass(toy: Callable, dtype: torch.dtype, apart: float) -> None:
    rows = weighted(toy(dtype=dtype).rows)
    a, u = dense(find_neighbours(rows, 8)), rows.mass.numpy()
    assert (a >= 0).all()
    np.testing.assert_allclose(a.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(u @ a / u, 1, atol=apart * 100)
    np.testing.assert_allclose(u[:, None] * a, (u[:, None] * a).T, atol=apart)


def test_every_row_has_its_nearest_and_few_others(toy: Callable) -> None:
    t = toy(n=400)
    a, similarity = dense(find_neighbours(Measure.uniform(t.rows), 8)), (t.rows @ t.rows.T).numpy()
    assert (np.diag(a) > 0).all()
    for i, nearest in enumerate(np.argsort(-similarity, axis=1)[:, :8]):
        assert (a[i, nearest] > 0).all()
    assert (a > 0).sum() < 400 * 8 * 3


def test_one_neighbour_is_the_row_itself() -> None:
    rows = weighted(normalize(torch.randn(30, 20).double()))
    np.testing.assert_allclose(dense(find_neighbours(rows, 1)), np.eye(30), atol=1e-9)


@pytest.mark.parametrize("k", [12, 13, 100])
def test_all_neighbours_are_the_whole_population(toy: Callable, k: int) -> None:
    rows = weighted(toy(n=12).rows)
    graph = find_neighbours(rows, k)
    assert graph.k == 12
    np.testing.assert_allclose(dense(graph), np.tile(rows.mass.numpy(), (12, 1)), atol=1e-9)


def test_a_row_alone_is_its_own_neighbourhood() -> None:
    graph = find_neighbours(Measure.uniform(torch.randn(1, 4)), 8)
    assert dense(graph).tolist() == [[1.0]]


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_a_row_of_the_graph_is_placed_where_it_is(toy: Callable, dtype: torch.dtype, apart: float) -> None:
    rows = weighted(toy(dtype=dtype).rows)
    graph = find_neighbours(rows, 8)
    own = dense(graph)
    np.testing.assert_allclose(dense(graph, rows.points), own, atol=apart)
    np.testing.assert_allclose(dense(graph, rows.points[7:9]), own[7:9], atol=apart)
    assert dense(graph, rows.points[:0]).shape == (0, 120)


def test_places_change_little_where_points_do(toy: Callable) -> None:
    """Along a path from one row to another no neighbourhood jumps."""
    t = toy()
    graph = find_neighbours(Measure.uniform(t.rows), 8)
    along = torch.linspace(0, 1, 4001).double()[:, None]
    path = normalize((1 - along) * t.rows[0] + along * t.rows[1])
    a = dense(graph, path)
    np.testing.assert_allclose(a.sum(1), 1)
    assert np.abs(np.diff(a, axis=0)).sum(1).max() < 0.1
    assert np.abs(a[0] - a[-1]).sum() > 1


def test_order_of_the_rows_does_not_matter(toy: Callable) -> None:
    rows, order = weighted(toy().rows), torch.randperm(120)
    a = dense(find_neighbours(rows, 8))
    shuffled = dense(find_neighbours(Measure(rows.points[order], rows.mass[order]), 8))
    np.testing.assert_allclose(shuffled, a[order][:, order], atol=1e-8)


@pytest.mark.parametrize("tile_bytes", [1, 3000])
def test_tiles_do_not_matter(toy: Callable, monkeypatch: pytest.MonkeyPatch, tile_bytes: int) -> None:
    rows = weighted(toy().rows)
    graph = find_neighbours(rows, 8)
    whole, placed = dense(graph), dense(graph, rows.points[:9])
    monkeypatch.setitem(cost._TILE_BYTES, "cpu", tile_bytes)
    again = find_neighbours(rows, 8)
    np.testing.assert_allclose(dense(again), whole, atol=1e-9)
    np.testing.assert_allclose(dense(again, rows.points[:9]), placed, atol=1e-9)


def test_values_of_several_columns_are_averaged_each_by_itself(toy: Callable) -> None:
    plan = find_neighbours(Measure.uniform(toy().rows), 8).plan()
    values = torch.randn(120, 3).double()
    torch.testing.assert_close(plan.apply(values), torch.stack([plan.apply(v) for v in values.T], 1))
    assert plan.apply(values.float()).dtype == torch.float32


def test_masses_of_points_far_apart_stay_apart() -> None:
    """Two groups without a similarity between them: no mean ever crosses."""
    a, b = torch.zeros(20, 8).double(), torch.zeros(20, 8).double()
    a[:, :4], b[:, 4:] = normalize(torch.rand(20, 4).double()), normalize(torch.rand(20, 4).double())
    plan = find_neighbours(Measure.uniform(torch.cat([a, b])), 5).plan()
    side = torch.cat([torch.ones(20), torch.zeros(20)]).double()
    torch.testing.assert_close(plan.apply(side), side)


@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_a_crowd_of_near_duplicates_costs_no_more_than_other_rows(spread: float) -> None:
    """The memory promised is n * k; only rows that are equal to rounding are all neighbours of each other."""
    crowd = normalize(normalize(torch.randn(1, 32)) + spread * torch.randn(900, 32) / 32**0.5)
    plan = find_neighbours(Measure.uniform(torch.cat([crowd, normalize(torch.randn(100, 32))])), 8).plan()
    assert len(plan.value) < 1000 * 8 * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rows_share_everything(dtype: torch.dtype) -> None:
    """The rows should be distinct; where they are not, ties join all of them, whatever k."""
    points = torch.cat([torch.randn(1, 8).expand(15, 8), torch.randn(25, 8)]).to(dtype)
    a = dense(find_neighbours(weighted(normalize(points)), 4))
    assert np.isfinite(a).all()
    assert (a[:15, :15] > 0).all()
    np.testing.assert_allclose(a.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(a[:15], np.broadcast_to(a[0], (15, 40)), atol=1e-6)


def test_rows_without_an_embedding_are_near_to_nothing_in_particular(toy: Callable) -> None:
    """A zero vector has the cost 1 to every row, so that many rows tie for its nearest; others keep their own."""
    t = toy()
    rows = Measure.uniform(torch.cat([t.rows, torch.zeros(1, 16).double()]))
    without, graph = dense(find_neighbours(Measure.uniform(t.rows), 8)), find_neighbours(rows, 8)
    a = dense(graph)
    assert np.isfinite(a).all()
    np.testing.assert_allclose(a.sum(1), 1)
    np.testing.assert_allclose(a[:120, :120], without, atol=0.2)
    assert a[:120, 120].max() < 0.2
    nothing = dense(find_neighbours(Measure.uniform(torch.zeros(9, 4)), 3))
    np.testing.assert_allclose(nothing, 1 / 9, atol=1e-6)


def test_half_precision_rows_are_upcast(toy: Callable) -> None:
    half = toy(dtype=torch.float32).rows.bfloat16()
    found, expected = (dense(find_neighbours(Measure.uniform(rows), 8)) for rows in (half, half.float()))
    np.testing.assert_allclose(found, expected, atol=1e-6)
