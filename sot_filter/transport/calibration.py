"""From potentials and margins to calibrated log-odds of safe: where the cost's units come from.

The push-pull gradient and the learned direction are weighed against each other, and against the entropy, by logistic
regression on held-out rows of the references: log-odds = a s + b m + c, s = λ f_M - (1-λ) f_Q and m the margin. Seen
from the transport problem, τ = 1/a is the strength of the entropy and τ (b m + c) a linear term of the cost, the tilt.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

#: Ridge on standardised coefficients, as a share of one row, so that separable references stay finite.
_RIDGE = 1.0
#: The least and the most that a cost unit may be worth in nats: τ stays finite when the potentials tell nothing, and
#: their rounding, some 1e-7, is never worth more than a hundredth of a nat.
_LEAST, _MOST = 1e-3, 1e5


@dataclass(frozen=True, slots=True)
class Calibration:
    """log-odds of safe = transport * s + direction * m + offset.

    Attributes:
        transport: nats per cost unit of s, above 0; 1/τ.
        direction: nats per nat of margin, at least 0.
        offset: nats.
        log_loss: mean held-out loss in nats, each reference worth one half; log 2 = 0.69 is chance.
        standard_error: of the log loss.
    """

    transport: float
    direction: float
    offset: float
    log_loss: float
    standard_error: float

    @property
    def tau(self) -> float:
        """The entropic strength of the problem, cost units."""
        return 1 / self.transport

    def log_odds(self, score: Tensor, margin: Tensor) -> Tensor:
        """Log-odds [n] from s [n] in cost units and margins [n]."""
        return self.transport * score + self.direction * margin + self.offset


def calibrate(score: Tensor, margin: Tensor, safe: int, counts: Tensor | None = None) -> tuple[Calibration, Tensor]:
    """Fit it.

    Args:
        score: s [m] of the held-out rows of both references, safe rows first, cost units.
        margin: their margins [m]; zeros leave the direction out.
        safe: how many of the rows are safe.
        counts: how often each row counts [m], above 0; once by default.

    Returns:
        The calibration, and each row's loss [m] in nats.
    """
    x = torch.stack([score, margin], 1).double()
    side = torch.ones(len(x), dtype=torch.float64, device=x.device)
    side[safe:] = -1
    mass = torch.ones_like(side) if counts is None else counts.to(side)
    mass = torch.where(side > 0, 0.5 / mass[:safe].sum(), 0.5 / mass[safe:].sum()) * mass
    centre = mass @ x
    scale = (mass @ (x - centre).square()).sqrt().clamp_min(1e-9)
    z = torch.cat([(x - centre) / scale, torch.ones_like(x[:, :1])], 1)
    # A feature whose coefficient would be negative speaks against itself; it is left out.
    use = [True, bool(margin.any()), True]
    coefficients = _newton(z, side, mass, use)
    for feature in (0, 1, 0):
        if coefficients[feature] < 0:
            use[feature] = False
            coefficients = _newton(z, side, mass, use)
    slopes = coefficients[:2] / scale
    slopes[0] = slopes[0].clamp(_LEAST, _MOST)
    offset = coefficients[2] - slopes @ centre
    losses = softplus(-side * (x @ slopes + offset))
    mean = mass @ losses
    error = (mass.square() @ (losses - mean).square()).sqrt()
    return Calibration(float(slopes[0]), float(slopes[1]), float(offset), float(mean), float(error)), losses


def _newton(z: Tensor, side: Tensor, mass: Tensor, use: list[bool]) -> Tensor:
    """Coefficients [3] by Newton's method with halved steps; features not in ``use`` stay 0."""
    own = torch.tensor(use, device=z.device)
    z = z * own
    ridge = _RIDGE / len(z) * torch.tensor([1.0, 1.0, 0.0], dtype=z.dtype, device=z.device)
    fixed = torch.diag((~own).to(z.dtype))

    def loss(at: Tensor) -> Tensor:
        return mass @ softplus(-side * (z @ at)) + ridge @ at.square() / 2

    at = torch.zeros(3, dtype=z.dtype, device=z.device)
    for _ in range(100):
        p = torch.sigmoid(-side * (z @ at))
        gradient = -z.T @ (mass * side * p) + ridge * at
        if gradient.abs().max() < 1e-10:
            break
        hessian = z.T @ ((mass * p * (1 - p))[:, None] * z) + torch.diag(ridge + 1e-12) + fixed
        step, length = torch.linalg.solve(hessian, gradient), 1.0
        while loss(at - length * step) > loss(at) and length > 1e-6:
            length /= 2
        at = at - length * step
    return at
