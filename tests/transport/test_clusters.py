"""Clusters against groups that are known, brute force and scikit-learn."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from sot_filter.transport import find_clusters


def spread(x: np.ndarray, assignment: np.ndarray) -> float:
    """Sum of squared distances to the own cluster's mean."""
    return sum(((x[assignment == k] - x[assignment == k].mean(0)) ** 2).sum() for k in np.unique(assignment))


@pytest.mark.parametrize(("m", "expected"), [(1, 1), (2, 1), (8, 2), (50, 5), (1000, 22), (5000, 50), (9000, 50)])
def test_how_many_there_are(m: int, expected: int) -> None:
    assert len(find_clusters(torch.randn(m, 3))) == expected


def test_groups_far_apart_are_found() -> None:
    centres = 100 * torch.eye(4)
    truth = torch.arange(4).repeat_interleave(torch.tensor([14, 9, 6, 3]))  # 32 points, so 4 clusters
    order = torch.randperm(32)
    clusters = find_clusters((centres[truth] + torch.randn(32, 4))[order])
    assert clusters.sizes.tolist() == [14, 9, 6, 3], "the largest first"
    assert torch.equal(clusters.assignment, truth[order])


def test_medoids_are_the_members_nearest_to_the_others(toy: Callable) -> None:
    points = toy(n=2, m=200).safe
    clusters = find_clusters(points)
    assert len(clusters) == 10
    for k, medoid in enumerate(clusters.medoids.tolist()):
        own = (clusters.assignment == k).nonzero()[:, 0]
        sums = (torch.cdist(points[own], points[own]) ** 2).sum(1)
        assert clusters.assignment[medoid] == k
        assert float(((points[medoid] - points[own]) ** 2).sum()) == pytest.approx(float(sums.min()), rel=1e-9)


def test_it_is_settled_and_as_good_as_scikit_learns(toy: Callable) -> None:
    points = toy(n=2, m=400).safe
    x, clusters = points.numpy(), find_clusters(points)
    assignment = clusters.assignment.numpy()
    means = np.stack([x[assignment == k].mean(0) for k in range(len(clusters))])
    distance = ((x[:, None] - means) ** 2).sum(2)
    assert (distance.argmin(1) == assignment).all()
    best = KMeans(len(clusters), n_init=5, random_state=0).fit(x).inertia_
    assert spread(x, assignment) < 1.05 * best


def test_equal_points_make_no_cluster_of_their_own() -> None:
    distinct = torch.randn(3, 5)
    clusters = find_clusters(distinct.repeat(60, 1))
    assert clusters.sizes.tolist() == [60, 60, 60]
    assert clusters.medoids.tolist() == [0, 1, 2]
    assert len(find_clusters(torch.zeros(200, 4))) == 1


def test_the_same_points_give_the_same_clusters() -> None:
    points = torch.randn(300, 8)
    one, other = find_clusters(points), find_clusters(points.clone())
    assert torch.equal(one.assignment, other.assignment)
    assert torch.equal(one.medoids, other.medoids)
    assert not torch.equal(one.assignment, find_clusters(points, seed=1).assignment)


def test_totals_are_sums_over_members() -> None:
    points, values = torch.randn(90, 4), torch.rand(7, 90, dtype=torch.float64)
    clusters = find_clusters(points)
    for k in range(len(clusters)):
        own = [j for j in range(90) if clusters.assignment[j] == k]
        expected = [math.fsum(row[j] for j in own) for row in values.tolist()]
        assert clusters.totals(values)[:, k].tolist() == pytest.approx(expected)
