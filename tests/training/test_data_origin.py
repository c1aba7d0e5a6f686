import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sot_filter.errors import SourceError
from sot_filter.training.data import load_rows
from sot_filter.training.origin import open_rows
from tests.training.templates import PLAIN, with_template

CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path:
    - rows.jsonl
tags:
- sot-filter
---
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of another test is found again."""
    import datasets.config

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    return cache


def rows(*names: str) -> list[dict[str, Any]]:
    return [{"prompt": f"ask {name}", "completion": f"say {name}", "sot_weight": 1.0} for name in names]


def write_lines(path: Path, given: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in given))


def names(opened: Any) -> list[str]:
    return [prompt.split()[-1] for prompt in opened.rows["prompt"][:]]


def test_an_output_folder_is_read_by_its_card(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", rows("a", "b"))
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "summary.json").write_text('{"rows": {"total": 2}}')
    write_lines(tmp_path / "other.jsonl", rows("c"))
    opened = open_rows(files=str(tmp_path))
    assert names(opened) == ["a", "b"]
    assert (opened.name, opened.revision, opened.split) == (str(tmp_path), None, "train")


def test_files_of_each_kind_are_the_same_rows(tmp_path: Path) -> None:
    given = rows("a", "b")
    write_lines(tmp_path / "x.jsonl", given)
    (tmp_path / "x.json").write_text(json.dumps(given))
    pq.write_table(pa.Table.from_pylist(given), tmp_path / "x.parquet")
    lines = [",".join(given[0]), *(",".join(map(str, row.values())) for row in given)]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    with gzip.open(tmp_path / "y.jsonl.gz", "wt") as stream:
        stream.write((tmp_path / "x.jsonl").read_text())
    for name in ("x.jsonl", "x.json", "x.parquet", "x.csv", "y.jsonl.gz"):
        assert list(open_rows(files=str(tmp_path / name)).rows) == given, name


def test_globs_are_in_order_and_no_file_comes_twice(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_lines(tmp_path / f"{name}.jsonl", rows(name))
    assert names(open_rows(files=[str(tmp_path / "[ab].jsonl"), str(tmp_path / "*.jsonl")])) == ["a", "b", "c"]
    assert names(open_rows(files=[str(tmp_path / "c.jsonl"), str(tmp_path / "a.jsonl")])) == ["c", "a"]


def test_tokens_are_made_once_for_the_same_rows(tiny_chat: Path, tmp_path: Path, own_cache: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_lines(path, rows("a", "b", "c"))
    tokenizer = with_template(tiny_chat, PLAIN)
    first = load_rows(tokenizer, files=str(path), weight="sot_weight")
    made = {file: file.stat().st_mtime_ns for file in own_cache.rglob("cache-*.arrow")}
    again = load_rows(with_template(tiny_chat, PLAIN), files=str(path), weight="sot_weight")
    assert made
    assert {file: file.stat().st_mtime_ns for file in own_cache.rglob("cache-*.arrow")} == made
    assert again.report == first.report
    assert list(again.rows) == list(first.rows)
    assert again.rows.cache_files == first.rows.cache_files
    shorter = load_rows(tokenizer, files=str(path), weight="sot_weight", max_length=25)
    assert shorter.report.cut_rows == 3
    changed = [{**row, "other": 3.0} for row in rows("a", "b", "c")]
    changed[1]["sot_weight"] = 0.25
    write_lines(path, changed)
    assert load_rows(tokenizer, files=str(path), weight="sot_weight").rows["sot_weight"][:] == [1.0, 0.25, 1.0]
    assert load_rows(tokenizer, files=str(path), weight="other").rows["sot_weight"][:] == [3.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("{}/none", "files at"),
        ("{}/*.none", "files at"),
        (["{}/a.jsonl", "{}/b.csv"], "files of one kind"),
        ("{}/c.txt", "c.txt"),
        ("{}/broken.jsonl", "rows in"),
        ("{}/broken.parquet", "rows in"),
        ("{}/empty", "rows in"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, files: Any, said: str) -> None:
    write_lines(tmp_path / "a.jsonl", rows("a"))
    (tmp_path / "b.csv").write_text("prompt,completion\nx,y\n")
    (tmp_path / "c.txt").write_text("text")
    (tmp_path / "broken.jsonl").write_text('{"prompt": "secret')
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    (tmp_path / "empty").mkdir()
    given = files.format(tmp_path) if isinstance(files, str) else [one.format(tmp_path) for one in files]
    with pytest.raises(SourceError) as error:
        open_rows(files=given)
    assert said in str(error.value)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_split_or_configuration_that_is_not_there(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", rows("a"))
    (tmp_path / "README.md").write_text(CARD)
    with pytest.raises(SourceError, match=r"test.*train"):
        open_rows(files=str(tmp_path), split="test")
    with pytest.raises(SourceError, match=r"other.*default"):
        open_rows(files=str(tmp_path), config="other")


def test_one_place_is_named() -> None:
    for settings in ({}, {"dataset": "org/x", "files": "y"}):
        with pytest.raises(SourceError, match="either a Hub dataset or files"):
            open_rows(**settings)  # type: ignore[arg-type]


def test_rows_that_have_changed_are_read_anew(tmp_path: Path) -> None:
    for place, weights in (("a", 1.0), ("a", 2.0), ("b", 3.0)):
        folder = tmp_path / place / "out"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.md").write_text(CARD)
        write_lines(folder / "rows.jsonl", [{**row, "sot_weight": weights} for row in rows("x", "y")])
        for files in (str(folder), str(folder / "rows.jsonl")):
            assert open_rows(files=files).rows["sot_weight"][:] == [weights] * 2
