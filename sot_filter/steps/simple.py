"""What a simple score would have done instead: the best of a few on held-out rows of the references."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from sot_filter.baselines import BASELINES
from sot_filter.transport import Choice
from sot_filter.transport.cost import product
from sot_filter.weighting import measure_quality

#: Scores that need nothing but a reference and a moment.
SIMPLE: Final = ("knn", "mean_cosine", "kernel_density", "lda")
#: Neighbours, and bandwidth in cost units, as by default in `sot_filter.baselines`.
_NEAREST: Final = 10
_BANDWIDTH: Final = 0.05


def best_simple(choice: Choice) -> dict[str, Any]:
    """The simple score that tells held-out rows of the references apart best, and how well the solve's own does.

    Neighbours have no part in this: the references' rows are judged one by one.

    Returns:
        Name and AUROC of the score, the AUROC of the solve's log-odds on the same rows, and of all simple scores.
    """
    safe, harmful = choice.safe.points.float().numpy(), choice.harmful.points.float().numpy()
    rows, folds, is_harmful = np.concatenate([safe, harmful]), choice.folds.numpy(), _second(len(safe), len(harmful))
    known = {name: np.zeros(len(rows), np.float32) for name in SIMPLE}
    for fold in range(int(folds.max()) + 1):
        own = folds == fold
        rest = rows[~own & ~is_harmful], rows[~own & is_harmful]
        for name, scores in known.items():
            scores[own] = BASELINES[name](rows[own], *rest)
    found = {name: _auroc(scores, is_harmful) for name, scores in known.items()}
    best = max(found, key=lambda name: found[name])
    own_auroc = _auroc(choice.held_out.numpy(), is_harmful)
    return {"score": best, "auroc": found[best], "sot_auroc": own_auroc, "aurocs": found}


@dataclass(frozen=True, eq=False)
class Simple:
    """A score of `SIMPLE`, ready for any row: the contrast of what is read off its similarities, or a linear function.

    Attributes:
        read: what is read off a block of similarities [t, m] to a reference, [t]; None for a linear score.
        vector: of the linear function [d], zeros where there is ``read``.
        offset: of the linear function.
    """

    read: Callable[[torch.Tensor], torch.Tensor] | None
    vector: torch.Tensor
    offset: float

    @classmethod
    def prepare(cls, name: str, safe: torch.Tensor, harmful: torch.Tensor) -> "Simple":
        """Make one ready for references at points [m_Q, d] and [m_M, d]."""
        if name in _READ:
            return cls(_READ[name], torch.zeros_like(safe[0]), 0.0)
        # A linear function is known by what it is at zero and at the unit vectors.
        basis = torch.cat([torch.zeros_like(safe[:1]), torch.eye(safe.shape[1]).to(safe)]).cpu().numpy()
        found = torch.from_numpy(BASELINES[name](basis, safe.cpu().numpy(), harmful.cpu().numpy())).to(safe)
        return cls(None, found[1:] - found[0], float(found[0]))

    def score(self, points: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
        """The score [n] of rows at ``points`` [n, d], with the ``contrast`` [n] of what was read."""
        return contrast + product(points, self.vector[:, None])[:, 0] + self.offset


def _mean_nearest(similarity: torch.Tensor) -> torch.Tensor:
    return similarity.topk(min(_NEAREST, similarity.shape[1]), dim=1).values.mean(1)


def _log_density(similarity: torch.Tensor) -> torch.Tensor:
    return torch.logsumexp(similarity / _BANDWIDTH, 1) - math.log(similarity.shape[1])


#: The scores of `BASELINES` that are contrasts, at their defaults.
_READ: Final[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "knn": _mean_nearest,
    "kernel_density": _log_density,
}


def _second(first: int, second: int) -> NDArray[np.bool_]:
    return np.arange(first + second) >= first


def _auroc(scores: NDArray[Any], harmful: NDArray[np.bool_]) -> float:
    found = measure_quality(scores, harmful)
    assert found is not None, "both references have rows"
    return found.auroc
