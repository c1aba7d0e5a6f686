"""Rows that say nearly the same: the connected groups of the graph that joins rows of a similarity above a threshold.

The grouping step of SemDeDup (Abbas et al. 2023), without its clustering beforehand, so exact: all pairs are compared,
a tile at a time.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: Similarities held at a time.
_TILE: Final = 1 << 22


def near_duplicates(points: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Group ``points`` [n, d], unit or zero vectors, whose inner product is at least ``threshold`` > 0.

    Returns:
        For each point the index [n] of the first point of its group; a point that has no near duplicate, its own.
    """
    n = len(points)
    first = np.arange(n)
    step = max(1, _TILE // max(n, 1))
    for start in range(0, n, step):
        above = points[start : start + step] @ points[start:].T >= threshold
        for i, j in np.argwhere(above):
            if i < j:
                one, other = sorted((_root(first, start + int(i)), _root(first, start + int(j))))
                first[other] = one
    return np.asarray([_root(first, i) for i in range(n)], np.int64)


def _root(first: NDArray[np.int64], i: int) -> int:
    while first[i] != i:
        first[i] = first[first[i]]
        i = int(first[i])
    return i
