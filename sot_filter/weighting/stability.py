"""Would a row be kept as well if the references had been other rows? Its fate in each replicate of the references."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.weighting.selection import Cut, select_rows

#: A row whose fate fewer replicates than this share agree with is on the edge.
AGREEING: Final = 0.95


def replicate_cuts(scores: NDArray[np.float32], positions: NDArray[np.int64], kept: int) -> list[tuple[float, int]]:
    """For each replicate the cut that keeps as many rows as the run does, as score and position.

    Args:
        scores: scores [n, r] of the rows that are selected from, in each replicate.
        positions: their places [n], as for `sot_filter.weighting.select_rows`.
        kept: rows above the run's own cut.
    """
    cuts = (select_rows(scores[:, r], positions, top_k=max(kept, 1)) for r in range(scores.shape[1]))
    return [(cut.score, cut.last) for cut in cuts]


def times_kept(
    scores: NDArray[np.float32], positions: NDArray[np.int64], cuts: list[tuple[float, int]]
) -> NDArray[np.int64]:
    """In how many of the replicates each row [n] is kept; ``scores`` [n, r], and the cuts of `replicate_cuts`."""
    kept = [Cut(score, last).keeps(scores[:, r], positions) for r, (score, last) in enumerate(cuts)]
    return np.sum(kept, axis=0, dtype=np.int64) if kept else np.zeros(len(scores), np.int64)


def on_edge(times: NDArray[np.int64], replicates: int, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether replicates disagree with the fate of a row [n].

    Args:
        times: in how many of them it is kept [n], from `times_kept`.
        replicates: how many there are.
        kept: whether the run itself keeps it [n].
    """
    agreeing = np.where(kept, times, replicates - times)
    edge: NDArray[np.bool_] = agreeing < AGREEING * replicates
    return edge
