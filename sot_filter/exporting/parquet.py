"""All rows and all columns of a run's output as one typed Parquet file, whatever kind of file the output has.

This is how JSON Lines and delimited text, which have no types, become a dataset that has: weights are float32, keep is
boolean.
"""

from collections.abc import Iterator
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from sot_filter.artifacts import reached
from sot_filter.errors import SourceError
from sot_filter.exporting.exporter import Exporter, Written
from sot_filter.exporting.output import Output
from sot_filter.exporting.typed import LOST, Columns
from sot_filter.sources import Unreadable
from sot_filter.sources.storage import TABULAR

_SPELLED: Final = {"True": True, "False": False}


def write_all(output: Output, out: IO[bytes]) -> None:
    """Write every row with every column, in the output's order.

    Raises:
        SourceError: files whose types differ.
    """
    if output.source.files[0].storage in TABULAR:
        _write_tables(output, out)
        return
    columns = Columns(output.ours)
    for row in _rows(output):
        columns.add(row)
    columns.write(out, _rows(output))


def loading(written: Written) -> str:
    """As a dataset."""
    return f'python\nfrom datasets import load_dataset\n\nrows = load_dataset("parquet", data_files="{written.file}")'


def _write_tables(output: Output, out: IO[bytes]) -> None:
    """Arrow's own types pass unchanged."""
    writer: pq.ParquetWriter | None = None
    try:
        for file in output.source.files:
            fs, path = reached(file.uri)
            for table in _tables(file.storage, fs, path):
                writer = writer or pq.ParquetWriter(out, table.schema)
                if table.schema != writer.schema:
                    do = "Export the files one by one."
                    raise SourceError("files of one schema", f"{file.name}, which has another than the first", do)
                if table.num_rows:
                    writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _tables(storage: str, fs: AbstractFileSystem, path: str) -> Iterator[pa.Table]:
    yield from TABULAR[storage].tables(fs, path)


def _rows(output: Output) -> Iterator[dict[str, Any]]:
    """Rows of a text file as plain values; the new columns as what they are, in a delimited file too."""
    kinds = output.ours
    for file in output.source.files:
        for row in output.source.read_raw(file):
            if not isinstance(row, Unreadable):
                yield {name: _typed(value, kinds.get(name)) for name, value in row.items()}


def _typed(value: Any, kind: str | None) -> Any:
    if kind == "bool":
        return _SPELLED[value] if isinstance(value, str) else value
    return float(value) if kind == "float32" else value


PARQUET: Final = Exporter(
    writes="All rows, dropped ones too, with all of their columns, as one typed Parquet file.",
    ending="parquet",
    weights="the column of weights, as it is",
    weights_lost="",
    cannot_carry=LOST,
    line=None,
    loading=loading,
)
