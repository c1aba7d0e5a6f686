"""A learned direction: the log-odds of safe as a linear function of a point, fitted on the two references.

Minimises the mean over both references, each worth one half, of log(1 + exp(-t (<v, y> + c))) + strength/2 ‖v‖²,
t = +1 for safe and -1 for harmful rows: ridge logistic regression. Beside the fit on all rows come fits that each
leave a fold out, so that every reference row has a margin from a fit that has not seen it. All of them are the columns
of one problem (`ridge_logistic`), and each strength starts from the answer of the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sot_filter.transport.logistic import ridge_logistic
from sot_filter.transport.problem import Measure

#: From a direction that hardly moves to one that all but separates a thousand rows.
STRENGTHS: Final = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)
#: Largest derivative, in the coordinates of the Hessian, at which a fit ends.
_SOUGHT: Final = 1e-5


@dataclass(frozen=True, eq=False)
class Direction:
    """A linear function of a point, in nats of log-odds: positive on the safe side.

    Args:
        vector: v [d].
        offset: c.
        strength: of the ridge penalty it was fitted with.
    """

    vector: Tensor
    offset: float
    strength: float

    def margin(self, points: Tensor) -> Tensor:
        """<v, z> + c [n] of ``points`` [n, d]."""
        return points.to(self.vector.dtype) @ self.vector + self.offset


def fit_direction(
    safe: Measure,
    harmful: Measure,
    folds: Tensor,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[Direction, Tensor]:
    """Fit it at the strength that is best on the rows left out.

    Args:
        safe: the safe reference, m_Q points.
        harmful: the harmful reference, m_M points.
        folds: the fold [m_Q + m_M] of each row, safe rows first; every fold has rows of both.
        strengths: penalties to try, the strongest first.

    Returns:
        The direction of all rows, and the margins [m_Q + m_M] of each row by the fit without its fold.
    """
    side = torch.cat([torch.ones(len(safe)), -torch.ones(len(harmful))]).to(safe.points.device).double()
    mass = torch.cat([safe.mass, harmful.mass]).double() / 2
    points = torch.cat([safe.points, harmful.points]).double()
    points = torch.cat([points, torch.ones_like(points[:, :1])], 1)
    known = folds[:, None] != torch.arange(int(folds.max()) + 1, device=folds.device)
    weights = torch.cat([known, torch.ones_like(known[:, :1])], 1) * mass[:, None]
    weights = weights / weights.sum(0)
    fitted = torch.zeros(points.shape[1], weights.shape[1], dtype=torch.float64, device=points.device)
    best: tuple[float, Direction, Tensor] | None = None
    for strength in strengths:
        fitted = ridge_logistic(points * side[:, None], weights, fitted, strength, sought=_SOUGHT)
        margins = (points @ fitted[:, :-1]).gather(1, folds[:, None])[:, 0]
        loss = float(mass @ softplus(-side * margins))
        if best is None or loss < best[0]:
            vector = fitted[:-1, -1].to(safe.points.dtype)
            best = loss, Direction(vector, float(fitted[-1, -1]), strength), margins
    assert best is not None
    return best[1], best[2]
