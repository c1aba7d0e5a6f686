"""Columns of a published file: of Parquet no other bytes than theirs, of text files typed as they were written."""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sot_filter.artifacts import reached, reaching
from sot_filter.errors import SourceError
from sot_filter.rows import COLUMNS, DIGEST, named
from sot_filter.sources import STORAGES, Row, Unreadable
from sot_filter.sources.storage import storage_of
from sot_filter.sources.tabular import explained, python_rows

_ARROW: Final = {"string": pa.string(), "float32": pa.float32(), "bool": pa.bool_()}
#: Arrow types of the columns and of the digest, which only a sidecar has.
TYPES: Final = {**{name: _ARROW[kind] for name, kind in COLUMNS.items()}, DIGEST: pa.string()}
#: Without these there is nothing to attach, or nothing to attach it to.
_NEEDED: Final = ("sot_row_id", "sot_weight", "sot_keep")
_BATCH_ROWS: Final = 10_000
_SPELLED: Final = {"True": True, "False": False, "true": True, "false": False}


def read_weights(url: str, prefix: str) -> pa.Table | None:
    """The weight columns of a file, called as in `COLUMNS`, and their digest where there is one.

    Args:
        url: the file.
        prefix: how the columns' names begin there.

    Returns:
        Rows in the file's order; no column has a null. None of a text file without rows: it tells no columns.

    Raises:
        SourceError: a file of another kind, columns missing or of another prefix, or values that are not of them.
    """

    def wanted(names: Sequence[str]) -> list[str]:
        if missing := [column for column in _NEEDED if named(column, prefix) not in names]:
            raise _without(url, [named(column, prefix) for column in missing], names)
        return [named(column, prefix) for column in TYPES if named(column, prefix) in names]

    table = _parquet(url, wanted) if storage_of(url) == ".parquet" else _from_text(url, wanted, prefix)
    if table is None:
        return None
    ours = {named(column, prefix): column for column in TYPES}
    table = table.rename_columns([ours[name] for name in table.column_names])
    for name in table.column_names:
        if table[name].null_count:
            raise _wrong(url, named(name, prefix), "nothing in a row")
    try:
        return table.cast(pa.schema([(name, TYPES[name]) for name in table.column_names]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _wrong(url, "the weight columns", str(error).splitlines()[0]) from None


def read_rows(url: str, wanted: Callable[[Sequence[str]], list[str]]) -> Iterator[Row]:
    """Rows of a file as Python values.

    Args:
        url: the file.
        wanted: says of the file's columns which are read.
    """
    fs, path = reached(url)
    with reaching(fs, url):
        if storage_of(url) == ".parquet":
            with fs.open(path, "rb", cache_type="none") as handle, explained("Parquet", url):
                file = pq.ParquetFile(handle, pre_buffer=True)
                for batch in file.iter_batches(1024, columns=wanted(file.schema_arrow.names)):
                    yield from python_rows(batch)
            return
        storage = STORAGES[_kind(url)]
        first = next(iter(storage.read(fs, path, 0, 1, None)), None)
        if first is None:
            # A file without rows says nothing of columns.
            return
        columns = wanted(list(first) if isinstance(first, dict) else [])
        for row in storage.read(fs, path, 0, sys.maxsize, columns):
            yield row if isinstance(row, Unreadable) else {name: row.get(name) for name in columns}


def _parquet(url: str, wanted: Callable[[Sequence[str]], list[str]]) -> pa.Table:
    fs, path = reached(url)
    # Without a cache of fsspec's, which reads on: pyarrow itself asks for what it needs, in few pieces.
    with reaching(fs, url), fs.open(path, "rb", cache_type="none") as handle, explained("Parquet", url):
        file = pq.ParquetFile(handle, pre_buffer=True)
        return file.read(columns=wanted(file.schema_arrow.names))


def _from_text(url: str, wanted: Callable[[Sequence[str]], list[str]], prefix: str) -> pa.Table | None:
    columns: list[str] = []

    def noted(names: Sequence[str]) -> list[str]:
        columns[:] = wanted(names)
        return columns

    rows, tables = read_rows(url, noted), []
    kinds = {named(column, prefix): kind for column, kind in TYPES.items()}
    while some := list(itertools.islice(rows, _BATCH_ROWS)):
        whole = [row for row in some if not isinstance(row, Unreadable)]
        if len(whole) < len(some):
            raise _wrong(url, "the weight columns", "a row that cannot be read")
        arrays = [pa.array([_typed(row[name], kinds[name]) for row in whole], kinds[name]) for name in columns]
        tables.append(pa.table(arrays, columns))
    return pa.concat_tables(tables) if tables else None


def _typed(value: Any, kind: pa.DataType) -> Any:
    """A value of a text file as one of a column's type, None where it is none."""
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else None
    if pa.types.is_boolean(kind):
        return _SPELLED.get(value) if isinstance(value, str) else value if isinstance(value, bool) else None
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _kind(url: str) -> str:
    kind = storage_of(url)
    if kind is None:
        raise SourceError(f"a file ending in {', '.join(STORAGES)}", url, "Give the output of a run.")
    return kind


def without_rows(url: str, prefix: str) -> SourceError:
    """The error that there are no rows, and so no columns, in a file and all that belong with it."""
    return _without(url, [named(column, prefix) for column in _NEEDED], [])


def _without(url: str, missing: Sequence[str], names: Sequence[str]) -> SourceError:
    others = [name.removesuffix("row_id") for name in names if name.endswith("row_id")]
    others = [prefix for prefix in others if all(named(column, prefix) in names for column in _NEEDED)]
    do = "Give the output of a run; a dataset that was not weighed has no such columns."
    if others:
        do = f"There are columns that begin with {others[0]!r}: give this as prefix."
    return SourceError(f"columns {', '.join(missing)} in {url}", f"columns {', '.join(names) or '(none)'}", do)


def _wrong(url: str, column: str, got: str) -> SourceError:
    return SourceError(
        f"values of {column} as a run writes them in {url}", got, "Something else has written the file: run again."
    )
