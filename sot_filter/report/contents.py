"""What the output's files hold, as a card tells it: features, rows and sizes of a split, without a row of it."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

#: Row groups of a file by which its size in memory is told; of more, these stand for all.
_DECODED: Final = 8
_NEW: Final = {"string": "string", "float32": "float32", "bool": "bool"}


class Published(NamedTuple):
    """An output file: where it lies, its kind (a key of `sot_filter.sources.STORAGES`), its rows and its size."""

    fs: AbstractFileSystem
    path: str
    storage: str
    rows: int
    bytes: int


def describe(files: Sequence[Published], stated: list[dict[str, Any]] | None, added: dict[str, str]) -> dict[str, Any]:
    """What a card's ``dataset_info`` says of the files of a split.

    Of Parquet and Arrow files all of it is known. The types of JSON and CSV are what `datasets` makes of all rows,
    and so are not known here unless the source's card states them; of such files nothing else is said, since
    `datasets` would refuse the dataset if it counted the rows another way.

    Args:
        files: the output files, in any order.
        stated: the features that the source's card states for the rows, in the card's form.
        added: the new columns and their types.

    Returns:
        ``features``, ``rows``, ``num_bytes`` (in memory, as Arrow; of large Parquet files estimated) and
        ``download_size`` (of the files), each of them only where it is known.
    """
    known: dict[str, Any] = {"download_size": sum(file.bytes for file in files)}
    new = [{"name": name, "dtype": _NEW[kind]} for name, kind in added.items()]
    if any(file.storage not in (".parquet", ".arrow") for file in files):
        return {**known, "features": [*stated, *new]} if stated else known
    read, sizes = None, 0
    for file in files:
        with file.fs.open(file.path, "rb") as handle:
            schema, size = (_parquet if file.storage == ".parquet" else _arrow)(handle)
        read, sizes = read or schema, sizes + size
    known |= {"rows": sum(file.rows for file in files), "num_bytes": sizes}
    # What the card says of the source's columns may be more than their files do: names of classes, for one.
    if stated and read is not None and [one["name"] for one in stated] == read.names[: -len(new)]:
        return {**known, "features": [*stated, *new]}
    features = _features(read) if read is not None else None
    return {**known, "features": features} if features else known


def _parquet(handle: Any) -> tuple[pa.Schema, int]:
    file = pq.ParquetFile(handle)
    groups = sorted({i * file.num_row_groups // _DECODED for i in range(_DECODED)}) if file.num_row_groups else []
    rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    size = sum(batch.nbytes for batch in file.iter_batches(row_groups=groups)) if groups else 0
    return file.schema_arrow, round(size * file.metadata.num_rows / rows) if rows else 0


def _arrow(handle: Any) -> tuple[pa.Schema, int]:
    try:
        stream = pa.ipc.open_stream(handle)
        return stream.schema, sum(batch.nbytes for batch in stream)
    except (pa.ArrowInvalid, OSError):
        handle.seek(0)
    file = pa.ipc.open_file(handle)
    return file.schema, sum(file.get_batch(i).nbytes for i in range(file.num_record_batches))


def _features(schema: pa.Schema) -> list[dict[str, Any]] | None:
    from datasets import Features

    try:
        found: list[dict[str, Any]] = Features.from_arrow_schema(schema)._to_yaml_list()
    except (ValueError, TypeError, KeyError):
        # A type of Arrow that `datasets` has no feature for: it will say so itself, to whoever loads the rows.
        return None
    return found
