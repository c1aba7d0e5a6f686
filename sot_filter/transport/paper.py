"""Mode paper: the literal recipe of the seed, kept so that it can be reproduced and compared.

Gradient steps on (1-λ) OT(w, safe) - λ OT(w, harmful) over the simplex, from the base masses on (arXiv 2601.07200,
eq. 5), the gradient being the dual potentials after some inner Sinkhorn iterations. There is no KL term: what keeps
the weights spread is that the steps end. Rows are ranked by the optimiser's own weights, as the recipe has it, and
not by the potentials.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sot_filter.errors import SolverError
from sot_filter.transport.problem import PushPullProblem
from sot_filter.transport.simplex import project_to_simplex
from sot_filter.transport.sinkhorn import fused_pass, kernels
from sot_filter.transport.solution import Outcome, Solution, effective_sample_size, judge

#: Takes the gradient g [n] at the current weights, returns the log of the next weights [n].
Advance = Callable[[Tensor], Tensor]


def _softmax_adam(log_w: Tensor, learning_rate: float) -> Advance:
    logits = log_w.clone()
    return _on_logits(logits, torch.optim.Adam([logits], lr=learning_rate))


def _softmax_sgd(log_w: Tensor, learning_rate: float) -> Advance:
    logits = log_w.clone()
    return _on_logits(logits, torch.optim.SGD([logits], lr=learning_rate * len(log_w)))


def _simplex_adam(log_w: Tensor, learning_rate: float) -> Advance:
    w = log_w.exp()
    return _on_simplex(w, torch.optim.Adam([w], lr=learning_rate / len(log_w)))


def _simplex_sgd(log_w: Tensor, learning_rate: float) -> Advance:
    w = log_w.exp()
    return _on_simplex(w, torch.optim.SGD([w], lr=learning_rate / len(log_w)))


def _mirror(log_w: Tensor, learning_rate: float) -> Advance:
    """Exponentiated gradient: mirror descent with the entropy, which is natural gradient on the logits."""
    current = log_w.clone()

    def advance(g: Tensor) -> Tensor:
        return current.sub_(learning_rate * g).log_softmax(0)

    return advance


def _on_logits(logits: Tensor, optimiser: torch.optim.Optimizer) -> Advance:
    """Steps on the logits of a softmax, whose gradient is w (g - <w, g>)."""

    def advance(g: Tensor) -> Tensor:
        w = logits.softmax(0)
        logits.grad = w * (g - w @ g)
        optimiser.step()
        return logits.log_softmax(0)

    return advance


def _on_simplex(w: Tensor, optimiser: torch.optim.Optimizer) -> Advance:
    """Steps on the weights themselves, each followed by the projection onto the simplex."""

    def advance(g: Tensor) -> Tensor:
        w.grad = g.clone()
        optimiser.step()
        w.copy_(project_to_simplex(w))
        return w.clamp_min(torch.finfo(w.dtype).tiny).log()

    return advance


#: Rules of a step by parametrisation and optimiser. Rates count in masses of 1/n, to mean the same for any n.
OPTIMISERS: dict[tuple[str, str], Callable[[Tensor, float], Advance]] = {
    ("softmax", "adam"): _softmax_adam,
    ("softmax", "sgd"): _softmax_sgd,
    ("softmax", "mirror"): _mirror,
    ("simplex", "adam"): _simplex_adam,
    ("simplex", "sgd"): _simplex_sgd,
    ("simplex", "mirror"): _mirror,
}


@torch.no_grad()
def solve_paper(
    problem: PushPullProblem,
    *,
    parametrisation: str = "softmax",
    optimiser: str = "adam",
    steps: int = 300,
    learning_rate: float = 0.01,
    inner_iterations: int = 50,
    memory_budget: int = 2 << 30,
) -> Solution:
    """Run the literal recipe; the problem's tau is not used, its rho and base masses are.

    Args:
        problem: the push-pull problem.
        parametrisation: ``softmax`` takes steps on logits, ``simplex`` on the weights, projected after each.
        optimiser: ``adam``, ``sgd``, or ``mirror``, which is the same in both parametrisations.
        steps: gradient steps.
        learning_rate: of the optimiser, in masses of 1/n.
        inner_iterations: Sinkhorn iterations before each gradient, starting from the potentials of the step before.
        memory_budget: bytes the two cached kernels may take; above, each pass computes the costs again.

    Returns:
        The solution, whose score is log w - log u; pull and push are the potentials at the final weights.

    Raises:
        SolverError: an unknown parametrisation or optimiser, counts and rates that are not positive, or a tilt or
            coupling.
    """
    if problem.tilt is not None or problem.coupling is not None:
        raise SolverError(
            "a problem without tilt and coupling", "one with them", "Leave them out, or use mode coupled."
        )
    if (parametrisation, optimiser) not in OPTIMISERS:
        known = "; ".join(f"{name} with {rule}" for name, rule in OPTIMISERS)
        raise SolverError(f"one of {known}", f"{parametrisation} with {optimiser}", "Choose one of these.")
    if steps < 1 or inner_iterations < 1 or not learning_rate > 0:
        raise SolverError(
            "steps, inner_iterations and learning_rate above 0",
            f"{steps}, {inner_iterations} and {learning_rate}",
            "Raise them.",
        )
    sides = kernels(problem, memory_budget)
    balance = problem.push_strength
    log_base = log_w = problem.rows.mass.to(problem.dtype).log()
    advance = OPTIMISERS[parametrisation, optimiser](log_w, learning_rate)
    psi = [torch.zeros_like(side.mass) for side in sides]
    for step in range(steps + 1):
        for inner in range(inner_iterations):
            (safe, harmful), _ = fused_pass(sides, psi, lambda part, *_, log_w=log_w: log_w[part])
            if inner < inner_iterations - 1:
                psi = [safe.psi, harmful.psi]
        g = (1 - balance) * safe.f - balance * harmful.f
        if step < steps:
            log_w = advance(g)
    w = log_w.exp()
    score, sample_size = log_w - log_base, effective_sample_size(log_w, log_base)
    outcome = judge(score, sample_size, stationary=True, marginals_met=True)
    return Solution(
        psi_safe=psi[0],
        psi_harmful=psi[1],
        pull=safe.f,
        push=harmful.f,
        score=score,
        temperature=1.0,
        log_weights=log_w,
        certificate=float(w @ g - g.min()),
        marginal_error_safe=safe.marginal_error,
        marginal_error_harmful=harmful.marginal_error,
        objective=float(w @ g),
        iterations=(steps + 1) * inner_iterations,
        effective_sample_size=sample_size,
        outcome=Outcome.STOPPED if outcome is Outcome.CONVERGED else outcome,
    )
