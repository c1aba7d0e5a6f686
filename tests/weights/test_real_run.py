"""What a run wrote is what its rows get back, whichever way it wrote it."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from sot_filter.errors import SourceError
from sot_filter.rows import COLUMNS
from sot_filter.weights import attach_weights, load_weights
from tests.e2e.cases import Case, Row, read_rows, rows_of
from tests.tiny_models import make_tiny_encoder

BLANK = {"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": ""}]}
FILES = {
    "a.jsonl": [*rows_of(30, 1), BLANK, *rows_of(30, 1)[:6]],
    "b.jsonl": [*rows_of(20, 2), *rows_of(30, 1)[3:5], BLANK],
}
ROWS = [row for rows in FILES.values() for row in rows]
#: Of the row, not of its text.
OWN = ("sot_row_id", "sot_status", "sot_reason")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A finished run in columns, and the same as a sidecar in ``side``."""
    folder = tmp_path_factory.mktemp("run")
    case = Case(folder, make_tiny_encoder(folder / "encoder"), FILES)
    case.run()
    case.settings["output"] = {"folder": str(folder / "side"), "mode": "sidecar", "prefix": "w_"}
    case.run(redo=True)
    return case


def attached(case: Case, rows: list[Row], mode: str, stream: bool, **how: Any) -> list[Row]:
    """Rows with their columns, called as usual."""
    where, prefix = (case.folder / "side", "w_") if mode == "sidecar" else (case.folder / "out", "sot_")
    dataset: Any = Dataset.from_list(rows)
    weights = load_weights(str(where), prefix=prefix)
    found = list(attach_weights(dataset.to_iterable_dataset() if stream else dataset, weights, **how))
    return [
        {name.replace("w_", "sot_", 1) if name[:2] == "w_" else name: v for name, v in row.items()} for row in found
    ]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["columns", "sidecar"])
def test_by_text_in_any_order_each_row_gets_what_the_run_said_of_it(case: Case, mode: str, stream: bool) -> None:
    said = [row for name in FILES for row in output_rows(case, name)]
    assert [{"messages": row["messages"]} for row in said] == ROWS
    order = random.Random(5).choices(range(len(ROWS)), k=150)
    for row, i in zip(attached(case, [ROWS[i] for i in order], mode, stream), order, strict=True):
        by_text = [name for name in COLUMNS if name not in OWN]
        assert exact(row, by_text) == exact(said[i], by_text)
        first = ROWS.index(ROWS[i])
        if ROWS[i] == BLANK:
            assert [row[name] for name in OWN[:2]] == ["", "empty"]
        else:
            assert [row[name] for name in OWN] == [said[first][name] for name in OWN]


def output_rows(case: Case, name: str) -> list[Row]:
    return read_rows(case.folder / "out" / name)


def exact(row: Row, names: Iterable[str]) -> list[Any]:
    """Values to the bit; JSON writes float32 in decimals."""
    return [np.float32(row[name]) if COLUMNS[name] == "float32" else row[name] for name in names]


@pytest.mark.parametrize("stream", [False, True])
def test_by_row_id_each_row_gets_its_own(case: Case, stream: bool) -> None:
    said = [row for name in FILES for row in output_rows(case, name)]
    rows = [{"messages": row["messages"], "w_row_id": row["sot_row_id"]} for row in said]
    random.Random(6).shuffle(rows)
    own = {row["sot_row_id"]: row for row in said}
    for row in attached(case, rows, "sidecar", stream):
        assert exact(row, COLUMNS) == exact(own[row["sot_row_id"]], COLUMNS)
    # Two rows whose ids have changed places: both are of the run, but not with these texts.
    rows[0]["w_row_id"], rows[1]["w_row_id"] = rows[1]["w_row_id"], rows[0]["w_row_id"]
    with pytest.raises(SourceError, match="2 of 60 rows that have others"):
        attached(case, rows, "sidecar", stream)


def test_the_run_tells_how_its_rows_were_read(case: Case) -> None:
    for where, prefix in (("out", "sot_"), ("side", "w_")):
        reading = load_weights(str(case.folder / where), prefix=prefix).origin.reading
        assert reading is not None
        assert (reading.format, reading.columns) == ("messages", {"messages": "messages"})


def test_the_files_of_both_ways_say_the_same(case: Case, tmp_path: Path) -> None:
    columns = load_weights(str(case.folder / "out")).with_digests()
    sidecar = load_weights(str(case.folder / "side"), prefix="w_")
    assert columns.table.to_pydict() == sidecar.table.to_pydict()
    for i, weights in enumerate((columns, sidecar)):
        weights.to_parquet(str(tmp_path / f"{i}.parquet"))
        assert load_weights(str(tmp_path / f"{i}.parquet")).digest == columns.digest
