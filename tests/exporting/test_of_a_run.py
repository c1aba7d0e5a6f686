"""Exports of what `sot-filter run` itself writes, whatever the rows are stored in."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from sot_filter.exporting import Request, export_output
from tests.e2e.cases import Case, read_rows, rows_of
from tests.exporting.outputs import read_lines
from tests.tiny_models import make_tiny_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return make_tiny_encoder(tmp_path_factory.mktemp("model") / "encoder")


@pytest.mark.parametrize(
    ("ending", "format", "prefix"),
    [("jsonl", "messages", "sot_"), ("parquet", "sharegpt", "mine_"), ("csv", "prompt_completion", "sot_")],
)
def test_every_row_of_a_run_is_written_or_counted(
    tmp_path: Path, encoder: Path, ending: str, format: str, prefix: str
) -> None:
    rows = rows_of(30, 1, format)
    files = {f"a.{ending}": rows[:18], f"b.{ending}": [*rows[18:], rows[0]]}
    case = Case(tmp_path, encoder, files)
    case.settings["output"]["prefix"] = prefix
    case.settings["select"] = {"retention": 0.7}
    case.run()
    told: list[dict[str, Any]] = [row for name in files for row in read_rows(case.output / name)]
    kept = [row for row in told if str(row[f"{prefix}keep"]) == "True"]
    assert 0 < len(kept) < len(told) == 31

    result = export_output(str(case.output), str(tmp_path / "swift"), Request("ms-swift"))
    assert result["rows"] == {"read": 31, "written": len(kept), "lines": len(kept)}
    assert sum(result["left_out"].values()) == 31 - len(kept)
    scales = [line["messages"][-1]["loss_scale"] for line in read_lines(tmp_path / "swift" / "train.jsonl")]
    assert scales == [float(np.float32(row[f"{prefix}weight"])) for row in kept]
    summary = case.summary()["kept"]
    assert result["weights"]["rows"] == summary["rows"]
    assert result["weights"]["effective_sample_size"] == pytest.approx(summary["effective_sample_size"], rel=1e-5)

    export_output(str(case.output), str(tmp_path / "all"), Request("parquet"))
    path = str(tmp_path / "all" / "train.parquet")
    data = datasets.load_dataset("parquet", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(data) == 31
    assert data.features[f"{prefix}weight"].dtype == "float32"
    assert data[f"{prefix}row_id"][:] == [row[f"{prefix}row_id"] for row in told]
