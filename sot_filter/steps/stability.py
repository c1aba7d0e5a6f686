"""How stable a solve is: the rows' scores with other reference rows and with other folds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sot_filter.weighting import Cut, on_edge, times_kept

if TYPE_CHECKING:
    from torch import Tensor

#: The score by a solve whose folds another seed drew.
RESEEDED: Final = "reseeded"


def replicate_columns(replicates: int) -> list[str]:
    """The columns that have the scores of each replicate."""
    return [f"replicate:{r}" for r in range(replicates)]


def replicate_matrix(scored: pa.Table, replicates: int) -> NDArray[np.float32]:
    """The scores [n, replicates] of n rows in each replicate."""
    columns = [scored[name].to_numpy() for name in replicate_columns(replicates)]
    return np.stack(columns, 1) if columns else np.empty((len(scored), 0), np.float32)


def stability_columns(score: Tensor, replicates: Tensor, reseeded: Tensor) -> dict[str, Tensor]:
    """The columns of n rows of a coupled solve.

    Args:
        score: the run's own scores [n].
        replicates: those in each of R replicates of the references [n, R], R at least 2.
        reseeded: those by a solve whose folds another seed drew [n].

    Returns:
        Lower and upper end of the score's range, the score by the other seed, and `replicate_columns`.
    """
    import torch

    from sot_filter.transport import score_range

    low, high = score_range(replicates)
    # The run's own score lies in its range, also where half of the references make all scores lower.
    values = [torch.minimum(low, score), torch.maximum(high, score), reseeded, *replicates.T]
    names = ["score_low", "score_high", RESEEDED, *replicate_columns(replicates.shape[1])]
    return dict(zip(names, values, strict=True))


def replicates_of(
    scored: pa.Table, allowed: NDArray[np.bool_], place: NDArray[np.int64], facts: dict[str, Any]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """In how many replicates each of n rows is kept, and whether these disagree with its fate at the cut.

    Args:
        scored: their table of the weigh stage.
        allowed: which of them may be kept [n]; the others are never on the edge.
        place: where they stand [n] among all rows, from `sot_filter.steps.select.places`.
        facts: from `sot_filter.steps.select.selection`.
    """
    replicates = facts["replicates"]
    times = times_kept(replicate_matrix(scored, replicates), place, facts["replicate_cuts"])
    if not replicates:
        return times, np.zeros(len(scored), np.bool_)
    kept = Cut(facts["cut"], facts["last"]).keeps(scored["score"].to_numpy(), place)
    return times, on_edge(times, replicates, kept) & allowed
