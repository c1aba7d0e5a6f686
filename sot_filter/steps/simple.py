"""What a simple score would have done instead: the best of a few on held-out rows of the references."""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from sot_filter.baselines import BASELINES
from sot_filter.transport import Choice
from sot_filter.weighting import measure_quality

#: Scores that need nothing but a reference and a moment.
SIMPLE: Final = ("knn", "mean_cosine", "kernel_density", "lda")


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


def simple_score(name: str, points: torch.Tensor, safe: torch.Tensor, harmful: torch.Tensor) -> NDArray[np.float32]:
    """The simple score [n] of rows at ``points`` [n, d], against the references [m, d]."""
    if not len(points):
        return np.zeros(0, np.float32)
    return BASELINES[name](points.numpy(), safe.numpy(), harmful.numpy())


def _second(first: int, second: int) -> NDArray[np.bool_]:
    return np.arange(first + second) >= first


def _auroc(scores: NDArray[Any], harmful: NDArray[np.bool_]) -> float:
    found = measure_quality(scores, harmful)
    assert found is not None, "both references have rows"
    return found.auroc
