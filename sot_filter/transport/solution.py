"""What a solve returns: potentials, weights, a certificate, and in words how it went."""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

#: Spread of the row gradient, in cost units, at or below which a ranking would be rounding noise.
_FLAT = 1e-5


class Outcome(Enum):
    """How a solve ended. The value is a word for files; `message` says what happened and what to do."""

    message: str

    CONVERGED = "converged", "The weights are stationary and the marginals are met; nothing needs doing."
    NOT_CONVERGED = (
        "not_converged",
        "The weights were still moving when the iterations ran out; allow more iterations, or raise tau or epsilon.",
    )
    EPSILON_TOO_SMALL = (
        "epsilon_too_small",
        "The weights stand still but a marginal is not met: Sinkhorn is slow at this epsilon. Raise epsilon, lower "
        "rho, or allow more iterations.",
    )
    COLLAPSED = (
        "collapsed",
        "Nearly all weight lies on a handful of rows; raise tau, lower push_strength, or use the scores only.",
    )
    FLAT = (
        "flat",
        "All rows score the same, so there is nothing to rank by; check that the two references differ and that the "
        "rows have embeddings.",
    )
    STOPPED = (
        "stopped",
        "The literal recipe took all its steps; it has no stopping rule, and its early stop is what keeps the "
        "weights spread. Use mode exact for weights that are stationary.",
    )
    APPROXIMATE = (
        "approximate",
        "The potentials are estimates from batches of rows; certificate and marginal errors say how far they are from "
        "stationary. Allow more batches, larger ones, or passes that polish, or use a mode that sees all rows.",
    )

    def __new__(cls, value: str, message: str) -> "Outcome":
        """Make a member of its word and its message."""
        member = object.__new__(cls)
        member._value_ = value
        member.message = message
        return member


@dataclass(frozen=True, eq=False)
class Solution:
    """A solved push-pull problem; n rows, references of m_Q and m_M points, potentials in cost units.

    Args:
        psi_safe: dual potential ψ_Q [m_Q]; with ε it is all that scoring needs of the solve.
        psi_harmful: dual potential ψ_M [m_M].
        pull: f_Q [n], the c-transform of ``psi_safe`` at the rows.
        push: f_M [n], the c-transform of ``psi_harmful`` at the rows.
        score: [n], the higher, the rather a row should be kept: -((1-λ) pull - λ push), except in mode paper, where
            it is the optimiser's own log of weight over base mass, and in mode coupled, where it is the log-odds of
            being kept.
        temperature: what ``score`` is divided by in the weights: w is proportional to u exp(score / temperature). τ
            in mode exact, 1 in mode paper. None in mode coupled, where w is proportional to u / (1 + exp(-score)), so
            that no row counts more than once.
        log_weights: log of the weights w [n] on the simplex; they include the base masses.
        certificate: τ KL(w | softmax(log u - g/τ)), zero exactly where w is stationary, of the weights w that made
            the returned potentials (those of the iteration before); in mode paper, which has no τ, the Frank-Wolfe
            gap <w, g> - min g. Cost units.
        marginal_error_safe: L1 distance of the safe column marginal from what optimality asks of it.
        marginal_error_harmful: the same for the harmful side.
        objective: J(w) of the semi-dual values at the potentials, including the τ KL term in mode exact.
        iterations: Sinkhorn iterations done on each reference.
        effective_sample_size: n / sum_i(w_i² / u_i), from 0 to n; 1 / sum(w²) for equal base masses.
        outcome: how it ended.
        kept_share: mode coupled: the mass that is kept, sum_i u_i r_i; one minus the harmful share the solve sees.
        local_log_odds: mode coupled: log-odds [n] of the keep share of each row's neighbourhood; with the potentials
            they score any other row.
        gap: mode coupled with free marginals (ρ = 0), where the objective is convex: how far it is from its least
            value at most, cost units.
    """

    psi_safe: Tensor
    psi_harmful: Tensor
    pull: Tensor
    push: Tensor
    score: Tensor
    temperature: float | None
    log_weights: Tensor
    certificate: float
    marginal_error_safe: float
    marginal_error_harmful: float
    objective: float
    iterations: int
    effective_sample_size: float
    outcome: Outcome
    kept_share: float | None = None
    local_log_odds: Tensor | None = None
    gap: float | None = None


def effective_sample_size(log_weights: Tensor, log_base: Tensor) -> float:
    """n / sum_i(w_i² / u_i) of weights w and base masses u given as logs [n]."""
    return float(len(log_weights) / torch.logsumexp(2 * log_weights - log_base, dim=0).exp())


def judge(score: Tensor, sample_size: float, stationary: bool, marginals_met: bool) -> Outcome:
    """Name the outcome of a solve from its final state.

    Args:
        score: [n], cost units.
        sample_size: effective, in rows.
        stationary: whether the certificate is below its threshold.
        marginals_met: whether the marginal errors that count are below theirs.
    """
    n = len(score)
    if float(score.max() - score.min()) <= _FLAT:
        return Outcome.FLAT
    # A hundredth of the rows; when that would be less than ten rows, ten rows or a tenth.
    if sample_size < max(n / 100, min(10, n / 10)):
        return Outcome.COLLAPSED
    if not stationary:
        return Outcome.NOT_CONVERGED
    return Outcome.CONVERGED if marginals_met else Outcome.EPSILON_TOO_SMALL
