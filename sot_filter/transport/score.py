"""Score rows: one streamed pass over both references, with the nearest reference rows as evidence."""

from typing import NamedTuple

import torch
from torch import Tensor

from sot_filter.transport.c_transform import check_potential, log_offset
from sot_filter.transport.clusters import Clusters
from sot_filter.transport.cost import similarity, soft_minimum, tiles
from sot_filter.transport.problem import Measure, dtype_of


class RowScores(NamedTuple):
    """What the two references say of each row; every field is [n].

    Args:
        pull: potential f_Q, cost units: how far from the safe reference.
        push: potential f_M, cost units: how far from the harmful reference.
        score: -((1-λ) pull - λ push): the higher, the rather a row should be kept.
        nearest_safe: index of the safe reference row of the highest similarity.
        nearest_safe_similarity: that similarity, <z, y>.
        nearest_harmful: index of the nearest harmful reference row.
        nearest_harmful_similarity: that similarity, <z, y>.
        cluster: the cluster of the harmful reference to which most of the row's mass goes; 0 if there are none.
        cluster_share: the share of the row's mass that goes there, 0 to 1; 1 if there are no clusters.
    """

    pull: Tensor
    push: Tensor
    score: Tensor
    nearest_safe: Tensor
    nearest_safe_similarity: Tensor
    nearest_harmful: Tensor
    nearest_harmful_similarity: Tensor
    cluster: Tensor
    cluster_share: Tensor


@torch.no_grad()
def score_rows(
    points: Tensor,
    safe: Measure,
    psi_safe: Tensor,
    harmful: Measure,
    psi_harmful: Tensor,
    epsilon: float,
    push_strength: float,
    *,
    clusters: Clusters | None = None,
    tile: int = 8192,
) -> RowScores:
    """Score ``points`` [n, d] by the potentials of a solve; memory is tile * (m_Q + m_M), whatever n.

    Args:
        points: the rows, in the space of the references.
        safe: the safe reference, m_Q points.
        psi_safe: its dual potential [m_Q].
        harmful: the harmful reference, m_M points.
        psi_harmful: its dual potential [m_M].
        epsilon: the solve's entropic strength, in cost units.
        push_strength: the solve's λ.
        clusters: a partition of the harmful reference, to say which part of it claims each row.
        tile: rows to hold the costs of at a time.

    Raises:
        SolverError: shapes that do not fit, or an epsilon that is not positive.
    """
    dtype = dtype_of(points, safe.points, harmful.points, psi_safe, psi_harmful)
    sides = []
    for reference, psi in ((safe, psi_safe), (harmful, psi_harmful)):
        check_potential(points, reference, psi, epsilon)
        support, offset = reference.points.to(dtype), log_offset(reference, psi, epsilon, dtype)
        potential, nearest_similarity = points.new_empty(2, len(points), dtype=dtype)
        nearest = torch.empty(len(points), dtype=torch.int64, device=points.device)
        sides.append((support, offset, potential, nearest, nearest_similarity))
    claimed_by = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    claimed_share = torch.ones(len(points), dtype=dtype, device=points.device)
    for part in tiles(len(points), tile):
        rows = points[part].to(dtype)
        for support, offset, potential, nearest, nearest_similarity in sides:
            block = similarity(rows, support)
            nearest_similarity[part], nearest[part] = block.max(dim=1)
            potential[part] = soft_minimum(block, offset, epsilon)
        if clusters is not None:
            # The last block, of the harmful side, now holds the logits of the conditional plan.
            claims = clusters.totals(block.sub_(block.amax(dim=1, keepdim=True)).exp_())
            claimed_share[part], claimed_by[part] = (claims / claims.sum(1, keepdim=True)).max(dim=1)
    (_, _, pull, *safe_evidence), (_, _, push, *harmful_evidence) = sides
    score = push_strength * push - (1 - push_strength) * pull
    evidence = [*safe_evidence, *harmful_evidence, claimed_by, claimed_share]
    return RowScores(pull, push, score, *evidence)


@torch.no_grad()
def conditional_plan(points: Tensor, reference: Measure, psi: Tensor, epsilon: float) -> Tensor:
    """Where the mass of each row goes: P(j|i) = b_j exp((ψ_j - c_ij)/ε) / sum_k b_k exp((ψ_k - c_ik)/ε), [n, m].

    It holds n * m values, so it is for a few rows at a time. Raises `SolverError` as `score_rows` does.
    """
    check_potential(points, reference, psi, epsilon)
    dtype = dtype_of(points, reference.points, psi)
    logits = similarity(points, reference.points.to(dtype)).div_(epsilon)
    return logits.add_(log_offset(reference, psi, epsilon, dtype)).softmax(dim=1)
