"""Finding rows by what they are: an index over 16-byte keys, and the join of a batch of rows with their weights."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sot_filter.errors import SourceError
from sot_filter.rows import COLUMNS, DIGEST, EMPTY, INVALID, UNSCORED, named
from sot_filter.weights.reading import TYPES
from sot_filter.weights.table import Weights
from sot_filter.weights.texts import NO_TEXT, Reading

#: What stands for a status where a row is not among the weighed ones, or is, by its id, with another text.
MISSING: Final = ""
OTHER_TEXT: Final = "other text"
#: Rows that have no text, and rows without weights, in the order in which they stand behind the weighed ones.
_WITHOUT: Final = (EMPTY, INVALID, MISSING, OTHER_TEXT)
_REASON: Final = {
    EMPTY: "There is no text, so it cannot be judged and is never kept.",
    INVALID: "It cannot be read, so it is never kept.",
}


class Index:
    """Where keys stand, found by bisection.

    Args:
        keys: [n] of 16 bytes each.
    """

    def __init__(self, keys: NDArray[np.bytes_]) -> None:
        # Stable: of equal keys the first is found.
        self.order = np.argsort(keys, kind="stable")
        self.sorted = keys[self.order]

    def find(self, keys: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """The first place of each key [k], -1 where it is not there."""
        if not len(self.sorted):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self.sorted, keys), len(self.sorted) - 1)
        return np.where(self.sorted[at] == keys, self.order[at], -1)


def keys_of_ids(ids: Iterable[str | None]) -> NDArray[np.bytes_]:
    """A key for each row id; no row is called nothing."""
    return _as_keys([hashlib.blake2b(str(row_id or "").encode(), digest_size=16).digest() for row_id in ids])


def keys_of_digests(digests: Sequence[str]) -> NDArray[np.bytes_]:
    """Keys of digests in hexadecimal."""
    return np.frombuffer(bytes.fromhex("".join(digests)), "S16")


def _as_keys(values: Sequence[bytes]) -> NDArray[np.bytes_]:
    return np.frombuffer(b"".join(values), "S16")


class Columns(NamedTuple):
    """Where the rows of a dataset have what they are found by.

    Attributes:
        row_id: the column with row ids, if rows are found by these.
        reading: how texts are read, if rows are found by these, or the texts of found rows are to be the same.
        present: weight columns that the rows have already.
    """

    row_id: str | None
    reading: Reading | None
    present: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        texts = self.reading.names if self.reading else []
        return list(dict.fromkeys([*([self.row_id] if self.row_id else []), *texts]))


@dataclass(frozen=True)
class Join:
    """Gives rows their weights.

    Attributes:
        columns: where the rows have what they are found by.
        table: the weights with the names that the new columns have, then a row for each way to have none.
        index: of the weighed rows.
        digests: of their texts [n], where found rows' texts are compared.
        status: name of the column that tells weighed rows from others.
    """

    columns: Columns
    table: pa.Table
    index: Index
    digests: NDArray[np.bytes_] | None
    status: str

    @classmethod
    def prepare(cls, weights: Weights, columns: Columns) -> "Join":
        """Raises `SourceError` when rows of one text have different weights and are to be found by it."""
        digests = keys_of_digests(weights.table[DIGEST].to_pylist()) if columns.reading else None
        if columns.row_id is None:
            if digests is None:
                raise SourceError("a row id column or texts to find rows by", "neither", "Name one of them.")
            index = Index(digests)
            _check_one_weight(weights, index)
        else:
            index = Index(keys_of_ids(weights.table["sot_row_id"].to_pylist()))
        table = pa.concat_tables([_whole(weights.table), _without(weights.table.column_names)])
        table = table.drop_columns([DIGEST]) if DIGEST in table.column_names else table
        prefix = weights.origin.prefix
        table = table.rename_columns([named(name, prefix) for name in table.column_names]).combine_chunks()
        return cls(columns, table, index, digests, named("sot_status", prefix))

    def as_table(self, batch: Mapping[str, Sequence[Any]]) -> pa.Table:
        """The weight columns of a batch of rows, given as lists by column."""
        rows = len(next(iter(batch.values())))
        last = self.table.num_rows - len(_WITHOUT)
        place = np.full(rows, -1)
        if self.columns.reading is not None:
            values = {name: batch[name] for name in self.columns.reading.names if name in batch}
            read = [
                self.columns.reading.digest(dict(zip(values, row, strict=True)))
                for row in zip(*values.values(), strict=True)
            ]
            digests = _as_keys([digest for digest, _ in read])
        if self.columns.row_id is not None:
            place = self.index.find(keys_of_ids(batch[self.columns.row_id]))
            if self.columns.reading is not None and self.digests is not None:
                other = (place >= 0) & (self._text(place) != digests)
                place = np.where(other, last + _WITHOUT.index(OTHER_TEXT), place)
        else:
            place = self.index.find(digests)
            for i, (_, status) in enumerate(read):
                if status:
                    place[i] = last + _WITHOUT.index(status)
        place = np.where(place < 0, last + _WITHOUT.index(MISSING), place)
        taken = self.table.take(pa.array(place))
        return taken.cast(pa.schema([(name, _narrow(taken[name].type)) for name in taken.column_names]))

    def _text(self, place: NDArray[np.int64]) -> NDArray[np.bytes_]:
        return self.digests[np.maximum(place, 0)] if self.digests is not None else place.astype("S16")


def _check_one_weight(weights: Weights, index: Index) -> None:
    same = (index.sorted[1:] == index.sorted[:-1]) & (index.sorted[1:] != NO_TEXT)
    for name in ("sot_weight", "sot_keep"):
        values = weights.table[name].to_numpy()[index.order]
        if (unlike := np.flatnonzero(same & (values[1:] != values[:-1]))).size:
            ids = weights.table["sot_row_id"]
            pair = " and ".join(ids[int(index.order[unlike[0] + k])].as_py() for k in (0, 1))
            raise SourceError(
                "rows of one text to have one weight", f"others, as {pair}", "Join by row id (`on='row_id'`)."
            )


def _whole(table: pa.Table) -> pa.Table:
    """The table with texts of 64-bit offsets, so that a column is one piece however long it is."""
    wide = [(f.name, pa.large_string() if pa.types.is_string(f.type) else f.type) for f in table.schema]
    return table.cast(pa.schema(wide))


def _narrow(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) else kind


def _without(names: Sequence[str]) -> pa.Table:
    """A row for each way to have no weight."""
    rows = []
    for status in _WITHOUT:
        row: dict[str, Any] = {name: {"float32": 0.0, "bool": False}.get(kind, "") for name, kind in COLUMNS.items()}
        row |= {"sot_score": UNSCORED, "sot_status": status, "sot_reason": _REASON.get(status, ""), DIGEST: ""}
        rows.append(row)
    return _whole(pa.table([pa.array([row[name] for row in rows], TYPES[name]) for name in names], list(names)))
