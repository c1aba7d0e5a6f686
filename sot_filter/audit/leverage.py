"""How much of a result hangs on single reference rows, or on a cluster of them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Entries of a plan held at a time.
_TILE: Final = 1 << 22
#: A cluster that takes all but this of a row's mass is taken to leave this much.
_LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Influence:
    """What each of k clusters of a reference does to the rows.

    Attributes:
        mass: share of all transported mass that each takes [k], the mean over rows of their plan; it is also the
            gradient of the mean potential in the log mass of the cluster, in units of -ε.
        swing: standard deviation over the rows [k], cost units, of what leaving the cluster out would add to their
            potentials, these held fixed; what it adds to all rows alike moves no ranking.
    """

    mass: NDArray[np.float64]
    swing: NDArray[np.float64]


def influence(
    rows: NDArray[np.float32],
    reference: NDArray[np.float32],
    offset: NDArray[np.float32],
    epsilon: float,
    member: NDArray[np.int64],
) -> Influence:
    """Measure clusters of a reference by the plan P(j|i) ∝ exp(offset_j - c_ij/ε) of rows of equal mass.

    With s the sum of P(j|i) over a cluster, leaving it out at fixed potentials adds -ε log(1 - s) to f_i, exactly,
    and a constant for the masses that are rescaled.

    Args:
        rows: points [n, d], at least one.
        reference: points [m, d].
        offset: log b_j + ψ_j/ε [m].
        epsilon: entropic strength, cost units.
        member: cluster of each reference row [m], 0 to k-1, none empty; ``arange(m)`` for single rows.
    """
    order = np.argsort(member, kind="stable")
    first = np.flatnonzero(np.diff(member[order], prepend=-1))
    mass, added, squared = np.zeros((3, len(first)))
    step = max(1, _TILE // len(reference))
    for start in range(0, len(rows), step):
        block = (rows[start : start + step] @ reference[order].T).astype(np.float64) / epsilon + offset[order]
        block -= block.max(1, keepdims=True)
        np.exp(block, out=block)
        share = np.add.reduceat(block / block.sum(1, keepdims=True), first, axis=1)
        gone = -epsilon * np.log(np.maximum(1 - share, _LEAST))
        mass += share.sum(0)
        added += gone.sum(0)
        squared += (gone**2).sum(0)
    n = len(rows)
    return Influence(mass / n, np.sqrt(np.maximum(squared / n - (added / n) ** 2, 0)))


@dataclass(frozen=True, slots=True)
class Shift:
    """What became of a ranking: its rank correlation with the one before, and the share of kept rows that left."""

    spearman: float
    kept_changed: float


def ranking_shift(before: NDArray[np.float32], after: NDArray[np.float32], kept: float) -> Shift:
    """Compare two scores [n] of the same rows.

    Args:
        before: scores, higher = rather keep.
        after: scores by other references.
        kept: share of the rows that is kept, best first, equal scores in row order.
    """
    ranks = [_ranks(score) - (len(before) - 1) / 2 for score in (before, after)]
    spread = (ranks[0] @ ranks[0] * (ranks[1] @ ranks[1])) ** 0.5
    n = max(1, round(kept * len(before)))
    one, other = (np.argsort(-score, kind="stable")[:n] for score in (before, after))
    return Shift(
        float(ranks[0] @ ranks[1] / spread) if spread else 0.0, float(1 - len(np.intersect1d(one, other)) / n)
    )


def _ranks(score: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mid-ranks [n] from zero."""
    ordered = np.sort(score)
    below, upto = (np.searchsorted(ordered, score, side=side) for side in ("left", "right"))
    return np.asarray((below + upto - 1) / 2, np.float64)
