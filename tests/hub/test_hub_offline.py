"""Rows from the Hub's cache, with the Hub switched off: the same as from the Hub, or one clear sentence."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sot_filter.errors import HubError, SourceError
from sot_filter.sources import Source, hub_source, read_card
from tests.hub.client import MEMBER, NOWHERE, Client, Connect, hub_environment
from tests.hub.repository import Repository
from tests.hub.rows import CARD, Rows, as_csv, as_jsonl, as_parquet, pairs
from tests.hub.stand_in import StandIn

LARGE = "bread/train-0.parquet"


@pytest.fixture(scope="module")
def store(hub: StandIn) -> Repository:
    """Two configurations, one of two splits; `main` has moved on since `v1`."""
    repository = hub.create(
        "datasets",
        "org/store",
        {
            "README.md": CARD,
            LARGE: as_parquet(pairs(4)),
            "bread/train-1.parquet": as_parquet(pairs(3, first=4)),
            "bread/test.parquet": as_parquet(pairs(2, first=7)),
            "salt/all.parquet": as_parquet(pairs(5, "salt")),
        },
    )
    repository.tags["v1"] = repository.branches["main"]
    repository.commit({"bread/train-2.parquet": as_parquet(pairs(2, first=9))})
    return repository


@pytest.fixture(scope="module")
def notes(hub: StandIn) -> Repository:
    """Text files, which are not in large file storage, and no card."""
    files = {"train.jsonl": as_jsonl(pairs(6)), "test.jsonl": as_jsonl(pairs(2, first=6))}
    return hub.create("datasets", "org/notes", files)


def snapshot(dataset: str, **how: object) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(dataset, repo_type="dataset", **how)


def one_file(dataset: str, name: str, **how: object) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download(dataset, name, repo_type="dataset", **how)


def loaded(dataset: str, config: str | None = None, **how: object) -> None:
    from datasets import load_dataset

    load_dataset(dataset, config, **how)


def seen(dataset: str, **how: object) -> tuple[Source, Rows, str | None]:
    """A source with all that it holds, and its card."""
    source = hub_source(dataset, **how)
    return source, all_rows(source), read_card(dataset, str(source.revision))


def command(run: str, home: Path, hub: StandIn, **more: str) -> None:
    """A command line of huggingface_hub, as an error message has it."""
    program = Path(sys.executable).with_name("hf")
    arguments = [str(program), *shlex.split(run)[1:]]
    ended = subprocess.run(arguments, env=hub_environment(hub.url, home, **more), capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr


class Offline:
    """A cache, and someone who has nothing else."""

    def __init__(self, connect: Connect, hub: StandIn, home: Path) -> None:
        self.home, self.hub = home, hub
        self._online, self._offline = connect(home=home), connect(home=home, HF_HUB_OFFLINE="1")

    def fill(self, function: Callable[..., None], *args: object, **kwargs: object) -> None:
        """Do something with the Hub that leaves files in the cache."""
        self._online(function, *args, **kwargs)

    def __call__(self, function: Callable[..., object], *args: object, **kwargs: object) -> object:
        """Do something without the Hub, and find that it was not asked."""
        before = len(self.hub.served)
        try:
            return self._offline(function, *args, **kwargs)
        finally:
            assert len(self.hub.served) == before

    def refused(self, *args: object, **kwargs: object) -> HubError:
        """The error of reading a source."""
        with pytest.raises(HubError) as caught:
            self(hub_source, *args, **kwargs)
        assert "\n" not in str(caught.value)
        return caught.value


@pytest.fixture
def offline(connect: Connect, hub: StandIn, tmp_path: Path) -> Offline:
    return Offline(connect, hub, tmp_path / "home")


def by_command(offline: Offline, dataset: str) -> None:
    command(f"hf download {dataset} --repo-type dataset", offline.home, offline.hub)


def by_snapshot(offline: Offline, dataset: str) -> None:
    offline.fill(snapshot, dataset)


def by_datasets(offline: Offline, dataset: str) -> None:
    offline.fill(loaded, dataset)


def without_links(offline: Offline, dataset: str) -> None:
    command(f"hf download {dataset} --repo-type dataset", offline.home, offline.hub, HF_HUB_DISABLE_SYMLINKS="1")
    assert not any(path.is_symlink() for path in offline.home.rglob("*"))


FILL = [by_command, by_snapshot, by_datasets, without_links]


@pytest.mark.parametrize("fill", FILL)
def test_a_cache_gives_what_the_hub_gives(
    fill: Callable[[Offline, str], None], store: Repository, notes: Repository, anyone: Client, offline: Offline
) -> None:
    for repository in (store, notes):
        fill(offline, repository.id)
        for how in ({}, {"revision": "main"}, {"revision": repository.branches["main"], "split": "test"}):
            there, here = anyone(seen, repository.id, **how), offline(seen, repository.id, **how)
            assert here == there
            assert here[0].digest == there[0].digest
            assert [file.uri for file in here[0].files] == [file.uri for file in there[0].files]
    assert (there[2], [file.digest[:4] for file in there[0].files]) == (None, ["git:"])


def test_what_was_found_with_the_hub_is_read_without_it_and_the_other_way_round(
    store: Repository, anyone: Client, offline: Offline
) -> None:
    source = anyone(hub_source, "org/store")
    offline.fill(snapshot, "org/store")
    assert offline(all_rows, source) == anyone(all_rows, source)
    found = offline(hub_source, "org/store")
    assert anyone(all_rows, found) == anyone(all_rows, source)


def all_rows(source: Source) -> Rows:
    return [row for file in source.files for row in source.read_raw(file)]


def test_of_several_revisions_the_one_that_is_asked_for(store: Repository, anyone: Client, offline: Offline) -> None:
    for revision in ("v1", "main"):
        offline.fill(snapshot, "org/store", revision=revision)
    for revision in ("v1", "main", store.tags["v1"], None):
        assert offline(seen, "org/store", revision=revision) == anyone(seen, "org/store", revision=revision)


def test_a_branch_is_what_it_was_when_it_was_fetched(hub: StandIn, offline: Offline) -> None:
    moving = hub.create("datasets", "org/moving", {"train.csv": as_csv(pairs(3))})
    offline.fill(snapshot, "org/moving")
    fetched = moving.branches["main"]
    moving.commit({"train.csv": as_csv(pairs(9))})
    source, rows, card = offline(seen, "org/moving")
    assert (source.revision, len(rows), card) == (fetched, 3, None)


@pytest.mark.parametrize("fill", FILL)
def test_a_file_that_is_missing_is_named_with_the_command_that_fetches_it(
    fill: Callable[[Offline, str], None], store: Repository, offline: Offline
) -> None:
    fill(offline, "org/store")
    (gone,) = (offline.home / "hub").rglob("snapshots/*/bread/train-1.parquet")
    gone.unlink()
    error = offline.refused("org/store")
    (run,) = [part for part in error.do.split("`") if part.startswith("hf ")]
    assert "HF_HUB_OFFLINE" in error.expected
    if fill is not by_datasets:
        assert error.got == "no bread/train-1.parquet in the cache"
    command(run, offline.home, offline.hub)
    assert offline(hub_source, "org/store").rows == 9


def test_what_reading_by_the_network_left_is_not_the_rows(store: Repository, offline: Offline) -> None:
    offline.fill(seen, "org/store")
    for revision in (None, "main", store.branches["main"]):
        assert "hf download org/store --repo-type dataset" in offline.refused("org/store", revision=revision).do


def test_single_files_may_not_be_all(hub: StandIn, store: Repository, offline: Offline) -> None:
    for name in ("README.md", LARGE, "bread/test.parquet"):
        offline.fill(one_file, "org/store", name)
    assert "perhaps not all" in offline.refused("org/store").got
    hub.create("datasets", "org/bare", {"train.jsonl": as_jsonl(pairs(2)), "train-2.jsonl": as_jsonl(pairs(2))})
    offline.fill(one_file, "org/bare", "train.jsonl")
    assert "perhaps not all" in offline.refused("org/bare").got


def test_without_the_card_the_splits_are_not_guessed(store: Repository, offline: Offline) -> None:
    offline.fill(snapshot, "org/store", allow_patterns=["bread/*", "salt/*"])
    assert offline.refused("org/store").got == "no README.md in the cache"


def test_only_what_is_read_need_be_there(store: Repository, anyone: Client, offline: Offline) -> None:
    offline.fill(snapshot, "org/store", allow_patterns=["README.md", "salt/*"])
    assert offline(seen, "org/store", config="salt") == anyone(seen, "org/store", config="salt")
    error = offline.refused("org/store")
    assert error.got == "no bread/train-0.parquet, bread/train-1.parquet, bread/train-2.parquet in the cache"


def test_a_cache_of_nothing(store: Repository, offline: Offline) -> None:
    assert "no commit of main" in offline.refused("org/store").got
    assert "no commit of v1" in offline.refused("org/store", revision="v1").got
    assert store.tags["v1"] in offline.refused("org/store", revision=store.tags["v1"]).got


def test_what_is_wrong_with_a_source_is_said_as_online(store: Repository, anyone: Client, offline: Offline) -> None:
    offline.fill(snapshot, "org/store")
    for how in ({"split": "dev"}, {"config": "pepper"}):
        said = []
        for client in (anyone, offline):
            with pytest.raises(SourceError) as caught:
                client(hub_source, "org/store", **how)
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_a_hub_out_of_reach_is_not_one_that_is_switched_off(
    store: Repository, connect: Connect, offline: Offline
) -> None:
    offline.fill(snapshot, "org/store")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE=1"):
        connect(home=offline.home, url=NOWHERE)(hub_source, "org/store")


def test_a_file_that_vanishes_while_rows_are_read(store: Repository, offline: Offline) -> None:
    offline.fill(snapshot, "org/store")
    source = offline(hub_source, "org/store")
    shutil.rmtree(offline.home / "hub")
    with pytest.raises(HubError, match=r"no bread/train-0.parquet in the cache.*hf download org/store"):
        offline(all_rows, source)


def test_what_is_not_open_is_read_without_a_token_once_it_is_there(
    hub: StandIn, member: Client, connect: Connect, offline: Offline
) -> None:
    hub.create("datasets", "org/closed-store", {"a.jsonl": as_jsonl(pairs(2))}, "private", MEMBER)
    connect(MEMBER, home=offline.home)(snapshot, "org/closed-store")
    assert offline(seen, "org/closed-store") == member(seen, "org/closed-store")
