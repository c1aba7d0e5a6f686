"""The card on a Hub: what is taken over from the source's, and that all of a dataset loads with ours in it."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from sot_filter.report.card_merge import merge_card
from tests.hub.client import MEMBER, Client
from tests.hub.repository import Repository
from tests.hub.rows import as_jsonl, as_parquet, pairs
from tests.hub.stand_in import StandIn
from tests.hub.test_hub_run import command_line

TRAIN, TEST = pairs(8, "flour"), pairs(3, "salt")
LABELLED: list[dict[str, object]] = [{**row, "kind": n % 2} for n, row in enumerate(pairs(40, "flour"))]
SIDECAR = as_parquet([{"sot_row_id": str(n), "sot_weight": 1.0} for n in range(len(TRAIN))])


def loaded(repo: str, revision: str, config: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """All splits of a configuration, read whole and streamed."""
    from datasets import load_dataset

    whole = load_dataset(repo, config, revision=revision)
    streamed = load_dataset(repo, config, revision=revision, streaming=True)
    rows = {str(split): list(found) for split, found in whole.items()}
    assert {str(split): list(found) for split, found in streamed.items()} == rows
    return rows


def merged(repo: str, revision: str, existing: str | None, ours: str) -> str:
    from sot_filter.report.standing import standing_files

    return merge_card(existing, ours, standing_files(repo, revision))


def ours(config: str, split: str, path: str) -> str:
    head = {"configs": [{"config_name": config, "data_files": [{"split": split, "path": [path]}]}], "tags": ["t"]}
    return f"---\n{yaml.safe_dump(head)}---\n\nours\n"


SHAPES: dict[str, dict[str, bytes]] = {
    "sharded": {
        "data/train-00000-of-00001.parquet": as_parquet(TRAIN),
        "data/test-00000-of-00001.parquet": as_parquet(TEST),
    },
    "by name": {"train.parquet": as_parquet(TRAIN), "test.parquet": as_parquet(TEST)},
    "by folder": {"train/odd [1].parquet": as_parquet(TRAIN), "test/b.parquet": as_parquet(TEST)},
}


@pytest.mark.parametrize("card", [None, b"# words\n"])
@pytest.mark.parametrize("shape", SHAPES)
def test_data_without_a_word_in_the_card_loads_as_before_beside_a_sidecar(
    shape: str, card: bytes | None, hub: StandIn, member: Client
) -> None:
    name = f"org/card-{shape.replace(' ', '-')}-{card is None}"
    repository = hub.create("datasets", name, {**SHAPES[shape], **({"README.md": card} if card else {})})
    before = repository.branches["main"]
    assert member(loaded, name, before) == {"train": TRAIN, "test": TEST}
    file = next(path for path in SHAPES[shape] if "train" in path)
    path = f"sot/{file}.parquet"
    text = member(merged, name, before, card.decode() if card else None, ours("sot", "train", _escaped(path)))
    sha = repository.commit({path: SIDECAR, "README.md": text.encode(), "sot/run/summary.json": b"{}"})
    assert member(loaded, name, sha) == {"train": TRAIN, "test": TEST}
    assert [row["sot_row_id"] for row in member(loaded, name, sha, "sot")["train"]] == [str(n) for n in range(8)]
    assert member(merged, name, sha, text, ours("sot", "train", _escaped(path))) == text


def _escaped(path: str) -> str:
    import glob

    return glob.escape(path)


def test_an_empty_repository_takes_the_card_as_it_is(hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/card-empty", {".gitattributes": b""})
    text = member(merged, "org/card-empty", repository.branches["main"], None, ours("default", "train", "a.parquet"))
    assert yaml.safe_load(text.split("---\n")[1]) == yaml.safe_load(
        ours("default", "train", "a.parquet").split("---\n")[1]
    )


SOURCE_HEAD = """\
license: cc-by-4.0
language: [no]
pretty_name: Baking
paperswithcode_id: baking
tags: [bread]
dataset_info:
  config_name: default
  features:
  - {name: prompt, dtype: string}
  - {name: completion, dtype: string}
  - name: kind
    dtype: {class_label: {names: {'0': plain, '1': sweet}}}
  splits:
  - {name: train, num_bytes: 99, num_examples: 40}
configs:
- config_name: default
  data_files: [{split: train, path: data/*}]
"""


@pytest.fixture(scope="module")
def source(hub: StandIn) -> Repository:
    """A dataset whose card says more than its files do."""
    card = f"---\n{SOURCE_HEAD}---\n# Baking\n\nAsk Ann before you change it.\n"
    return hub.create(
        "datasets", "org/card-source", {"README.md": card.encode(), "data/a.parquet": as_parquet(LABELLED)}, "open"
    )


class Output:
    """What a run has left in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = (folder / "README.md").read_text(encoding="utf-8")
        self.head: dict[str, Any] = yaml.safe_load(self.card.split("---\n")[1])


@pytest.fixture(scope="module", params=["columns", "sidecar"])
def output(
    request: pytest.FixtureRequest,
    source: Repository,
    member: Client,
    encoder: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Output:
    """The folder of a run on that dataset."""
    folder = tmp_path_factory.mktemp("card")
    (folder / "model").mkdir()
    for name, content in encoder.items():
        (folder / "model" / name).write_bytes(content)
    for name, topic in (("safe", "bread"), ("harmful", "heat")):
        (folder / f"{name}.jsonl").write_bytes(as_jsonl(pairs(12, topic)))
    pipeline = {
        "name": "card",
        "input": {"dataset": source.id, "revision": "main"},
        "references": {"safe": {"files": "safe.jsonl", "licence": "mine"}, "harmful": "harmful.jsonl"},
        "embed": {"model": "model", "device": "cpu"},
        "output": {"mode": request.param},
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(pipeline))
    code, said = member(command_line, ("run", "card.yaml"), folder)
    assert code == 0, said
    return Output(folder / "out/card")


def test_licence_language_and_text_are_the_sources(output: Output, source: Repository) -> None:
    head = output.head
    assert (head["license"], head["language"], head["source_datasets"]) == ("cc-by-4.0", ["no"], ["org/card-source"])
    assert head["tags"] == ["bread", "sot-filter"]
    assert "paperswithcode_id" not in head
    assert "# Baking\n\nAsk Ann before you change it." in output.card
    assert f"/tree/{source.branches['main']}" in output.card


def folder_loads(folder: str) -> tuple[list[dict[str, Any]], Any, Any]:
    from datasets import load_dataset

    found = load_dataset(folder, split="train")
    streamed = load_dataset(folder, split="train", streaming=True)
    assert list(streamed) == list(found)
    return list(found), found.features, found.info


def test_the_folder_loads_with_its_features_and_its_sizes_are_right(output: Output, member: Client) -> None:
    rows, features, info = member(folder_loads, str(output.folder))
    assert len(rows) == len(LABELLED)
    (file,) = output.folder.rglob("*.parquet")
    written = pq.read_table(file)
    assert list(features) == written.column_names
    if "kind" in features:
        # The file knows numbers only, the card of the source their names.
        assert features["kind"].names == ["plain", "sweet"]
        assert [row["kind"] for row in rows] == [row["kind"] for row in LABELLED]
    told = output.head["dataset_info"]
    (split,) = told["splits"]
    assert split["num_examples"] == len(LABELLED)
    assert told["download_size"] == file.stat().st_size
    assert told["dataset_size"] == split["num_bytes"] == pytest.approx(info.splits["train"].num_bytes, rel=0.02)


def test_neither_machine_nor_rows_are_in_the_card(output: Output) -> None:
    for secret in (str(output.folder.parent), MEMBER, "mix flour", "wait 3 minutes"):
        assert secret not in output.card
    assert "safe (safe.jsonl, licence mine)" in output.card
