"""A sample of rows that depends on which rows there are, and not on the parts they come in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class KeyedSample:
    """The rows whose keys, hashes of seed and position, are the lowest: as good as drawn at random.

    Args:
        seed: of the hashes.
        most: rows that are drawn; all, where there are no more.
    """

    def __init__(self, seed: int, most: int) -> None:
        self._seed, self._most = seed, most
        self._keys = np.zeros(0, np.uint64)
        self._columns: list[NDArray[Any]] = []

    def add(self, positions: NDArray[np.int64], *columns: NDArray[Any]) -> None:
        """Take in rows [n] by their positions, with columns of any kind [n, ...]."""
        keys, mine = _mixed(positions, self._seed), [positions, *columns]
        if len(self._keys) == self._most:
            near = keys < self._keys.max(initial=np.uint64(0))
            keys, mine = keys[near], [column[near] for column in mine]
        keys = np.concatenate([self._keys, keys])
        known = self._columns or [column[:0] for column in mine]
        lowest = np.argsort(keys, kind="stable")[: self._most]
        self._keys = keys[lowest]
        self._columns = [np.concatenate(pair)[lowest] for pair in zip(known, mine, strict=True)]

    @property
    def rows(self) -> list[NDArray[Any]]:
        """The columns of the drawn rows, in the order of their positions."""
        order = np.argsort(self._columns[0])
        return [column[order] for column in self._columns[1:]]


def _mixed(positions: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood 2014): the hash is a bijection, so no two rows have the same key."""
    step = (seed + 1) * 0xD1B54A32D192ED03 % (1 << 64)
    mixed = positions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(step)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ mixed >> np.uint64(shift)) * np.uint64(factor)
    return mixed ^ mixed >> np.uint64(31)
