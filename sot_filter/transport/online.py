"""Mode online: dual potentials from a stream of rows, each batch looked at a few times and forgotten.

At the solution the column marginal of all rows is what the references ask for. What the rows so far would make of it
at the present ψ needs one vector of the reference's size, log s_j = log sum_i w_i exp((f_i - c_ij)/ε): their marginal
at ψ is b exp(ψ/ε) s but for its total. A batch is mixed in with the share 2/(t+1), so that the newest count most and
the first, which saw the worst potentials, least; then ψ takes the Sinkhorn step of the mixed marginal. So batches are
not fitted by themselves, and what is left of error falls as the stream goes on.

It is the online Sinkhorn of Mensch and Peyré (2020) on a finite support, where it is a preconditioned stochastic
ascent of the semi-dual (Genevay et al., Stochastic Optimization for Large-scale Optimal Transport, 2016), with two
changes: the step is implicit, a batch's own share being evaluated at the ψ that follows from it, and the parts are
mixed as marginals of one total, so that no constant of ψ counts.
"""

import math

import torch
from torch import Tensor

from sot_filter.errors import SolverError
from sot_filter.transport.batches import KeepRule, RowWeights, draw_batches, solve_by_batches, solve_whole
from sot_filter.transport.problem import Measure, PushPullProblem, dtype_of
from sot_filter.transport.sinkhorn import CachedKernel, TiledKernel, damping, fused_pass, gauge
from sot_filter.transport.solution import Solution

#: A kept share is held this far from 0 and 1.
_EDGE = 1e-6


class OnlinePotentials:
    """Potentials that follow a stream of rows without end; two vectors of the size of each reference are kept.

    Args:
        safe: the safe reference.
        harmful: the harmful reference.
        push_strength: λ.
        epsilon: entropic strength, cost units.
        tau: strength of the entropy, cost units, above 0.
        rho_safe: relaxation of the safe marginal.
        rho_harmful: relaxation of the harmful marginal.
        objective: ``coupled``, rows weigh as far as they are kept, or ``exact``, u exp(-g/τ).
        iterations: how often a batch is looked at.

    Attributes:
        psi: ψ_Q [m_Q] and ψ_M [m_M] so far, fit for `score_rows`.
        seen: mass seen so far.
    """

    def __init__(
        self,
        safe: Measure,
        harmful: Measure,
        *,
        push_strength: float = 0.5,
        epsilon: float = 0.05,
        tau: float = 0.02,
        rho_safe: float = math.inf,
        rho_harmful: float = math.inf,
        objective: str = "coupled",
        iterations: int = 3,
    ) -> None:
        if not (epsilon > 0 and tau > 0 and iterations >= 1 and objective in ("coupled", "exact")):
            raise SolverError(
                "epsilon and tau above 0, at least one iteration, and objective coupled or exact",
                f"epsilon {epsilon}, tau {tau}, {iterations} iterations, objective {objective!r}",
                "Change them.",
            )
        self.rule = KeepRule(push_strength, tau, objective == "coupled")
        self.epsilon, self.iterations = epsilon, iterations
        self.sides = (safe, rho_safe), (harmful, rho_harmful)
        dtype = dtype_of(safe.points, harmful.points)
        self.psi = [torch.zeros_like(reference.mass, dtype=dtype) for reference, _ in self.sides]
        self.seen = 0.0
        self._log_sums = [torch.zeros_like(psi) for psi in self.psi]
        # Half are kept, before any is seen.
        self._log_total = self.psi[0].new_tensor(0.5).log()

    @torch.no_grad()
    def update(self, points: Tensor, mass: Tensor, tilt: Tensor | None = None, level: Tensor | None = None) -> None:
        """Take in a batch of rows.

        Args:
            points: [t, d], in the space of the references.
            mass: [t], positive; what a row counts for against those of other batches, such as its copies.
            tilt: the linear term of their cost [t], cost units.
            level: what their neighbours add to their log-odds [t]; by default what the population does, the log-odds
                of the kept share so far.

        Raises:
            SolverError: rows that do not fit the references, or masses that are none.
        """
        batch = Measure(points, mass / mass.sum())
        total = float(mass.sum())
        share = min(2 * total / (2 * total + self.seen), 1.0) if self.seen else 1.0
        dtype = self.psi[0].dtype
        log_mass = batch.mass.to(dtype).log()
        tilts = torch.zeros_like(log_mass) if tilt is None else tilt.to(dtype)
        # The marginals are mixed before they are damped: the kernels are balanced ones.
        kind = CachedKernel if self.iterations > 1 else TiledKernel
        kernels = [kind(batch, reference, self.epsilon, math.inf, dtype) for reference, _ in self.sides]
        sums_before, total_before = self._log_sums, self._log_total
        for _ in range(self.iterations):
            levels = torch.full_like(tilts, self._population()) if level is None else level.to(dtype)
            weigh = RowWeights(self.rule, tilts, levels).of(slice(None), log_mass)
            steps, _ = fused_pass(kernels, self.psi, weigh)
            # What the batch weighs in all: weights are normalised over all rows, not in each batch by itself.
            of_batch = weigh(slice(None), steps[0].f, steps[1].f).logsumexp(0)
            self._log_total = of_batch
            part = 1.0
            if share < 1:
                self._log_total = torch.logaddexp(total_before + math.log1p(-share), of_batch + math.log(share))
                part = share * float((of_batch - self._log_total).exp())
            self._log_sums = [
                _mixed(reference, psi, log_sum, step.psi, self.epsilon, part)
                for (reference, _), psi, log_sum, step in zip(self.sides, self.psi, sums_before, steps, strict=True)
            ]
            self.psi = [
                torch.zeros_like(log_sum)
                if rho == 0
                else gauge(-self.epsilon * damping(self.epsilon, rho) * log_sum, reference.mass.to(dtype), rho)
                for log_sum, (reference, rho) in zip(self._log_sums, self.sides, strict=True)
            ]
        self.seen += total

    @property
    def kept_share(self) -> float | None:
        """Objective coupled: the kept share of the mass seen; slow to settle where few rows are clear cases."""
        return float(self._log_total.exp()) if self.rule.together else None

    def _population(self) -> float:
        """Log-odds of the kept share."""
        return float(torch.logit(self._log_total.exp(), eps=_EDGE)) if self.rule.together else 0.0


def _mixed(reference: Measure, psi: Tensor, log_sum: Tensor, balanced: Tensor, epsilon: float, share: float) -> Tensor:
    """log s [m] of past and batch: the past's ``log_sum``, the batch's from the Sinkhorn step to ``balanced``."""
    log_b = reference.mass.to(psi).log()
    past = (log_b + psi / epsilon + log_sum).log_softmax(0)
    batch = (log_b + (psi - balanced) / epsilon).log_softmax(0)
    if share < 1:
        batch = torch.logaddexp(past + math.log1p(-share), batch + math.log(share))
    return batch - log_b - psi / epsilon


@torch.no_grad()
def solve_online(
    problem: PushPullProblem,
    *,
    objective: str = "coupled",
    batch_rows: int = 64,
    epochs: int = 2,
    iterations: int = 3,
    polish: int = 0,
    seed: int = 0,
    threshold: float = 1e-6,
    marginal_threshold: float = 1e-3,
    memory_budget: int = 2 << 30,
) -> Solution:
    """Weigh all rows by potentials that one or two looks at each of them gave.

    Args:
        problem: with tau above 0.
        objective: ``coupled``, keep shares that neighbours share, or ``exact``, weights u exp(-g/τ).
        batch_rows: draws in a batch; from n on, and for free marginals, the solve is the objective's own.
        epochs: how often as many rows are drawn as there are; neighbourhoods are found anew after each.
        iterations: Sinkhorn iterations of a batch.
        polish: exact Sinkhorn iterations on all rows afterwards.
        seed: of the draws.
        threshold: the certificate that counts as converged, cost units.
        marginal_threshold: the L1 marginal error that counts as converged.
        memory_budget: bytes that cached kernels may take where the objective's own solve is used.

    Returns:
        The solution as `solve_by_batches` measures it, on all rows; its certificate is of a fresh sample.

    Raises:
        SolverError: tau is 0, sizes below 1, an unknown objective, or one that cannot take tilt or coupling.
    """
    counts = {"batch_rows": batch_rows, "epochs": epochs, "iterations": iterations}
    if (whole := solve_whole(problem, objective, batch_rows, counts, memory_budget)) is not None:
        return whole
    generator = torch.Generator().manual_seed(seed)
    stream = OnlinePotentials(
        problem.safe,
        problem.harmful,
        push_strength=problem.push_strength,
        epsilon=problem.epsilon,
        tau=problem.tau,
        rho_safe=problem.rho_safe,
        rho_harmful=problem.rho_harmful,
        objective=objective,
        iterations=iterations,
    )
    each = torch.ones(batch_rows, dtype=problem.dtype, device=problem.rows.points.device)

    def fit(weights: RowWeights, psi: list[Tensor]) -> tuple[list[Tensor], int]:
        drawn = draw_batches(problem.rows.mass, max(1, len(problem.rows) // batch_rows), batch_rows, generator)
        for rows in drawn:
            stream.update(problem.rows.points[rows], each, weights.tilt[rows], weights.level[rows])
        return list(stream.psi), len(drawn) * iterations

    return solve_by_batches(
        problem,
        fit,
        objective=objective,
        rounds=epochs,
        polish=polish,
        threshold=threshold,
        marginal_threshold=marginal_threshold,
        generator=generator,
    )
