"""What is said of the output's files without a row of them."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from sot_filter.report.contents import Published, describe

KEEP = {"sot_keep": "bool"}


@pytest.fixture
def fs() -> MemoryFileSystem:
    return MemoryFileSystem()


def write_stream(table: pa.Table, handle: Any) -> None:
    with pa.ipc.new_stream(handle, table.schema) as writer:
        writer.write_table(table)


def write_file(table: pa.Table, handle: Any) -> None:
    with pa.ipc.new_file(handle, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("ending", "write"), [(".parquet", pq.write_table), (".arrow", write_stream), (".arrow", write_file)]
)
def test_features_rows_and_size_are_the_files_own(ending: str, write: Any, fs: MemoryFileSystem) -> None:
    table = pa.table({"messages": [[{"role": "user", "content": "x" * 50}]] * 300, "sot_keep": [True] * 300})
    with fs.open(f"/a{ending}", "wb") as handle:
        write(table, handle)
    files = [Published(fs, f"/a{ending}", ending, 300, 77)] * 2
    found = describe(files, None, KEEP)
    assert (found["rows"], found["download_size"]) == (600, 154)
    assert found["num_bytes"] == pytest.approx(2 * table.nbytes, rel=0.05)
    assert [one["name"] for one in found["features"]] == ["messages", "sot_keep"]


def test_the_size_of_many_row_groups_is_told_by_some(fs: MemoryFileSystem) -> None:
    table = pa.table({"text": [f"{n}" * (n % 60) for n in range(5000)], "sot_keep": [True] * 5000})
    with fs.open("/many.parquet", "wb") as handle:
        pq.write_table(table, handle, row_group_size=60)
    with fs.open("/none.parquet", "wb") as handle:
        pq.write_table(table.slice(0, 0), handle)
    many, none = (Published(fs, f"/{name}.parquet", ".parquet", n, 1) for name, n in (("many", 5000), ("none", 0)))
    assert describe([none, many], None, KEEP)["num_bytes"] == pytest.approx(table.nbytes, rel=0.15)
    assert describe([none], None, KEEP)["num_bytes"] == 0


def test_what_the_sources_card_states_is_kept_if_it_is_of_these_columns(fs: MemoryFileSystem) -> None:
    with fs.open("/b.parquet", "wb") as handle:
        pq.write_table(pa.table({"kind": [1], "sot_keep": [True]}), handle)
    files = [Published(fs, "/b.parquet", ".parquet", 1, 1)]
    named = {"name": "kind", "dtype": {"class_label": {"names": {"0": "a", "1": "b"}}}}
    new = {"name": "sot_keep", "dtype": "bool"}
    assert describe(files, [named], KEEP)["features"] == [named, new]
    assert describe(files, [{"name": "other", "dtype": "string"}], KEEP)["features"] == [
        {"name": "kind", "dtype": "int64"},
        new,
    ]


def test_of_text_nothing_is_said_that_was_not_stated(fs: MemoryFileSystem) -> None:
    files = [Published(fs, "/a.jsonl", ".jsonl", 3, 77)]
    assert describe(files, None, KEEP) == {"download_size": 77}
    stated = [{"name": "text", "dtype": "string"}]
    assert describe(files, stated, KEEP)["features"] == [*stated, {"name": "sot_keep", "dtype": "bool"}]


def test_a_type_without_a_feature_leaves_the_features_out(fs: MemoryFileSystem) -> None:
    table = pa.table({"kinds": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "sot_keep": [True]})
    with fs.open("/c.parquet", "wb") as handle:
        pq.write_table(table, handle)
    found = describe([Published(fs, "/c.parquet", ".parquet", 1, 1)], None, KEEP)
    assert "features" not in found
    assert found["rows"] == 1
