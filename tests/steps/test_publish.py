"""What is published: the source's files with renamed columns, or these alone with digests; and what is refused."""

import json
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from sot_filter.conversation import Conversation, Message
from sot_filter.errors import ArtifactError, SourceError
from sot_filter.plan import build_stages
from sot_filter.rows import COLUMNS, DIGEST, named
from tests.e2e.cases import Case, read_rows, rows_of
from tests.steps.published_run import check, columns_of, marked, output_of, published

ENDINGS = [".parquet", ".jsonl", ".csv", ".arrow"]
NOTHING = {"prompt": " ", "completion": "", "mark": "none"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_columns_by_another_prefix(tmp_path: Path, encoder: Path, ending: str) -> None:
    plan = published(tmp_path, encoder, {f"a{ending}": marked(12, 1)}, prefix="w_")
    (file,) = plan.sources["input"].files
    names = [named(name, "w_") for name in COLUMNS]
    rows = read_rows(output_of(plan, file))
    assert all(list(row) == ["prompt", "completion", "mark", *names] for row in rows)
    assert [row["mark"] for row in rows] == [f"1-{i}" for i in range(12)]
    check(plan, file)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_sidecar_has_ids_columns_and_digests(tmp_path: Path, encoder: Path, ending: str) -> None:
    files = {f"a{ending}": [*marked(12, 1), NOTHING], f"sub/b{ending}": marked(3, 2)}
    plan = published(tmp_path, encoder, files, mode="sidecar")
    for file in plan.sources["input"].files:
        path = output_of(plan, file)
        assert path == Path(str(plan.config.output.folder)) / "sot" / f"{file.name}.parquet"
        table = pq.read_table(path)
        assert table.column_names == [*COLUMNS, DIGEST]
        rows = files[file.name]
        texts = [Conversation((Message("user", r["prompt"]), Message("assistant", r["completion"]))) for r in rows]
        wanted = ["0" * 32 if text.is_empty else text.digest().hex() for text in texts]
        assert table[DIGEST].to_pylist() == wanted
        assert table["sot_row_id"].to_pylist() == [f"default/train/{file.name}#{i}" for i in range(len(rows))]
        found = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
        assert {name: found.features[name].dtype for name in found.features} == {**COLUMNS, DIGEST: "string"}
        check(plan, file)
    assert not (Path(str(plan.config.output.folder)) / f"a{ending}").exists()


@pytest.mark.parametrize("mode", ["columns", "sidecar"])
def test_broken_rows_and_files_without_rows(tmp_path: Path, encoder: Path, mode: str) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    lines = [json.dumps(row) for row in marked(9, 1)]
    (folder / "a.jsonl").write_text("\n".join([*lines[:4], '{"prompt": "cut', "[1]", *lines[4:], ""]))
    (folder / "b.jsonl").write_text("")
    (folder / "c.jsonl").write_text('{"prompt": 3, "completion": null, "n": NaN}\n')
    plan = published(tmp_path, encoder, {}, mode=mode)
    statuses = {}
    for file in plan.sources["input"].files:
        check(plan, file)
        statuses[file.name] = [row["sot_status"] for row in read_rows(output_of(plan, file))]
    assert statuses["a.jsonl"][4:6] == ["invalid", "invalid"]
    assert [len(some) for some in statuses.values()] == [11, 0, 1]
    if mode == "sidecar":
        digests = pq.read_table(output_of(plan, plan.sources["input"].files[0]))[DIGEST].to_pylist()
        assert [i for i, digest in enumerate(digests) if digest == "0" * 32] == [4, 5]


def test_both_modes_say_the_same(tmp_path: Path, encoder: Path) -> None:
    rows = {"a.parquet": marked(20, 1)}
    plain = published(tmp_path / "one", encoder, rows)
    aside = published(tmp_path / "two", encoder, rows, mode="sidecar", prefix="x_")
    one, two = (pq.read_table(output_of(plan, plan.sources["input"].files[0])) for plan in (plain, aside))
    assert two.column_names == [named(name, "x_") for name in (*COLUMNS, DIGEST)]
    renamed = two.rename_columns([*COLUMNS, DIGEST]).select(list(COLUMNS))
    assert renamed.equals(one.select(list(COLUMNS)))
    (whole,) = columns_of(plain).of_file(plain.sources["input"].files[0])
    assert renamed.equals(whole)


def test_another_mode_removes_what_the_first_one_left(tmp_path: Path, encoder: Path) -> None:
    rows = {"a.parquet": marked(12, 1)}
    published(tmp_path, encoder, rows)
    assert (tmp_path / "out" / "a.parquet").exists()
    published(tmp_path, encoder, rows, mode="sidecar", redo=True)
    assert not (tmp_path / "out" / "a.parquet").exists()
    assert (tmp_path / "out" / "sot" / "a.parquet.parquet").exists()


def test_an_output_that_was_touched_is_refused_and_written_anew(tmp_path: Path, encoder: Path) -> None:
    rows = {"a.jsonl": marked(12, 1)}
    plan = published(tmp_path, encoder, rows)
    (file,) = plan.sources["input"].files
    report = build_stages(plan)[list(plan.keys).index("report")]
    for touch, said in (
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "other bytes"),
        (Path.unlink, "no such"),
    ):
        touch(output_of(plan, file))
        with pytest.raises(ArtifactError, match=rf"12 rows in .*a\.jsonl as they were written; got {said}.*--redo"):
            list(report.steps[-1].run())
        with pytest.raises(ArtifactError, match="--redo"):
            check(plan, file)
    anew = published(tmp_path, encoder, rows, redo=True, folder=str(tmp_path / "new"))
    check(anew, file)


def test_what_is_written_by_default_is_known_by_the_key_it_always_had(tmp_path: Path, encoder: Path) -> None:
    case = Case(tmp_path, encoder, {"a.jsonl": marked(5, 1)})
    plain = case.plan().keys
    case.settings["output"].update(mode="columns", prefix="sot_")
    assert case.plan().keys["publish"] == plain["publish"]
    keys = {plain["publish"]}
    for output in ({"mode": "sidecar"}, {"prefix": "x_"}, {"mode": "sidecar", "prefix": "x_"}):
        case.settings["output"] = {"folder": str(case.output), **output}
        assert case.plan().keys["select"] == plain["select"]
        keys.add(case.plan().keys["publish"])
    assert len(keys) == 4


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_weighed_dataset_is_weighed_again_only_beside_or_by_another_prefix(
    tmp_path: Path, encoder: Path, ending: str
) -> None:
    weighed = published(tmp_path / "one", encoder, {f"a{ending}": marked(12, 1)})
    rows = read_rows(output_of(weighed, weighed.sources["input"].files[0]))
    again = Case(tmp_path / "two", encoder, {f"a{ending}": rows})
    with pytest.raises(SourceError) as refused:
        again.plan()
    said = str(refused.value)
    assert f"got {', '.join(COLUMNS)} in a{ending}" in said
    assert "output.prefix" in said
    assert "sidecar" in said
    assert not again.work.exists()
    assert not again.output.exists()
    for output in ({"prefix": "again_"}, {"mode": "sidecar"}):
        plan = published(tmp_path / "-".join(output), encoder, {f"a{ending}": rows}, **output)
        check(plan, plan.sources["input"].files[0])


def test_a_weighed_dataset_is_a_reference(tmp_path: Path, encoder: Path) -> None:
    weighed = published(tmp_path / "one", encoder, {"a.jsonl": rows_of(40, 1, "prompt_completion")})
    path = output_of(weighed, weighed.sources["input"].files[0])
    kept = sum(row["sot_keep"] for row in map(json.loads, path.read_text().splitlines()))
    case = Case(tmp_path / "two", encoder, {"b.jsonl": marked(9, 2)})
    case.settings["references"]["safe"] = {"files": str(path), "where": {"sot_keep": True}}
    assert 0 < len(case.plan().references["safe"].ids) == kept < 40
