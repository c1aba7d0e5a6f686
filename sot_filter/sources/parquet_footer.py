"""A Parquet file's footer, and one that has the columns of another file behind its own.

Columns can be appended without touching those that are there: only a column chunk has to lie in one piece, the chunks
of a row group may lie anywhere (https://parquet.apache.org/docs/concepts/). So the old file is kept to the byte up to
its footer, the new columns' chunks follow, and a footer that names both.
"""

import base64
import json
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from sot_filter.sources.tabular import with_columns
from sot_filter.sources.thrift import BINARY, LIST, STRUCT, Field, Fields, Many, read_struct, write_struct

MAGIC: Final = b"PAR1"
#: Bytes behind a footer: its length, and the magic.
TAIL: Final = 8
_ARROW: Final = b"ARROW:schema"
_HUGGINGFACE: Final = b"huggingface"
_SPARK: Final = b"org.apache.spark.sql.parquet.row.metadata"
_SPARK_TYPES: Final = {"string": "string", "float": "float", "bool": "boolean"}

# Numbers of fields in https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
_SCHEMA, _ROW_GROUPS, _KEY_VALUES, _COLUMN_ORDERS = 2, 4, 5, 7
_CHILDREN = 5
_COLUMNS, _TOTAL_BYTES, _TOTAL_COMPRESSED = 1, 2, 6
_CHUNK_AT, _META, _OFFSETS_AT, _OFFSETS_LENGTH, _INDEX_AT = 2, 3, 4, 5, 6
#: Data, index and dictionary pages and the Bloom filter, in a chunk's metadata.
_PAGES_AT = (9, 10, 11, 14)


def footer_length(tail: bytes) -> int:
    """Bytes of the footer, by the `TAIL` last bytes of a file. Raises `ValueError` for those of another kind."""
    if tail[4:] != MAGIC:
        raise ValueError("no Parquet file, or an encrypted one")
    return int.from_bytes(tail[:4], "little")


def moved(footer: bytes, at: int, by: int, indexes: bytes) -> tuple[Fields, bytes]:
    """The footer of a file whose bytes begin elsewhere, and its page indexes, which say where pages are.

    Args:
        footer: as it is in the file.
        at: where in the file the page indexes begin.
        by: how much further back the bytes come to lie.
        indexes: the page indexes as they are in the file, empty where there are none.

    Returns:
        The footer, and the page indexes, which follow the bytes moved.
    """
    found, _ = read_struct(footer)
    out = bytearray()
    for group in _list(found, _ROW_GROUPS):
        for chunk in _list(group, _COLUMNS):
            for number in _PAGES_AT:
                _add(chunk[_META].value, number, by)
            if chunk[_CHUNK_AT].value:
                _add(chunk, _CHUNK_AT, by)
            for start, change in ((_INDEX_AT, None), (_OFFSETS_AT, by)):
                if start in chunk:
                    old = chunk[start].value - at
                    index = indexes[old : old + chunk[start + 1].value]
                    if change is not None:
                        index = _moved_locations(index, change)
                    chunk[start] = Field(chunk[start].kind, at + by + len(out))
                    chunk[start + 1] = Field(chunk[start + 1].kind, len(index))
                    out += index
    return found, bytes(out)


def joined(footer: Fields, new: Fields, added: pa.Schema) -> bytes:
    """A footer of both files' columns, as it is in a file.

    Args:
        footer: of the file that is kept; changed in place.
        new: the footer of the file with the new columns, of as many row groups of as many rows.
        added: the new columns.
    """
    elements, more = _list(footer, _SCHEMA), _list(new, _SCHEMA)[1:]
    _add(elements[0], _CHILDREN, len(more))
    elements += more
    for group, behind in zip(_list(footer, _ROW_GROUPS), _list(new, _ROW_GROUPS), strict=True):
        _list(group, _COLUMNS).extend(_list(behind, _COLUMNS))
        for number in (_TOTAL_BYTES, _TOTAL_COMPRESSED):
            _add(group, number, behind[number].value)
    if _COLUMN_ORDERS in footer:
        _list(footer, _COLUMN_ORDERS).extend(_list(new, _COLUMN_ORDERS))
    for pair in _list(footer, _KEY_VALUES):
        if (change := _CHANGES.get(pair[1].value)) and 2 in pair:
            pair[2] = Field(BINARY, change(pair[2].value, added))
    return write_struct(footer)


def has_page_indexes(footer: Fields) -> bool:
    """Whether the file has page indexes."""
    return any(_OFFSETS_AT in chunk for group in _list(footer, _ROW_GROUPS)[:1] for chunk in _list(group, _COLUMNS))


def _list(fields: Fields, number: int) -> list[Fields]:
    if number not in fields:
        fields[number] = Field(LIST, Many((STRUCT,), []))
    values: list[Fields] = fields[number].value.values
    return values


def _add(fields: Fields, number: int, amount: int) -> None:
    if number in fields:
        fields[number] = Field(fields[number].kind, fields[number].value + amount)


def _moved_locations(index: bytes, by: int) -> bytes:
    found, _ = read_struct(index)
    for location in _list(found, 1):
        _add(location, 1, by)
    return write_struct(found)


def _arrow(said: bytes, added: pa.Schema) -> bytes:
    """The Arrow schema, serialised as by Arrow's own writer."""
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(said)))
    return base64.b64encode(with_columns(schema, added).serialize())


def _huggingface(said: bytes, added: pa.Schema) -> bytes:
    schema = with_columns(pa.schema([], {_HUGGINGFACE: said}), added)
    return bytes(schema.metadata[_HUGGINGFACE])


def _spark(said: bytes, added: pa.Schema) -> bytes:
    """Spark's own schema, by which it reads a file, whatever else is in it."""
    schema = json.loads(said)
    schema["fields"] += [
        {"name": field.name, "type": _SPARK_TYPES[str(field.type)], "nullable": True, "metadata": {}}
        for field in added
    ]
    return json.dumps(schema).encode()


_CHANGES: Final[dict[bytes, Callable[[bytes, pa.Schema], bytes]]] = {
    _ARROW: _arrow,
    _HUGGINGFACE: _huggingface,
    _SPARK: _spark,
}
