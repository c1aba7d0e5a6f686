"""Rows that share a text: found in any number of passes as by one look at all of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sot_filter.artifacts import Layout, fixed_size_column, write_table
from sot_filter.sources import Source, SourceFile
from sot_filter.steps import duplicates
from sot_filter.steps.duplicates import Folded, fold_run

FILES, PART = {"a": 130, "b": 0, "c": 70}, 32
N = sum(FILES.values())


def source() -> Source:
    files = tuple(SourceFile(name, f"file:///{name}", ".jsonl", rows, 1, "sha256:0") for name, rows in FILES.items())
    return Source("c", "s", "text", {"text": "text"}, files)


def rows(seed: int, texts: int) -> pa.Table:
    """Rows of so many texts at most; some of none, whose digests are alike."""
    rng = np.random.default_rng(seed)
    digest = rng.integers(0, 256, (texts, 16), np.uint8)[rng.integers(0, texts, N)]
    status = np.where(rng.random(N) < 0.1, "empty", "embedded")
    digest[status == "empty"] = 0
    pairs = pa.array([rng.integers(0, 9, 3).tolist() for _ in range(N)], pa.list_(pa.uint32()))
    return pa.table(
        {
            "status": status.tolist(),
            "digest": pa.array([row.tobytes() for row in digest], pa.binary(16)),
            "language": rng.choice(["de", "en"], N).tolist(),
            "pairs:prompt": pairs,
            "pairs:response": pairs,
            "view:response": fixed_size_column(rng.normal(size=(N, 5)).astype(np.float16)),
        }
    )


def fold(folder: Path, table: pa.Table, passes: int, *others: np.ndarray) -> Folded:
    layout, start = Layout(str(folder)), 0
    for part in source().parts(PART):
        write_table(layout.embeddings("input", source(), part), table.slice(start, part.rows), "key")
        start += part.rows
    return fold_run(layout, source(), PART, "key", *others, memory=-(-N * duplicates._ROW_BYTES // passes))


def by_hand(table: pa.Table) -> pa.Table:
    where: dict[bytes, list[int]] = {}
    for i, (status, digest) in enumerate(zip(table["status"].to_pylist(), table["digest"].to_pylist(), strict=True)):
        if status == "embedded":
            where.setdefault(digest, []).append(i)
    repeated = [(own[0], len(own)) for own in where.values() if len(own) > 1]
    ids = [f"c/s/a#{i}" if i < FILES["a"] else f"c/s/c#{i - FILES['a']}" for i, _ in repeated]
    taken = table.take([i for i, _ in repeated]).drop_columns(["status"])
    added = {"first": pa.array(ids, pa.string()), "rows": pa.array([n for _, n in repeated], pa.int64())}
    return pa.table({"digest": taken["digest"], **added, **{name: taken[name] for name in taken.column_names[1:]}})


@pytest.mark.parametrize("passes", [1, 3, 7, N])
@pytest.mark.parametrize("texts", [1, 20, 150, 10_000])
def test_the_table_is_that_of_one_look_at_all_rows(tmp_path: Path, passes: int, texts: int) -> None:
    table = rows(texts, texts)
    found, wanted = fold(tmp_path, table, passes), by_hand(table)
    assert found.table.equals(wanted)
    assert found.table.schema.equals(wanted.schema)
    embedded = [digest for status, digest in zip(*(table[c].to_pylist() for c in ("status", "digest")), strict=True)
                if status == "embedded"]  # fmt: skip
    assert found.rows == len(embedded)
    assert found.distinct == len(set(embedded))


@pytest.mark.parametrize("passes", [1, 7])
def test_rows_with_the_texts_of_another_source_are_counted(tmp_path: Path, passes: int) -> None:
    table = rows(0, 30)
    own = [digest for status, digest in zip(*(table[c].to_pylist() for c in ("status", "digest")), strict=True)
           if status == "embedded"]  # fmt: skip
    other = [own[0], own[0], own[7], b"\1" * 16]
    found = fold(tmp_path, table, passes, np.asarray(other, "V16"), np.empty(0, "V16"))
    assert found.shared == (sum(digest in other for digest in own), 0)


def test_the_first_row_of_a_text_is_the_first_of_all_parts(tmp_path: Path) -> None:
    table = rows(3, 1).set_column(0, "status", [["embedded"] * N])
    table = table.set_column(1, "digest", pa.array([b"\7" * 16] * N, pa.binary(16)))
    found = fold(tmp_path, table, N).table
    assert found["first"].to_pylist() == ["c/s/a#0"]
    assert found["rows"].to_pylist() == [N]
