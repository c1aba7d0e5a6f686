"""Centroids of a sample, the assignment of all rows to them, and the raw means and masses that follow.

Spherical k-means: the assignment is by inner product with unit centroids (Dhillon and Modha, Concept Decompositions
for Large Sparse Text Data Using Clustering, 2001). FAISS does it where it is installed and the points lie on a CPU;
elsewhere Lloyd's iterations run where the points are. The solve never sees these unit centroids: it takes the raw mean
and the mass of the rows of each, since the cost 1 - <z, y> of a mean is the mean of the costs.
"""

from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sot_filter.errors import SolverError

#: Rows of similarities to hold at a time, in values.
_TILE_VALUES = 1 << 22
#: FAISS trains on so many points of each centroid at most; more only cost time.
_POINTS_PER_CENTROID = 256


def kmeans(points: Tensor, k: int, *, seed: int = 0, iterations: int = 10) -> Tensor:
    """Find unit centroids [k, d] of ``points`` [n, d].

    Args:
        points: float32, finite.
        k: number of centroids, 1 to n.
        seed: of the first centroids.
        iterations: of Lloyd's algorithm.

    Raises:
        SolverError: k below 1 or above n.
    """
    if not 1 <= k <= len(points):
        raise SolverError(f"1 to {len(points):,} centroids, one for each row at most", f"{k:,}", "Lower k.")
    if points.device.type == "cpu" and find_spec("faiss"):
        return _by_faiss(points, k, seed, iterations)
    return lloyd(points, k, seed=seed, iterations=iterations)


def lloyd(points: Tensor, k: int, *, seed: int = 0, iterations: int = 10) -> Tensor:
    """As `kmeans`, in torch on the points' own device; a centroid that loses all its rows takes half of another's."""
    generator = torch.Generator().manual_seed(seed)
    most = k * _POINTS_PER_CENTROID
    order = torch.randperm(len(points), generator=generator)[:most].to(points.device)
    drawn = points[order].float()
    centroids = normalize(drawn[:k], dim=1)
    for _ in range(iterations):
        sums = ClusterSums.zeros(k, drawn.shape[1], drawn.device)
        sums.add(drawn, assign(drawn, centroids))
        empty = torch.nonzero(sums.mass == 0)[:, 0]
        # Two copies of a large centroid, moved apart a little, as FAISS does.
        largest = sums.mass.argsort(descending=True, stable=True)[: len(empty)]
        centroids = normalize(sums.means.float(), dim=1)
        sign = torch.ones_like(centroids[0])
        sign[::2] = -1
        centroids[empty] = normalize(centroids[largest] * (1 + sign / 1024), dim=1)
        centroids[largest] = normalize(centroids[largest] * (1 - sign / 1024), dim=1)
    return centroids


def assign(points: Tensor, centroids: Tensor) -> Tensor:
    """The centroid [n], int64, of the highest inner product with each of ``points`` [n, d]; of several the first."""
    found = torch.empty(len(points), dtype=torch.int64, device=points.device)
    rows = max(1, _TILE_VALUES // len(centroids))
    for start in range(0, len(points), rows):
        found[start : start + rows] = (points[start : start + rows].float() @ centroids.T).argmax(1)
    return found


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """Mass and sum of the points of each cluster; sums of parts are added, so the order of the parts tells nothing.

    Args:
        mass: float64 [k].
        total: float64 [k, d].
    """

    mass: Tensor
    total: Tensor

    @classmethod
    def zeros(cls, k: int, d: int, device: torch.device | str = "cpu") -> "ClusterSums":
        """Of no rows."""
        return cls(
            torch.zeros(k, dtype=torch.float64, device=device), torch.zeros(k, d, dtype=torch.float64, device=device)
        )

    def add(self, points: Tensor, assignment: Tensor) -> None:
        """Count ``points`` [n, d] in, each with mass one, by their clusters [n]."""
        self.mass.index_add_(0, assignment, torch.ones_like(assignment, dtype=torch.float64))
        rows = max(1, _TILE_VALUES // max(points.shape[1], 1))
        for start in range(0, len(points), rows):
            part = slice(start, start + rows)
            self.total.index_add_(0, assignment[part], points[part].double())

    def merge(self, other: "ClusterSums") -> None:
        """Count the rows of ``other`` in."""
        self.mass.add_(other.mass)
        self.total.add_(other.total)

    @property
    def means(self) -> Tensor:
        """The raw means [k, d], not normalised; zeros for clusters without rows."""
        return self.total / self.mass.clamp_min(1)[:, None]


def _by_faiss(points: Tensor, k: int, seed: int, iterations: int) -> Tensor:
    # torch comes first: a FAISS of another CUDA version that is loaded before it has been seen to crash.
    import faiss

    trainer = faiss.Kmeans(
        points.shape[1],
        k,
        niter=iterations,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=_POINTS_PER_CENTROID,
    )
    trainer.train(points.float().contiguous().numpy())
    return normalize(torch.tensor(trainer.centroids), dim=1)
