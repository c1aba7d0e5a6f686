"""Passes over all rows that correct the potentials of a sample: two sums over rows, and the step that follows.

Where a marginal of a reference is constrained, its dual potential ψ depends on what all rows together gather on each
of its points. A sample knows that with the noise of a sample. A pass adds up, over all rows, Σ_i v_i P(j|i) with v_i
the keep share of row i and P its conditional plan at the present ψ, in parts of any size; the sums of parts add up to
those of the whole. From them follows the ψ of one Sinkhorn iteration on all rows (`sot_filter.transport.sinkhorn`).
"""

import math

import torch
from torch import Tensor

from sot_filter.transport.c_transform import check_potential, log_offset
from sot_filter.transport.cost import rows_per_tile, similarity, tiles
from sot_filter.transport.problem import Measure, dtype_of
from sot_filter.transport.sinkhorn import damping, gauge


@torch.no_grad()
def column_sums(points: Tensor, weights: Tensor, reference: Measure, psi: Tensor, epsilon: float) -> Tensor:
    """What rows gather on each point of a reference: Σ_i v_i P(j|i) [m] in float64; memory is a tile, whatever n.

    Args:
        points: the rows [n, d], in the space of the reference, on its device.
        weights: v [n], 0 or above, on any scale.
        reference: its m points and masses.
        psi: its dual potential [m], by which the rows' mass is parted (see `conditional_plan`).
        epsilon: entropic strength, cost units.

    Raises:
        SolverError: shapes that do not fit, or an epsilon that is not positive.
    """
    check_potential(points, reference, psi, epsilon)
    support = reference.points.to(dtype_of(points, reference.points, psi))
    # In float64 nothing underflows that ψ hangs on: the range of exp is 700 nats, that of costs 2 / ε.
    offset, weights = log_offset(reference, psi, epsilon, torch.float64), weights.double()
    sums = torch.zeros_like(offset)
    for part in tiles(len(points), rows_per_tile(len(offset), torch.float64, points.device)):
        plan = similarity(points[part], support).double().div_(epsilon).add_(offset).softmax(1)
        sums.addmv_(plan.T, weights[part])
    return sums


def next_potential(
    sums: Tensor, total: float, reference: Measure, psi: Tensor, epsilon: float, rho: float
) -> tuple[Tensor, float]:
    """The ψ [m] of the next Sinkhorn iteration, and the L1 marginal error of the present one.

    Args:
        sums: from `column_sums`, added up over all rows [m].
        total: Σ_i v_i, which the sums add up to.
        reference: its m points and masses.
        psi: the dual potential [m] that the sums were made at.
        epsilon: entropic strength, cost units.
        rho: relaxation of the reference's marginal; at 0 there is no potential and no error.
    """
    if rho == 0:
        return torch.zeros_like(psi), 0.0
    mass, before = reference.mass.double(), psi.double()
    marginal = sums.double() / total
    wanted = mass if rho == math.inf else mass * torch.exp(-before / rho)
    balanced = before - epsilon * (marginal.clamp_min(torch.finfo(torch.float64).tiny) / mass).log()
    following = gauge(balanced * damping(epsilon, rho), mass, rho)
    return following.to(psi.dtype), float((marginal - wanted).abs().sum())
