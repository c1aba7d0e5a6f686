"""One fused Sinkhorn iteration between the rows and the references, on kernels that are cached or made anew.

A pass reads each tile of costs once. From it come the rows' potentials f at the given ψ, from those the rows' weights,
and from both the next ψ (Sinkhorn on the semi-dual, in the log domain; Peyré and Cuturi, Computational Optimal
Transport, 2019, sections 4.4 and 5.3). So the weights follow the very potentials of this pass; their normalising
constant is known at its end only and is put right there.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sot_filter.transport.c_transform import c_transform_of_rows, log_offset
from sot_filter.transport.cost import kernel_bytes, rows_per_tile, similarity, tiles
from sot_filter.transport.problem import Measure, PushPullProblem

#: How far, in units of ε, ψ may spread from the ψ that a cached kernel has absorbed.
_ABSORB = 30.0
#: A column that gathers less than this may owe it to underflow, and is done again in the log domain: kernel entries
#: below 1e-38 are lost, each worth at most exp(_ABSORB) times the weight of its row.
_LOST = 1e-17

#: Gives the logs of the weights [t], but for one common constant, from the slice of rows and their potentials [t].
Weigh = Callable[..., Tensor]


class Step(NamedTuple):
    """One reference's part of a pass: f [n] at the given ψ, the next ψ [m], and the L1 marginal error at the given ψ.

    The error is between the coupling's column marginal and what optimality asks of it: b for ρ = inf, b exp(-ψ/ρ) for
    a finite ρ, and nothing for ρ = 0.
    """

    f: Tensor
    psi: Tensor
    marginal_error: float


class TiledKernel:
    """The Gibbs kernel of the rows and one reference, made anew in every pass: one GEMM and one exp, memory of a tile.

    Args:
        rows: the rows; their masses are not used.
        reference: the reference and its masses b.
        epsilon: entropic strength, cost units.
        rho: relaxation of the reference's marginal, 0 to inf.
        dtype: what to compute in.
    """

    def __init__(self, rows: Measure, reference: Measure, epsilon: float, rho: float, dtype: torch.dtype) -> None:
        self.rows, self.epsilon, self.rho = rows.points, epsilon, rho
        self.reference, self.mass, self.support = reference, reference.mass.to(dtype), reference.points.to(dtype)

    def prepare(self, psi: Tensor) -> Tensor:
        """Get ready to read tiles at ``psi`` [m]; what they leave out of it is returned, in units of ε [m]."""
        self._offset = log_offset(self.reference, psi, self.epsilon, psi.dtype)
        return torch.zeros_like(psi)

    def tile(self, part: slice) -> tuple[Tensor, Tensor]:
        """A tile b_j exp((ψ_j - c_ij)/ε - shift_i) [t, m] whose row maxima are 1, and the shifts [t]."""
        tile = similarity(self.rows[part], self.support).sub_(1).div_(self.epsilon).add_(self._offset)
        shift = tile.amax(1)
        return tile.sub_(shift[:, None]).exp_(), shift


class CachedKernel(TiledKernel):
    """Keeps the kernel in memory (n * m values), so that a pass is two matrix-vector products on each tile.

    ψ is absorbed into the kernel when it has moved out of range (Schmitzer, Stabilized Sparse Scaling Algorithms for
    Entropy Regularized Transport Problems, 2019, section 3.3). The arguments are those of `TiledKernel`.
    """

    def __init__(self, rows: Measure, reference: Measure, epsilon: float, rho: float, dtype: torch.dtype) -> None:
        super().__init__(rows, reference, epsilon, rho, dtype)
        self._kernel = _room((len(rows), len(reference)), dtype, self.support.device)
        self._shift = torch.empty_like(self._kernel[:, 0])
        self._absorb(torch.zeros_like(self.mass))

    def prepare(self, psi: Tensor) -> Tensor:
        """Get ready to read tiles at ``psi`` [m]; what they leave out of it is returned, in units of ε [m]."""
        drift = (psi - self._absorbed) / self.epsilon
        if float(drift.max() - drift.min()) <= _ABSORB:
            return drift
        self._absorb(psi)
        return torch.zeros_like(psi)

    def tile(self, part: slice) -> tuple[Tensor, Tensor]:
        """A tile b_j exp((ψ_j - c_ij)/ε - shift_i) [t, m] at the absorbed ψ, and the shifts [t]."""
        tile = self._kernel[part]
        if tile.device.type == "cpu":
            # The products with it wait for memory; a plain sum brings it into the cache sooner than they would.
            tile.sum()
        return tile, self._shift[part]

    def _absorb(self, psi: Tensor) -> None:
        super().prepare(psi)
        self._absorbed = psi
        for part in tiles(len(self._kernel), rows_per_tile(len(psi), psi.dtype, psi.device)):
            self._kernel[part], self._shift[part] = super().tile(part)


def _room(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An empty matrix; on a CPU in numpy's memory, which asks the system for large pages where torch's does not."""
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.empty(shape, dtype=torch.empty(0, dtype=dtype).numpy().dtype))


def kernels(problem: PushPullProblem, memory_budget: int) -> tuple[TiledKernel, TiledKernel]:
    """The kernels of the safe and the harmful side: cached if both fit into ``memory_budget`` bytes."""
    needed = kernel_bytes(len(problem.rows), len(problem.safe) + len(problem.harmful), problem.dtype)
    kind = CachedKernel if needed <= memory_budget else TiledKernel
    return (
        kind(problem.rows, problem.safe, problem.epsilon, problem.rho_safe, problem.dtype),
        kind(problem.rows, problem.harmful, problem.epsilon, problem.rho_harmful, problem.dtype),
    )


def fused_pass(
    sides: Sequence[TiledKernel], psi: Sequence[Tensor], weigh: Weigh, stride: float = 1.0
) -> tuple[list[Step], Tensor]:
    """One Sinkhorn iteration on each kernel, all of them under the same weights of the rows.

    Args:
        sides: the kernels, of the same rows.
        psi: for each kernel the dual potential [m] to start from.
        weigh: called as ``weigh(part, f, ...)`` with a slice of the rows and, for each kernel, their potentials there.
        stride: how far to go towards the ψ that Sinkhorn asks for.

    Returns:
        A `Step` for each kernel, and the logs of the weights [n], normalised.
    """
    n, first = len(sides[0].rows), psi[0]
    f = [first.new_empty(n) for _ in sides]
    log_w, peak = first.new_empty(n), first.new_full((), -torch.inf)
    left_out = [kernel.prepare(p) for kernel, p in zip(sides, psi, strict=True)]
    top = [rest.max() for rest in left_out]
    scaling = [(rest - highest).exp() for rest, highest in zip(left_out, top, strict=True)]
    gathered = [torch.zeros_like(p) for p in psi]
    # A tile is read twice: half the usual size is more surely still in the cache the second time.
    for part in tiles(n, rows_per_tile(2 * sum(map(len, psi)), first.dtype, first.device)):
        read, potentials = [], []
        for k, kernel in enumerate(sides):
            tile, shift = kernel.tile(part)
            total = tile @ scaling[k]
            potentials.append(torch.log(total, out=f[k][part]).add_(shift).add_(top[k]).mul_(-kernel.epsilon))
            read.append((tile, total))
        log_part = log_w[part].copy_(weigh(part, *potentials))
        # What was gathered so far is in units of the largest weight so far.
        peak, before = torch.maximum(peak, log_part.max()), peak
        w, shrunk = (log_part - peak).exp_(), (before - peak).exp_()
        for (tile, total), column in zip(read, gathered, strict=True):
            column.mul_(shrunk).addmv_(tile.T, w / total)
    norm = log_w.logsumexp(0)
    log_w -= norm
    steps = []
    for k, kernel in enumerate(sides):
        column = gathered[k] * (peak - norm).exp()
        steps.append(_step(kernel, psi[k], f[k], log_w, column, column * scaling[k], stride))
    return steps, log_w


def _step(
    kernel: TiledKernel, psi: Tensor, f: Tensor, log_w: Tensor, gathered: Tensor, marginal: Tensor, stride: float
) -> Step:
    """Turn the column ``marginal`` [m] of ψ's coupling into the next ψ; ``gathered`` shows which of it to trust."""
    if kernel.rho == 0:
        return Step(f, torch.zeros_like(psi), 0.0)
    wanted = kernel.mass if kernel.rho == math.inf else kernel.mass * torch.exp(-psi / kernel.rho)
    balanced = psi - kernel.epsilon * (marginal / kernel.mass).log()
    if (lost := gathered < _LOST).any():
        balanced[lost] = c_transform_of_rows(kernel.rows, log_w, f, kernel.support[lost], kernel.epsilon)
    damped = balanced * damping(kernel.epsilon, kernel.rho)
    return Step(
        f, gauge(torch.lerp(psi, damped, stride), kernel.mass, kernel.rho), float((marginal - wanted).abs().sum())
    )


def damping(epsilon: float, rho: float) -> float:
    """ρ/(ρ+ε): how far a marginal of relaxation ρ pulls ψ towards the one that would meet it exactly."""
    return 1.0 if rho == math.inf else rho / (rho + epsilon)


def gauge(psi: Tensor, mass: Tensor, rho: float) -> Tensor:
    """Add the constant to ``psi`` [m] that is best for the semi-dual; no constant changes the coupling.

    Then sum_j b_j exp(-ψ_j/ρ) = 1, or sum_j b_j ψ_j = 0 for ρ = inf, and the reference's own term of the semi-dual is
    zero. Left to Sinkhorn, the constant would need some ρ/ε iterations (Séjourné, Vialard and Peyré, Faster Unbalanced
    Optimal Transport: Translation Invariant Sinkhorn, 2022).
    """
    if rho == math.inf:
        return psi - mass @ psi
    above = psi - psi.min()
    excess = mass @ torch.expm1(-above / rho)
    return above + rho * excess.clamp_min(torch.finfo(excess.dtype).eps - 1).log1p()
