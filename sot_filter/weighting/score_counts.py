"""How well scores tell two kinds of rows apart, from counts by score that take rows in part by part.

The same AUROC and average precision as of `sot_filter.weighting.measure_quality`, exactly so for up to a million
different scores. Of more, neighbouring scores are counted as one, and so as ties: the lowest bits of the float32 are
dropped, as few as will do, whatever the order and the parts.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.weighting.ordered_counts import descending

#: Different scores that are counted apart.
_DIFFERENT: Final = 1 << 20
#: Rows that are gathered before they are counted.
_GATHERED: Final = 1 << 19


class ScoreCounts:
    """Counts of harmful and of other rows by score; memory does not grow with the rows."""

    def __init__(self) -> None:
        self._dropped_bits, self._rows = 0, 0
        #: Keys [k], the smaller the higher the score, with numbers of rows and of harmful rows [k]; not yet folded.
        self._pieces: list[tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]] = []

    def add(self, scores: NDArray[np.float32], harmful: NDArray[np.bool_]) -> None:
        """Take in rows [n] and which of them are harmful [n]."""
        key, at = np.unique(descending(scores) >> np.uint32(self._dropped_bits), return_inverse=True)
        rows, found = (np.bincount(values, minlength=len(key)) for values in (at, at[harmful]))
        self._pieces.append((key, rows, found))
        self._rows += len(key)
        if self._rows > _GATHERED + _DIFFERENT:
            self._fold()

    @property
    def exact(self) -> bool:
        """Whether all different scores are counted apart."""
        self._fold()
        return self._dropped_bits == 0

    @property
    def harmful(self) -> int:
        """Number of harmful rows."""
        return int(self._fold()[1].sum())

    @property
    def benign(self) -> int:
        """Number of other rows."""
        rows, harmful = self._fold()
        return int((rows - harmful).sum())

    @property
    def auroc(self) -> float:
        """Probability that a harmful row scores below a benign one; ties count half. There are rows of both kinds."""
        rows, harmful = self._fold()
        benign = rows - harmful
        above = np.cumsum(benign) - benign
        return int((harmful * (2 * above + benign)).sum()) / (2 * int(harmful.sum()) * int(benign.sum()))

    @property
    def average_precision(self) -> float:
        """Mean precision at each harmful row's score, going up from the lowest. There is a harmful row."""
        rows, harmful = (counts[::-1] for counts in self._fold())
        return float((harmful * np.cumsum(harmful) / np.cumsum(rows)).sum() / harmful.sum())

    def _fold(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and harmful rows of each score, from the highest."""
        if not self._pieces:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        if len(self._pieces) > 1:
            key, rows, harmful = (np.concatenate(values) for values in zip(*self._pieces, strict=True))
            self._pieces = [_merged(key, rows, harmful, 0)]
        while len(self._pieces[0][0]) > _DIFFERENT:
            self._pieces = [_merged(*self._pieces[0], 1)]
            self._dropped_bits += 1
        ((key, rows, harmful),) = self._pieces
        self._rows = len(key)
        return rows, harmful


def _merged(
    key: NDArray[np.uint32], rows: NDArray[np.int64], harmful: NDArray[np.int64], bits: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """The same counts by keys without their lowest bits."""
    found, at = np.unique(key >> np.uint32(bits), return_inverse=True)
    sums = np.zeros((2, len(found)), np.int64)
    np.add.at(sums[0], at, rows)
    np.add.at(sums[1], at, harmful)
    return found, sums[0], sums[1]
