"""Planning: what does not fit together is refused before anything is written."""

import json
from pathlib import Path

import pytest

from sot_filter.errors import ConfigError, ReferenceError, SotFilterError, SourceError
from sot_filter.planning import OWN_FILES
from tests.planned import Toy


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A run to plan, in the working folder."""
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path / "toy")
    return Toy.make(tmp_path / "toy")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_planning_writes_nothing(toy: Toy) -> None:
    before = contents(toy.folder)
    toy.plan()
    assert contents(toy.folder) == before


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        (["solve.view_weights={pair: 1}"], ConfigError, "solve.view_weights of the views prompt, response; got pair"),
        (["solve.view_weights={prompt: 0}"], ConfigError, "a view of some weight; got only zeros"),
        (["output.folder=work"], ConfigError, "output.folder and work_dir apart"),
        (["output.folder=work/out"], ConfigError, "output.folder and work_dir apart"),
        (["work_dir=out/work"], ConfigError, "output.folder and work_dir apart"),
        (["work_dir=./x/../out/"], ConfigError, "output.folder and work_dir apart"),
        (["output.folder=."], ConfigError, "output.folder and work_dir apart|an output folder apart from the input"),
        (["select=auto", "solve.mode=exact"], ConfigError, r"solve\.mode coupled with select\.auto; got exact"),
        (["select={top_k: 21}"], ConfigError, r"select\.top_k of at most 20, the input's rows; got 21"),
        (["input.files=none.jsonl"], SourceError, r"files at none\.jsonl; got none"),
        (["input.digest=abc"], SourceError, r"rows that were pinned \(digest abc.*remove input\.digest"),
        (["references.safe=none.jsonl"], SourceError, r"none \(in the safe reference none\)"),
        (["references.harmful=none.yaml"], ConfigError, r"a reference card at none\.yaml; got no such file"),
        (["references.safe={files: safe.jsonl, digest: abc}"], ReferenceError, "the card of safe promises"),
        (
            ["references.safe={files: safe.jsonl, where: {n: 9}}"],
            ReferenceError,
            "rows for the reference safe; got none",
        ),
        (["references.safe={files: safe.jsonl, where: {m: 9}}"], ReferenceError, "no m"),
        (["embed.model=none"], SotFilterError, "none"),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_what_does_not_fit_is_refused(toy: Toy, settings: list[str], kind: type[SotFilterError], says: str) -> None:
    before = contents(toy.folder)
    with pytest.raises(kind, match=says):
        toy.plan(*settings)
    assert contents(toy.folder) == before


def test_the_output_never_overwrites_the_input(toy: Toy) -> None:
    data = toy.folder / "data"
    data.mkdir()
    (toy.folder / "rows.jsonl").rename(data / "rows.jsonl")
    for files in ("data", "data/*.jsonl", "data/rows.jsonl", f"file://{data}/rows.jsonl"):
        for folder in ("data", "./data/", str(data), f"file://{data}"):
            with pytest.raises(ConfigError, match="an output folder apart from the input"):
                toy.plan(f"input.files={files}", f"output.folder={folder}")


@pytest.mark.parametrize("name", ["summary.json", "sub/summary.json"])
def test_a_source_file_with_the_name_of_one_of_ours_is_refused(toy: Toy, name: str) -> None:
    path = toy.folder / "data" / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"text": "x"}]))
    if name in OWN_FILES:
        with pytest.raises(ConfigError, match=r"source files not named .*; got summary\.json\. Rename"):
            toy.plan("input.files=data")
    else:
        assert toy.plan("input.files=data").sources["input"].rows == 1


def test_references_are_cards_files_or_several_of_them(toy: Toy) -> None:
    (toy.folder / "cards").mkdir()
    (toy.folder / "cards" / "kind.yaml").write_text("files: ../safe.jsonl\nwhere: {n: [0, 1]}\nsample: 4\n")
    safe = toy.plan("references.safe=[cards/kind.yaml, safe.jsonl, {files: safe.jsonl, name: third}]").references[
        "safe"
    ]
    names = [row_id.split(":")[0] for row_id in safe.ids]
    assert names == ["kind"] * 4 + ["safe"] * 4
    assert safe.left_out == {"other": 2, "not sampled": 2, "duplicate": 12}


def test_the_rows_of_a_reference_are_known_by_their_own_ids(toy: Toy) -> None:
    plan = toy.plan()
    assert plan.references["safe"].ids[0] == "safe:default/train/safe.jsonl#0"
    assert {role: source.rows for role, source in plan.sources.items()} == {"input": 20, "safe": 8, "harmful": 9}
