"""Rows of plain values as typed Parquet: types are found in one pass over the rows, and written in a second.

What has no one type, as objects of different keys or a column of numbers and texts, becomes a `Json` feature of
`datasets`: stored as JSON text, and read back as it was. `LOST` names what neither can hold.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

#: Rows that are in memory at once, and in a row group of the file.
_GROUP_ROWS: Final = 1000
_JSON: Final = "json"
_INTEGERS: Final = range(-(2**63), 2**63)
#: What is not written as it is.
LOST: Final = (
    "whole numbers beyond 64 bits: their digits stand as text",
    "half of a surrogate pair, which is no character: a question mark stands for it",
)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list; ``item`` is the kind of what it holds."""

    item: "Kind"


@dataclass(frozen=True, slots=True)
class ObjectOf:
    """An object with these keys, and the kinds of their values."""

    fields: tuple[tuple[str, "Kind"], ...]


#: What a value is: a type's name, ``json`` for a mixture, or None as long as only nothing was seen.
Kind = str | ListOf | ObjectOf | None


def kind_of_value(value: Any) -> Kind:
    """The kind of one value."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        kind: Kind = None
        for item in value:
            kind = merged(kind, kind_of_value(item))
        return ListOf(kind)
    # Arrow takes a NUL for the end of a name.
    if isinstance(value, dict) and value and not any("\0" in key for key in value):
        return ObjectOf(tuple((key, kind_of_value(item)) for key, item in value.items()))
    return _JSON


def merged(a: Kind, b: Kind) -> Kind:
    """The kind that holds values of both."""
    if a is None or a == b:
        return b
    if b is None:
        return a
    if isinstance(a, ListOf) and isinstance(b, ListOf):
        return ListOf(merged(a.item, b.item))
    if isinstance(a, ObjectOf) and isinstance(b, ObjectOf) and dict(a.fields).keys() == dict(b.fields).keys():
        other = dict(b.fields)
        return ObjectOf(tuple((key, merged(kind, other[key])) for key, kind in a.fields))
    return "float64" if {a, b} == {"int64", "float64"} else _JSON


class Columns:
    """The columns of rows, and the kinds of their values, as far as rows were seen.

    Args:
        fixed: types of columns that are known beforehand, as `datasets` calls them; these are last in the file.
    """

    def __init__(self, fixed: Mapping[str, str]) -> None:
        self._fixed = dict(fixed)
        self._kinds: dict[str, Kind] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row in."""
        for name, value in row.items():
            if name not in self._fixed:
                self._kinds[name] = merged(self._kinds.get(name), kind_of_value(_storable(value)))

    def write(self, out: IO[bytes], rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows that were all taken in before, as Parquet that `datasets` reads with their types."""
        from datasets import Features, Value
        from datasets.table import table_cast

        fixed = {name: Value(kind) for name, kind in self._fixed.items()}
        features = Features({name: _feature(kind) for name, kind in self._kinds.items()} | fixed)
        schema = features.arrow_schema
        stored = pa.schema([pa.field(field.name, _stored(field.type)) for field in schema])
        with pq.ParquetWriter(out, schema) as writer:
            for group in _groups(rows):
                columns = [
                    pa.array([_fit(_storable(row.get(name)), kind) for row in group], stored.field(name).type)
                    for name, kind in (self._kinds | dict.fromkeys(self._fixed)).items()
                ]
                writer.write_table(table_cast(pa.table(columns, schema=stored), schema))


def _storable(value: Any) -> Any:
    """A value without what a typed file cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in _INTEGERS else str(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    remaining = iter(rows)
    while group := list(itertools.islice(remaining, _GROUP_ROWS)):
        yield group


def _feature(kind: Kind) -> Any:
    from datasets import Json, List, Value

    if isinstance(kind, ListOf):
        return List(_feature(kind.item))
    if isinstance(kind, ObjectOf):
        return {key: _feature(item) for key, item in kind.fields}
    return Json() if kind == _JSON else Value(kind or "null")


def _stored(kind: pa.DataType) -> pa.DataType:
    """The type of the values that lie in the file: text where it is JSON."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    if pa.types.is_list(kind):
        return pa.list_(_stored(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _stored(field.type)) for field in kind])
    return kind


def _fit(value: Any, kind: Kind) -> Any:
    """A value as it is stored for a column of the kind."""
    if value is None:
        return None
    if kind == _JSON:
        return json.dumps(value, ensure_ascii=False)
    if kind == "float64":
        return float(value)
    if isinstance(kind, ListOf):
        return [_fit(item, kind.item) for item in value]
    if isinstance(kind, ObjectOf):
        return {key: _fit(value[key], item) for key, item in kind.fields}
    return value
