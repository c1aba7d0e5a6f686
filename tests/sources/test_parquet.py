"""Parquet: the file with new columns has the old one's bytes, whoever wrote it, and its groups and metadata."""

import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, List, Value

from sot_filter.errors import SourceError
from sot_filter.rows import COLUMNS
from sot_filter.sources import Unreadable
from sot_filter.sources.thrift import read_struct
from tests.sources.written import append, new_columns, parquet, read, survey

ROWS: list[dict[str, Any]] = [
    {"text": f"row {i} " + "word " * (i % 50), "n": i, "tags": [i, i + 1]} for i in range(100)
]


def opened(data: bytes) -> pq.ParquetFile:
    return pq.ParquetFile(io.BytesIO(data))


def chunk_bytes(data: bytes, group: int, column: int) -> bytes:
    """The pages of one column chunk as they lie in the file."""
    chunk = opened(data).metadata.row_group(group).column(column)
    start = min(o for o in (chunk.dictionary_page_offset, chunk.data_page_offset) if o)
    return data[start : start + chunk.total_compressed_size]


def test_row_groups_stay_as_they_were() -> None:
    before = parquet(ROWS, row_group_size=17)
    after = opened(append(before, ".parquet", new_columns(100), piece=23)).metadata
    assert [after.row_group(i).num_rows for i in range(after.num_row_groups)] == [17] * 5 + [15]


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip", "lz4", "brotli"])
def test_the_compression_is_kept_and_the_old_columns_keep_their_bytes(compression: str) -> None:
    before = parquet(ROWS, row_group_size=40, compression=compression)
    after = append(before, ".parquet", new_columns(100))
    groups = opened(after).metadata
    kinds = {groups.row_group(g).column(c).compression for g in range(3) for c in range(groups.num_columns)}
    assert kinds == {"UNCOMPRESSED" if compression == "none" else compression.upper()}
    for group in range(3):
        for column in range(3):
            assert chunk_bytes(after, group, column) == chunk_bytes(before, group, column)


#: What may be set when a file is written. Most of it is not in the footer, so that nobody could write it alike again.
SETTINGS: dict[str, dict[str, Any]] = {
    "chunked by content": {"use_content_defined_chunking": True},
    "chunked by content, finely": {"use_content_defined_chunking": {"min_chunk_size": 512, "max_chunk_size": 4096}},
    "page index": {"write_page_index": True},
    "small pages and page index": {"data_page_size": 512, "write_batch_size": 16, "write_page_index": True},
    "rows per page": {"max_rows_per_page": 7},
    "level": {"compression": "zstd", "compression_level": 19},
    "pages of version 2": {"data_page_version": "2.0"},
    "version 1.0": {"version": "1.0"},
    "no dictionary": {"use_dictionary": False},
    "dictionary of one column": {"use_dictionary": ["text"]},
    "small dictionary": {"dictionary_pagesize_limit": 256},
    "encodings": {
        "use_dictionary": False,
        "column_encoding": {"n": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY"},
    },
    "no statistics": {"write_statistics": False},
    "checksums": {"write_page_checksum": True},
    "sorting": {"sorting_columns": [pq.SortingColumn(1)]},
    "Bloom filter": {"bloom_filter_options": {"text": {"ndv": 100, "fpp": 0.01}}},
    "no Arrow schema": {"store_schema": False},
    "old nesting": {"use_compliant_nested_type": False},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("group", [1000, 333])
def test_the_old_bytes_are_kept_however_they_were_written(settings: dict[str, Any], group: int) -> None:
    rows = [{**ROWS[i % 100], "n": i, "sure": i % 3 == 0, "part": i / 7 if i % 5 else None} for i in range(1000)]
    before = parquet(rows, row_group_size=group, **settings)
    added = new_columns(1000)
    after = append(before, ".parquet", added, piece=130)
    footer = len(before) - 8 - int.from_bytes(before[-8:-4], "little")
    assert after[:footer] == before[:footer]
    old, new = opened(before).metadata, opened(after).metadata
    for g in range(old.num_row_groups):
        for c in range(old.num_columns):
            assert new.row_group(g).column(c) == old.row_group(g).column(c)
    content = opened(after).read()
    assert content.select(added.column_names).equals(added)
    assert content.select(opened(before).schema_arrow.names).equals(opened(before).read())


def test_pages_of_the_new_columns_are_found_by_their_index() -> None:
    before = parquet(ROWS, row_group_size=40, write_page_index=True)
    after = opened(append(before, ".parquet", new_columns(100))).metadata
    for g in range(3):
        chunks = [after.row_group(g).column(c) for c in range(after.num_columns)]
        assert all(chunk.has_offset_index and chunk.has_column_index for chunk in chunks)
    plain = opened(append(parquet(ROWS), ".parquet", new_columns(100))).metadata
    assert not any(plain.row_group(0).column(c).has_offset_index for c in range(plain.num_columns))


def test_offsets_in_the_page_index_of_new_columns_are_those_of_the_file() -> None:
    data = append(parquet(ROWS, row_group_size=40, write_page_index=True), ".parquet", new_columns(100))
    size = int.from_bytes(data[-8:-4], "little")
    footer, _ = read_struct(data[-8 - size : -8])
    for group in footer[4].value.values:
        for chunk in group[1].value.values:
            start, length = chunk[4].value, chunk[5].value
            index, end = read_struct(data[start : start + length])
            assert end == length
            assert index[1].value.values[0][1].value == chunk[3].value[9].value


def test_what_spark_and_pandas_say_of_a_file_stays_true() -> None:
    said = {"type": "struct", "fields": [{"name": "text", "type": "string", "nullable": True, "metadata": {}}]}
    key = "org.apache.spark.sql.parquet.row.metadata"
    pandas = json.dumps({"index_columns": [], "columns": [{"name": "text", "pandas_type": "unicode"}]})
    content = pa.table({"text": ["a"]}).replace_schema_metadata({key: json.dumps(said), "pandas": pandas})
    after = opened(append(parquet(content), ".parquet", new_columns(1))).metadata.metadata
    fields = json.loads(after[key.encode()])["fields"]
    kinds = {"string": "string", "float32": "float", "bool": "boolean"}
    assert fields[0] == said["fields"][0]
    assert {field["name"]: field["type"] for field in fields[1:]} == {k: kinds[v] for k, v in COLUMNS.items()}
    assert after[b"pandas"] == pandas.encode()


def test_files_without_rows_and_groups_without_rows() -> None:
    content = pa.table({"text": pa.array(["a", "b"])})
    out = io.BytesIO()
    with pq.ParquetWriter(out, content.schema) as writer:
        for rows in (content, content.slice(0, 0), content):
            writer.write_table(rows)
    after = opened(append(out.getvalue(), ".parquet", new_columns(4), piece=3))
    assert after.read().select(list(COLUMNS)).equals(new_columns(4))
    for empty in (parquet(content.slice(0, 0)), _no_groups(content.schema)):
        found = opened(append(empty, ".parquet", new_columns(0))).read()
        assert (found.num_rows, found.column_names) == (0, ["text", *COLUMNS])


def _no_groups(schema: pa.Schema) -> bytes:
    out = io.BytesIO()
    pq.ParquetWriter(out, schema).close()
    return out.getvalue()


def test_columns_may_be_compressed_apart() -> None:
    kinds = {"text": "zstd", "n": "none", "tags.list.element": "gzip"}
    before = parquet(ROWS, row_group_size=40, compression=kinds)
    after = append(before, ".parquet", new_columns(100))
    group = opened(after).metadata.row_group(0)
    assert [group.column(i).compression for i in range(4)] == ["ZSTD", "UNCOMPRESSED", "GZIP", "ZSTD"]
    assert [chunk_bytes(after, 0, i) for i in range(3)] == [chunk_bytes(before, 0, i) for i in range(3)]


def test_metadata_and_types_are_kept() -> None:
    schema = pa.schema(
        [
            pa.field("text", pa.large_string(), nullable=False, metadata={"about": "the text"}),
            ("when", pa.timestamp("us", "UTC")),
            ("kind", pa.dictionary(pa.int8(), pa.string())),
            ("vector", pa.list_(pa.float16(), 2)),
            ("price", pa.decimal128(9, 2)),
        ],
        metadata={"own": "words", "pandas": "{}"},
    )
    content = pa.table(
        [["a", "b"], pa.array([0, None], schema.field(1).type), pa.array(["x", "y"]).dictionary_encode(),
         pa.array([[1, 2], None], schema.field(3).type), pa.array([None, 1], schema.field(4).type)],
        ["text", "when", "kind", "vector", "price"],
    ).cast(schema)  # fmt: skip
    after = opened(append(parquet(content), ".parquet", new_columns(2))).read()
    old = after.select(schema.names)
    assert old.schema.equals(opened(parquet(content)).schema_arrow, check_metadata=True)
    assert old.to_pylist() == content.to_pylist()


def test_features_and_content_defined_chunking_of_a_datasets_file_are_kept(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "n": Value("int32"), "tags": List(Value("int64"))})
    # Large and hard to compress, so that the chunks' borders decide where pages end.
    letters = random.Random(0)
    rows = [{**ROWS[i % 100], "text": letters.randbytes(600).hex()} for i in range(2000)]
    Dataset.from_list(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    before = (tmp_path / "rows.parquet").read_bytes()
    after = append(before, ".parquet", new_columns(2000), piece=512)
    (tmp_path / "after.parquet").write_bytes(after)
    found = Dataset.from_parquet(str(tmp_path / "after.parquet"), cache_dir=str(tmp_path))
    assert found.features == Features({**features, **{name: Value(kind) for name, kind in COLUMNS.items()}})
    chunking = b"content_defined_chunking"
    assert opened(before).metadata.metadata[chunking] == opened(after).metadata.metadata[chunking]
    assert opened(after).metadata.row_group(0).column(0).has_column_index
    assert [chunk_bytes(after, 0, i) for i in range(3)] == [chunk_bytes(before, 0, i) for i in range(3)]


def test_other_metadata_under_the_datasets_key_is_left_alone() -> None:
    content = pa.table({"text": ["a"]}).replace_schema_metadata({"huggingface": json.dumps({"fingerprint": "x"})})
    after = opened(append(parquet(content), ".parquet", new_columns(1))).schema_arrow
    assert json.loads(after.metadata[b"huggingface"]) == {"fingerprint": "x"}


def test_text_that_is_no_utf8_is_one_unreadable_row_and_stays_as_it_is() -> None:
    broken = pa.array([b"a", b"\xff\xfe", b"c", b"d"]).view(pa.string())
    data = parquet(pa.table({"text": broken}), row_group_size=3)
    assert read(data, ".parquet") == [
        {"text": "a"}, Unreadable("a text column is not valid UTF-8"), {"text": "c"}, {"text": "d"}
    ]  # fmt: skip
    after = opened(append(data, ".parquet", new_columns(4))).read()
    assert after["text"].combine_chunks().view(pa.binary()).to_pylist() == [b"a", b"\xff\xfe", b"c", b"d"]


def test_only_the_columns_asked_for_are_read_and_unknown_ones_are_not_there() -> None:
    import fsspec

    from sot_filter.sources import STORAGES

    fs = fsspec.filesystem("memory")
    fs.pipe_file("/written/some.parquet", parquet(ROWS))
    rows = list(STORAGES[".parquet"].read(fs, "/written/some.parquet", 5, 7, ["n", "unknown"]))
    assert rows == [{"n": 5}, {"n": 6}]


@pytest.mark.parametrize("keep", [0, 3, 40, -1, -200])
def test_a_truncated_file_is_refused(keep: int) -> None:
    data = parquet(ROWS)
    with pytest.raises(SourceError, match=r"a whole Parquet file at .*surveyed\.parquet; got .*write it again"):
        survey(data[:keep] if keep else b"", ".parquet")


def test_a_file_with_broken_pages_is_refused() -> None:
    data = bytearray(parquet(ROWS, compression="none"))
    data[4:200] = b"\xff" * 196
    with pytest.raises(SourceError, match=r"a whole Parquet file at .*surveyed\.parquet"):
        survey(bytes(data), ".parquet")
