"""Datasets of kinds that are not read as they lie: the Hub's own conversion to Parquet, pinned at its commit."""

import contextlib
from pathlib import Path

import pytest

from sot_filter.config import Pipeline
from sot_filter.errors import HubError, SotFilterError, SourceError
from sot_filter.planning import make_plan
from sot_filter.sources import hub_source
from sot_filter.sources.converted import BRANCH
from tests.hub.client import Client, Connect
from tests.hub.repository import Repository
from tests.hub.rows import as_jsonl, as_parquet, pairs
from tests.hub.stand_in import StandIn
from tests.hub.test_hub_offline import all_rows, seen, snapshot

FILES = {
    "bread/train/0000.parquet": as_parquet(pairs(4)),
    "bread/train/0001.parquet": as_parquet(pairs(3, first=4)),
    "bread/test/0000.parquet": as_parquet(pairs(2, first=7)),
    "default/train/0000.parquet": as_parquet(pairs(5, "salt")),
    "default/partial-test/0000.parquet": as_parquet(pairs(1, "salt")),
}
CARD = b"""---
configs:
- config_name: default
  data_files: train.txt
- config_name: bread
  data_files:
  - {split: train, path: train.txt}
  - {split: test, path: test.txt}
---
# Poems
"""
TEXT = {"README.md": CARD, "train.txt": b"a line\n", "test.txt": b"a line\n"}


def convert(repository: Repository, files: dict[str, bytes] = FILES) -> str:
    """What the Hub does by itself: a branch that has nothing else."""
    return repository.commit(
        {".gitattributes": b"*.parquet filter=lfs", **files}, "Update parquet files", BRANCH, keep=False
    )


@pytest.fixture(scope="module")
def poems(hub: StandIn) -> Repository:
    """Text files, which `datasets` reads and this package does not, and their conversion."""
    repository = hub.create("datasets", "org/poems", TEXT)
    convert(repository)
    return repository


def refused(client: Client, *args: object, **kwargs: object) -> SotFilterError:
    with pytest.raises(SourceError) as caught:
        client(hub_source, *args, **kwargs)
    return caught.value


@pytest.mark.parametrize(
    ("how", "config", "rows"),
    [
        ({}, "default", pairs(5, "salt")),
        ({"config": "bread"}, "bread", pairs(7)),
        ({"config": "bread", "split": "test", "revision": "main"}, "bread", pairs(2, first=7)),
        ({"config": "bread", "revision": BRANCH}, "bread", pairs(7)),
    ],
)
def test_other_kinds_are_read_as_the_hub_converted_them(
    how: dict[str, str], config: str, rows: list[dict[str, object]], poems: Repository, anyone: Client
) -> None:
    source, found, card = anyone(seen, "org/poems", **how)
    assert (source.revision, source.config, source.split) == (
        poems.branches[BRANCH],
        config,
        how.get("split", "train"),
    )
    assert found == rows
    assert all(file.uri.startswith(f"hf://datasets/org/poems@{source.revision}/{config}/") for file in source.files)
    assert card == CARD.decode()


def test_its_commit_is_known_when_it_is_read_again(hub: StandIn, anyone: Client) -> None:
    songs = hub.create("datasets", "org/songs", TEXT)
    convert(songs)
    first = anyone(hub_source, "org/songs", config="bread")
    convert(songs, {"bread/train/0000.parquet": as_parquet(pairs(9, "other"))})
    songs.commit({"train.txt": b"another line\n"})
    again = anyone(hub_source, "org/songs", config=first.config, split=first.split, revision=first.revision)
    assert again == first
    assert anyone(all_rows, again) == pairs(7)
    assert anyone(hub_source, "org/songs", config="bread").rows == 9


@pytest.mark.parametrize(
    "files",
    [
        {"scripted.py": b"raise SystemExit('was run')", "a.jsonl": as_jsonl(pairs(1))},
        {"train/a.png": b"\x89PNG", "train/b.png": b"\x89PNG"},
        {"data.xml": b"<a/>"},
        {"shard.tar": b"\0" * 1024},
        {"train.txt": b"a"},
    ],
    ids=["script", "images", "unknown", "webdataset", "text"],
)
def test_which_kinds_these_are(files: dict[str, bytes], hub: StandIn, anyone: Client) -> None:
    repository = hub.create("datasets", "org/scripted", files)
    error = refused(anyone, "org/scripted")
    assert (".parquet" in error.expected, f"no {BRANCH}" in error.got) == (True, True)
    assert ("push_to_hub" in error.do, "files" in error.do) == (True, True)
    convert(repository)
    assert anyone(all_rows, anyone(hub_source, "org/scripted")) == pairs(5, "salt")


def test_what_the_conversion_does_not_have(poems: Repository, hub: StandIn, anyone: Client) -> None:
    partial = refused(anyone, "org/poems", split="test", revision=BRANCH)
    assert ("all rows" in partial.expected, "partial-test" in partial.got) == (True, True)
    split = refused(anyone, "org/poems", config="bread", split="dev", revision=BRANCH)
    assert (split.got, split.do) == ("splits test, train", "Set input.split.")
    assert refused(anyone, "org/poems", config="pepper", revision=BRANCH).got == "configurations bread, default"
    several = hub.create("datasets", "org/odes", {"train.txt": b"a line\n"})
    convert(several, {f"{name}/train/0000.parquet": as_parquet(pairs(1)) for name in ("a", "b")})
    assert "input.config" in refused(anyone, "org/odes").do


def test_there_is_none_of_another_revision(poems: Repository, anyone: Client) -> None:
    poems.tags["v1"] = poems.branches["main"]
    for revision in ("v1", poems.branches["main"]):
        assert "main branch only" in refused(anyone, "org/poems", revision=revision).do


def test_what_is_read_as_it_lies_is_not_taken_from_there(hub: StandIn, anyone: Client) -> None:
    repository = hub.create("datasets", "org/plain-rows", {"train.jsonl": as_jsonl(pairs(3))})
    convert(repository)
    source = anyone(hub_source, "org/plain-rows")
    assert (source.revision, source.rows) == (repository.branches["main"], 3)


def test_a_dataset_that_only_looks_like_one(hub: StandIn, anyone: Client) -> None:
    files = {"bread/train/0000.parquet": as_parquet(pairs(3)), "salt/train/0000.parquet": as_parquet(pairs(2))}
    repository = hub.create("datasets", "org/looks", files)
    for revision in (None, "main", repository.branches["main"]):
        source = anyone(hub_source, "org/looks", revision=revision)
        assert (source.config, source.rows) == ("default", 5)
    again = anyone(hub_source, "org/looks", config=source.config, revision=source.revision)
    assert again == source


def test_without_the_hub_it_is_read_from_its_cache(poems: Repository, connect: Connect, tmp_path: Path) -> None:
    online, offline = connect(home=tmp_path), connect(home=tmp_path, HF_HUB_OFFLINE="1")
    there = online(seen, "org/poems", config="bread")
    online(snapshot, "org/poems", revision=BRANCH)
    for revision in (BRANCH, poems.branches[BRANCH]):
        source, rows, _ = offline(seen, "org/poems", config="bread", revision=revision)
        assert (source, rows) == there[:2]
    with pytest.raises(HubError, match="hf download"):
        offline(hub_source, "org/poems", config="bread")
    online(snapshot, "org/poems", allow_patterns=["README.md"])
    assert offline(seen, "org/poems", config="bread") == there


def planned_twice(settings: dict[str, object], folder: Path) -> list[dict[str, object]]:
    """The input and references as pinned by a plan, and by the plan of what it pinned."""
    with contextlib.chdir(folder):
        first = make_plan(Pipeline.model_validate(settings))
        again = make_plan(first.config)
    return [plan.config.model_dump(include={"input", "references"}) for plan in (first, again)]


def test_a_resolved_pipeline_is_planned_again(
    poems: Repository, hub: StandIn, encoder: dict[str, bytes], anyone: Client, tmp_path: Path
) -> None:
    hub.create("models", "org/poem-model", encoder)
    reference = {"dataset": "org/poems", "config": "bread"}
    settings = {
        "name": "poems",
        "input": {"dataset": "org/poems"},
        "references": {"safe": {**reference, "name": "a"}, "harmful": {**reference, "name": "b", "split": "test"}},
        "embed": {"model": "org/poem-model"},
        "output": {"folder": "out"},
        "work_dir": "work",
    }
    first, again = anyone(planned_twice, settings, tmp_path)
    assert first == again
    assert first["input"]["revision"] == poems.branches[BRANCH]
