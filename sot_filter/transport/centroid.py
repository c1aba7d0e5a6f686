"""Mode centroid: the coupled problem of many rows, by centroids of all and a sample that carries their masses.

What hangs on all rows at once are the dual potentials ψ, which see them through the marginals of the references. They
are found on the centroids first, at raw means (the cost 1 - <mean, y> is the mean of the costs) and with the masses of
all rows. A raw mean still claims less of a reference than its rows do one by one, since exp is convex; on text that
costs up to .008 of the ranking's Spearman correlation. So the potentials of the centroids are where the coupled solve
of the sample starts from. Its rows share the mass of the centroid they lie in, so the sample is a stratified one; the
neighbourhoods are those of its rows. Where the sample is all rows, this is mode coupled.
"""

from functools import partial

import torch
from torch import Tensor

from sot_filter.errors import SolverError
from sot_filter.transport.coupled import Field, given_weights, log_weights, solve_coupled
from sot_filter.transport.problem import Measure, PushPullProblem
from sot_filter.transport.score import score_rows
from sot_filter.transport.sinkhorn import fused_pass, kernels
from sot_filter.transport.solution import Solution

#: Sinkhorn iterations on the centroids at most; they only have to come near.
_ITERATIONS = 100


@torch.no_grad()
def solve_centroid(
    problem: PushPullProblem,
    *,
    centroids: Measure | None = None,
    membership: Tensor | None = None,
    threshold: float = 1e-6,
    marginal_threshold: float = 1e-3,
    max_iterations: int = 500,
    memory_budget: int = 2 << 30,
) -> Solution:
    """Find stationary keep shares of the coupled objective on a sample of rows, starting from their centroids.

    Args:
        problem: of the sample's n rows, their masses from `stratified`; else as for `solve_coupled`.
        centroids: raw means [K, d] and masses [K] of all rows; without, or where all marginals are free, there is
            nothing to start from, and this is mode coupled.
        membership: the centroid of each row of the sample [n].
        threshold: the certificate to reach, cost units.
        marginal_threshold: the L1 marginal error to reach, on the sides that count.
        max_iterations: passes over the sample's kernels at most.
        memory_budget: bytes that cached kernels may take.

    Raises:
        SolverError: a membership that does not fit, or what `solve_coupled` does not take.
    """
    finish = partial(
        solve_coupled,
        problem,
        threshold=threshold,
        marginal_threshold=marginal_threshold,
        max_iterations=max_iterations,
        memory_budget=memory_budget,
    )
    if problem.rho_safe == problem.rho_harmful == 0 or problem.tau == 0 or centroids is None or membership is None:
        return finish()
    _check(membership, len(problem.rows), len(centroids))
    field, balance = Field(problem), problem.push_strength
    zeros = [torch.zeros_like(reference.mass) for reference in (problem.safe, problem.harmful)]
    scores = score_rows(
        problem.rows.points, problem.safe, zeros[0], problem.harmful, zeros[1], problem.epsilon, balance
    )
    own = (scores.score + field.tilt) / problem.tau
    logit = field.settle(own, own)
    mass = field.mass.new_zeros(len(centroids)).index_add_(0, membership, log_weights(field.mass, logit).exp())
    quantised = PushPullProblem(
        centroids,
        problem.safe,
        problem.harmful,
        push_strength=balance,
        epsilon=problem.epsilon,
        rho_safe=problem.rho_safe,
        rho_harmful=problem.rho_harmful,
    )
    sides, psi = kernels(quantised, memory_budget), zeros
    for _ in range(_ITERATIONS):
        steps, _ = fused_pass(sides, psi, partial(given_weights, mass.clamp_min(1e-30).log()))
        if max(step.marginal_error for step in steps) < marginal_threshold:
            break
        psi = [step.psi for step in steps]
    return finish(start=logit, potentials=(psi[0], psi[1]))


def stratified(mass: Tensor, membership: Tensor, of_centroids: Tensor) -> Tensor:
    """Masses [n] of a sample's rows such that those in a centroid have its mass among them.

    Args:
        mass: of the sample's rows [n], as counts or shares.
        membership: their centroids [n].
        of_centroids: masses of the centroids [K] over all rows; one that has no row of the sample is left out.
    """
    own = mass.double()
    drawn = own.new_zeros(len(of_centroids)).index_add_(0, membership, own)
    scaled = own * (of_centroids.double() / drawn.clamp_min(1e-30))[membership]
    return scaled / scaled.sum()


def _check(membership: Tensor, n: int, k: int) -> None:
    if membership.shape != (n,) or not 0 <= int(membership.min()) <= int(membership.max()) < k:
        raise SolverError(
            f"one of {k:,} centroids for each of {n:,} rows",
            f"shape {list(membership.shape)}, {int(membership.min())} to {int(membership.max())}",
            "Assign the sample to the same centroids.",
        )
