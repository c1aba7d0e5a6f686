"""Thrift's compact protocol, as far as Parquet footers go: structs read into plain values, and written again.

A struct is a dict of its fields by number, each with its type; what is not understood is kept as it is. See
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

import struct
from typing import Any, Final, NamedTuple

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_LONG_LIST: Final = 15


class Field(NamedTuple):
    """A value of a type: an int, bool, bytes, a `Fields`, or for lists and maps a `Many`."""

    kind: int
    value: Any


class Many(NamedTuple):
    """The elements of a list or set, or keys and values of a map by turns; with their types."""

    kinds: tuple[int, ...]
    values: list[Any]


#: A struct: its fields by number.
Fields = dict[int, Field]


def read_struct(data: bytes, place: int = 0) -> tuple[Fields, int]:
    """The struct at a place, and where it ends. Raises `ValueError` or `IndexError` for bytes that are none."""
    fields: Fields = {}
    number = 0
    while head := data[place]:
        place += 1
        kind, step = head & 15, head >> 4
        if step:
            number += step
        else:
            number, place = _read_int(data, place)
        if kind in (TRUE, FALSE):
            fields[number] = Field(TRUE, kind == TRUE)
        else:
            value, place = _read(data, place, kind)
            fields[number] = Field(kind, value)
    return fields, place + 1


def write_struct(fields: Fields) -> bytes:
    """A struct's bytes."""
    out = bytearray()
    _write_struct(out, fields)
    return bytes(out)


def _read(data: bytes, place: int, kind: int) -> tuple[Any, int]:
    if kind in (I16, I32, I64):
        return _read_int(data, place)
    if kind == BINARY:
        size, place = _read_number(data, place)
        if place + size > len(data):
            raise ValueError("a text that ends early")
        return data[place : place + size], place + size
    if kind == STRUCT:
        return read_struct(data, place)
    if kind in (LIST, SET):
        head = data[place]
        size, place = (head >> 4, place + 1) if head >> 4 < _LONG_LIST else _read_number(data, place + 1)
        return _read_many(data, place, size, (head & 15,))
    if kind == MAP:
        size, place = _read_number(data, place)
        if not size:
            return Many((), []), place
        return _read_many(data, place + 1, size, (data[place] >> 4, data[place] & 15))
    if kind in (TRUE, FALSE, BYTE):
        return data[place], place + 1
    if kind == DOUBLE:
        return struct.unpack_from("<d", data, place)[0], place + 8
    raise ValueError(f"no type {kind}")


def _read_many(data: bytes, place: int, size: int, kinds: tuple[int, ...]) -> tuple[Many, int]:
    values = []
    for _ in range(size):
        for kind in kinds:
            value, place = _read(data, place, kind)
            values.append(value)
    return Many(kinds, values), place


def _read_number(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


def _read_int(data: bytes, place: int) -> tuple[int, int]:
    value, place = _read_number(data, place)
    return (value >> 1) ^ -(value & 1), place


def _write_struct(out: bytearray, fields: Fields) -> None:
    before = 0
    for number, (kind, value) in sorted(fields.items()):
        said = kind if kind != TRUE or value else FALSE
        if 0 < number - before <= 15:
            out.append((number - before) << 4 | said)
        else:
            out.append(said)
            _write_int(out, number)
        before = number
        if kind != TRUE:
            _write(out, kind, value)
    out.append(0)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in (I16, I32, I64):
        _write_int(out, value)
    elif kind == BINARY:
        _write_number(out, len(value))
        out += value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in (LIST, SET):
        size = len(value.values)
        out.append(min(size, _LONG_LIST) << 4 | value.kinds[0])
        if size >= _LONG_LIST:
            _write_number(out, size)
        _write_many(out, value)
    elif kind == MAP:
        _write_number(out, len(value.values) // 2)
        if value.values:
            out.append(value.kinds[0] << 4 | value.kinds[1])
        _write_many(out, value)
    elif kind == DOUBLE:
        out += struct.pack("<d", value)
    else:
        out.append(value)


def _write_many(out: bytearray, many: Many) -> None:
    for i, value in enumerate(many.values):
        _write(out, many.kinds[i % len(many.kinds)], value)


def _write_number(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _write_int(out: bytearray, value: int) -> None:
    _write_number(out, (value << 1) ^ (value >> 63))
