"""Parquet files, read row group by row group, and kept to the byte when columns are appended."""

import io
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from sot_filter.sources.parquet_footer import MAGIC, TAIL, footer_length, has_page_indexes, joined, moved
from sot_filter.sources.survey import Row, Survey
from sot_filter.sources.tabular import Rechunker, explained, python_rows
from sot_filter.sources.thrift import Fields, read_struct

_BATCH_ROWS = 1024
_HEAD_BYTES = 1 << 16
_BLOCK = 1 << 22
_CHUNKING = b"content_defined_chunking"


class Parquet:
    """Parquet."""

    def survey(self, fs: AbstractFileSystem, path: str, reserved: Sequence[str] = ()) -> Survey:
        """Rows and columns from the footer. Raises `SourceError` for a truncated or foreign file."""
        # In small pieces: by itself pyarrow would fetch the whole first row group to show a few rows of it.
        with fs.open(path, "rb", block_size=_HEAD_BYTES) as handle, explained("Parquet", path):
            file = pq.ParquetFile(handle, buffer_size=_HEAD_BYTES, pre_buffer=False)
            columns = {field.name: str(field.type) for field in file.schema_arrow}
            return Survey(file.metadata.num_rows, columns, self._head(file))

    def read(
        self, fs: AbstractFileSystem, path: str, start: int, stop: int, columns: Sequence[str] | None
    ) -> Iterator[Row]:
        """Rows of the row groups that overlap the range."""
        # Arrow asks for just the columns' bytes, so what a filesystem reads ahead would be thrown away.
        with fs.open(path, "rb", cache_type="none") as handle, explained("Parquet", path):
            file = pq.ParquetFile(handle, pre_buffer=True)
            first = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if first < stop and first + rows > start:
                    position = first
                    for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
                        low, high = max(start - position, 0), min(stop - position, batch.num_rows)
                        if low < high:
                            yield from python_rows(batch.slice(low, high - low))
                        position += batch.num_rows
                first += rows

    def tables(self, fs: AbstractFileSystem, path: str) -> Iterator[pa.Table]:
        """All rows in small tables, one at least, of the types that the file has. Raises `SourceError`."""
        with fs.open(path, "rb") as handle, explained("Parquet", path):
            file = pq.ParquetFile(handle)
            yield file.schema_arrow.empty_table()
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group]):
                    yield pa.Table.from_batches([batch])

    def append(self, fs: AbstractFileSystem, path: str, out: IO[bytes], added: Iterator[pa.Table]) -> None:
        """The file to the byte up to its footer, the new columns row group by row group, and a footer of both."""
        new = Rechunker(added)
        with fs.open(path, "rb") as handle:
            file = pq.ParquetFile(handle)
            length, stored = _copy(handle, out)
            footer, _ = read_struct(stored)
            chunking = json.loads((file.metadata.metadata or {}).get(_CHUNKING, b"null")) or False
            with _Behind(out, length) as behind:
                writer = pq.ParquetWriter(
                    behind,
                    new.schema,
                    compression=_compression(file),
                    use_content_defined_chunking=chunking,
                    write_page_index=has_page_indexes(footer),
                    store_schema=False,
                )
                with writer:
                    for group in range(file.num_row_groups):
                        rows = file.metadata.row_group(group).num_rows
                        writer.write_table(new.take(rows), row_group_size=max(rows, 1))
                    behind.finish()
                out.write(behind.joined(footer, new.schema))

    @staticmethod
    def _head(file: pq.ParquetFile) -> list[dict[str, Any]]:
        # Of the first row group only: over several, pyarrow would fetch them all at once.
        batch = next(file.iter_batches(16, row_groups=list(range(file.num_row_groups))[:1]), None)
        return [] if batch is None else [row for row in python_rows(batch) if isinstance(row, dict)]


class _Behind(io.RawIOBase):
    """Where a Parquet file of the new columns is written: its column chunks behind the old ones, the rest kept back.

    Args:
        out: what holds the old file already, up to its footer.
        length: its length.
    """

    def __init__(self, out: IO[bytes], length: int) -> None:
        self._out, self._length = out, length
        self._written, self._rest, self._chunks_end = 0, bytearray(), 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Write what follows."""
        block = bytes(data)
        if self._chunks_end:
            self._rest += block
        elif self._written:
            self._out.write(block)
        else:
            self._out.write(block[len(MAGIC) :])
        self._written += len(block)
        return len(block)

    def finish(self) -> None:
        """All column chunks are written; page indexes and footer follow."""
        self._chunks_end = self._written

    def joined(self, footer: Fields, added: pa.Schema) -> bytes:
        """What ends the file: the page indexes of the new columns, and the footer of all."""
        size = footer_length(bytes(self._rest[-TAIL:]))
        by = self._length - len(MAGIC)
        start = len(self._rest) - TAIL - size
        new, indexes = moved(bytes(self._rest[start:-TAIL]), self._chunks_end, by, bytes(self._rest[:start]))
        whole = joined(footer, new, added)
        return indexes + whole + len(whole).to_bytes(4, "little") + MAGIC


def _copy(handle: IO[bytes], out: IO[bytes]) -> tuple[int, bytes]:
    """Copy a file up to its footer; how long that is, and the footer."""
    end = handle.seek(0, io.SEEK_END)
    handle.seek(end - TAIL)
    size = footer_length(handle.read(TAIL))
    left = length = end - TAIL - size
    handle.seek(0)
    while left:
        block = handle.read(min(left, _BLOCK))
        if not block:
            raise EOFError("the file ends early")
        out.write(block)
        left -= len(block)
    return length, handle.read(size)


def _compression(file: pq.ParquetFile) -> str:
    """The codec of the first column, for the new ones."""
    if file.num_row_groups == 0 or file.metadata.num_columns == 0:
        return "snappy"
    return str(file.metadata.row_group(0).column(0).compression.lower().replace("uncompressed", "none"))
