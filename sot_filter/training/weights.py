"""Which rows are trained on, and with how much weight: the weight and keep columns, read and refused where wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sot_filter.errors import SourceError

#: Row ids that an error names at most.
SHOWN: Final = 5
_MEND: Final = "Mend the column, or name another one."


@dataclass(frozen=True, slots=True)
class Weights:
    """Each row's weight, and whether it is used.

    Attributes:
        weights: of all rows, none negative, float64 [n].
        kept: which rows the keep column holds; all without one, bool [n].
    """

    weights: NDArray[np.float64]
    kept: NDArray[np.bool_]

    @property
    def used(self) -> NDArray[np.int64]:
        """Places of the rows to train on: kept, and of a weight above zero."""
        return np.flatnonzero(self.kept & (self.weights > 0))


def read_weights(rows: datasets.Dataset, weight: str | None, keep: str | None, ids: "RowIds") -> Weights:
    """Read and check both columns.

    Args:
        rows: all rows.
        weight: the weight column; None gives every row the weight 1.
        keep: the column that says whether a row is used; None uses all.
        ids: what to call a row.

    Raises:
        SourceError: a column that is missing, of another type, has a null, a weight that is negative or not finite;
            no row that is kept and has weight.
    """
    weights, kept = np.ones(len(rows)), np.ones(len(rows), dtype=bool)
    if weight is not None:
        expected = f"a weight of 0 or more in {weight!r} of every row"
        values = _column(rows, weight, "weight", expected, ids, lambda t: pa.types.is_floating(t) or _is_integer(t))
        weights = values.to_numpy(zero_copy_only=False).astype(np.float64)
        with np.errstate(over="ignore"):
            single = weights.astype(np.float32)  # in which a batch carries them
        for what, wrong in (
            ("NaN", np.isnan(weights)),
            ("an infinite weight", np.isinf(single)),
            ("a negative weight", weights < 0),
            ("a weight too small for single precision", (weights > 0) & (single < np.finfo(np.float32).tiny)),
        ):
            _refuse(wrong, what, expected, ids)
    if keep is not None:
        expected = f"true or false in {keep!r} of every row"
        values = _column(rows, keep, "keep", expected, ids, lambda t: pa.types.is_boolean(t) or _is_integer(t))
        numbers = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
        _refuse((numbers != 0) & (numbers != 1), "another number than 0 or 1", expected, ids)
        kept = numbers == 1
    if not len(rows):
        raise SourceError("rows to train on", "none", "Check split and files.")
    if not kept.any():
        raise SourceError(f"a row that {keep!r} keeps", f"none of {len(rows)}", _MEND)
    if not weights.any():
        raise SourceError(f"a row with a weight above 0 in {weight!r}", f"none of {len(rows)} has one", _MEND)
    if not weights[kept].any():
        raise SourceError(
            f"a row that {keep!r} keeps with a weight above 0 in {weight!r}", f"none of {len(rows)}", _MEND
        )
    return Weights(weights, kept)


class RowIds:
    """What rows are called: by their id column, or by their place in the split.

    Args:
        rows: all rows.
        columns: id columns to look for, the first that is there and holds text being taken.
        split: the rows' split.
    """

    def __init__(self, rows: datasets.Dataset, columns: Sequence[str], split: str) -> None:
        features = rows.features
        self._rows, self._split = rows, split
        self.column = next(
            (c for c in columns if isinstance(f := features.get(c), datasets.Value) and f.dtype.endswith("string")),
            None,
        )

    def of(self, places: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """The ids of the rows at these places."""
        named: list[Any] = [None] * len(places)
        if self.column is not None and len(places):
            named = self._rows.select_columns([self.column]).select(np.asarray(places))[self.column][:]
        return [name or f"{self._split}#{place}" for name, place in zip(named, places, strict=True)]


def _is_integer(type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type))


def _column(rows: datasets.Dataset, name: str, role: str, expected: str, ids: RowIds, fits: Any) -> pa.ChunkedArray:
    """A column as Arrow has it, of a type that fits and without nulls."""
    if name not in rows.column_names:
        raise SourceError(
            f"a column {name!r} with each row's {role}",
            f"columns {', '.join(sorted(rows.column_names)) or '(none)'}",
            f"Set rows.{role} to the column that has it, or to null.",
        )
    values = rows.select_columns([name]).with_format("arrow")[:].column(name)
    if not fits(values.type) and len(values) and not pa.types.is_null(values.type):
        raise SourceError(expected, f"a column of {values.type}", _MEND)
    _refuse(values.is_null().to_numpy(zero_copy_only=False), "null", expected, ids)
    return values


def _refuse(wrong: Any, what: str, expected: str, ids: RowIds) -> None:
    places = np.flatnonzero(wrong)
    if len(places):
        shown = ", ".join(ids.of(places[:SHOWN])) + (", ..." if len(places) > SHOWN else "")
        raise SourceError(expected, f"{what} in {len(places)} of {len(wrong)} rows: {shown}", _MEND)
