"""Solves that see a batch of rows at a time: the draws, the weights of a batch's rows, and what all rows say of them.

The dual potentials ψ see the rows through sums over them only, so batches drawn in proportion to mass can find them.
A row's neighbours hang on all rows: their part of its log-odds is held while batches find ψ, and found anew after that
in a pass over all rows. The last such pass scores the rows and measures the marginal errors.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sot_filter.errors import SolverError
from sot_filter.transport.c_transform import c_transform
from sot_filter.transport.cost import rows_per_tile
from sot_filter.transport.coupled import Field, log_weights, solve_coupled
from sot_filter.transport.problem import Measure, PushPullProblem
from sot_filter.transport.push_pull import solve_exact, stride_of
from sot_filter.transport.sinkhorn import Weigh, fused_pass, kernels
from sot_filter.transport.solution import Outcome, Solution, effective_sample_size, judge

#: Rows of the fresh sample that the certificate is measured on.
_SAMPLE = 4096


@dataclass(frozen=True)
class KeepRule:
    """How much rows weigh, against their base mass, at their potentials.

    Args:
        push_strength: λ.
        tau: τ, cost units.
        together: whether a row weighs as far as it is kept, sigmoid of its log-odds (mode coupled), or the exponential
            of them (mode exact).
    """

    push_strength: float
    tau: float
    together: bool

    def own(self, pull: Tensor, push: Tensor, tilt: Tensor | float = 0.0) -> Tensor:
        """What the references say of rows [t], in nats."""
        return (self.push_strength * push - (1 - self.push_strength) * pull + tilt) / self.tau

    def log_share(self, own: Tensor, level: Tensor | float = 0.0) -> Tensor:
        """Logs [t] of weight over base mass, but for a constant; ``level`` is what neighbours add to the log-odds."""
        return logsigmoid(own + level) if self.together else own


@dataclass(eq=False)
class RowWeights:
    """The rule and what it needs of each row of a problem.

    Args:
        rule: how rows weigh.
        tilt: [n], cost units.
        level: what its neighbours add to each row's log-odds [n], as of the last pass over all rows.
    """

    rule: KeepRule
    tilt: Tensor
    level: Tensor

    def of(self, rows: Tensor | slice, log_mass: Tensor | float = 0.0) -> Weigh:
        """The weights of some rows of the problem, as a pass over their kernels asks for them."""
        tilt, level = self.tilt[rows], self.level[rows]
        base = torch.zeros_like(tilt) + log_mass

        def weigh(part: slice, pull: Tensor, push: Tensor) -> Tensor:
            return base[part] + self.rule.log_share(self.rule.own(pull, push, tilt[part]), level[part])

        return weigh


#: Finds better potentials from the weights and some potentials, and says how many Sinkhorn iterations that took.
Fit = Callable[[RowWeights, list[Tensor]], tuple[list[Tensor], int]]


def solve_whole(
    problem: PushPullProblem, objective: str, batch_rows: int, counts: dict[str, int], memory_budget: int
) -> Solution | None:
    """The exact solution where batches are none: free marginals have no ψ to find, and a batch of all rows is all.

    Raises:
        SolverError: an unknown objective, a tau of 0, or sizes below 1.
    """
    if objective not in ("coupled", "exact"):
        raise SolverError("objective coupled or exact", repr(objective), "Choose one of these.")
    if problem.tau == 0:
        raise SolverError("tau above 0", "tau 0", "Set tau, or use mode paper, which has none.")
    if wrong := {name: count for name, count in counts.items() if count < 1}:
        name, count = next(iter(wrong.items()))
        raise SolverError(f"{name} of at least 1", str(count), f"Raise {name}.")
    free = problem.rho_safe == problem.rho_harmful == 0
    if objective == "exact" and not (problem.tilt is None and problem.coupling is None):
        raise SolverError(
            "a problem without tilt and coupling", "one with them", "Leave them out, or use objective coupled."
        )
    if not free and batch_rows < len(problem.rows):
        return None
    whole = solve_coupled if objective == "coupled" else solve_exact
    return whole(problem, memory_budget=memory_budget)


def draw_batches(mass: Tensor, batches: int, batch_rows: int, generator: torch.Generator) -> Tensor:
    """Rows [batches, batch_rows], each as often as its share of ``mass`` [n] asks for, to within one.

    Systematic: equal steps through the masses of the rows in random order, the draws in random order again. So equal
    masses give every row once where there are as many draws as rows, and no row twice where there are fewer.
    """
    n, draws = len(mass), batches * batch_rows
    order = torch.randperm(n, generator=generator)
    upto = mass.double().cpu()[order].cumsum(0)
    at = (torch.arange(draws, dtype=torch.float64) + torch.rand(1, dtype=torch.float64, generator=generator)) / draws
    rows = order[torch.searchsorted(upto / upto[-1], at).clamp_max_(n - 1)]
    return rows[torch.randperm(draws, generator=generator)].reshape(batches, batch_rows).to(mass.device)


def drawn_from(problem: PushPullProblem, rows: Tensor) -> PushPullProblem:
    """The problem of equally weighted draws ``rows`` [t] only."""
    return replace(problem, rows=Measure.uniform(problem.rows.points[rows]), tilt=None, coupling=None)


def solve_by_batches(
    problem: PushPullProblem,
    fit: Fit,
    *,
    objective: str,
    rounds: int,
    polish: int,
    threshold: float,
    marginal_threshold: float,
    generator: torch.Generator,
) -> Solution:
    """Let ``fit`` find ψ, and all rows their weights at it, ``rounds`` times over.

    Args:
        problem: with marginals that are not all free.
        fit: a minibatch or an online estimate.
        objective: ``coupled`` or ``exact``.
        rounds: of fit and pass; an objective without neighbours passes over all rows after the last only.
        polish: passes more, each an exact Sinkhorn iteration on all rows.
        threshold: certificate at or below which the outcome is converged, cost units.
        marginal_threshold: the same for the L1 marginal errors of all rows.
        generator: of the sample for the certificate.

    Returns:
        All fields are of all rows at the returned potentials, but for the certificate: from a fresh sample of rows, τ
        KL of their weights to those one exact iteration later (of keep shares, in nats a row, in objective coupled),
        their neighbours held. The marginal errors are those of the weights that this pass began with.
    """
    dtype, mass, together = problem.dtype, problem.rows.mass.to(problem.dtype), objective == "coupled"
    nothing = torch.zeros_like(mass)
    weights = RowWeights(
        KeepRule(problem.push_strength, problem.tau, together),
        nothing if problem.tilt is None else problem.tilt.to(dtype),
        nothing,
    )
    rule, log_mass = weights.rule, mass.log()
    field = Field(problem) if together else None
    psi = [torch.zeros_like(reference.mass, dtype=dtype) for reference in (problem.safe, problem.harmful)]
    logit = None
    if field is not None:
        own = rule.own(*_potentials(problem, problem.rows.points, psi), weights.tilt)
        logit = field.settle(own, own)
        weights.level = field.share(field.local(logit))
    sides, stride = kernels(problem, 0), stride_of(problem, problem.tau) if field is None else 1.0
    following, iterations = psi, 0
    for step in range(rounds + polish):
        psi, done = fit(weights, psi) if step < rounds else (following, 0)
        iterations += done
        if field is None and step + 1 < rounds:
            continue
        (safe, harmful), log_w = fused_pass(sides, psi, weights.of(slice(None), log_mass), stride)
        following, iterations = [safe.psi, harmful.psi], iterations + 1
        own = rule.own(safe.f, harmful.f, weights.tilt)
        if field is not None:
            logit = field.settle(own if logit is None else logit, own)
            weights.level = field.share(field.local(logit))
    balance = problem.push_strength
    score = balance * harmful.f - (1 - balance) * safe.f
    if field is not None and logit is not None:
        log_w, score = log_weights(mass, logit), logit
        kept = torch.sigmoid(logit)
        objective_value = problem.tau * (field.term(logit) - float(mass @ (kept * own)))
    else:
        objective_value = float(log_w.exp() @ (problem.tau * (log_w - log_mass) - score))
    sample = draw_batches(mass, 1, min(_SAMPLE, len(mass)), generator)[0]
    certificate = _certificate(problem, weights, sample, own[sample], following)
    error = max((1 - balance > 0) * safe.marginal_error, (balance > 0) * harmful.marginal_error)
    sample_size = effective_sample_size(log_w, log_mass)
    outcome = judge(score, sample_size, certificate < threshold, error < marginal_threshold)
    return Solution(
        psi_safe=psi[0],
        psi_harmful=psi[1],
        pull=safe.f,
        push=harmful.f,
        score=score,
        temperature=None if together else problem.tau,
        log_weights=log_w,
        certificate=certificate,
        marginal_error_safe=safe.marginal_error,
        marginal_error_harmful=harmful.marginal_error,
        objective=objective_value,
        iterations=iterations,
        effective_sample_size=sample_size,
        outcome=Outcome.APPROXIMATE if outcome in (Outcome.NOT_CONVERGED, Outcome.EPSILON_TOO_SMALL) else outcome,
        kept_share=float(mass @ kept) if field is not None else None,
        local_log_odds=field.local(score) if field is not None else None,
    )


def _certificate(
    problem: PushPullProblem, weights: RowWeights, sample: Tensor, own: Tensor, following: list[Tensor]
) -> float:
    """τ KL of the weights of ``sample`` [t], of log-odds ``own`` [t], to those at the ``following`` potentials."""
    rule, level = weights.rule, weights.level[sample]
    later = rule.own(*_potentials(problem, problem.rows.points[sample], following), weights.tilt[sample])
    if rule.together:
        p, q = (own + level).double(), (later + level).double()
        keep = torch.sigmoid(p)
        kl = keep * (logsigmoid(p) - logsigmoid(q)) + (1 - keep) * (logsigmoid(-p) - logsigmoid(-q))
        return max(problem.tau * float(kl.mean()), 0.0)
    p, q = own.double().log_softmax(0), later.double().log_softmax(0)
    return max(problem.tau * float(p.exp() @ (p - q)), 0.0)


def _potentials(problem: PushPullProblem, points: Tensor, psi: list[Tensor]) -> tuple[Tensor, Tensor]:
    """f_Q and f_M of ``points`` [t, d] at the potentials ψ of both references."""
    sides = zip((problem.safe, problem.harmful), psi, strict=True)
    tile = rows_per_tile(max(map(len, psi)), problem.dtype, points.device)
    pull, push = (c_transform(points, reference, p, problem.epsilon, tile=tile) for reference, p in sides)
    return pull, push
