"""How far the scores hang on the very rows of the references: many half-samples of both, in one more solve.

Each replicate keeps a random half of either reference (McCarthy, Pseudo-Replication: Half Samples, 1969). Weights of 2
or 0 vary as much as the Poisson counts of a bootstrap do, but repeat no row; repeated rows make a bootstrap's
replicates too much alike where a few nearest rows decide. All that is learned from the references is learned
anew from the half: the direction and its margins on rows left out, the potentials, held out as well, and the
calibration; then the rows' keep shares are settled. What R solves would do one by one is done for R columns at once:
one kernel with R right-hand sides, one descent, one fixed point that starts at the solution. What was chosen (views,
ε, λ, ρ, the direction's strength) and the dual potentials ψ stay; with free marginals (ρ = 0) there is no ψ.

What is left of the replicates when they are settled scores any row, as the solution itself does: from its potentials
at the halves' masses, its margins, and the neighbourhoods of the solve.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sot_filter.transport.calibration import calibrate
from sot_filter.transport.cost import product, rows_per_tile, tiles
from sot_filter.transport.coupled import Field, log_odds
from sot_filter.transport.direction import Direction
from sot_filter.transport.logistic import ridge_logistic
from sot_filter.transport.neighbours import Plan
from sot_filter.transport.problem import Measure, PushPullProblem
from sot_filter.transport.sinkhorn import TiledKernel
from sot_filter.transport.solution import Solution

#: What a row counts in a half that it is not in: so little that it tells only where there is nothing else.
_TRACE = 1e-12


def draw_halves(safe: int, harmful: int, replicates: int, seed: int) -> Tensor:
    """What each reference row counts in each replicate [safe + harmful, replicates], safe rows first."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        torch.rand(rows, replicates, generator=generator).argsort(0) < (rows + 1) // 2 for rows in (safe, harmful)
    ]
    return torch.cat(drawn).float().clamp_min(_TRACE)


@dataclass(frozen=True, eq=False)
class Replicates:
    """R replicates of a coupled solve of n rows, ready to score any row.

    Attributes:
        safe: what each row of the safe reference counts [m_Q, R].
        harmful: what each row of the harmful reference counts [m_M, R].
        slopes: nats that a cost unit is worth [R].
        vectors: the learned directions [d, R], scaled so that <vector, z> + offset are nats; zeros if there are none.
        offsets: nats [R].
        local: log-odds [n, R] of the keep shares of the neighbourhoods; one row if the rows are not coupled.
    """

    safe: Tensor
    harmful: Tensor
    slopes: Tensor
    vectors: Tensor
    offsets: Tensor
    local: Tensor

    def columns(self, safe: Measure, harmful: Measure) -> tuple[Tensor, Tensor]:
        """What each replicate makes of the references' masses, as the columns of `score_rows`."""
        return self.safe / (safe.mass @ self.safe), self.harmful / (harmful.mass @ self.harmful)

    def score(self, points: Tensor, score: Tensor, plan: Plan | None, mass: Tensor) -> Tensor:
        """Log-odds [t, R] of any rows.

        Args:
            points: where they are [t, d].
            score: λ f_M - (1-λ) f_Q of each replicate [t, R], from the columns of `score_rows`.
            plan: from `Neighbours.plan` of the points, t rows over n; None if the solve had no coupling.
            mass: base masses of the solve's rows [n]; one value if they are not coupled.
        """
        own = score * self.slopes + (product(points, self.vectors) + self.offsets)
        return log_odds(own, plan, self.local, mass)


def fit_replicates(
    problem: PushPullProblem,
    solution: Solution,
    direction: Direction | None,
    folds: Tensor,
    counts: Tensor,
    sharpness: float = 1.0,
) -> Replicates:
    """Learn and settle R replicates of a solve; the arguments are those of `replicate_scores`."""
    return _fit(problem, solution, direction, folds, counts, sharpness)[0]


def replicate_scores(
    problem: PushPullProblem,
    solution: Solution,
    direction: Direction | None,
    folds: Tensor,
    counts: Tensor,
    sharpness: float = 1.0,
) -> Tensor:
    """The scores of the solve's own rows in each of R replicates of the references.

    Args:
        problem: as it was solved in mode coupled; n rows, references of m_Q and m_M points.
        solution: of the problem.
        direction: the learned direction that is in its tilt, or None.
        folds: the fold [m_Q + m_M] of each reference row that direction and calibration were found with.
        counts: what each reference row counts [m_Q + m_M, R], above 0; half-samples from `draw_halves`, or any other.
        sharpness: what calibrated log-odds are multiplied by: τ as calibrated over the problem's, where that was set.

    Returns:
        Log-odds of being kept, in nats, [n, R], in the dtype of the problem.
    """
    return _fit(problem, solution, direction, folds, counts, sharpness)[1]


@torch.no_grad()
def _fit(
    problem: PushPullProblem,
    solution: Solution,
    direction: Direction | None,
    folds: Tensor,
    counts: Tensor,
    sharpness: float,
) -> tuple[Replicates, Tensor]:
    field, safe, harmful, balance = Field(problem), problem.safe, problem.harmful, problem.push_strength
    counts = counts.to(safe.points.device, problem.dtype)
    folds = folds.to(counts.device)
    references = torch.cat([safe.points, harmful.points])
    score, held_out = counts.new_zeros(len(problem.rows), counts.shape[1]), torch.zeros_like(counts)
    for sign, side, psi, drawn, own_folds in (
        (balance - 1, safe, solution.psi_safe, counts[: len(safe)], folds[: len(safe)]),
        (balance, harmful, solution.psi_harmful, counts[len(safe) :], folds[len(safe) :]),
    ):
        score += sign * _potentials(problem.rows.points, side, psi, drawn, problem.epsilon)
        for fold in range(int(folds.max()) + 1):
            left_out, known = folds == fold, own_folds != fold
            rest = Measure(side.points[known], side.mass[known] / side.mass[known].sum())
            held_out[left_out] += sign * _potentials(
                references[left_out], rest, psi[known], drawn[known], problem.epsilon
            )
    vectors, constants, held_out_margins = _directions(problem, direction, folds, counts)
    found = []
    for r in range(counts.shape[1]):
        calibration, _ = calibrate(held_out[:, r], held_out_margins[:, r], len(safe), counts[:, r])
        constant = calibration.direction * float(constants[r]) + calibration.offset
        found.append((calibration.transport, calibration.direction, constant))
    slopes, scales, offsets = (counts.new_tensor(values) * sharpness for values in zip(*found, strict=True))
    vectors = vectors * scales
    own = score * slopes + (problem.rows.points.to(counts) @ vectors + offsets)
    before = (balance * solution.push - (1 - balance) * solution.pull + field.tilt) / problem.tau
    logit = field.settle(own + (solution.score - before)[:, None], own)
    local = field.local(logit)
    if field.plan is None:
        local = local[:1]
    # Copies, since tensors that are stored may not share their memory.
    of_safe, of_harmful = counts[: len(safe)].clone(), counts[len(safe) :].clone()
    kept = Replicates(of_safe, of_harmful, slopes, vectors, offsets, local)
    return kept, logit


def score_range(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Between which two values [n] nine of ten further replicates lie, from ``scores`` [n, R] of R, at least 2.

    From mean and deviation, by Student's factor: of 16 draws, the outermost do not tell a twentieth.
    """
    replicates = scores.shape[1]
    mean = scores.mean(1)
    deviation = ((scores - mean[:, None]).square().sum(1) / (replicates - 1)).sqrt()
    reach = _student(replicates - 1) * (1 + 1 / replicates) ** 0.5 * deviation
    return mean - reach, mean + reach


def _student(freedom: int) -> float:
    """The 95 % quantile of Student's t, expanded about the normal one (Abramowitz and Stegun, 26.7.5)."""
    z = 1.6448536269514722
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _potentials(points: Tensor, reference: Measure, psi: Tensor, counts: Tensor, epsilon: float) -> Tensor:
    """f [t, R] at ``points`` [t, d] of the reference with its masses times ``counts`` [m, R], at fixed ψ [m]."""
    kernel = TiledKernel(Measure.uniform(points), reference, epsilon, 0.0, counts.dtype)
    kernel.prepare(psi.to(counts))
    share = counts / (kernel.mass @ counts)
    found = counts.new_empty(len(points), counts.shape[1])
    for part in tiles(len(points), rows_per_tile(len(psi), counts.dtype, counts.device)):
        tile, shift = kernel.tile(part)
        found[part] = -epsilon * ((tile @ share).log() + shift[:, None])
    return found


def _directions(
    problem: PushPullProblem, direction: Direction | None, folds: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors [d, R], offsets [R], and margins [m_Q + m_M, R] of the references' rows, each without its fold."""
    safe, harmful, (_, replicates) = problem.safe, problem.harmful, counts.shape
    if direction is None:
        zeros = counts.new_zeros(safe.points.shape[1] + 1, replicates)
        return zeros[:-1], zeros[-1], torch.zeros_like(counts)
    points = torch.cat([safe.points, harmful.points]).double()
    points = torch.cat([points, torch.ones_like(points[:, :1])], 1)
    side = torch.ones_like(points[:, :1])
    side[len(safe) :] = -1
    mass = torch.cat([safe.mass, harmful.mass])[:, None] * counts
    mass = torch.cat([part / part.sum(0) for part in (mass[: len(safe)], mass[len(safe) :])])
    n_folds = int(folds.max()) + 1
    # For each fold the fits without it, and at last those of all rows.
    known = folds[:, None] != torch.arange(n_folds + 1, device=folds.device)
    weights = (known[:, :, None] * mass[:, None]).flatten(1)
    start = torch.cat([direction.vector.to(points), points.new_tensor([direction.offset])])
    fitted = ridge_logistic(
        points * side,
        weights / weights.sum(0),
        start[:, None].expand(-1, weights.shape[1]),
        direction.strength,
    ).reshape(-1, n_folds + 1, replicates)
    held_out = torch.empty_like(counts)
    for fold in range(n_folds):
        held_out[folds == fold] = (points[folds == fold] @ fitted[:, fold]).to(counts)
    return fitted[:-1, -1].to(counts), fitted[-1, -1].to(counts), held_out
