"""Clusters of a reference, so that a row's mass can be told by kind of harm and not by single reference rows.

Lloyd's k-means on the points, seeded by k-means++ (Arthur and Vassilvitskii, 2007): `sklearn.cluster.KMeans` with
n_init=1. A cluster is known by its medoid, the reference row that stands for it. Only evidence is made of clusters:
neither scores nor weights depend on them.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Clusters at most; more kinds of harm than this nobody reads.
_MOST = 50
#: Lloyd's iterations at most; it has nearly always settled after twenty.
_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class Clusters:
    """A partition of the m points of a reference into k clusters, the largest first.

    Args:
        assignment: cluster of each point, int64 [m].
        medoids: for each cluster the index of its medoid, int64 [k].
    """

    assignment: Tensor
    medoids: Tensor

    def __len__(self) -> int:
        """The number of clusters."""
        return len(self.medoids)

    @property
    def sizes(self) -> Tensor:
        """Points of each cluster, [k]."""
        return torch.bincount(self.assignment, minlength=len(self))

    def totals(self, values: Tensor) -> Tensor:
        """Sum ``values`` [n, m] over the points of each cluster, [n, k]."""
        # A product, since index_add_ sums in no fixed order on a GPU.
        member = torch.nn.functional.one_hot(self.assignment, len(self))
        return values @ member.to(values)


def find_clusters(points: Tensor, seed: int = 0) -> Clusters:
    """Cluster ``points`` [m, d] into about sqrt(m / 2) clusters, 50 at most, and never more than distinct points.

    The medoid is the member with the least sum of squared distances to the others, which is the one nearest to the
    mean; the first of them where several are.
    """
    x = points.double().cpu().numpy()
    wanted = min(max(1, round(math.sqrt(len(x) / 2))), _MOST)
    centres = _seeds(x, wanted, np.random.default_rng(seed))
    assignment = _nearest(x, centres)
    for _ in range(_ITERATIONS):
        centres = _means(x, assignment, centres)
        before, assignment = assignment, _nearest(x, centres)
        if (assignment == before).all():
            break
    centres = _means(x, assignment, centres)
    to_centre = ((x - centres[assignment]) ** 2).sum(1)
    # Largest first, then by the first member; clusters that have lost all their points are left out here.
    found, first, sizes = np.unique(assignment, return_index=True, return_counts=True)
    found = found[np.lexsort((first, -sizes))]
    members = [np.flatnonzero(assignment == cluster) for cluster in found]
    medoids = [own[np.argmin(to_centre[own])] for own in members]
    label = np.empty(len(centres), np.int64)
    label[found] = np.arange(len(found))
    return Clusters(torch.from_numpy(label[assignment]), torch.from_numpy(np.asarray(medoids, np.int64)))


def _seeds(x: NDArray[np.float64], k: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Up to ``k`` distinct points, each drawn in proportion to its squared distance to the nearest of those before."""
    chosen = [int(rng.integers(len(x)))]
    gap = ((x - x[chosen[0]]) ** 2).sum(1)
    while len(chosen) < k and gap.any():
        chosen.append(int(rng.choice(len(x), p=gap / gap.sum())))
        gap = np.minimum(gap, ((x - x[chosen[-1]]) ** 2).sum(1))
    return x[chosen]


def _nearest(x: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the nearest centre [m]; the first of them where several are."""
    nearest: NDArray[np.int64] = np.argmin((centres**2).sum(1) - 2 * x @ centres.T, axis=1)
    return nearest


def _means(x: NDArray[np.float64], assignment: NDArray[np.int64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each cluster [k, d]; a cluster without points stays where it was."""
    member = np.eye(len(centres))[assignment]
    counts = member.sum(0)[:, None]
    return np.where(counts > 0, member.T @ x / np.maximum(counts, 1), centres)
