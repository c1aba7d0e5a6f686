"""What is to be solved: weighted points, and the push-pull problem between three of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sot_filter.errors import SolverError

if TYPE_CHECKING:
    from sot_filter.transport.neighbours import Neighbours

#: Strengths below this drown in the rounding of the costs; their inverses say nothing that infinity does not.
_FINEST = 1e-6
#: How far masses may sum from one; what remains is rescaled away.
_MASS_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Measure:
    """Weighted points: sum of mass_i at point_i.

    Args:
        points: [n, d], finite; a zero vector is neutral (cost 1 to every point). Half precision is upcast as it is
            read, tile by tile.
        mass: [n], positive, summing to 1 (rescaled to do so exactly).

    Raises:
        SolverError: no points, values that are not finite, or masses that are no masses.
    """

    points: Tensor
    mass: Tensor

    def __post_init__(self) -> None:
        """Check the points and the masses, and rescale the masses."""
        if self.points.ndim != 2 or 0 in self.points.shape or not self.points.is_floating_point():
            raise SolverError(
                "floating-point vectors [n, d] with at least one row",
                f"shape {list(self.points.shape)} of {self.points.dtype}",
                "Check that the rows, or the reference, are not empty.",
            )
        if not (finite := finite_rows(self.points)).all():
            raise SolverError(
                "finite vectors",
                f"{int((~finite).sum())} with NaN or infinity, the first at {int((~finite).nonzero()[0])}",
                "Leave these rows out, or embed them again.",
            )
        mass = self.mass.to(self.points.device, dtype_of(self.points, self.mass))
        total = float(mass.sum())
        if mass.shape != self.points.shape[:1] or not (mass > 0).all() or not abs(total - 1) <= _MASS_TOLERANCE:
            raise SolverError(
                f"{len(self.points)} positive masses that sum to 1",
                f"shape {list(mass.shape)}, smallest {float(mass.min()) if mass.numel() else 'none'}, sum {total:.6g}",
                "Divide the masses by their sum; leave out points without mass.",
            )
        object.__setattr__(self, "mass", mass / mass.sum())

    @classmethod
    def uniform(cls, points: Tensor) -> Measure:
        """Equal mass on each of ``points`` [n, d]."""
        n = max(len(points), 1)
        return cls(points, torch.full((len(points),), 1 / n, dtype=dtype_of(points), device=points.device))

    @classmethod
    def of_counts(cls, points: Tensor, counts: Tensor) -> Measure:
        """Mass in proportion to ``counts`` [n]: duplicates, or the rows of a centroid."""
        counts = counts.to(torch.float64)
        return cls(points, counts / counts.sum())

    def __len__(self) -> int:
        """The number of points."""
        return len(self.points)


@dataclass(frozen=True, eq=False)
class PushPullProblem:
    """Weigh rows so that they lie near the safe reference and far from the harmful one.

    Minimise over weights w on the simplex J(w) = (1-λ) OT(w, safe) - λ OT(w, harmful) + τ KL(w | rows.mass), with
    OT(w, b) = min over couplings P with row marginal w of <c, P> + ε KL(P | w ⊗ b) + ρ KL(Pᵀ1 | b), c = 1 - <z, y>
    (after eq. 5 of arXiv 2601.07200, which has neither τ nor ρ).

    Args:
        rows: the rows with their base masses u.
        safe: the safe reference.
        harmful: the harmful reference.
        push_strength: λ in [0, 1]; 0 only pulls, 1 only pushes.
        epsilon: entropic strength ε > 0 in cost units (costs lie in 0..2).
        tau: strength τ >= 0 of the KL that keeps w near the base masses, in cost units.
        rho_safe: relaxation ρ of the safe marginal; inf is balanced transport, 0 a kernel density score.
        rho_harmful: the same for the harmful marginal.
        tilt: a linear term of the cost [n], cost units: to keep row i's mass costs tilt_i less a unit. Mode coupled.
        coupling: which rows share their fate. Mode coupled.

    Raises:
        SolverError: a parameter out of its range, dimensions or devices that differ, or a tilt or coupling that is not
            of these rows.
    """

    rows: Measure
    safe: Measure
    harmful: Measure
    push_strength: float = 0.5
    epsilon: float = 0.05
    tau: float = 0.02
    rho_safe: float = math.inf
    rho_harmful: float = math.inf
    tilt: Tensor | None = None
    coupling: Neighbours | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        self._demand("push_strength", self.push_strength, "from 0 to 1", 0 <= self.push_strength <= 1)
        usual = f"from {_FINEST:g} to {1 / _FINEST:g}"
        for name, limits in (
            ("epsilon", ()),
            ("tau", (0,)),
            ("rho_safe", (0, math.inf)),
            ("rho_harmful", (0, math.inf)),
        ):
            value = getattr(self, name)
            fits = value in limits or _FINEST <= value <= 1 / _FINEST
            self._demand(name, value, " or ".join([usual, *map(str, limits)]), fits)
        measures = {"rows": self.rows, "safe": self.safe, "harmful": self.harmful}
        if len({(m.points.shape[1], m.points.device) for m in measures.values()}) > 1:
            raise SolverError(
                "rows and references of one dimension on one device",
                ", ".join(f"{k} {m.points.shape[1]} on {m.points.device}" for k, m in measures.items()),
                "Embed them with the same model and views, and move them to the same device.",
            )
        if self.tilt is not None and not (self.tilt.shape == self.rows.mass.shape and self.tilt.isfinite().all()):
            raise SolverError(
                f"a finite tilt of {len(self.rows)} rows", f"shape {list(self.tilt.shape)}", "Correct it."
            )
        if self.coupling is not None and len(self.coupling.rows) != len(self.rows):
            raise SolverError(
                f"a coupling of {len(self.rows)} rows",
                f"one of {len(self.coupling.rows)}",
                "Build it from these rows.",
            )

    @staticmethod
    def _demand(name: str, value: float, wanted: str, fits: bool) -> None:
        if not fits:
            raise SolverError(f"{name} {wanted}", f"{value}", f"Change {name}.")

    @property
    def dtype(self) -> torch.dtype:
        """What the solve computes in: float64 if any of the points are, float32 otherwise."""
        return dtype_of(self.rows.points, self.safe.points, self.harmful.points)


def dtype_of(*tensors: Tensor) -> torch.dtype:
    """The dtype to compute in: float64 if any of ``tensors`` is, float32 otherwise."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def finite_rows(points: Tensor) -> Tensor:
    """Which of ``points`` [n, d] hold neither NaN nor infinity, [n], without a copy of their size."""
    low, high = points.aminmax(dim=1)
    return torch.isfinite(low) & torch.isfinite(high)


def fold_duplicates(points: Tensor, mass: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fold points that are exactly equal into one point with the sum of their masses.

    Args:
        points: [n, d].
        mass: [n].

    Returns:
        The distinct points [k, d], their masses [k], and for each point of the input the index [n] of its own.
    """
    distinct, index = torch.unique(points, dim=0, return_inverse=True)
    return distinct, mass.new_zeros(len(distinct)).index_add_(0, index, mass), index
