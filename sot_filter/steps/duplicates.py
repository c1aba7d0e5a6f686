"""Which rows share their text: found by the texts' digests, in passes that each look at a share of all digests.

Digests are spread evenly, so a pass over those that begin alike meets its share of the texts, and all rows of each.
Memory is set by the size of a pass, and by the number of texts that several rows share.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sot_filter.artifacts import Layout, digests, fixed_size_column, matrix, read_table
from sot_filter.sources import Part, Source
from sot_filter.steps.embed import EMBEDDED, JUDGED_BY

#: What a row takes of memory while it is sorted among others.
_ROW_BYTES: Final = 96
#: Memory for a pass: enough to do 11 million distinct texts at once.
_MEMORY: Final = 1 << 30


class Folded(NamedTuple):
    """The texts of a source's embedded rows.

    Attributes:
        table: for each text that several rows share, in the order of their first rows: its digest, the first row's id
            (``first``), the number of rows (``rows``), and the columns and vectors that the first row is judged by.
        rows: number of embedded rows.
        distinct: number of different texts.
        shared: for each other source, how many of the rows have a text that it has too.
    """

    table: pa.Table
    rows: int
    distinct: int
    shared: tuple[int, ...]


def fold_run(
    layout: Layout,
    source: Source,
    part_rows: int,
    embed_key: str,
    *others: NDArray[np.void],
    memory: int = _MEMORY,
) -> Folded:
    """Fold the input's rows.

    Args:
        layout: where their embeddings are.
        source: the input.
        part_rows: rows per part.
        embed_key: key of the embed stage.
        others: digests of other sources' texts.
        memory: bytes for one pass.

    Raises:
        ArtifactError: embeddings are missing.
    """
    embedded = _Embeddings(layout, source, part_rows, embed_key)
    passes = max(-(-source.rows * _ROW_BYTES // memory), 1)
    rows = distinct = 0
    shared = [0] * len(others)
    known = [np.unique(texts) for texts in others]
    firsts, counts = [], []
    for number in range(passes):
        texts = _Texts(max(memory // _ROW_BYTES // 4, 1))
        for position, own in embedded.texts():
            if number == 0:
                rows += len(own)
                for i, theirs in enumerate(known):
                    shared[i] += int(np.isin(own, theirs).sum())
            halves = own.view(np.uint64).reshape(-1, 2)
            mine = (halves[:, 0] >> np.uint64(32)) * np.uint64(passes) >> np.uint64(32) == number
            texts.add(halves[mine], position[mine])
        found, several = texts.counted()
        distinct += len(found)
        firsts.append(found[several > 1])
        counts.append(several[several > 1])
    first, count = np.concatenate(firsts), np.concatenate(counts)
    order = np.argsort(first)
    return Folded(embedded.take(first[order], count[order]), rows, distinct, tuple(shared))


class _Texts:
    """Distinct texts with their first positions and counts.

    Args:
        pending: rows that are gathered before they are sorted in.
    """

    def __init__(self, pending: int) -> None:
        self._most, self._new = pending, 0
        #: Digests [n, 2], first positions [n] and counts [n] of pieces; a text may be in several of them.
        self._pieces: list[tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]] = []

    def add(self, texts: NDArray[np.uint64], positions: NDArray[np.int64]) -> None:
        """Take in rows [n] with the digests of their texts [n, 2], later ones than before."""
        self._pieces.append((texts, positions, np.ones(len(texts), np.int64)))
        self._new += len(texts)
        if self._new > self._most:
            self._merge()

    def counted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First position and number of rows of each text."""
        self._merge()
        ((_, first, count),) = self._pieces
        return first, count

    def _merge(self) -> None:
        texts, first, count = (np.concatenate(values) for values in zip(*self._pieces, strict=True))
        self._pieces.clear()
        # Stable: at equal texts the earlier row comes first, as it was added.
        order = np.lexsort((texts[:, 1], texts[:, 0]))
        texts, first, count = texts[order], first[order], count[order]
        starts = np.ones(len(texts), np.bool_)
        starts[1:] = (texts[1:] != texts[:-1]).any(1)
        at = np.flatnonzero(starts)
        count = np.add.reduceat(count, at) if len(at) else count
        self._pieces, self._new = [(texts[at], first[at], count)], 0


class _Embeddings:
    """The input's parts, read one at a time."""

    def __init__(self, layout: Layout, source: Source, part_rows: int, key: str) -> None:
        self._layout, self._source, self._key = layout, source, key
        self._parts = source.parts(part_rows)

    def _read(self, part: Part, columns: list[str] | None) -> pa.Table:
        return read_table(self._layout.embeddings("input", self._source, part), self._key, columns)

    def texts(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.void]]]:
        """For each part the positions [n] of its embedded rows and the digests [n] of their texts."""
        start = 0
        for part in self._parts:
            table = self._read(part, ["status", "digest"])
            rows = np.flatnonzero(pc.equal(table["status"], EMBEDDED).to_numpy())
            yield start + rows, digests(table["digest"])[rows]
            start += part.rows

    def take(self, first: NDArray[np.int64], count: NDArray[np.int64]) -> pa.Table:
        """The table of `Folded`, of the rows at positions ``first`` [k], increasing, and their numbers of rows [k]."""
        start, tables = 0, [self._taken(self._parts[0], first[:0], count[:0])] if self._parts else []
        for part in self._parts:
            low, high = np.searchsorted(first, [start, start + part.rows])
            if low < high:
                tables.append(self._taken(part, first[low:high] - start, count[low:high]))
            start += part.rows
        return pa.concat_tables(tables).combine_chunks()

    def _taken(self, part: Part, rows: NDArray[np.int64], count: NDArray[np.int64]) -> pa.Table:
        table = self._read(part, None).take(rows)
        ids = [self._source.key(part.file, part.start + int(row)).id for row in rows]
        views = [name for name in table.column_names if name.startswith("view:")]
        return pa.table(
            {
                "digest": table["digest"],
                "first": pa.array(ids, pa.string()),
                "rows": count,
                **{name: table[name] for name in JUDGED_BY},
                **{name: fixed_size_column(matrix(table[name])) for name in views},
            }
        )
