"""Several hundred files: they gather aside in batches, and enter the target at once."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from sot_filter.errors import HubError
from sot_filter.hub import Target, Upload
from tests.hub.client import Client, Connect
from tests.hub.pushes import KEY, committed, new_name, target, uploaded, written
from tests.hub.repository import Repository
from tests.hub.stand_in import StandIn
from tests.hub.test_push import SOURCE, holds
from tests.hub.test_push_faults import killed_at

COUNT: Final = 220
#: Batches of a hundred: the files, two of ours, and the card.
BATCHES: Final = 3
Bring = Callable[[Target], list[tuple[Upload, str]]]
KINDS: Final = MappingProxyType(
    {
        "main": {},
        "existing branch": {"branch": "weights"},
        "new branch": {"branch": "other"},
        "pull request": {"create_pr": True},
    }
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Their URLs by path."""
    return many(tmp_path_factory.mktemp("many"), COUNT)


@pytest.fixture
def bring(hub: StandIn, member: Client, files: dict[str, str]) -> Bring:
    """Uploads the files for a target; of those that travel in the commit the Hub says so once for all targets."""
    stored = {path: url for path, url in files.items() if path.endswith(".parquet")}
    if not _NOTED:
        hub.create("datasets", "org/notes", SOURCE)
        _NOTED.extend(member(uploaded, target("org/notes"), {k: v for k, v in files.items() if k not in stored}))
    assert {upload.lfs for upload, _ in _NOTED} == {False}
    return lambda where: [*member(uploaded, where, stored), *_NOTED]


_NOTED: Final[list[tuple[Upload, str]]] = []


def many(folder: Path, count: int) -> dict[str, str]:
    return written(folder, {f"data/{n:03}.{'jsonl' if n % 8 else 'parquet'}": b"PAR1 %d" % n for n in range(count)})


@pytest.fixture
def repository(hub: StandIn) -> Repository:
    """A dataset of the test's own, with a branch besides main."""
    made = hub.create("datasets", new_name(), SOURCE)
    made.commit({**SOURCE, "old.txt": b"old"}, "Older weights", "weights")
    return made


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.parametrize("kind", KINDS)
def test_they_enter_at_once(
    kind: str, hub: StandIn, repository: Repository, member: Client, files: dict[str, str], bring: Bring
) -> None:
    where = target(repository.id, **KINDS[kind])
    before = dict(repository.branches)
    uploads = bring(where)
    start = len(hub.served)
    published = member(committed, where, uploads)
    sent = [served for served in hub.served[start:] if f"{repository.id}/commit/" in served.path]
    assert len(sent) == BATCHES
    assert holds(repository.commits[published.commit], files)
    if kind == "pull request":
        assert repository.branches == before
        assert [request.status for request in repository.discussions] == ["open"]
        assert published.commits == BATCHES
    else:
        assert changed(before, repository.branches) == {where.name}
        assert repository.branches[where.name] == published.commit
    if kind in ("main", "existing branch"):
        assert repository.commits[published.commit].parent == before[where.name]
        assert (published.commits, [request.status for request in repository.discussions]) == (1, ["merged"])
    again = member(committed, where, uploads)
    assert (again.commit, again.commits) == (published.commit, 0)
    assert len(repository.discussions) == (kind != "new branch")


def test_four_hundred_and_fifty(hub: StandIn, repository: Repository, member: Client, tmp_path: Path) -> None:
    where, files, before = target(repository.id), many(tmp_path, 450), repository.branches["main"]
    published = member(committed, where, member(uploaded, where, files))
    assert holds(repository.at("main"), files)
    assert (repository.head.sha, repository.head.parent) == (published.commit, before)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_between_batches_and_run_again(
    kind: str,
    hub: StandIn,
    repository: Repository,
    connect: Connect,
    member: Client,
    files: dict[str, str],
    bring: Bring,
) -> None:
    where = target(repository.id, **KINDS[kind])
    before = dict(repository.branches)
    uploads = bring(where)
    start = len(hub.served)
    killed_at(hub, connect, rf"{repository.id}/commit/", where, uploads, do=committed, skip=1)
    shown = {name: sha for name, sha in repository.branches.items() if not name.startswith("sot-filter-")}
    assert shown == before
    published = member(committed, where, uploads)
    carried = [s for s in hub.served[start:] if f"{repository.id}/commit/" in s.path and s.status == 200]
    assert len(carried) == BATCHES
    assert len(hub.uploads(start)) <= 1
    assert holds(repository.commits[published.commit], files)
    assert changed(before, repository.branches) == ({where.name} if kind != "pull request" else set())
    assert len(repository.discussions) == (kind != "new branch")


def test_others_commit_while_they_gather(
    hub: StandIn, repository: Repository, connect: Connect, member: Client, files: dict[str, str], bring: Bring
) -> None:
    where = target(repository.id)
    uploads = bring(where)
    killed_at(hub, connect, rf"{repository.id}/discussions/1/merge", where, uploads, do=committed)
    repository.commit({"README.md": b"# New words\n", "more.txt": b"more"}, "Theirs")
    theirs = repository.branches["main"]
    published = member(committed, where, uploads)
    assert repository.commits[published.commit].parent == theirs
    assert repository.head.files["README.md"].content.startswith(b"# New words\n")
    assert holds(repository.at("main"), files)
    assert sorted(request.status for request in repository.discussions) == ["closed", "merged"]


def test_rows_change_while_they_gather(hub: StandIn, repository: Repository, member: Client, bring: Bring) -> None:
    weighed = repository.branches["main"]
    where = target(repository.id, branch="main", dataset=repository.id, revision=weighed)
    uploads = bring(where)
    with hub.fault("POST", rf"{repository.id}/discussions/1/status", delay=2) as fault, ThreadPoolExecutor(1) as pool:
        ended = pool.submit(member, committed, where, uploads)
        while not fault.hits:
            assert not ended.done(), ended.exception()
            time.sleep(0.005)
        theirs = repository.commit({"data/new.jsonl": b"{}"}, "More rows")
        with pytest.raises(HubError, match=f"{weighed}.*{theirs}.*data/new.jsonl"):
            ended.result(60)
    assert repository.branches["main"] == theirs


def test_the_answer_of_the_merge_is_lost(
    hub: StandIn, repository: Repository, member: Client, files: dict[str, str], bring: Bring
) -> None:
    where = target(repository.id)
    uploads = bring(where)
    with hub.fault("POST", rf"{repository.id}.*/merge", cut="after") as fault:
        published = member(committed, where, uploads)
    assert (fault.hits, len(repository.history("main"))) == (1, 2)
    assert holds(repository.commits[published.commit], files)


def test_somebody_pushes_to_our_draft(
    hub: StandIn, repository: Repository, connect: Connect, member: Client, files: dict[str, str], bring: Bring
) -> None:
    where = target(repository.id)
    uploads = bring(where)
    killed_at(hub, connect, rf"{repository.id}/commit/", where, uploads, do=committed, skip=1)
    (draft,) = repository.discussions
    member(smuggle, repository.id, draft.ref)
    published = member(committed, where, uploads)
    assert "smuggled.py" not in repository.commits[published.commit].files
    assert holds(repository.at("main"), files)


def smuggle(repo: str, ref: str) -> None:
    from huggingface_hub import HfApi

    HfApi().upload_file(
        path_or_fileobj=b"x", path_in_repo="smuggled.py", repo_id=repo, repo_type="dataset", revision=ref
    )


def test_many_bytes_are_many_commits(
    hub: StandIn, member: Client, tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = {f"data/{n}.jsonl": bytes([65 + n]) * 9_000_000 for n in range(12)}
    where = target(repository.id)
    monkeypatch.setattr(hub.limits, "payload", 100_000_000)
    big_files = written(tmp_path, big)
    published = member(committed, where, member(uploaded, where, big_files))
    assert holds(repository.at("main"), big_files)
    assert (published.commits, len(repository.history("main"))) == (1, 2)
    largest = max(served.received for served in hub.served if f"{repository.id}/commit/" in served.path)
    assert largest < 100_000_000


def test_a_refused_batch_leaves_the_target_as_it_was(
    hub: StandIn, repository: Repository, member: Client, files: dict[str, str], bring: Bring
) -> None:
    where: Any = target(repository.id, branch="weights")
    before, uploads = dict(repository.branches), bring(where)
    with hub.fault("POST", rf"{repository.id}/commit/", status=403, skip=2, times=None), pytest.raises(HubError):
        member(committed, where, uploads)
    assert repository.branches == before
    assert KEY[:8] in repository.discussions[0].title
