"""Types that are found in rows hold every row, and `datasets` reads back what was written."""

import io
import math
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sot_filter.exporting.typed import Columns

texts = st.text(st.characters(codec="utf-8"), max_size=4)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts.filter(bool), inner, max_size=3),
    max_leaves=8,
)


def written(rows: list[dict[str, Any]], path: Path, **fixed: str) -> datasets.Dataset:
    columns = Columns(fixed)
    for row in rows:
        columns.add(row)
    out = io.BytesIO()
    columns.write(out, rows)
    path.write_bytes(out.getvalue())
    return datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries({}, optional={"a": values, "b": values}), min_size=1, max_size=6))
def test_any_json_comes_back(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    out = io.BytesIO()
    columns = Columns({"n": "int64"})
    for row in rows:
        columns.add(row)
    columns.write(out, [{**row, "n": i} for i, row in enumerate(rows)])
    table = pq.read_table(io.BytesIO(out.getvalue()))
    features = datasets.Features.from_arrow_schema(table.schema)
    for i, (row, stored) in enumerate(zip(rows, table.to_pylist(), strict=True)):
        read = features.decode_example(stored)
        assert read["n"] == i
        for name in row:
            assert same(read[name], row[name]), (features, name)


def same(read: Any, given: Any) -> bool:
    """Equal as JSON is, but for whole numbers among fractions, and for whole numbers of more than 64 bits."""
    if isinstance(given, int) and not -(2**63) <= given < 2**63:
        return bool(read == str(given))
    if isinstance(given, float) or (
        isinstance(given, int) and not isinstance(given, bool) and isinstance(read, float)
    ):
        return math.isclose(read, given, rel_tol=1e-12, abs_tol=1e-300)
    if isinstance(given, list):
        return len(read) == len(given) and all(map(same, read, given))
    if isinstance(given, dict):
        return read.keys() == given.keys() and all(same(read[key], given[key]) for key in given)
    return type(read) is type(given) and read == given


def test_one_shape_has_types_and_a_mixture_is_json(tmp_path: Path) -> None:
    rows = [
        {"turns": [{"role": "user", "n": 1}], "tools": [{"a": 1}], "weight": 0.1, "id": 1},
        {"turns": [{"role": "assistant", "n": 2.5}], "tools": [{"b": "x"}, {"a": {"c": []}}], "weight": 2, "id": "x"},
        {"turns": [], "tools": None, "weight": 1, "late": True},
    ]
    data = written(rows, tmp_path / "rows.parquet", weight="float32")
    assert data.features == datasets.Features(
        {
            "turns": datasets.List({"role": datasets.Value("string"), "n": datasets.Value("float64")}),
            "tools": datasets.List(datasets.Json()),
            "id": datasets.Json(),
            "late": datasets.Value("bool"),
            "weight": datasets.Value("float32"),
        }
    )
    assert data[1]["tools"] == [{"b": "x"}, {"a": {"c": []}}]
    assert [row["id"] for row in data] == [1, "x", None]
    assert [row["late"] for row in data] == [None, None, True]


@pytest.mark.parametrize("rows", [1, 999, 1000, 2500])
def test_row_groups_are_bounded(tmp_path: Path, rows: int) -> None:
    data = written([{"a": i} for i in range(rows)], tmp_path / "rows.parquet")
    assert data["a"][:] == list(range(rows))
    meta = pq.read_metadata(tmp_path / "rows.parquet")
    assert max(meta.row_group(i).num_rows for i in range(meta.num_row_groups)) <= 1000
