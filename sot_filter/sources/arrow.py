"""Arrow IPC files, in the stream form that `datasets` writes or the file form (Feather)."""

from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa
from fsspec import AbstractFileSystem

from sot_filter.sources.survey import Row, Survey
from sot_filter.sources.tabular import Rechunker, explained, python_rows, with_columns


class Arrow:
    """Arrow IPC."""

    def survey(self, fs: AbstractFileSystem, path: str, reserved: Sequence[str] = ()) -> Survey:
        """Rows counted batch by batch. Raises `SourceError` for a truncated or foreign file."""
        with fs.open(path, "rb") as handle, explained("Arrow", path):
            schema, batches, _ = _open(handle)
            rows = 0
            sample: list[dict[str, Any]] = []
            for batch in batches:
                if not sample:
                    sample = [row for row in python_rows(batch.slice(0, 16)) if isinstance(row, dict)]
                rows += batch.num_rows
            return Survey(rows, {field.name: str(field.type) for field in schema}, sample)

    def read(
        self, fs: AbstractFileSystem, path: str, start: int, stop: int, columns: Sequence[str] | None
    ) -> Iterator[Row]:
        """Rows of the batches that overlap the range."""
        with fs.open(path, "rb") as handle, explained("Arrow", path):
            _, batches, _ = _open(handle)
            first = 0
            for batch in batches:
                low, high = max(start - first, 0), min(stop - first, batch.num_rows)
                if low < high:
                    wanted = (
                        batch if columns is None else batch.select([c for c in columns if c in batch.schema.names])
                    )
                    yield from python_rows(wanted.slice(low, high - low))
                first += batch.num_rows
                if first >= stop:
                    return

    def tables(self, fs: AbstractFileSystem, path: str) -> Iterator[pa.Table]:
        """All rows in the file's own batches, one at least. Raises `SourceError`."""
        with fs.open(path, "rb") as handle, explained("Arrow", path):
            schema, batches, _ = _open(handle)
            yield schema.empty_table()
            for batch in batches:
                yield pa.Table.from_batches([batch])

    def append(self, fs: AbstractFileSystem, path: str, out: IO[bytes], added: Iterator[pa.Table]) -> None:
        """Batch by batch, in the form the file has."""
        new = Rechunker(added)
        with fs.open(path, "rb") as handle:
            old, batches, is_stream = _open(handle)
            schema = with_columns(old, new.schema)
            with (pa.ipc.new_stream if is_stream else pa.ipc.new_file)(out, schema) as writer:
                for batch in batches:
                    extra = new.take(batch.num_rows)
                    arrays = [*batch.columns, *(column.combine_chunks() for column in extra.columns)]
                    writer.write_batch(pa.record_batch(arrays, schema=schema))


def _open(handle: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch], bool]:
    try:
        stream = pa.ipc.open_stream(handle)
        return stream.schema, iter(stream), True
    except (pa.ArrowInvalid, OSError):
        handle.seek(0)
    file = pa.ipc.open_file(handle)
    return file.schema, (file.get_batch(i) for i in range(file.num_record_batches)), False
