"""An export of an output: what it reads, how it counts, that it repeats to the byte, and what it refuses."""

import json
import math
import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sot_filter.errors import ArtifactError, ConfigError, SotFilterError, SourceError
from sot_filter.exporting import EXPORTERS, Request, export_output
from sot_filter.exporting.repetition import copies
from sot_filter.rows import COLUMNS, KEPT, named
from tests.exporting.outputs import LEFT, ONE, fates, read_lines, row_ids, talk, talks, write_output

PAIRS = [{"prompt": f"say {i}", "completion": f"that is {i}"} for i in range(30)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def lines(folder: Path) -> list[dict[str, Any]]:
    return read_lines(folder / "train.jsonl")


# What is read


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet", "jsonl.gz"])
@pytest.mark.parametrize("prefix", ["sot_", "mine_"])
def test_the_same_lines_from_every_storage_and_prefix(tmp_path: Path, ending: str, prefix: str) -> None:
    decided = fates(30)
    folder = write_output(tmp_path / "output", {f"rows.{ending}": PAIRS}, decided, prefix=prefix)
    result = export_output(str(folder), str(tmp_path / "export"), Request("ms-swift"))
    kept = [(row, float(np.float32(fate[0]))) for row, fate in zip(PAIRS, decided, strict=True) if fate[1]]
    assert [
        (line["messages"][0]["content"], line["messages"][1]["loss_scale"]) for line in lines(tmp_path / "export")
    ] == [(row["prompt"], weight) for row, weight in kept]
    weights = np.asarray([weight for _, weight in kept])
    assert result["weights"]["effective_sample_size"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert result["weights"]["largest"] == weights.max()


def test_a_users_own_columns_of_our_names_are_not_taken_for_the_runs(tmp_path: Path) -> None:
    own = {"sot_row_id": "x", "sot_weight": 9.0, "sot_keep": False, "sot_status": "dropped"}
    rows = [{**row, **own} for row in PAIRS]
    folder = write_output(tmp_path / "output", {"rows.parquet": rows}, [ONE] * 30, prefix="mine_")
    assert export_output(str(folder), str(tmp_path / "export"), Request("trl"))["rows"]["written"] == 30
    # A file alone does not say which columns are the run's.
    with pytest.raises(SourceError, match="mine_ and sot_"):
        export_output(str(folder / "rows.parquet"), str(tmp_path / "other"), Request("trl"))


def test_columns_are_read_as_the_run_read_them(tmp_path: Path) -> None:
    rows = [{"q": "one", "a": "two", "prompt": "no", "completion": "no"}]
    columns = {"prompt": "q", "completion": "a"}
    folder = write_output(tmp_path / "output", {"rows.jsonl": rows}, [ONE], columns=columns)
    export_output(str(folder), str(tmp_path / "export"), Request("openai"))
    assert [turn["content"] for turn in lines(tmp_path / "export")[0]["messages"]] == ["one", "two"]


def test_one_file_of_an_output_is_enough(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "output", {"a.parquet": PAIRS[:10], "b.parquet": PAIRS[10:]}, [ONE] * 30)
    assert export_output(str(folder / "b.parquet"), str(tmp_path / "export"), Request("trl"))["rows"]["read"] == 20


def test_a_row_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "output", {"rows.parquet": PAIRS}, [ONE] * 29 + [LEFT["invalid"]])
    table = pq.read_table(folder / "rows.parquet")
    broken = pa.array([row["completion"].encode() for row in PAIRS[:29]] + [b"\xff\xfe"]).view(pa.string())
    pq.write_table(table.set_column(1, "completion", broken), folder / "rows.parquet")
    result = export_output(str(folder), str(tmp_path / "export"), Request("openai"))
    assert (result["rows"]["written"], result["left_out"]) == (29, {"invalid": 1})


# Repetition


def test_rows_are_repeated_as_their_ids_say(tmp_path: Path) -> None:
    decided = fates(30)
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, decided)
    request = Request("openai", repeat=True, times=2.5, seed=7)
    result = export_output(str(folder), str(tmp_path / "export"), request)
    expected = {
        row["prompt"]: copies(row_id, float(np.float32(weight)), 2.5, 7)
        for row, row_id, (weight, keep, _) in zip(PAIRS, row_ids(folder), decided, strict=True)
        if keep
    }
    found = Counter(line["messages"][0]["content"] for line in lines(tmp_path / "export"))
    assert found == Counter(expected)
    assert result["rows"]["lines"] == sum(expected.values())
    assert result["rows"]["written"] == sum(number > 0 for number in expected.values())
    assert result["left_out"].get("drawn 0 times", 0) == sum(number == 0 for number in expected.values())
    assert result["weights"]["how"] == "repetition"


def test_the_mean_number_of_lines_is_the_sum_of_the_weights(tmp_path: Path) -> None:
    decided = fates(30)
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, decided)
    total, spread, lines_found = 0.0, 0.0, []
    for weight, keep, _ in decided:
        rest = weight % 1
        total, spread = total + weight * keep, spread + rest * (1 - rest) * keep
    for seed in range(40):
        out = tmp_path / f"export-{seed}"
        lines_found.append(
            export_output(str(folder), str(out), Request("trl", repeat=True, seed=seed))["rows"]["lines"]
        )
    assert abs(np.mean(lines_found) - total) < 5 * math.sqrt(spread / 40)
    assert len(set(lines_found)) > 1


def test_trl_has_no_weights_beside_copies(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, fates(30))
    export_output(str(folder), str(tmp_path / "export"), Request("trl", repeat=True))
    assert "sot_weight" not in pq.read_schema(tmp_path / "export" / "train.parquet").names


@pytest.mark.parametrize("repeat", [False, True])
def test_the_order_of_files_changes_the_order_of_lines_only(tmp_path: Path, repeat: bool) -> None:
    """The rows of two files, their names changed so that the other is first: ids, and so draws, stay the rows' own."""
    decided = fates(30)
    folder = write_output(tmp_path / "output", {"a.jsonl": PAIRS[:12], "b.jsonl": PAIRS[12:]}, decided)
    turned = tmp_path / "turned"
    shutil.copytree(folder, turned)
    (turned / "a.jsonl").rename(turned / "z.jsonl")
    summary = json.loads((turned / "summary.json").read_text())
    summary["input"]["files"][0]["name"] = "z.jsonl"
    (turned / "summary.json").write_text(json.dumps(summary))
    found = []
    for name in (folder, turned):
        export_output(str(name), f"{tmp_path}/export-{name.name}", Request("axolotl", repeat=repeat))
        found.append([json.dumps(line) for line in lines(tmp_path / f"export-{name.name}")])
    assert found[0] != found[1]
    assert sorted(found[0]) == sorted(found[1])


# The file of all rows


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet", "json"])
def test_all_rows_and_columns_become_typed_parquet(tmp_path: Path, ending: str) -> None:
    decided = fates(30)
    folder = write_output(tmp_path / "output", {f"rows.{ending}": PAIRS}, decided, prefix="mine_")
    result = export_output(str(folder), str(tmp_path / "export"), Request("parquet"))
    assert result["rows"] == {"read": 30, "written": 30, "lines": 30}
    path = str(tmp_path / "export" / "train.parquet")
    data = datasets.load_dataset("parquet", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    assert data.column_names == ["prompt", "completion", *(named(column, "mine_") for column in COLUMNS)]
    assert {name: data.features[named(name, "mine_")].dtype for name in COLUMNS} == COLUMNS
    assert data["prompt"][:] == [row["prompt"] for row in PAIRS]
    assert data["mine_row_id"][:] == row_ids(folder)
    assert data["mine_weight"][:] == [float(np.float32(weight)) for weight, _, _ in decided]
    assert data["mine_keep"][:] == [keep for _, keep, _ in decided]


def test_a_folder_of_it_loads_by_its_name(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, fates(30))
    export_output(str(folder), str(tmp_path / "export"), Request("parquet"))
    data = datasets.load_dataset(str(tmp_path / "export"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(data) == 30


def test_broken_lines_and_odd_values_are_rows_of_it_too(tmp_path: Path) -> None:
    rows = [
        *PAIRS[:2],
        "not JSON",
        {**PAIRS[2], "n": 2**70, "late": {"a": [1, "x"]}},
        {"prompt": "\ud800", "completion": ""},
    ]
    decided = [ONE, ONE, LEFT["invalid"], ONE, LEFT["invalid"]]
    folder = write_output(tmp_path / "output", {"rows.jsonl": rows}, decided)
    export_output(str(folder), str(tmp_path / "export"), Request("parquet"))
    path = str(tmp_path / "export" / "train.parquet")
    data = datasets.load_dataset("parquet", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    assert data["prompt"][:] == ["say 0", "say 1", None, "say 2", "?"]
    assert data["n"][3] == str(2**70)
    assert data["late"][3] == {"a": [1, "x"]}
    assert data["sot_status"][2] == "invalid"


def test_types_of_parquet_pass_as_they_are(tmp_path: Path) -> None:
    import datetime as dt

    rows = [
        {**row, "when": dt.datetime(2026, 1, 1, i % 24), "raw": b"\xff\x00", "n": i} for i, row in enumerate(PAIRS)
    ]
    folder = write_output(tmp_path / "output", {"a.parquet": rows[:9], "b.parquet": rows[9:]}, fates(30))
    export_output(str(folder), str(tmp_path / "export"), Request("parquet"))
    wanted = pa.concat_tables([pq.read_table(folder / name) for name in ("a.parquet", "b.parquet")])
    found = pq.read_table(tmp_path / "export" / "train.parquet")
    assert found.schema == wanted.schema
    assert found.to_pylist() == wanted.to_pylist()


# The folder it goes to


@pytest.mark.parametrize("target", EXPORTERS)
def test_the_same_export_is_the_same_bytes(tmp_path: Path, target: str) -> None:
    folder = write_output(tmp_path / "output", {"rows.jsonl": talks(30)}, fates(30))
    request = Request(target, repeat=EXPORTERS[target].line is not None)
    export_output(str(folder), str(tmp_path / "export"), request)
    first = files_of(tmp_path / "export")
    assert {"EXPORT.md", "export.yaml"} < first.keys()
    export_output(str(folder), str(tmp_path / "export"), request)
    export_output(str(folder), str(tmp_path / "again"), request)
    assert files_of(tmp_path / "export") == first == files_of(tmp_path / "again")
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_an_export_that_was_stopped_is_done_again(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, fates(30))
    export_output(str(folder), str(tmp_path / "whole"), Request("trl"))
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    shutil.copy(tmp_path / "whole" / "export.yaml", stopped)
    (stopped / ".train.parquet.0123.part").write_bytes(b"half")
    export_output(str(folder), str(stopped), Request("trl"))
    assert (stopped / "train.parquet").read_bytes() == (tmp_path / "whole" / "train.parquet").read_bytes()


def test_nothing_is_written_where_nothing_can_be(tmp_path: Path) -> None:
    out = tmp_path / "export"
    none_kept = write_output(tmp_path / "none", {"rows.jsonl": PAIRS[:2]}, [LEFT["dropped"]] * 2)
    with pytest.raises(SourceError, match="2 dropped"):
        export_output(str(none_kept), str(out), Request("trl"))
    assert not out.exists()


def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.parquet").write_text("mine")
    return tmp_path / "mine"


def other(tmp_path: Path) -> Path:
    folder = write_output(tmp_path / "first", {"rows.jsonl": PAIRS}, fates(30))
    export_output(str(folder), str(tmp_path / "taken"), Request("openai"))
    return tmp_path / "taken"


def a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("mine")
    return tmp_path / "file"


@pytest.mark.parametrize(
    ("where", "said"), [(mine, "1 files, as train.parquet"), (other, "another one"), (a_file, "file")]
)
def test_nobodys_files_are_replaced(tmp_path: Path, where: Any, said: str) -> None:
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, fates(30))
    out = where(tmp_path)
    before = files_of(out) if out.is_dir() else out.read_bytes()
    with pytest.raises(ArtifactError, match=said):
        export_output(str(folder), str(out), Request("trl"))
    assert (files_of(out) if out.is_dir() else out.read_bytes()) == before


# Bad input


def nothing(tmp_path: Path) -> Path:
    return tmp_path / "no such"


def bare(tmp_path: Path) -> Path:
    return write_bare(tmp_path / "bare", PAIRS)


def bare_file(tmp_path: Path) -> Path:
    return write_bare(tmp_path / "bare", PAIRS) / "rows.jsonl"


def write_bare(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def foreign_summary(tmp_path: Path) -> Path:
    folder = write_bare(tmp_path / "bare", PAIRS)
    (folder / "summary.json").write_text('{"input": {"rows": 3}}')
    return folder


def sidecar(tmp_path: Path) -> Path:
    return write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, fates(30), mode="sidecar")


def missing_file(tmp_path: Path) -> Path:
    folder = write_output(tmp_path / "output", {"a.jsonl": PAIRS, "b.jsonl": PAIRS}, fates(60))
    (folder / "a.jsonl").unlink()
    return folder


def fewer_rows(tmp_path: Path) -> Path:
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, fates(30))
    text = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    (folder / "rows.jsonl").write_text("".join(text[:-1]))
    return folder


def without_weights(tmp_path: Path) -> Path:
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, fates(30))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return folder


def changed(column: str, value: Any) -> Any:
    def made(tmp_path: Path) -> Path:
        folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, fates(30))
        rows = read_lines(folder / "rows.jsonl")
        rows[17][column] = value
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return made


BAD = {
    "nothing there": (nothing, SourceError, "nothing"),
    "a folder of other files": (bare, SourceError, "summary.json"),
    "a file without weights": (bare_file, SourceError, "sot_weight"),
    "another summary": (foreign_summary, SourceError, "summary.json"),
    "a sidecar": (sidecar, SourceError, "sidecar"),
    "a file missing": (missing_file, ArtifactError, "a.jsonl"),
    "a row missing": (fewer_rows, ArtifactError, "30 rows"),
    "weights missing": (without_weights, SourceError, "sot_weight"),
    "a weight below zero": (changed("sot_weight", -1.0), SourceError, "row 17"),
    "a weight that is none": (changed("sot_weight", "NaN"), SourceError, "row 17"),
    "a keep that is none": (changed("sot_keep", "perhaps"), SourceError, "row 17"),
    "a status that is none": (changed("sot_status", "fine"), SourceError, "row 17"),
    "an id that is none": (changed("sot_row_id", None), SourceError, "row 17"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("target", ["openai", "parquet"])
def test_what_is_no_output_is_refused_in_one_line(tmp_path: Path, case: str, target: str) -> None:
    make, error, said = BAD[case]
    with pytest.raises(error, match=said) as raised:
        export_output(str(make(tmp_path)), str(tmp_path / "export"), Request(target))
    assert isinstance(raised.value, SotFilterError)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("trI"), "Did you mean trl"),
        (Request("llamafactory"), "Did you mean llama-factory"),
        (Request("zzz"), "trl, ms-swift, axolotl, llama-factory, openai, parquet"),
        (Request("trl", times=2), "--repeat"),
        (Request("trl", repeat=True, times=0), "above zero"),
        (Request("trl", repeat=True, times=math.inf), "above zero"),
        (Request("parquet", repeat=True), "Leave it out"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, request_: Request, said: str) -> None:
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS}, fates(30))
    with pytest.raises(ConfigError, match=said):
        export_output(str(folder), str(tmp_path / "export"), request_)


# Size, and the command


@pytest.mark.parametrize("target", ["openai", "trl"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, target: str) -> None:
    peaks = []
    for rows in (2_000, 16_000):
        texts = [{"prompt": f"say {i}" * 20, "completion": f"that is {i}" * 20} for i in range(rows)]
        folder = write_output(tmp_path / f"output-{rows}", {"rows.jsonl": texts}, fates(rows))
        del texts
        tracemalloc.start()
        export_output(str(folder), str(tmp_path / f"export-{rows}"), Request(target))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "sot_filter.cli", "export", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_says_what_is_written_and_what_is_lost(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "output", {"rows.jsonl": [*PAIRS, talk("a", "b")][:30]}, fates(30))
    told = command(str(folder), "--to", "openai", "--out", str(tmp_path / "export"))
    assert told.returncode == 0, told.stderr
    kept = sum(keep for _, keep, _ in fates(30))
    assert f"{kept}  rows written" in told.stdout
    assert "They are lost here" in " ".join(told.stdout.split())
    assert "a message's own weight is a switch" in told.stdout
    page = (tmp_path / "export" / "EXPORT.md").read_text()
    assert "client.fine_tuning.jobs.create" in page
    assert f"| written | {kept} |" in page
    as_json = command(str(folder), "--to", "openai", "--out", str(tmp_path / "export"), "--json")
    result = json.loads(as_json.stdout)
    assert result["rows"]["written"] == kept
    assert result["folder"] == str(tmp_path / "export")


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    told = command(str(tmp_path / "no such"), "--to", "trl", "--out", str(tmp_path / "export"))
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert "Traceback" not in told.stderr


def test_a_kept_row_of_weight_zero_is_never_drawn(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "output", {"rows.jsonl": PAIRS[:2]}, [(0.0, True, KEPT), (2.0, True, KEPT)])
    result = export_output(str(folder), str(tmp_path / "export"), Request("trl", repeat=True))
    assert (result["rows"]["lines"], result["left_out"]) == (2, {"drawn 0 times": 1})
