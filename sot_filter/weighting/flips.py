"""What would have kept a row: at which retention it stays, and at which push strengths, the potentials held fixed.

A row is before another if it scores more, or the same at an earlier position; rows of one text have one position and
so one rank. A rule that keeps the first k rows keeps a row exactly if fewer than k are before it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Retentions that are told apart: every tenth of a percent.
_STEPS: Final = 1000

#: For each retention, 1 / 1000 to 1: the lowest score that it keeps, and the last position at exactly that score.
RetentionCuts = dict[str, list[float] | list[int]]


def retention_ranks(rows: int) -> NDArray[np.int64]:
    """The rank of the last row that each retention keeps of so many rows, as `sot_filter.weighting.select_rows` does.

    The rows at these ranks are the `RetentionCuts`.
    """
    share = np.arange(1, _STEPS + 1) / _STEPS
    return np.maximum(np.floor(share * rows + 0.5).astype(np.int64), 1)


def least_retention(
    scores: NDArray[np.float32], positions: NDArray[np.int64], cuts: RetentionCuts
) -> NDArray[np.float64]:
    """The least retention [n], in steps of a thousandth, at which each row is kept.

    Args:
        scores: scores [n] of some of the rows that the cuts were found for.
        positions: their positions [n].
        cuts: the rows at `retention_ranks`.
    """
    score = np.concatenate([scores, np.asarray(cuts["score"], np.float32)])
    place = np.concatenate([positions, np.asarray(cuts["last"], np.int64)])
    is_cut = np.arange(len(score)) >= len(scores)
    # A row stands before the cuts that keep it.
    order = np.lexsort((is_cut, place, -score))
    below = np.empty(len(score), np.int64)
    below[order] = np.cumsum(is_cut[order])
    return (below[: len(scores)] + 1) / _STEPS


def rank_of(scores: NDArray[np.float32], positions: NDArray[np.int64], score: float, position: int) -> int:
    """How many of the rows [n] are before a row of this score and position, and one."""
    cut = np.float32(score)
    return int((scores > cut).sum() + ((scores == cut) & (positions < position)).sum()) + 1


def keeping_push_strengths(
    pull: NDArray[np.floating], push: NDArray[np.floating], positions: NDArray[np.int64], row: int, kept: int
) -> list[tuple[float, float]]:
    """The push strengths λ at which ``row`` is among the first ``kept`` rows, if the potentials stay as they are.

    Its lead over another row, λ (push - push') - (1-λ) (pull - pull'), is linear in λ and changes sign once at most,
    so the rank is found for all λ from 0 to 1 by one sort of these places. A solve at another λ would move the
    potentials as well, a little; that is not in it.

    Args:
        pull: f_Q of all rows [n] that have a score.
        push: f_M [n].
        positions: their positions [n].
        row: the index of the row in question.
        kept: how many rows are kept.

    Returns:
        Intervals of λ, in order and apart from each other; none where no λ keeps the row.
    """
    pull, push = pull.astype(np.float64), push.astype(np.float64)
    # d(λ) = slope λ - behind, positive where the other row is before this one.
    behind = pull - pull[row]
    slope = behind + push - push[row]
    starts_before = np.where(behind != 0, behind < 0, np.where(slope != 0, slope > 0, positions < positions[row]))
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = behind / slope
    inside = (crossing > 0) & (crossing < 1)
    at, gained = crossing[inside], np.where(slope[inside] > 0, 1, -1)
    order = np.argsort(at, kind="stable")
    before = int(starts_before.sum()) + np.concatenate([[0], np.cumsum(gained[order])])
    edges = np.concatenate([[0.0], at[order], [1.0]])
    intervals: list[tuple[float, float]] = []
    for piece in np.flatnonzero((before < kept) & (edges[1:] > edges[:-1])):
        low, high = float(edges[piece]), float(edges[piece + 1])
        if intervals and intervals[-1][1] == low:
            low = intervals.pop()[0]
        intervals.append((low, high))
    return intervals


def nearest_flip(intervals: list[tuple[float, float]], push_strength: float) -> float | None:
    """The end of an interval inside (0, 1) that is nearest to ``push_strength``; None where there is no such end."""
    ends = [end for interval in intervals for end in interval if 0 < end < 1]
    return min(ends, key=lambda end: (abs(end - push_strength), end), default=None)
