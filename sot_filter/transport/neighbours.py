"""Which rows of the custom set belong together: a nearest-neighbour graph that keeps every row's mass.

A_ij = d_i K_ij u_j d_j with K_ij = 1 for rows of which one is among the k nearest of the other, falling to 0 over a
short ramp so that no rounding decides, and d > 0 such that the rows of A sum to one. Then u A = u as well: A is the
entropic transport plan of the rows' masses to themselves on the support of the graph, found by the symmetric Sinkhorn
iteration d <- sqrt(d / (K u d)) (Knight, Ruiz and Uçar, A Symmetry Preserving Algorithm for Matrix Scaling, 2014).
A row is its own neighbour, so such a plan always exists. A point that no graph has seen finds its row of A from the
graph's points in the same way; for a point of the graph it is the graph's own row.
"""

from collections.abc import Iterator
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
    """

    rows: Measure
    k: int
    reach: Tensor
    scaling: Tensor

    def plan(self, points: Tensor | None = None) -> Plan:
        """The rows of A of ``points`` [t, d], or of the graph's own rows."""
        points, reach = (
            (self.rows.points, self.reach) if points is None else (points, _reach(points, self.rows.points, self.k))
        )
        i, j, value = _entries(points, reach, self.rows.points, self.reach)
        value = value * (self.rows.mass * self.scaling)[j]
        total = value.new_zeros(len(points)).index_add_(0, i, value)
        return Plan(len(points), i, j, value / total[i])


@torch.no_grad()
def find_neighbours(rows: Measure, k: int) -> Neighbours:
    """Build the graph of ``rows``; the work is two passes over n * n similarities, the memory a tile and n * k.

    Args:
        rows: distinct rows; points [n, d].
        k: neighbours of a row, itself among them; at most n are used.
    """
    k = min(k, len(rows))
    reach = _reach(rows.points, rows.points, k)
    i, j, value = _entries(rows.points, reach, rows.points, reach)
    kernel = Plan(len(rows), i, j, value.double())
    mass = rows.mass.double()
    d = torch.ones_like(mass)
    for _ in range(_SCALINGS):
        following = (d / kernel.apply(mass * d)).sqrt()
        moved = float((following / d - 1).abs().max())
        d = following
        if moved < 1e-9:
            break
    return Neighbours(rows, k, reach, d.to(rows.mass.dtype))


def _reach(points: Tensor, among: Tensor, k: int) -> Tensor:
    """Similarity [t] of each of ``points`` [t, d] to its k-th nearest ``among`` [n, d]."""
    among = among.to(dtype_of(among))
    return torch.cat([similarity(points[part], among).topk(k, dim=1).values[:, -1] for part in _parts(points, among)])


def _entries(points: Tensor, reach: Tensor, among: Tensor, their_reach: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The entries of K above 0: row, column, value [e each]."""
    among, found = among.to(dtype_of(among)), []
    for part in _parts(points, among):
        block = similarity(points[part], among)
        far = torch.minimum(reach[part, None], their_reach)
        block = block.sub_(far).div_(far.neg().add_(1).mul_(_RAMP).clamp_min_(_LEAST_RAMP)).add_(1).clamp_(0, 1)
        i, j = block.nonzero(as_tuple=True)
        found.append((i + part.start, j, block[i, j]))
    rows, columns, values = zip(*found, strict=True)
    return torch.cat(rows), torch.cat(columns), torch.cat(values)


def _parts(points: Tensor, among: Tensor) -> Iterator[slice]:
    # At least one tile, so that no points are no rows of A rather than nothing to put together.
    return tiles(max(len(points), 1), rows_per_tile(len(among), among.dtype, points.device))
