"""The k-th row of all rows by score, for many k at once, in passes over parts: memory does not grow with the rows.

Known equivalent: ``np.lexsort((place, -score))[k - 1]``. A float32 has an order-preserving uint32 (its bits, those of
negative numbers inverted), so a row's rank is decided digit by digit, as in a radix sort (most significant digit
first): a pass counts the rows by the next digit of score and place, and only the cells in which a wanted row lies are
looked at again. As soon as few rows are left in these, they are sorted. Two passes will do, or three for very many
rows; equal scores and rows of one text cost a few more.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Cells of a pass, at most: 8 MiB of counts.
_CELLS: Final = 1 << 20
#: Most bits of a digit: the first pass of a score costs half a megabyte.
_DIGIT: Final = 16
#: Rows that are sorted rather than counted.
_SORTED: Final = 1 << 18
_SCORE_BITS: Final = 32


class Ranked(NamedTuple):
    """The rows at k wanted ranks; every field is [k].

    Attributes:
        score: their scores.
        place: their places.
        rows: how many rows are before them or share score and place with them.
        marked: how many of those rows are marked.
    """

    score: NDArray[np.float32]
    place: NDArray[np.int64]
    rows: NDArray[np.int64]
    marked: NDArray[np.int64]


class OrderedCounts:
    """Finds rows by their rank: the highest score first, at equal scores the first place.

    A pass is one call of `add` for every part. After the first, `want` says what is sought; then, as long as it is
    `open`, a pass follows, with `turn` at its end.

    Args:
        places: places are below this number.
        groups: in how many groups rows are ranked, each by itself.
    """

    def __init__(self, places: int, groups: int = 1) -> None:
        self._place_bits = max((places - 1).bit_length(), 1)
        self._levels: list[tuple[int, NDArray[np.int32]]] = []
        self._score, self._place = np.zeros(groups, np.uint32), np.zeros(groups, np.int64)
        self._sorting = False
        self._rows: list[tuple[NDArray[np.intp], NDArray[np.uint32], NDArray[np.int64], NDArray[np.bool_]]] = []
        self._found: Ranked | None = None
        #: Rows of each cell, and marked ones, if there are any.
        self._counts: NDArray[np.int64]
        self._marked: NDArray[np.int64]
        self._start()

    @property
    def open(self) -> bool:
        """Whether another pass is needed."""
        return self._found is None

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of every group, after the first pass and before `want`."""
        rows: NDArray[np.int64] = self._counts.reshape(len(self._score), -1).sum(1)
        return rows

    @property
    def found(self) -> Ranked:
        """What was sought, in the order in which it was."""
        assert self._found is not None
        return self._found

    def add(
        self,
        scores: NDArray[np.float32],
        places: NDArray[np.int64],
        groups: NDArray[np.intp] | None = None,
        marked: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in rows [n].

        Args:
            scores: their scores [n].
            places: their places [n].
            groups: their groups [n]; 0 for all if not given.
            marked: which are counted apart [n]; needed in all passes or none.
        """
        key = descending(scores)
        node = np.zeros(len(key), np.intp) if groups is None else groups
        mark = np.zeros(len(key), np.bool_) if marked is None else marked
        at = 0
        for bits, table in self._levels:
            node = table[node << bits | self._digit(key, places, at, bits)].astype(np.intp)
            inside = np.flatnonzero(node >= 0)
            node, key, places, mark = node[inside], key[inside], places[inside], mark[inside]
            at += bits
        if self._sorting:
            self._rows.append((node, key, places, mark))
            return
        cell = self._digit(key, places, at, self._bits)
        if len(self._score) > 1:
            cell |= node << self._bits
        np.add.at(self._counts, cell, 1)
        if marked is not None:
            if not len(self._marked):
                self._marked = np.zeros_like(self._counts)
            np.add.at(self._marked, cell[mark], 1)

    def want(self, ranks: NDArray[np.int64], groups: NDArray[np.intp] | None = None) -> None:
        """Seek the rows at these ranks [k], the first being 1, of these groups [k]; each rank has a row."""
        self._left = ranks.astype(np.int64)
        self._node = np.zeros(len(ranks), np.intp) if groups is None else groups
        self._before, self._marked_before = np.zeros((2, len(ranks)), np.int64)
        self._narrow()

    def turn(self) -> None:
        """End a pass."""
        if self._sorting:
            self._sort()
        else:
            self._narrow()

    def _start(self) -> None:
        at = sum(bits for bits, _ in self._levels)
        edge = _SCORE_BITS if at < _SCORE_BITS else _SCORE_BITS + self._place_bits
        fitting = max((_CELLS // max(len(self._score), 1)).bit_length() - 1, 1)
        self._bits = min(_DIGIT, edge - at, fitting)
        self._counts = np.zeros(len(self._score) << self._bits, np.int64)
        self._marked = np.zeros(0, np.int64)

    def _digit(self, key: NDArray[np.uint32], places: NDArray[np.int64], at: int, bits: int) -> NDArray[np.intp]:
        if at < _SCORE_BITS:
            return (key >> np.uint32(_SCORE_BITS - at - bits) & np.uint32((1 << bits) - 1)).astype(np.intp)
        return places >> (_SCORE_BITS + self._place_bits - at - bits) & ((1 << bits) - 1)

    def _narrow(self) -> None:
        """Go on with those cells alone in which a wanted row lies."""
        at, bits = sum(bits for bits, _ in self._levels), self._bits
        upto, start = np.cumsum(self._counts), self._node << bits
        base = np.where(start > 0, upto[start - 1], 0)
        cell = np.searchsorted(upto, base + self._left)
        ahead = upto[cell] - self._counts[cell] - base
        self._left, self._before = self._left - ahead, self._before + ahead
        cells, self._node = np.unique(cell, return_inverse=True)
        size, marked = self._counts[cells], np.zeros(len(cells), np.int64)
        if len(self._marked):
            upto = np.cumsum(self._marked)
            marked = self._marked[cells]
            self._marked_before += upto[cell] - self._marked[cell] - np.where(start > 0, upto[start - 1], 0)
        table = np.full(len(self._counts), -1, np.int32)
        table[cells] = np.arange(len(cells))
        self._levels.append((bits, table))
        old, digit = cells >> bits, cells & ((1 << bits) - 1)
        self._score, self._place = self._score[old], self._place[old]
        if at < _SCORE_BITS:
            self._score = self._score << np.uint32(bits) | digit.astype(np.uint32)
        else:
            self._place = self._place << bits | digit
        if at + bits == _SCORE_BITS + self._place_bits or not len(cells):
            rows, found = self._before + size[self._node], self._marked_before + marked[self._node]
            self._end(self._score[self._node], self._place[self._node], rows, found)
        elif size.sum() <= _SORTED:
            self._sorting = True
        else:
            self._start()

    def _sort(self) -> None:
        """Find the wanted rows among those that are left."""
        node, key, place, mark = (np.concatenate(values) for values in zip(*self._rows, strict=True))
        order = np.lexsort((place, key, node))
        node, key, place = node[order], key[order], place[order]
        last = np.ones(len(order), np.bool_)
        last[:-1] = (node[1:] != node[:-1]) | (key[1:] != key[:-1]) | (place[1:] != place[:-1])
        ends, marked = np.flatnonzero(last), np.concatenate([[0], np.cumsum(mark[order])])
        start = np.searchsorted(node, self._node)
        row = start + self._left - 1
        end = ends[np.searchsorted(ends, row)] + 1
        self._end(key[row], place[row], self._before + end - start, self._marked_before + marked[end] - marked[start])

    def _end(
        self, key: NDArray[np.uint32], place: NDArray[np.int64], rows: NDArray[np.int64], marked: NDArray[np.int64]
    ) -> None:
        self._found = Ranked(_score_of(key), place, rows, marked)
        self._levels, self._rows, self._sorting = [], [], False
        self._counts = self._marked = np.zeros(0, np.int64)


def descending(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """A key [n] that is the smaller the higher the score; -0 and 0 have the same."""
    bits = (scores + np.float32(0)).view(np.uint32)
    return np.where(bits >> np.uint32(31), bits, ~(bits | np.uint32(1 << 31)))


def _score_of(key: NDArray[np.uint32]) -> NDArray[np.float32]:
    """The scores [n] of keys, the inverse of `descending`."""
    return np.where(key >> np.uint32(31), key, ~key & np.uint32((1 << 31) - 1)).view(np.float32)
