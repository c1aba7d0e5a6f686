"""The card of an output folder: `load_dataset` reads the data files it names, and nothing that lies beside them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import get_dataset_config_names, load_dataset

from sot_filter.report.card import card
from sot_filter.rows import COLUMNS, UNSCORED


def summary(names: list[str], config: str = "default", split: str = "train", mode: str = "coupled") -> dict[str, Any]:
    return {
        "name": "toy-run",
        "mode": {"solver": mode},
        "rows": {"total": 12345, "kept": 10000},
        "kept": {"rows": 10000, "effective_sample_size": 5432.1},
        "input": {"config": config, "split": split, "files": [{"name": name} for name in names]},
    }


@pytest.mark.parametrize(
    "names",
    [["a.jsonl", "deep/er/b.jsonl"], ["a#1 b.jsonl", "grüße.jsonl"], ["odd[1].jsonl", "star*.jsonl", "what?.jsonl"]],
)
def test_the_datasets_library_reads_exactly_the_files_of_the_source(tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "out"
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"file": name}) + "\n")
    (folder / "summary.json").write_text('{"not": "data"}')
    (folder / "starry.jsonl").write_text('{"file": "not named"}\n')
    (folder / "README.md").write_text(card(summary(names, "own", "test")), encoding="utf-8")
    assert get_dataset_config_names(str(folder)) == ["own"]
    found = load_dataset(str(folder), "own", split="test", cache_dir=str(tmp_path / "cache"))
    assert sorted(found["file"]) == sorted(names)


def test_its_head_is_yaml_and_its_table_has_every_column() -> None:
    _, head, body = card(summary(["a.jsonl"])).split("---\n", 2)
    assert yaml.safe_load(head)["tags"] == ["sot-filter"]
    rows = [line.split("|")[1:3] for line in body.splitlines() if line.startswith("| `")]
    assert rows == [[f" `{name}` ", f" {kind} "] for name, kind in COLUMNS.items()]
    assert "12,345 rows" in body
    assert "10,000 kept, 2,345 not" in body
    assert "5,432 equal ones" in body


@pytest.mark.parametrize(
    ("mode", "meaning"), [("coupled", "log-odds"), ("exact", "cost"), ("paper", "log of the weight")]
)
def test_it_says_what_a_score_is(mode: str, meaning: str) -> None:
    (line,) = (line for line in card(summary(["a.jsonl"], mode=mode)).splitlines() if "`sot_score`" in line)
    assert meaning in line
    assert line.endswith(f"; {UNSCORED:g} for rows without an embedding |")
