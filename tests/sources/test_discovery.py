"""Finding files: names that do not depend on how they were asked for, and errors that name the file at fault."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

from sot_filter.conversation import Conversation
from sot_filter.errors import SourceError
from sot_filter.rows import COLUMNS, named
from sot_filter.sources import Source, local_source
from tests.sources.written import WRITERS, json_lines, parquet

PAIR = [{"prompt": "hi", "completion": "hello"}]
TEXT = [{"text": "hi"}]


def put(root: Path, *names: str, rows: Any = PAIR) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(json_lines(rows))


def names(source: Source) -> list[str]:
    return [file.name for file in source.files]


def test_names_are_relative_to_the_common_root_and_sorted(tmp_path: Path) -> None:
    put(tmp_path, "b/2.jsonl", "a/x/1.jsonl", "a/3.jsonl")
    expected = ["a/3.jsonl", "a/x/1.jsonl", "b/2.jsonl"]
    patterns = [f"{tmp_path}/a/*.jsonl", f"{tmp_path}/b", f"{tmp_path}/a/x/1.jsonl"]
    for order in itertools.permutations(patterns):
        assert names(local_source(order)) == expected
    assert names(local_source(str(tmp_path))) == expected
    assert names(local_source(f"{tmp_path}/**/*.jsonl")) == expected
    assert local_source([*patterns, *patterns]) == local_source(str(tmp_path))


def test_one_file_is_named_alike_by_path_folder_and_glob(tmp_path: Path) -> None:
    put(tmp_path, "rows.jsonl")
    one = local_source(f"{tmp_path}/rows.jsonl")
    assert names(one) == ["rows.jsonl"]
    assert one == local_source(str(tmp_path)) == local_source(f"{tmp_path}/*.jsonl") == local_source(f"{tmp_path}/r*")
    assert one == local_source(f"file://{tmp_path}/rows.jsonl")


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "data/rows.jsonl")
    monkeypatch.chdir(tmp_path)
    assert local_source("data/rows.jsonl") == local_source(f"{tmp_path}/data/rows.jsonl") == local_source("data")


def test_a_path_may_go_up_and_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "data/a.jsonl", "data/b.jsonl", "other/c.jsonl")
    monkeypatch.chdir(tmp_path / "other")
    plain = local_source([f"{tmp_path}/data/a.jsonl", f"{tmp_path}/data/b.jsonl"])
    assert local_source(["../other/../data/a.jsonl", "../data/b.jsonl", f"{tmp_path}/data/*"]) == plain
    assert names(plain) == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    "name",
    ["a#1.jsonl", "with space.jsonl", "a[1].jsonl", "what?.jsonl", "grüße-你好.jsonl", "50%25.jsonl", "A.JSONL"],
)
def test_any_file_name_is_found_and_read(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    source = local_source(str(tmp_path / name))
    assert names(source) == [name]
    (row,) = source.read(source.files[0])
    assert isinstance(row, Conversation)
    assert source.key(source.files[0], 0).id == f"default/train/{name}#0"


def test_a_folder_is_read_without_hidden_files_and_those_of_no_known_kind(tmp_path: Path) -> None:
    put(tmp_path, "rows.jsonl", ".hidden.jsonl", "_temporary/rows.jsonl", ".git/rows.jsonl", "README.md")
    assert names(local_source(str(tmp_path))) == ["rows.jsonl"]


def test_files_of_several_kinds_are_refused(tmp_path: Path) -> None:
    for ending in (".csv", ".jsonl"):
        (tmp_path / f"rows{ending}").write_bytes(WRITERS[ending](PAIR))
    with pytest.raises(SourceError, match="csv and json"):
        local_source(str(tmp_path))


def test_json_may_be_mixed_lines_or_arrays_and_compressed(tmp_path: Path) -> None:
    endings = [ending for ending in WRITERS if "json" in ending]
    for i, ending in enumerate(endings):
        (tmp_path / f"{i}{ending}").write_bytes(WRITERS[ending](PAIR))
    source = local_source(str(tmp_path))
    assert source.rows == len(endings) >= 3
    digests = {row.digest() for file in source.files for row in source.read(file) if isinstance(row, Conversation)}
    assert len(digests) == 1


def test_rows_come_from_any_filesystem() -> None:
    fs = fsspec.filesystem("memory")
    for name in ("b.jsonl", "a/c.jsonl"):
        fs.pipe_file(f"/discovered/{name}", json_lines(PAIR))
    source = local_source("memory://discovered")
    assert names(source) == ["a/c.jsonl", "b.jsonl"]
    assert source == local_source("memory://discovered/**/*.jsonl")
    assert [row.text() for file in source.files for row in source.read(file)] == ["hi\nhello"] * 2


def test_the_digest_changes_with_content_name_and_reading_and_with_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, "one/a.jsonl", "two/a.jsonl", "three/b.jsonl")
    put(tmp_path, "four/a.jsonl", rows=[{"prompt": "hi", "completion": "hello!"}])
    base = local_source(f"{tmp_path}/one").digest
    os.utime(tmp_path / "two/a.jsonl", (0, 0))
    assert local_source(f"{tmp_path}/two").digest == base
    others = [
        local_source(f"{tmp_path}/three"),
        local_source(f"{tmp_path}/four"),
        local_source(f"{tmp_path}/one", split="test"),
        local_source(f"{tmp_path}/one", config="other"),
        local_source(f"{tmp_path}/one", columns={"prompt": "completion", "completion": "prompt"}),
        local_source(f"{tmp_path}/one", format="text", columns={"text": "prompt"}),
    ]
    assert len({base, *(other.digest for other in others)}) == 1 + len(others)


def test_a_source_survives_json(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", "b.jsonl")
    source = local_source(str(tmp_path))
    assert Source.from_json(json.loads(json.dumps(source.to_json()))) == source


@pytest.mark.parametrize("part_rows", [1, 3, 7, 100])
def test_parts_cover_every_row_once_in_order(tmp_path: Path, part_rows: int) -> None:
    for name, rows in (("a.jsonl", 7), ("b.jsonl", 0), ("c.jsonl", 1), ("d.jsonl", 12)):
        put(tmp_path, name, rows=PAIR * rows)
    source = local_source(str(tmp_path))
    parts = source.parts(part_rows)
    covered = [(part.file.name, row) for part in parts for row in range(part.start, part.stop)]
    assert covered == [(file.name, row) for file in source.files for row in range(file.rows)]
    assert all(1 <= part.rows <= part_rows for part in parts)
    assert len({part.name for part in parts}) == len(parts)
    assert sorted(parts, key=lambda part: part.name) == parts


@pytest.mark.parametrize("pattern", ["missing.jsonl", "*.parquet", "empty", "empty/*"])
def test_nothing_found_names_the_pattern(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"got none\. Check the path") as caught:
        local_source([f"{tmp_path}/{pattern}"])
    assert f"{tmp_path}/{pattern}" in str(caught.value)


def test_one_pattern_without_files_among_others_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl")
    with pytest.raises(SourceError, match=r"files at .*b\.jsonl; got none"):
        local_source([f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl"])


@pytest.mark.parametrize("url", ["nowhere://rows.jsonl", "abfs://container/rows.jsonl"])
def test_an_unknown_protocol_is_named(url: str) -> None:
    with pytest.raises(SourceError, match=f"a URL of a protocol that fsspec knows; got {url}"):
        local_source(url)


@pytest.mark.parametrize("name", ["rows.txt", "rows.jsonl.bz2", "rows"])
def test_an_unknown_kind_of_file_is_named(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    with pytest.raises(SourceError, match=rf"files ending in \.parquet, .*; got {name}\. Convert the file"):
        local_source(str(tmp_path / name))


def test_a_broken_glob_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a glob; got .*/\*\*\.jsonl .*as in data"):
        local_source(f"{tmp_path}/**.jsonl")


def test_files_without_a_row_are_no_dataset(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", "b.jsonl", rows=[])
    with pytest.raises(SourceError, match=r"at least one row; got none in a\.jsonl, b\.jsonl"):
        local_source(str(tmp_path))


def test_one_file_without_rows_is_part_of_a_dataset(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", rows=[])
    put(tmp_path, "b.jsonl")
    assert [file.rows for file in local_source(str(tmp_path)).files] == [0, 1]


def test_files_of_other_types_are_named_with_the_column(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet([{"text": "x", "n": 1}]))
    (tmp_path / "b.parquet").write_bytes(parquet([{"text": "x", "n": 1.5}]))
    with pytest.raises(SourceError, match=r"one schema; got a\.parquet and b\.parquet, which differ in n\. Weigh"):
        local_source(str(tmp_path))


def test_files_of_other_formats_are_named_with_their_reading(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl")
    put(tmp_path, "b.jsonl", rows=TEXT)
    wanted = r"a\.jsonl read as prompt_completion \(prompt, completion\) and b\.jsonl read as text \(text\)"
    with pytest.raises(SourceError, match=wanted):
        local_source(str(tmp_path))


@pytest.mark.parametrize("before", [0, 1000])
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".jsonl.zst", ".parquet", ".arrow", ".csv"])
def test_columns_of_ours_are_refused_wherever_they_begin(tmp_path: Path, ending: str, before: int) -> None:
    ours = {**PAIR[0], "sot_weight": "1.0"}
    first = {**ours, "sot_weight": None} if ending in (".parquet", ".arrow", ".csv") else PAIR[0]
    (tmp_path / f"a{ending}").write_bytes(WRITERS[ending]([first] * before + [ours]))
    ours_all = list(COLUMNS)
    with pytest.raises(SourceError, match=rf"got sot_weight in a\{ending}\. Set another output\.prefix"):
        local_source(str(tmp_path), reserved=ours_all)
    others = [named(name, "again_") for name in ours_all]
    # A weighed dataset is read like any other where nothing is added to it, as a reference is.
    assert local_source(str(tmp_path), reserved=others) == local_source(str(tmp_path))


@pytest.mark.parametrize("ending", [".jsonl", ".json"])
def test_a_column_of_ours_whose_name_is_escaped_is_refused_too(tmp_path: Path, ending: str) -> None:
    text = WRITERS[ending]([PAIR[0]] * 300 + [{**PAIR[0], "sot_keep": True}]).decode()
    assert text.count("sot_keep") == 1
    (tmp_path / f"a{ending}").write_text(text.replace("sot_keep", r"\u0073ot\u005fkeep"))
    with pytest.raises(SourceError, match="got sot_keep in a"):
        local_source(str(tmp_path), reserved=list(COLUMNS))


def test_columns_that_fit_no_format_are_listed(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", rows=[{"foo": 1, "bar": 2}])
    with pytest.raises(SourceError, match=r"got columns bar, foo\. Set input\.format, or map your columns"):
        local_source(str(tmp_path))


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"promt": "prompt"}, "fields of the prompt_completion format: prompt, completion, system, tools; got promt"),
        ({"prompt": "nope", "completion": "completion"}, "a column 'nope' for prompt; got columns completion, prompt"),
    ],
)
def test_a_wrong_mapping_is_explained(tmp_path: Path, columns: dict[str, str], says: str) -> None:
    put(tmp_path, "a.jsonl")
    with pytest.raises(SourceError, match=says):
        local_source(
            str(tmp_path), format="auto" if "nope" in columns.values() else "prompt_completion", columns=columns
        )


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl")
    with pytest.raises(SourceError, match=r"one of the formats messages, .*; got chatml"):
        local_source(str(tmp_path), format="chatml")
