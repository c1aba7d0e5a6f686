"""What rows of the references score when they are left out of them: the only evidence a setting is chosen by."""

import torch
from torch import Tensor

from sot_filter.errors import ReferenceError
from sot_filter.transport.c_transform import c_transform
from sot_filter.transport.cost import kernel_bytes
from sot_filter.transport.problem import Measure, dtype_of
from sot_filter.transport.sinkhorn import CachedKernel, TiledKernel, damping, fused_pass

#: Sinkhorn iterations for held-out potentials of relaxed marginals; the damping makes more of no use.
_ITERATIONS = 30
#: Up to here a kernel is kept between the iterations.
_MOST_BYTES = 1 << 30


def draw_folds(safe: int, harmful: int, folds: int, seed: int) -> Tensor:
    """A fold [safe + harmful] for each row of the two references, each fold with its share of either.

    Raises:
        ReferenceError: a reference has fewer rows than there are folds.
    """
    if min(safe, harmful) < folds:
        raise ReferenceError(
            f"at least {folds} rows in each reference",
            f"{safe} safe and {harmful} harmful",
            "Add rows to the smaller one; a few hundred make a reference.",
        )
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([torch.randperm(m, generator=generator) % folds for m in (safe, harmful)])


def held_out_potentials(
    safe: Measure,
    harmful: Measure,
    folds: Tensor,
    epsilon: float,
    rho_safe: float = 0.0,
    rho_harmful: float = 0.0,
    kept: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The potentials f_Q and f_M [m_Q + m_M each] of every reference row, its fold left out of both references.

    Args:
        safe: the safe reference, m_Q points.
        harmful: the harmful reference, m_M points.
        folds: the fold of each row, from `draw_folds`.
        epsilon: entropic strength, cost units.
        rho_safe: relaxation of the safe marginal.
        rho_harmful: relaxation of the harmful marginal.
        kept: how far each row is kept [m_Q + m_M], in 0..1; the weights that relaxed marginals are solved for.
    """
    rows = torch.cat([safe.points, harmful.points])
    pull, push = rows.new_empty(2, len(rows), dtype=dtype_of(rows))
    for fold in range(int(folds.max()) + 1):
        own = folds == fold
        held = Measure.uniform(rows[own])
        weights = torch.ones(len(held)) if kept is None else kept[own]
        log_w = (weights.to(pull) / weights.sum()).clamp_min(1e-12).log()
        for reference, known, rho, f in (
            (safe, ~own[: len(safe)], rho_safe, pull),
            (harmful, ~own[len(safe) :], rho_harmful, push),
        ):
            part = Measure(reference.points[known], reference.mass[known] / reference.mass[known].sum())
            f[own] = c_transform(held.points, part, _potential(held, part, log_w, epsilon, rho), epsilon).to(f)
    return pull, push


def _potential(rows: Measure, reference: Measure, log_w: Tensor, epsilon: float, rho: float) -> Tensor:
    """ψ [m] of the reference for rows of fixed weights."""
    psi = torch.zeros_like(reference.mass)
    if damping(epsilon, rho) == 0:
        return psi
    needed = kernel_bytes(len(rows), len(reference), reference.mass.dtype)
    kind = CachedKernel if needed <= _MOST_BYTES else TiledKernel
    kernel = kind(rows, reference, epsilon, rho, reference.mass.dtype)
    for _ in range(_ITERATIONS):
        (step,), _ = fused_pass([kernel], [psi], lambda part, _: log_w[part])
        psi = step.psi
    return psi
