"""What every kind of source file can do, and the table of the kinds."""

from collections.abc import Iterator, Sequence
from typing import IO, Final, Protocol

import pyarrow as pa
from fsspec import AbstractFileSystem

from sot_filter.sources.arrow import Arrow
from sot_filter.sources.delimited import Delimited
from sot_filter.sources.json_array import JsonArray
from sot_filter.sources.json_lines import JsonLines
from sot_filter.sources.parquet import Parquet
from sot_filter.sources.survey import Row, Survey


class Storage(Protocol):
    """One kind of source file. ``path`` is seen from ``fs``; rows count from 0."""

    def survey(self, fs: AbstractFileSystem, path: str, reserved: Sequence[str] = ()) -> Survey:
        """Count the rows and name the columns, those of ``reserved`` even where a single row has one.

        Raises `SourceError` when the file as a whole cannot be read.
        """
        ...

    def read(
        self, fs: AbstractFileSystem, path: str, start: int, stop: int, columns: Sequence[str] | None
    ) -> Iterator[Row]:
        """Yield rows ``start`` to ``stop``, one item each, an `Unreadable` where a row cannot be read."""
        ...

    def append(self, fs: AbstractFileSystem, path: str, out: IO[bytes], added: Iterator[pa.Table]) -> None:
        """Write the file again to ``out`` with the columns of ``added``, whose tables follow the rows in order."""
        ...


class Tabular(Protocol):
    """A kind of source file that knows the types of its columns."""

    def tables(self, fs: AbstractFileSystem, path: str) -> Iterator[pa.Table]:
        """All rows in order, in tables; the first has none. Raises `SourceError` where they cannot be read."""
        ...


#: File endings and what reads them. A new kind of file is one file and one line here.
STORAGES: Final[dict[str, Storage]] = {
    ".parquet": Parquet(),
    ".arrow": Arrow(),
    ".jsonl": JsonLines(),
    ".jsonl.gz": JsonLines("gzip"),
    ".jsonl.zst": JsonLines("zstd"),
    ".ndjson": JsonLines(),
    ".json": JsonArray(),
    ".csv": Delimited(","),
    ".tsv": Delimited("\t"),
}

#: Those of them that can be read as Arrow tables.
TABULAR: Final[dict[str, Tabular]] = {".parquet": Parquet(), ".arrow": Arrow()}


def storage_of(name: str) -> str | None:
    """The key of `STORAGES` that reads a file of this name, if one does."""
    return next((ending for ending in STORAGES if name.lower().endswith(ending)), None)


def kind_of(storage: str) -> str:
    """What `datasets` would read a storage as: compressed or not, JSON Lines and JSON arrays are one kind."""
    return "json" if "json" in storage else storage.removeprefix(".")
