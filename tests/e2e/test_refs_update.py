"""`refs update`: references that change, only what is new embedded, the same columns as a run from nothing."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sot_filter.artifacts import find_manifest
from sot_filter.errors import ReferenceError
from sot_filter.plan import Plan
from sot_filter.updating import update_references
from sot_filter.verification import verify_run
from tests.e2e.cases import Case, Row, contents, read_rows, rows_of, write_rows
from tests.e2e.conftest import Cli, MakeCase
from tests.e2e.processes import Fate

HARMFUL = rows_of(20, 1002, "prompt_completion", 1.0)
SAFE = rows_of(24, 1001, "prompt_completion", 0.0)


@pytest.fixture
def finished(make_case: MakeCase) -> Case:
    """A finished run of fifty rows in two files, some of the harmful kind."""
    case = make_case(a__jsonl=rows_of(30, 1, "prompt_completion", 0.2), b__jsonl=rows_of(20, 2, "prompt_completion"))
    case.run()
    return case


def give(case: Case, role: str, rows: list[Row]) -> None:
    write_rows(case.folder / f"{role}.jsonl", rows)


def lowest_kept(case: Case) -> Row:
    """The kept row that is nearest to the cut, but for those that share their text."""
    kept = [row for row in case.rows() if row["sot_keep"]]
    return min(kept, key=lambda row: row["sot_score"])


def copies(row: Row, n: int) -> list[Row]:
    """Rows that say nearly what a row says."""
    words = ("one", "two", "three")[:n]
    return [{"prompt": row["prompt"], "completion": f"{row['completion']} {word}"} for word in words]


def from_nothing(case: Case, folder: Path) -> list[Row]:
    """What a run in new folders makes of the case as it is now."""
    plan = case.run(f"output.folder={folder / 'out'}", f"work_dir={folder / 'work'}")
    return [row for file in plan.sources["input"].files for row in read_rows(folder / "out" / file.name)]


def assert_same_columns(found: list[Row], expected: list[Row]) -> None:
    assert len(found) == len(expected)
    for name in ("sot_row_id", "sot_keep", "sot_status", "sot_nearest_safe", "sot_nearest_harmful"):
        assert [row[name] for row in found] == [row[name] for row in expected], name
    for name in ("sot_score", "sot_weight", "sot_pull", "sot_push"):
        values = ([row[name] for row in rows] for rows in (found, expected))
        np.testing.assert_allclose(*values, atol=2e-3, err_msg=name)


def embedded(plan: Plan, role: str) -> tuple[int, int]:
    """Tokens that a reference's parts cost, and rows that were taken from earlier ones."""
    source = plan.sources[role]
    urls = [plan.layout.embeddings(role, source, part) for part in source.parts(plan.part_rows)]
    facts = [find_manifest(url, plan.keys["embed"]).facts for url in urls]
    return sum(f["tokens"] for f in facts), sum(f["taken"] for f in facts)


def test_a_near_copy_in_the_harmful_reference_moves_a_kept_row(finished: Case, cli: Cli, tmp_path: Path) -> None:
    case, target = finished, lowest_kept(finished)
    give(case, "harmful", HARMFUL + copies(target, 3))
    ended = cli("refs", "update", case.pipeline, "--json", "--fail-on", "0")
    assert ended.code == 4, ended.err
    change = json.loads(ended.out)
    assert change["references"]["harmful"] == {
        "before": 20,
        "after": 23,
        "added": [f"harmful:default/train/harmful.jsonl#{i}" for i in (20, 21, 22)],
        "removed": [],
    }
    assert change["references"]["safe"]["added"] == change["references"]["safe"]["removed"] == []
    assert change["embedded"] == {"safe": 0, "harmful": 3}
    fell = {row["id"]: row for row in change["fell"]["named"]}
    assert target["sot_row_id"] in fell
    row = fell[target["sot_row_id"]]
    assert row["after"] < row["before"] == pytest.approx(target["sot_score"], abs=1e-3)
    assert change["fell"]["nearest_changed"]["harmful"] >= 1
    (cluster,) = [one for one in change["fell"]["clusters"] if one["id"] == row["cluster"]]
    assert cluster["members_changed"] >= 1
    now = {row["sot_row_id"]: row["sot_keep"] for row in case.rows()}
    assert not any(now[row_id] for row_id in fell)
    assert sum(now.values()) == change["kept"][1]
    assert all(check.passed for check in verify_run(case.plan()))
    assert_same_columns(case.rows(), from_nothing(case, tmp_path / "new"))


def test_it_tells_who_crossed_as_the_columns_do(finished: Case) -> None:
    case = finished
    before = {row["sot_row_id"]: row["sot_keep"] for row in case.rows()}
    give(case, "harmful", HARMFUL[:12] + copies(lowest_kept(case), 2))
    change = update_references(case.plan())
    after = {row["sot_row_id"]: row["sot_keep"] for row in case.rows()}
    fell = {row_id for row_id in before if before[row_id] and not after[row_id]}
    rose = {row_id for row_id in before if after[row_id] and not before[row_id]}
    assert fell
    assert {row["id"] for row in change["fell"]["named"]} == fell
    assert {row["id"] for row in change["rose"]["named"]} == rose
    assert (change["fell"]["rows"], change["rose"]["rows"]) == (len(fell), len(rose))
    assert change["rows"] == 50
    for way, crossed in (("fell", fell), ("rose", rose)):
        assert sum(one["rows"] for one in change[way]["clusters"]) == len(crossed)
        by_file = {one["value"]: one[way] for one in change["slices"] if one["facet"] == "file"}
        assert by_file == {
            name: sum(f"/{name}#" in row_id for row_id in crossed)
            for name in ("a.jsonl", "b.jsonl")
            if any(f"/{name}#" in row_id for row_id in fell | rose)
        }
    assert len(change["references"]["harmful"]["removed"]) == 8


def test_only_new_texts_go_through_the_model(finished: Case) -> None:
    case, before = finished, finished.plan()
    whole, _ = embedded(before, "harmful")
    new = rows_of(2, 77, "prompt_completion", 1.0)
    give(case, "harmful", [new[0], *HARMFUL[5:], new[1]])
    change = update_references(case.plan())
    tokens, taken = embedded(case.plan(), "harmful")
    assert taken == 15
    assert 0 < tokens < whole / 5
    assert change["embedded"] == {"safe": 0, "harmful": 2}
    # A row that only went costs nothing at all, and neither does one that changes sides.
    give(case, "harmful", HARMFUL[6:])
    give(case, "safe", [*SAFE, new[1]])
    change = update_references(case.plan())
    assert embedded(case.plan(), "harmful") == (0, 14)
    assert embedded(case.plan(), "safe") == (0, 25)
    assert len(change["references"]["safe"]["added"]) == 1


def test_rows_that_go_and_come_back(finished: Case, tmp_path: Path) -> None:
    case = finished
    before = case.rows()
    give(case, "safe", SAFE[3:])
    gone = update_references(case.plan())
    assert len(gone["references"]["safe"]["removed"]) == 3
    assert_same_columns(case.rows(), from_nothing(case, tmp_path / "new"))
    give(case, "safe", SAFE)
    back = update_references(case.plan())
    assert case.rows() == before
    assert gone["embedded"] == back["embedded"] == {"safe": 0, "harmful": 0}
    assert (back["fell"]["rows"], back["rose"]["rows"]) == (gone["rose"]["rows"], gone["fell"]["rows"])


def test_nothing_has_changed(finished: Case, cli: Cli) -> None:
    case = finished
    everything = contents(case.folder)
    ended = cli("refs", "update", case.pipeline, "--fail-on", "0")
    assert ended.code == 0, ended.err
    assert "nothing to do" in ended.out
    assert {path: data for path, data in contents(case.folder).items() if "std" not in path} == {
        path: data for path, data in everything.items() if "std" not in path
    }


@pytest.mark.parametrize(
    ("settings", "rows"),
    [(["select.retention=0.5"], None), (["solve.epsilon=0.2"], None), ([], rows_of(30, 9, "prompt_completion"))],
)
def test_what_is_not_a_change_of_references_is_refused(
    finished: Case, cli: Cli, settings: list[str], rows: list[Row] | None
) -> None:
    case = finished
    give(case, "harmful", HARMFUL[:-1])
    if rows:
        write_rows(case.input / "a.jsonl", rows)
    before = contents(case.output) | contents(case.work)
    ended = cli("refs", "update", case.pipeline, *(part for one in settings for part in ("--set", one)))
    assert ended.code == 2
    assert "a finished run of these rows and settings" in ended.err
    assert contents(case.output) | contents(case.work) == before


def test_without_a_run_there_is_nothing_to_update(case: Case, cli: Cli) -> None:
    ended = cli("refs", "update", case.pipeline)
    assert ended.code == 2
    assert "Run `sot-filter run` first" in ended.err
    assert not case.work.exists()


@pytest.mark.parametrize("limit", ["-1", "many", "1.5", "%"])
def test_a_limit_that_is_none_is_refused_before_anything_is_done(finished: Case, cli: Cli, limit: str) -> None:
    give(finished, "harmful", HARMFUL[:-1])
    before = contents(finished.work)
    assert cli("refs", "update", finished.pipeline, f"--fail-on={limit}").code == 2
    assert contents(finished.work) == before


def test_what_is_shown_names_ids_and_no_texts(finished: Case, cli: Cli) -> None:
    case, target = finished, lowest_kept(finished)
    give(case, "harmful", HARMFUL + copies(target, 3))
    ended = cli("refs", "update", case.pipeline, "--fail-on", "100%", COLUMNS="200")
    assert ended.code == 0, ended.err
    assert all(word in ended.out for word in ("3 came, 0 went; 3 embedded", "fell below the cut", "by slice"))
    assert target["sot_row_id"] in ended.out
    assert target["completion"] not in ended.out


def told(change: dict[str, Any]) -> dict[str, Any]:
    """A change without what depends on how it came about."""
    return {name: value for name, value in change.items() if name != "embedded"}


def test_killed_anywhere_it_goes_on_and_tells_the_same(make_case: MakeCase, cli: Cli, tmp_path: Path) -> None:
    case = make_case(a__jsonl=rows_of(30, 1, "prompt_completion"))
    case.settings["solve"] = {"replicates": 0}
    case.run()
    give(case, "harmful", HARMFUL + copies(lowest_kept(case), 2))
    kept = tmp_path / "kept"
    for folder in (case.work, case.output):
        shutil.copytree(folder, kept / folder.name)
    log = tmp_path / "named.txt"
    undisturbed = cli("refs", "update", case.pipeline, "--json", fate=Fate(log=str(log)))
    assert undisturbed.code == 0, undisturbed.err
    expected, columns, named = json.loads(undisturbed.out), contents(case.output), log.read_text().splitlines()
    assert expected["fell"]["rows"]
    for folder in (case.work, case.output):
        shutil.rmtree(folder)
        shutil.copytree(kept / folder.name, folder)
    assert {Path(path).parent.name for path in named[:4]} == {"update"}
    # All that is set down of the run before, and of every folder the last file.
    last = {Path(path).parent: path for path in named}
    for path in sorted({*named[:4], *last.values()}, key=named.index):
        ended = cli("refs", "update", case.pipeline, fate=Fate(killed_naming=path))
        assert ended.code == -signal.SIGKILL, path
    ended = cli("refs", "update", case.pipeline, "--json")
    assert ended.code == 0, ended.err
    assert told(json.loads(ended.out)) == told(expected)
    assert contents(case.output) == columns
    assert not list((case.work / "update").rglob("*.arrow*"))


def test_an_update_that_failed_is_told_of_with_the_next(finished: Case, cli: Cli) -> None:
    case, columns = finished, finished.rows()
    give(case, "harmful", HARMFUL[:3])
    ended = cli("refs", "update", case.pipeline)
    assert (ended.code, "at least 5 rows in each reference" in ended.err) == (2, True), ended.err
    assert case.rows() == columns, "the dataset is written last"
    give(case, "harmful", HARMFUL + copies(lowest_kept(case), 2))
    change = update_references(case.plan())
    assert change["references"]["harmful"]["before"] == 20
    assert len(change["references"]["harmful"]["added"]) == 2
    assert change["kept"][0] == sum(row["sot_keep"] for row in columns)


def test_an_update_that_failed_can_be_taken_back(finished: Case) -> None:
    case, columns = finished, finished.rows()
    give(case, "harmful", HARMFUL[:3])
    with pytest.raises(ReferenceError):
        update_references(case.plan())
    give(case, "harmful", HARMFUL)
    case.run(redo=True)
    assert case.rows() == columns
    assert not update_references(case.plan())["changed"]


def test_a_killed_update_may_be_continued_by_run(finished: Case, cli: Cli) -> None:
    case = finished
    give(case, "harmful", HARMFUL + copies(lowest_kept(case), 2))
    solution = f"{case.plan().layout.solution}"
    assert cli("refs", "update", case.pipeline, fate=Fate(killed_naming=solution)).code == -signal.SIGKILL
    assert not (case.output / "summary.json").exists()
    case.run()
    change = update_references(case.plan())
    assert change["changed"]
    assert change["fell"]["rows"]
    assert not update_references(case.plan())["changed"]
