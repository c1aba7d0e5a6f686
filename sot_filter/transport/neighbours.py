"""Which rows of the custom set belong together: a nearest-neighbour graph that keeps every row's mass.

A_ij = d_i K_ij u_j d_j with K_ij = 1 for rows of which one is among the k nearest of the other, falling to 0 over a
short ramp so that no rounding decides, and d > 0 such that the rows of A sum to one. Then u A = u as well: A is the
entropic transport plan of the rows' masses to themselves on the support of the graph, found by the symmetric Sinkhorn
iteration d <- sqrt(d / (K u d)) (Knight, Ruiz and Uçar, A Symmetry Preserving Algorithm for Matrix Scaling, 2014).
A row is its own neighbour, so such a plan always exists. A point that no graph has seen finds its row of A from the
graph's points in the same way; for a point of the graph it is the graph's own row.

Many rows are not all compared with each other: they lie in cells around centroids, and a point is compared with the
rows of those cells only that are nearest to it (an inverted file, as `faiss.IndexIVFFlat`), one matrix product a cell.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sot_filter.transport.cost import rows_per_tile, similarity, tiles
from sot_filter.transport.problem import Measure, dtype_of

#: Width of the ramp as a share of the cost of the k-th nearest, so that a crowd of near-duplicates is told apart like
#: any other rows, and its least, above the rounding of a similarity.
_RAMP, _LEAST_RAMP = 0.015, 1e-5
_SCALINGS = 1000
#: Similarities of new points that are kept between their two uses, and points at a time at least.
_KEPT_VALUES, _FEWEST = 1 << 24, 256

#: For each cell the indices of the points that look into it, and the slice of its rows.
Visits = list[tuple[Tensor, slice]]
#: Indices [b] of points, a slice of s rows, and their similarities [b, s].
Block = tuple[Tensor, slice, Tensor]


@dataclass(frozen=True, eq=False)
class Cells:
    """Where rows that are sorted by cell lie, and how many cells a point looks into.

    Args:
        centroids: unit vectors [K, d].
        sizes: rows of each cell [K]: the first ``sizes[0]`` rows are those of the first cell, and so on. None is 0.
        probes: cells that a point looks into; all of them if there are fewer.
    """

    centroids: Tensor
    sizes: Tensor
    probes: int

    def nearest(self, points: Tensor) -> Tensor:
        """The cells [t, probes] nearest to each of ``points`` [t, d]."""
        k = min(self.probes, len(self.centroids))
        parts = tiles(len(points), rows_per_tile(len(self.centroids), self.centroids.dtype, points.device))
        found = [similarity(points[part], self.centroids).topk(k, dim=1).indices for part in parts]
        return torch.cat(found) if found else torch.empty(0, k, dtype=torch.int64, device=points.device)

    def visits(self, points: Tensor, nearest: Tensor | None = None) -> Visits:
        """Who looks into each cell, of ``points`` [t, d] whose nearest cells [t, probes] may be known already."""
        nearest = self.nearest(points) if nearest is None else nearest
        visitors = nearest.flatten().argsort(stable=True) // nearest.shape[1]
        counts = torch.bincount(nearest.flatten(), minlength=len(self.sizes)).tolist()
        stops = self.sizes.cumsum(0).tolist()
        return [
            (own, slice(stop - size, stop))
            for own, size, stop in zip(torch.split(visitors, counts), self.sizes.tolist(), stops, strict=True)
        ]


class Plan(NamedTuple):
    """Rows of A as entries: value_e at (row_e, column_e); t rows over n columns.

    Args:
        rows: t.
        row: [e].
        column: [e].
        value: [e].
    """

    rows: int
    row: Tensor
    column: Tensor
    value: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """A times ``values`` [n] or [n, r]: the means over neighbourhoods, [t] or [t, r]."""
        weights = self.value.to(values).reshape(-1, *[1] * (values.ndim - 1))
        total = values.new_zeros(self.rows, *values.shape[1:])
        return total.index_add_(0, self.row, weights * values[self.column])


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The graph of n rows.

    Args:
        rows: the rows and their masses u.
        k: how many nearest neighbours a row has, itself among them.
        reach: similarity [n] of each row to its k-th nearest.
        scaling: d [n].
        cells: where the rows are looked for; None compares with all of them.
    """

    rows: Measure
    k: int
    reach: Tensor
    scaling: Tensor
    cells: Cells | None = None

    def plan(self, points: Tensor | None = None, cells: Tensor | None = None) -> Plan:
        """The rows of A of ``points`` [t, d], or of the graph's own rows.

        Args:
            points: any rows, in the space of the graph.
            cells: the cells [t, probes] they look into, where they are known; by default the nearest are found.
        """
        if points is None:
            i, j, value = _graph(self.rows.points, self.reach, self._visits(self.rows.points, None))
            return self._scaled(len(self.rows), i, j, value)
        among = self.rows.points.to(dtype_of(self.rows.points))
        met = len(among)
        if self.cells is not None:
            met = max(1, met * min(self.cells.probes, len(self.cells.sizes)) // len(self.cells.sizes))
        plans = []
        for part in tiles(max(len(points), 1), max(_FEWEST, _KEPT_VALUES // met)):
            own = points[part]
            visits = self._visits(own, None if cells is None else cells[part])
            # What the rows met is kept between its two uses.
            blocks = list(_blocks(own, among, visits))
            reach = _reach(len(own), self.k, among, blocks)
            i, j, value = _entries(reach, self.reach, blocks)
            plans.append((i + part.start, j, value))
        row, column, values = (torch.cat(found) for found in zip(*plans, strict=True))
        return self._scaled(len(points), row, column, values)

    def _scaled(self, rows: int, i: Tensor, j: Tensor, value: Tensor) -> Plan:
        value = value * (self.rows.mass * self.scaling)[j]
        total = value.new_zeros(rows).index_add_(0, i, value)
        return Plan(rows, i, j, value / total[i])

    def _visits(self, points: Tensor, cells: Tensor | None) -> Visits | None:
        return None if self.cells is None else self.cells.visits(points, cells)


@torch.no_grad()
def find_neighbours(rows: Measure, k: int, cells: Cells | None = None) -> Neighbours:
    """Build the graph of ``rows``: two passes over the similarities of rows that may be neighbours, a tile at a time.

    Args:
        rows: distinct rows; points [n, d], sorted by cell if there are cells.
        k: neighbours of a row, itself among them; at most n are used.
        cells: where to look for neighbours; None compares every row with every row.
    """
    k = min(k, len(rows))
    among = rows.points.to(dtype_of(rows.points))
    visits = None if cells is None else cells.visits(rows.points)
    reach = _reach(len(rows), k, among, _blocks(rows.points, among, visits))
    i, j, value = _graph(rows.points, reach, visits)
    kernel = Plan(len(rows), i, j, value.double())
    mass = rows.mass.double()
    d = torch.ones_like(mass)
    for _ in range(_SCALINGS):
        following = (d / kernel.apply(mass * d)).sqrt()
        moved = float((following / d - 1).abs().max())
        d = following
        if moved < 1e-9:
            break
    return Neighbours(rows, k, reach, d.to(rows.mass.dtype), cells)


def _reach(rows: int, k: int, among: Tensor, blocks: Iterable[Block]) -> Tensor:
    """Similarity [t] of each of t ``rows`` to its k-th nearest ``among`` [n, d], of those in the blocks."""
    found = torch.full((rows, k), -torch.inf, dtype=among.dtype, device=among.device)
    for own, _, block in blocks:
        nearest = block.topk(min(k, block.shape[1]), dim=1).values
        found[own] = torch.cat([found[own], nearest], 1).topk(k, dim=1).values
    # A point that met fewer than k rows has all of them for neighbours.
    return found[:, -1].clamp_min(-1)


def _graph(points: Tensor, reach: Tensor, visits: Visits | None) -> tuple[Tensor, Tensor, Tensor]:
    """The entries of K between the rows themselves; what one of two rows has found, the other has too."""
    among = points.to(dtype_of(points))
    i, j, value = _entries(reach, reach, _blocks(points, among, visits))
    if visits is None:
        return i, j, value
    n = len(points)
    pairs, place = torch.unique(torch.cat([i * n + j, j * n + i]), return_inverse=True)
    value = value.new_zeros(len(pairs)).scatter_reduce_(0, place, value.repeat(2), "amax")
    return pairs // n, pairs % n, value


def _entries(reach: Tensor, their_reach: Tensor, blocks: Iterable[Block]) -> tuple[Tensor, Tensor, Tensor]:
    """The entries of K above 0: row, column, value [e each], at the reaches of both sides; the blocks are used up."""
    none = torch.empty(0, dtype=torch.int64, device=reach.device)
    found = [(none, none, reach.new_empty(0))]
    for own, theirs, block in blocks:
        far = torch.minimum(reach[own, None], their_reach[theirs])
        block.sub_(far).div_(far.neg_().add_(1).mul_(_RAMP).clamp_min_(_LEAST_RAMP)).add_(1).clamp_(0, 1)
        i, j = block.nonzero(as_tuple=True)
        found.append((own[i], j + theirs.start, block[i, j]))
    rows, columns, values = zip(*found, strict=True)
    return torch.cat(rows), torch.cat(columns), torch.cat(values)


def _blocks(points: Tensor, among: Tensor, visits: Visits | None) -> Iterator[Block]:
    """The similarities of ``points`` [t, d] to those ``among`` [n, d] that are to be looked at, a tile at a time."""
    whole = torch.arange(len(points), device=points.device)
    for own, theirs in visits or [(whole, slice(0, len(among)))]:
        for part in tiles(len(own), rows_per_tile(theirs.stop - theirs.start, among.dtype, among.device)):
            yield own[part], theirs, similarity(points[own[part]], among[theirs])
