"""K-means: FAISS and torch find the same planted clusters; sums of parts are those of the whole."""

import pytest
import torch
from torch.nn.functional import normalize

from sot_filter.clustering import ClusterSums, assign, kmeans, lloyd
from sot_filter.errors import SolverError


def planted(clusters: int, each: int, d: int = 32, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.linalg.qr(torch.randn(d, d, generator=generator)).Q[:clusters]
    label = torch.arange(clusters).repeat_interleave(each)
    return normalize(centres[label] + 0.02 * torch.randn(len(label), d, generator=generator), dim=1), label, centres


@pytest.mark.parametrize("find", [kmeans, lloyd])
def test_planted_clusters_are_never_mixed(find) -> None:
    points, label, _ = planted(8, 50)
    # With twice the centroids no planted cluster has to do without one, whatever the start.
    found = assign(points, find(points, 16, iterations=20))
    for cluster in found.unique():
        assert len(label[found == cluster].unique()) == 1


@pytest.mark.parametrize("find", [kmeans, lloyd])
def test_centroids_are_unit_vectors_and_follow_from_the_seed(find) -> None:
    points = normalize(torch.randn(400, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    first, again, other = find(points, 20, seed=3), find(points, 20, seed=3), find(points, 20, seed=4)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(20))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_torch_comes_as_near_to_the_points_as_faiss() -> None:
    points = normalize(torch.randn(3000, 24, generator=torch.Generator().manual_seed(2)), dim=1)
    near = [float((points @ find(points, 40).T).amax(1).mean()) for find in (kmeans, lloyd)]
    assert abs(near[0] - near[1]) < 0.02


def test_one_centroid_is_the_direction_of_the_mean() -> None:
    points, _, _ = planted(3, 40)
    torch.testing.assert_close(lloyd(points, 1)[0], normalize(points.mean(0), dim=0), atol=1e-5, rtol=0)


def test_a_centroid_without_rows_takes_half_of_the_largest() -> None:
    # Two distinct points: three first centroids must fall together, and one of them stays without rows.
    points = torch.eye(4)[[0] * 30 + [1] * 30]
    assert assign(points, lloyd(points, 3, iterations=10)).unique().numel() >= 2


def test_assign_is_the_highest_inner_product_in_any_tiles(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(3)
    points, centroids = torch.randn(101, 8, generator=generator), torch.randn(7, 8, generator=generator)
    expected = torch.tensor([int((centroids @ point).argmax()) for point in points])
    assert torch.equal(assign(points, centroids), expected)
    monkeypatch.setattr("sot_filter.clustering._TILE_VALUES", 20)
    assert torch.equal(assign(points, centroids), expected)


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    points, label, _ = planted(5, 20)
    whole, parts = ClusterSums.zeros(6, 32), ClusterSums.zeros(6, 32)
    whole.add(points, label)
    for part in (slice(0, 33), slice(33, 70), slice(70, 100)):
        own = ClusterSums.zeros(6, 32)
        own.add(points[part], label[part])
        parts.merge(own)
    assert torch.equal(whole.mass, parts.mass)
    assert whole.mass.tolist() == [20.0] * 5 + [0.0]
    torch.testing.assert_close(whole.means, parts.means)
    torch.testing.assert_close(whole.means[2], points[40:60].double().mean(0))
    assert not whole.means[5].any()


@pytest.mark.parametrize("k", [0, 11])
def test_more_centroids_than_points_are_refused(k) -> None:
    with pytest.raises(SolverError, match="expected 1 to 10 centroids"):
        kmeans(torch.eye(10), k)
