"""Every row of the input reaches the output, whatever it is stored in and whatever is wrong with it."""

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from sot_filter.rows import COLUMNS, STATUSES, RowKey
from tests.e2e.cases import Row, as_format, pairs, read_rows, rows_of
from tests.e2e.conftest import MakeCase

TOOL = {"type": "function", "function": {"name": "heat", "parameters": {"oven": "the hot one", "until": 8}}}


def nested(rows: list[Row]) -> list[Row]:
    """The rows with a system turn's text, tools, and columns that are none of our business."""
    return [
        {**row, "system": "mix and wait", "tools": [TOOL], "origin": {"page": i, "tags": ["sea", None]}, "n": i / 4}
        for i, row in enumerate(rows)
    ]


def flat(rows: list[Row]) -> list[Row]:
    return [{**row, "system": "mix and wait", "origin": f"page, {i}"} for i, row in enumerate(rows)]


STORED = [
    ("parquet", "messages", nested),
    ("parquet", "sharegpt", nested),
    ("jsonl", "sharegpt", nested),
    ("jsonl.gz", "prompt_completion", nested),
    ("jsonl.zst", "alpaca", nested),
    ("csv", "prompt_completion", flat),
    ("csv", "text", flat),
    ("json", "messages", nested),
    ("arrow", "text", nested),
    ("arrow", "alpaca", nested),
]


@pytest.mark.parametrize(("ending", "format", "dressed"), STORED, ids=[f"{e}-{f}" for e, f, _ in STORED])
def test_each_storage_and_format(make_case: MakeCase, tmp_path: Path, ending: str, format: str, dressed: Any) -> None:
    files = {f"{name}.{ending}": dressed(rows_of(n, n, format)) for name, n in (("one", 23), ("two", 9))}
    case = make_case(**{f"in/{name}": rows for name, rows in files.items()})
    assert case.run().sources["input"].format == format

    cache = str(tmp_path / "cache")
    builder = {"gz": "json", "zst": "json", "jsonl": "json"}.get(ending.rpartition(".")[2], ending)
    paths = [str(case.input / "in" / name) for name in files]
    before = datasets.load_dataset(builder, data_files=paths, split="train", cache_dir=cache)
    after = datasets.load_dataset(str(case.output), split="train", cache_dir=cache)

    assert after.column_names == [*before.column_names, *COLUMNS]
    assert after.select_columns(before.column_names)[:] == before[:]
    for name, kind in COLUMNS.items():
        wanted = "float64" if builder in ("csv", "json") and kind == "float32" else kind
        assert after.features[name].dtype.removeprefix("large_") == wanted
        assert None not in after[name] or builder == "csv"
    assert [RowKey.parse(row_id) for row_id in after["sot_row_id"]] == [
        RowKey("default", "train", f"in/{name}", i) for name, rows in files.items() for i in range(len(rows))
    ]
    assert set(after["sot_status"]) == {"kept", "dropped"}
    weights, kept = np.asarray(after["sot_weight"], float), np.asarray(after["sot_keep"], bool)
    assert weights[kept].mean() == pytest.approx(1, abs=1e-5)
    assert not weights[~kept].any()


def test_a_row_scores_the_same_in_any_storage_and_format(make_case: MakeCase, tmp_path: Path) -> None:
    scores = []
    for ending, shape in (("parquet", "messages"), ("csv", "prompt_completion"), ("json", "alpaca")):
        case = make_case(**{f"{shape}.{ending}": rows_of(20, 5, shape)})
        case.settings["input"] = {"files": str(case.input / f"{shape}.{ending}")}
        case.work, case.output = tmp_path / f"work-{ending}", tmp_path / f"out-{ending}"
        case.settings["work_dir"], case.settings["output"] = str(case.work), {"folder": str(case.output)}
        case.run()
        scores.append([float(row["sot_score"]) for row in case.rows()])
    np.testing.assert_allclose(scores[1:], [scores[0]] * 2, atol=1e-6)


def test_empty_unreadable_and_repeated_rows(make_case: MakeCase) -> None:
    good = rows_of(12, 7)
    odd: list[Any] = [
        as_format("messages", "", ""),
        {"messages": []},
        {"messages": None},
        {"messages": "no turns"},
        {"messages": [{"content": "who says this"}]},
        {"messages": [["user", "hello"]]},
        {},
    ]
    case = make_case(a__jsonl=[*good, *odd], b__jsonl=[good[3], *rows_of(5, 8), good[3]])
    with (case.input / "a.jsonl").open("a", encoding="utf-8") as handle:
        handle.write('{"messages": [{"role": \n[1, 2]\n')
    case.run()
    rows = case.rows()
    a, b = rows[:21], rows[21:]
    assert len(b) == 7
    assert all(set(COLUMNS) <= set(row) and row["sot_status"] in STATUSES for row in rows)
    assert None not in [value for row in rows for name, value in row.items() if name in COLUMNS]
    assert len({row["sot_row_id"] for row in rows}) == 28
    statuses = [row["sot_status"] for row in a]
    assert set(statuses[:12]) <= {"kept", "dropped"}
    assert statuses[12:] == ["empty"] * 3 + ["invalid"] * 3 + ["empty"] + ["invalid"] * 2
    for row in a[12:]:
        assert (row["sot_keep"], row["sot_weight"], row["sot_score"]) == (False, 0, -100)
        assert row["sot_nearest_safe"] == row["sot_nearest_harmful"] == ""
        assert "never kept" in row["sot_reason"]
    first = a[3]
    for row in (b[0], b[6]):
        assert row["sot_status"] == "duplicate"
        assert row["sot_reason"].endswith("; same text as default/train/a.jsonl#3.")
        for name in ("sot_score", "sot_weight", "sot_keep", "sot_pull", "sot_push", "sot_nearest_harmful"):
            assert row[name] == first[name]
    summary = case.summary()
    assert summary["rows"]["total"] == 28
    assert summary["rows"]["duplicate"] == 2
    assert summary["rows"]["empty"] == 4
    assert summary["rows"]["invalid"] == 5
    assert any(warning.startswith("9 rows are empty or unreadable") for warning in summary["warnings"])
    # What stood in a readable line is there as it was written.
    before = (case.input / "a.jsonl").read_text().splitlines()
    after = (case.output / "a.jsonl").read_text().splitlines()
    assert all(new.startswith(old[:-1]) for old, new in zip(before[:19], after[:19], strict=True))


def test_repeated_rows_share_a_fate_wherever_the_cut_falls(make_case: MakeCase) -> None:
    texts, copies = 6, 4
    case = make_case(a__jsonl=rows_of(texts, 3) * copies)
    for k in (1, 2, 9, 12, 22):
        case.run(f"select={{top_k: {k}}}", redo=True)
        out = case.rows()
        fates = {(json.dumps(row["messages"]), row["sot_keep"], row["sot_weight"], row["sot_score"]) for row in out}
        assert len(fates) == texts, f"top_k {k}"
        assert {row["sot_status"] for row in out[texts:]} == {"duplicate"}
        assert sum(row["sot_keep"] for row in out) == -(-k // copies) * copies, (
            "all copies of the last text that is kept"
        )


def test_files_in_folders_keep_their_places(make_case: MakeCase) -> None:
    case = make_case(
        **{"x/one.jsonl": rows_of(6, 1), "y/one.jsonl": rows_of(5, 2), "deep/er/two.jsonl": rows_of(4, 3)}
    )
    case.run()
    for name, n in (("x/one.jsonl", 6), ("y/one.jsonl", 5), ("deep/er/two.jsonl", 4)):
        rows = read_rows(case.output / name)
        assert [row["sot_row_id"] for row in rows] == [f"default/train/{name}#{i}" for i in range(n)]


def test_files_without_rows_are_there_too(make_case: MakeCase) -> None:
    case = make_case(**{"a.jsonl": rows_of(6, 1), "b.jsonl": []})
    case.run()
    assert (case.output / "b.jsonl").read_bytes() == b""
    assert len(case.rows()) == 6


def test_rows_of_the_input_that_are_in_a_reference_are_reported(make_case: MakeCase) -> None:
    case = make_case(a__jsonl=[*rows_of(10, 1), *(as_format("messages", *pair) for pair in pairs(20, 1002, 1.0)[:3])])
    case.run()
    assert "3 rows of the input are, word for word, in the harmful reference too." in case.summary()["warnings"]
    assert case.summary()["solve"]["overlap"] == {"safe_harmful": 0, "input_safe": 0, "input_harmful": 3}


def test_references_that_share_rows_are_reported(make_case: MakeCase) -> None:
    case = make_case()
    shared = (case.folder / "safe.jsonl").read_text().splitlines(keepends=True)[:2]
    with (case.folder / "harmful.jsonl").open("a") as handle:
        handle.writelines(shared)
    case.run()
    assert (
        "2 rows of the safe reference are, word for word, in the harmful reference too." in case.summary()["warnings"]
    )
