"""A smaller reference in the place of a very large one: the raw means of its clusters, with their masses.

The cost 1 - <z, y> of a row to the mean of some points is the mean of its costs to them, so means keep their length:
made unit vectors, they would be nearer to every row than their points are. What a mean loses is the spread inside its
cluster, through which exp(-c/ε) gains; the loss falls with the clusters' radius over ε.
"""

import torch
from torch import Tensor

from sot_filter.errors import SolverError
from sot_filter.transport.problem import Measure, dtype_of


@torch.no_grad()
def compress(reference: Measure, assignment: Tensor) -> tuple[Measure, Tensor]:
    """Replace the points of each cluster by their mean with their mass.

    Args:
        reference: m points.
        assignment: the cluster of each of them [m], integers from 0; numbers may be left out.

    Returns:
        The smaller reference, a point for every cluster that has any, and for each of the m points the index [m] of
        its own; potentials of the smaller one are `psi[index]` on the points.

    Raises:
        SolverError: an assignment that is not of these points.
    """
    if assignment.shape != (len(reference),) or assignment.is_floating_point():
        raise SolverError(
            f"a cluster for each of {len(reference):,} reference points",
            f"shape {list(assignment.shape)} of {assignment.dtype}",
            "Assign these very points.",
        )
    clusters, index = torch.unique(assignment.to(reference.points.device), return_inverse=True)
    dtype = dtype_of(reference.points)
    share = reference.mass.double()
    mass = share.new_zeros(len(clusters)).index_add_(0, index, share)
    within = (share / mass[index]).to(dtype)
    means = reference.points.new_zeros(len(clusters), reference.points.shape[1], dtype=dtype)
    means.index_add_(0, index, reference.points.to(dtype) * within[:, None])
    return Measure(means, mass.to(reference.mass.dtype)), index
