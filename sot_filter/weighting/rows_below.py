"""How many rows are below given values: a count that takes rows in part by part, in any order."""

import numpy as np
from numpy.typing import NDArray


class RowsBelow:
    """Counts of rows below, and at, values that are known beforehand.

    Args:
        values: what will be asked for, in any order.
    """

    def __init__(self, values: NDArray[np.floating]) -> None:
        self._values = np.unique(values.astype(np.float64))
        # Between the values, and at them, by turns.
        self._counts = np.zeros(2 * len(self._values) + 1, np.int64)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self._counts.sum())

    def add(self, rows: NDArray[np.floating]) -> None:
        """Take in the values of rows [n]."""
        exact = rows.astype(np.float64, copy=False)
        at = np.searchsorted(self._values, exact, "left") + np.searchsorted(self._values, exact, "right")
        self._counts += np.bincount(at, minlength=len(self._counts))

    def below(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """How many rows are below each of some of the values [k]."""
        return np.cumsum(self._counts)[2 * self._place(values)]

    def up_to(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """How many rows are below or at each of some of the values [k]."""
        return np.cumsum(self._counts)[2 * self._place(values) + 1]

    def _place(self, values: NDArray[np.floating]) -> NDArray[np.intp]:
        return np.searchsorted(self._values, values.astype(np.float64, copy=False))
