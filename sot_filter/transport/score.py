"""Score rows: one streamed pass over both references, with the nearest reference rows as evidence.

Each tile of similarities is made once, by one matrix product, and turned into a kernel whose row maxima are 1, by one
exp. All else is read off it by one product with few columns: the potentials, those at other masses or another ψ of the
same references (the columns), and the shares that clusters claim.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sot_filter.transport.c_transform import check_potential, log_offset
from sot_filter.transport.clusters import Clusters
from sot_filter.transport.cost import product, rows_per_tile, similarity, tiles
from sot_filter.transport.problem import Measure, dtype_of

#: How far apart, in nats, what the reference adds to the columns of -c / ε may lie to be left out of the kernel: its
#: entries below 1e-38 are lost, each worth at most this much, and as much again in a column, more than they seem.
_SPREAD: Final = 25.0


class RowScores(NamedTuple):
    """What the two references say of each of n rows.

    Args:
        pull: potential f_Q [n], cost units: how far from the safe reference.
        push: potential f_M [n], cost units: how far from the harmful reference.
        score: -((1-λ) pull - λ push) [n]: the higher, the rather a row should be kept.
        nearest_safe: index [n] of the safe reference row of the highest similarity.
        nearest_safe_similarity: that similarity [n], <z, y>.
        nearest_harmful: index [n] of the nearest harmful reference row.
        nearest_harmful_similarity: that similarity [n], <z, y>.
        cluster: the cluster [n] of the harmful reference to which most of the row's mass goes; 0 if there are none.
        cluster_share: the share [n] of the row's mass that goes there, 0 to 1; 1 if there are no clusters.
        pulls: potentials of the safe reference [n, r], one for each of its columns.
        pushes: those of the harmful reference [n, r].
        contrast: what was read off the similarities to the safe reference less the same of the harmful one [n]; zeros
            if nothing was.
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
    pulls: Tensor
    pushes: Tensor
    contrast: Tensor


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
    columns: tuple[Tensor, Tensor] | None = None,
    read: Callable[[Tensor], Tensor] | None = None,
    tile: int | None = None,
) -> RowScores:
    """Score ``points`` [n, d] by the potentials of a solve; memory is a tile, whatever n.

    Args:
        points: the rows, in the space of the references, on their device.
        safe: the safe reference, m_Q points.
        psi_safe: its dual potential [m_Q].
        harmful: the harmful reference, m_M points.
        psi_harmful: its dual potential [m_M].
        epsilon: the solve's entropic strength, in cost units.
        push_strength: the solve's λ.
        clusters: a partition of the harmful reference, to say which part of it claims each row.
        columns: for either reference factors [m, r] of b exp(ψ/ε), the masses at its potential: each column gives
            another potential of every row. Above 0, and within e^30 of each other.
        read: what to read off each block of similarities [t, m] of a reference: one value for each row [t].
        tile: rows to hold the costs of at a time; by default as many as a cache, or a GPU, is best used with.

    Raises:
        SolverError: shapes that do not fit, or an epsilon that is not positive.
    """
    dtype = dtype_of(points, safe.points, harmful.points, psi_safe, psi_harmful)
    for reference, psi in ((safe, psi_safe), (harmful, psi_harmful)):
        check_potential(points, reference, psi, epsilon)
    device = points.device
    member = torch.empty(len(harmful), 0, dtype=dtype, device=device)
    if clusters is not None:
        member = one_hot(clusters.assignment.to(device), len(clusters)).to(dtype)
    n, step = len(points), tile or rows_per_tile(max(len(safe), len(harmful)), dtype, device)
    sides = [
        _Side(n, safe, psi_safe, epsilon, dtype, columns and columns[0], member[:0]),
        _Side(n, harmful, psi_harmful, epsilon, dtype, columns and columns[1], member),
    ]
    contrast = points.new_zeros(n, dtype=dtype)
    claimed_by = torch.zeros(n, dtype=torch.int64, device=device)
    claimed_share = torch.ones(n, dtype=dtype, device=device)
    for part in tiles(n, step):
        rows = points[part].to(dtype)
        for sign, side in zip((1, -1), sides, strict=True):
            block = similarity(rows, side.support)
            if read is not None:
                contrast[part] += sign * read(block)
            claims = side.score(part, block)
        if clusters is not None:
            claimed_share[part], claimed_by[part] = (claims / claims.sum(1, keepdim=True)).max(dim=1)
    pull, push = (side.potentials[:, 0] for side in sides)
    pulls, pushes = (side.potentials[:, 1:] for side in sides)
    score = push_strength * push - (1 - push_strength) * pull
    nearest_safe, nearest_harmful = ((side.nearest, side.nearest_similarity) for side in sides)
    return RowScores(
        pull, push, score, *nearest_safe, *nearest_harmful, claimed_by, claimed_share, pulls, pushes, contrast
    )


class _Side:
    """One reference, made ready: what its kernel is multiplied by, and room for what comes out."""

    def __init__(
        self,
        n: int,
        reference: Measure,
        psi: Tensor,
        epsilon: float,
        dtype: torch.dtype,
        columns: Tensor | None,
        member: Tensor,
    ) -> None:
        self.support, self.epsilon = reference.points.to(dtype), epsilon
        offset = log_offset(reference, psi, epsilon, dtype)
        factors = torch.ones_like(offset)[:, None]
        if columns is not None:
            factors = torch.cat([factors, columns.to(factors)], 1)
        self.kinds = factors.shape[1]
        if len(member):
            factors = torch.cat([factors, member], 1)
        self.top, self.offset = offset.max(), None
        if float(self.top - offset.min()) > _SPREAD:
            self.offset = offset - self.top
        else:
            factors = factors * (offset - self.top).exp()[:, None]
        self.factors = factors
        self.potentials = self.support.new_empty(n, self.kinds)
        self.nearest_similarity = self.support.new_empty(n)
        self.nearest = torch.empty(n, dtype=torch.int64, device=self.support.device)

    def score(self, part: slice, block: Tensor) -> Tensor:
        """Fill in a part of the rows from their similarities [t, m], which are overwritten; what clusters gather."""
        # NumPy's argmax is vectorised, torch's is only on a GPU.
        on_cpu = block.device.type == "cpu"
        self.nearest[part] = nearest = torch.from_numpy(block.numpy().argmax(1)) if on_cpu else block.argmax(1)
        self.nearest_similarity[part] = shift = block.gather(1, nearest[:, None])[:, 0]
        if self.offset is not None:
            block.add_(self.offset, alpha=self.epsilon)
            shift = block.amax(dim=1)
        sums = product(block.sub_(shift[:, None]).div_(self.epsilon).exp_(), self.factors)
        potentials = sums[:, : self.kinds].log_().add_(self.top).mul_(-self.epsilon)
        self.potentials[part] = potentials.add_(1 - shift[:, None])
        return sums[:, self.kinds :]


@torch.no_grad()
def conditional_plan(points: Tensor, reference: Measure, psi: Tensor, epsilon: float) -> Tensor:
    """Where the mass of each row goes: P(j|i) = b_j exp((ψ_j - c_ij)/ε) / sum_k b_k exp((ψ_k - c_ik)/ε), [n, m].

    It holds n * m values, so it is for a few rows at a time. Raises `SolverError` as `score_rows` does.
    """
    check_potential(points, reference, psi, epsilon)
    dtype = dtype_of(points, reference.points, psi)
    logits = similarity(points, reference.points.to(dtype)).div_(epsilon)
    return logits.add_(log_offset(reference, psi, epsilon, dtype)).softmax(dim=1)
