"""Mode minibatch: the mean of the dual potentials that Sinkhorn finds on many small draws of the rows.

The draws do not depend on each other, but for a start in common. Each is in proportion to mass and is solved like a
whole problem, its weights following its potentials. Their mean has the bias of a single draw (a draw is fitted more
closely to the references than all rows are; it falls as one over the rows of a batch) and the noise of all of them.
Potentials rather than plans are averaged, as in Fatras et al., Learning with minibatch Wasserstein, 2020, so that any
row can be scored by the c-transform. Each ψ has its constant fixed before (`gauge`), or the constants would count.
"""

import torch
from torch import Tensor

from sot_filter.transport.batches import RowWeights, draw_batches, drawn_from, solve_by_batches, solve_whole
from sot_filter.transport.problem import PushPullProblem
from sot_filter.transport.push_pull import stride_of
from sot_filter.transport.sinkhorn import fused_pass, gauge, kernels
from sot_filter.transport.solution import Solution


@torch.no_grad()
def solve_minibatch(
    problem: PushPullProblem,
    *,
    objective: str = "coupled",
    batch_rows: int = 1024,
    batches: int = 64,
    rounds: int = 2,
    polish: int = 0,
    seed: int = 0,
    threshold: float = 1e-6,
    marginal_threshold: float = 1e-3,
    max_iterations: int = 50,
    memory_budget: int = 2 << 30,
) -> Solution:
    """Weigh all rows by the mean of minibatch potentials.

    Args:
        problem: with tau above 0.
        objective: ``coupled``, keep shares that neighbours share, or ``exact``, weights u exp(-g/τ).
        batch_rows: draws in a batch; from n on, and for free marginals, the solve is the objective's own.
        batches: batches of a round.
        rounds: of batches, the later ones with the neighbourhoods that followed from the one before; one is enough
            in objective exact, and one is done.
        polish: exact Sinkhorn iterations on all rows afterwards.
        seed: of the draws.
        threshold: the certificate that counts as converged, cost units.
        marginal_threshold: the L1 marginal error that ends a batch, and that counts as converged.
        max_iterations: Sinkhorn iterations of a batch at most.
        memory_budget: bytes that the cached kernels of a batch may take; all rows are read tile by tile.

    Returns:
        The solution as `solve_by_batches` measures it, on all rows; its certificate is of a fresh sample.

    Raises:
        SolverError: tau is 0, sizes below 1, an unknown objective, or one that cannot take tilt or coupling.
    """
    counts = {"batch_rows": batch_rows, "batches": batches, "rounds": rounds, "max_iterations": max_iterations}
    if (whole := solve_whole(problem, objective, batch_rows, counts, memory_budget)) is not None:
        return whole
    generator = torch.Generator().manual_seed(seed)
    references = (problem.safe, problem.rho_safe), (problem.harmful, problem.rho_harmful)
    stride = stride_of(problem, problem.tau) if objective == "exact" else 1.0

    def fit(weights: RowWeights, psi: list[Tensor]) -> tuple[list[Tensor], int]:
        start, total, iterations = psi, [torch.zeros_like(p) for p in psi], 0
        for index, rows in enumerate(draw_batches(problem.rows.mass, batches, batch_rows, generator)):
            sides, weigh, found = kernels(drawn_from(problem, rows), memory_budget), weights.of(rows), start
            for _ in range(max_iterations):
                steps, _ = fused_pass(sides, found, weigh, stride)
                found = [step.psi for step in steps]
                iterations += 1
                if max(step.marginal_error for step in steps) < marginal_threshold:
                    break
            # The others start from the first, wherever they are solved.
            start = found if index == 0 else start
            total = [sum_ + one for sum_, one in zip(total, found, strict=True)]
        mean = zip(total, references, strict=True)
        return [gauge(p / batches, r.mass.to(p), rho) if rho else p for p, (r, rho) in mean], iterations

    return solve_by_batches(
        problem,
        fit,
        objective=objective,
        rounds=rounds if objective == "coupled" else 1,
        polish=polish,
        threshold=threshold,
        marginal_threshold=marginal_threshold,
        generator=generator,
    )
