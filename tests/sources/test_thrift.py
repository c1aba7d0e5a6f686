"""Thrift's compact protocol: what is read is written again as it was, whatever is in it."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.sources.thrift import (
    BINARY,
    BYTE,
    DOUBLE,
    I16,
    I32,
    I64,
    LIST,
    MAP,
    SET,
    STRUCT,
    TRUE,
    Field,
    Fields,
    Many,
    read_struct,
    write_struct,
)

PLAIN: dict[int, st.SearchStrategy[object]] = {
    BYTE: st.integers(0, 255),
    I16: st.integers(-(2**15), 2**15 - 1),
    I32: st.integers(-(2**31), 2**31 - 1),
    I64: st.integers(-(2**63), 2**63 - 1),
    DOUBLE: st.floats(allow_nan=False),
    BINARY: st.binary(max_size=200),
}


def many(fields: st.SearchStrategy[Fields]) -> st.SearchStrategy[Field]:
    kinds = {**PLAIN, STRUCT: fields, TRUE: st.integers(1, 2)}
    lists = st.sampled_from(sorted(kinds)).flatmap(
        lambda kind: st.lists(kinds[kind], max_size=40).map(lambda values: Many((kind,), values))
    )
    pairs = st.lists(st.tuples(PLAIN[BINARY], PLAIN[I64]), min_size=1, max_size=20)
    maps = pairs.map(lambda items: Many((BINARY, I64), [value for item in items for value in item]))
    return st.one_of(
        st.tuples(st.sampled_from([LIST, SET]), lists).map(lambda pair: Field(*pair)),
        maps.map(lambda value: Field(MAP, value)),
        st.just(Field(MAP, Many((), []))),
    )


def structs(fields: st.SearchStrategy[Fields]) -> st.SearchStrategy[Fields]:
    plain = st.sampled_from(sorted(PLAIN)).flatmap(lambda kind: PLAIN[kind].map(lambda value: Field(kind, value)))
    held = st.one_of(plain, st.booleans().map(lambda v: Field(TRUE, v)), fields.map(lambda v: Field(STRUCT, v)))
    return st.dictionaries(st.integers(1, 2**15 - 1), held | many(fields), max_size=5)


@given(st.recursive(st.just({}), structs, max_leaves=8))
def test_what_is_written_is_read(fields: Fields) -> None:
    data = write_struct(fields)
    assert read_struct(data) == (fields, len(data))
    assert read_struct(b"ahead" + data + b"behind", 5) == (fields, 5 + len(data))


def test_a_footer_is_written_again_as_arrow_wrote_it() -> None:
    out = io.BytesIO()
    content = pa.table({"a": ["x", None] * 50, "b": [[i, 1 << 40] for i in range(100)], "c": [0.5] * 100})
    pq.write_table(content, out, row_group_size=7, write_page_index=True, sorting_columns=[pq.SortingColumn(0)])
    data = out.getvalue()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    assert write_struct(read_struct(footer)[0]) == footer


@pytest.mark.parametrize("data", [b"", b"\x18", b"\x18\x05ab", b"\x1d\x00", b"\x15\x80"])
def test_bytes_that_are_no_struct_are_refused(data: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        read_struct(data)
