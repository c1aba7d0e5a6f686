"""The stand-in, as the real clients see it when they write."""

from collections.abc import Callable
from typing import Any

import datasets
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, errors

from tests.hub.client import MEMBER, READER, STRANGER, Client, Connect
from tests.hub.repository import Repository
from tests.hub.rows import as_parquet, pairs
from tests.hub.stand_in import StandIn

ROWS = as_parquet(pairs(20))
Refused = tuple[str, int, str]


def status(call: Callable[..., object], *args: Any, **kwargs: Any) -> Refused | None:
    """What a client makes of an answer: kind of error, status, message."""
    try:
        call(*args, **kwargs)
    except errors.HfHubHTTPError as error:
        return type(error).__name__, error.response.status_code, error.server_message or ""
    return None


def make(name: str, token: str | None = None, **how: Any) -> str | Refused:
    made: list[str] = []
    refused = status(lambda: made.append(HfApi(token=token).create_repo(name, repo_type="dataset", **how).repo_id))
    return refused or made[0]


def test_repositories_are_made_once_and_where_one_may(hub: StandIn, member: Client) -> None:
    assert member(make, "org/made", private=True) == "org/made"
    assert member(make, "own") == "member/own"
    repository = hub.repositories["datasets", "org/made"]
    assert (repository.access, list(repository.head.files)) == ("private", [".gitattributes"])
    assert member(make, "org/made")[1] == 409
    assert member(make, "org/made", exist_ok=True) == "org/made"
    for name, token in (("elsewhere/made", MEMBER), ("org/more", READER), ("org/more", STRANGER)):
        assert member(make, name, token=token)[1] == 403
    assert ("datasets", "org/more") not in hub.repositories


def who(token: str) -> tuple[str, str, list[tuple[str, str]]]:
    said = HfApi(token=token).whoami()
    return said["name"], said["auth"]["accessToken"]["role"], [(org["name"], org["roleInOrg"]) for org in said["orgs"]]


def test_an_account_knows_its_organizations(anyone: Client) -> None:
    assert anyone(who, MEMBER) == ("member", "write", [("org", "write")])
    assert anyone(who, READER) == ("member", "read", [("org", "write")])
    assert anyone(who, STRANGER) == ("stranger", "write", [])
    assert anyone(status, who, "hf_unknown")[1] == 401


def allowed(name: str, token: str | bool, **how: bool) -> Refused | None:
    return status(HfApi(token=token).auth_check, name, repo_type="dataset", **how)


def test_rights_are_the_namespaces_or_the_repositorys(hub: StandIn, anyone: Client) -> None:
    repository = hub.create("datasets", "else/shared", {"a": b"a"}, "private", READER)
    assert anyone(allowed, "else/shared", MEMBER)[1] == 404
    assert anyone(allowed, "else/shared", READER) is None
    assert anyone(allowed, "else/shared", READER, write=True)[1] == 403
    repository.writers = frozenset({MEMBER, READER})
    assert anyone(allowed, "else/shared", MEMBER, write=True) is None
    assert anyone(allowed, "else/shared", READER, write=True)[1] == 403
    assert anyone(commit, "else/shared", {"b": b"b"}, token=READER)[1:] == (
        403,
        "you must use a write token to upload to a repository.",
    )
    assert anyone(commit, "else/shared", {"b": b"b"}, token=False)[:2] == ("RepositoryNotFoundError", 401)
    assert "oid" in anyone(commit, "else/shared", {"b": b"b"}, token=MEMBER)


def commit(name: str, files: dict[str, bytes], token: str | bool | None = None, **how: Any) -> Any:
    return change(name, [CommitOperationAdd(path, content) for path, content in files.items()], token, **how)


def change(name: str, operations: list[Any], token: str | bool | None = None, **how: Any) -> Any:
    done: list[Any] = []
    how = {"commit_message": "Add", "repo_type": "dataset", **how}
    refused = status(lambda: done.append(HfApi(token=token).create_commit(name, operations, **how)))
    return refused or {"oid": done[0].oid, "pr": done[0].pr_revision, "url": str(done[0])}


def contents(repository: Repository, revision: str = "main") -> dict[str, bytes]:
    found = repository.at(revision)
    assert found is not None
    return {path: file.content for path, file in found.files.items()}


def test_a_commit_holds_small_files_and_large_ones(hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/plain", {"a.txt": b"a"})
    before, start = repository.branches["main"], len(hub.served)
    done = member(commit, "org/plain", {"b.txt": b"b", "x.parquet": ROWS}, commit_description="why")
    assert contents(repository) == {"a.txt": b"a", "b.txt": b"b", "x.parquet": ROWS}
    assert [file.large for file in repository.head.files.values()] == [False, False, True]
    head = repository.head
    assert (head.sha, head.parent, head.title, head.description) == (done["oid"], before, "Add", "why")
    assert (head.author, done["url"]) == ("member", f"{hub.url}/datasets/org/plain/commit/{head.sha}")
    assert [served.received for served in hub.uploads(start)] == [len(ROWS)]


def test_what_the_hub_has_is_not_sent_again(hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/sent", {"x.parquet": ROWS})
    start, before = len(hub.served), dict(repository.branches)
    assert member(commit, "org/sent", {"x.parquet": ROWS})["oid"] == before["main"]
    assert repository.branches == before
    member(commit, "org/sent", {"y.parquet": ROWS})
    assert hub.uploads(start) == []
    assert repository.head.files["y.parquet"].content == ROWS


def test_files_are_copied_and_deleted(hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/moved", {"a": b"a", "x.parquet": ROWS, "d/1": b"1", "d/2": b"2"})
    copies = [CommitOperationCopy("a", "b"), CommitOperationCopy("x.parquet", "y.parquet")]
    member(change, "org/moved", [*copies, CommitOperationDelete("a"), CommitOperationDelete("d/")])
    assert contents(repository) == {"b": b"a", "x.parquet": ROWS, "y.parquet": ROWS}
    assert member(change, "org/moved", [CommitOperationDelete("gone")])[1] == 404


def test_how_a_file_travels_goes_by_its_ending_its_size_and_its_content(hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/modes", {".gitignore": b"*.tmp\n"})
    files = {"a.csv": b"a\n" * 10, "b.png": b"\x89PNG\0", "c.parquet": ROWS, "d.tmp": b"d", "e.csv": b"e" * 10_000_001}
    member(commit, "org/modes", files)
    large = {path: file.large for path, file in repository.head.files.items()}
    assert large == {".gitignore": False, "a.csv": False, "b.png": True, "c.parquet": True, "e.csv": True}


def test_a_large_file_can_go_in_parts(hub: StandIn, member: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.limits, "part", 1000)
    repository, start = hub.create("datasets", "org/parts", {"a": b"a"}), len(hub.served)
    member(commit, "org/parts", {"x.parquet": ROWS})
    assert contents(repository)["x.parquet"] == ROWS
    sizes = [served.received for served in hub.uploads(start)]
    assert (max(sizes), sum(sizes)) == (1000, len(ROWS))


def preupload_and_commit(name: str) -> tuple[int, str]:
    api = HfApi()
    addition = CommitOperationAdd("x.parquet", ROWS)
    api.preupload_lfs_files(name, [addition], repo_type="dataset")
    held = len(addition.path_or_fileobj)
    return held, api.create_commit(name, [addition], commit_message="Add", repo_type="dataset").oid


def test_what_was_uploaded_before_is_committed_later(hub: StandIn, member: Client) -> None:
    repository, start = hub.create("datasets", "org/early", {"a": b"a"}), len(hub.served)
    assert member(preupload_and_commit, "org/early") == (0, repository.branches["main"])
    assert contents(repository) == {"a": b"a", "x.parquet": ROWS}
    assert len(hub.uploads(start)) == 1


def test_a_stale_parent_is_refused_and_nothing_moves(hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/stale", {"a.txt": b"a"})
    first = repository.branches["main"]
    assert member(commit, "org/stale", {"b.txt": b"b"}, parent_commit=first)["oid"] == repository.branches["main"]
    before = dict(repository.branches)
    assert member(commit, "org/stale", {"c.txt": b"c"}, parent_commit=first)[1] == 412
    assert repository.branches == before


def commit_what_was_never_uploaded(name: str) -> Refused | None:
    addition = CommitOperationAdd("x.parquet", b"never sent")
    addition._upload_mode, addition._is_uploaded = "lfs", True
    return status(HfApi().create_commit, name, [addition], commit_message="Add", repo_type="dataset")


def test_limits(hub: StandIn, member: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = hub.create("datasets", "org/limits", {"a": b"a"}, "private")
    before = dict(repository.branches)
    assert member(commit_what_was_never_uploaded, "org/limits")[1] == 400
    monkeypatch.setattr(hub.limits, "payload", 500)
    assert member(commit, "org/limits", {"b": b"b" * 500})[1] == 413
    monkeypatch.setattr(hub.limits, "private", 10)
    _, code, said = member(commit, "org/limits", {"x.parquet": ROWS})
    assert (code, "storage limit reached" in said) == (403, True)
    monkeypatch.setattr(hub.limits, "repositories", 1)
    assert member(make, "org/one-more")[1] == 429
    assert (repository.branches, repository.objects) == (before, {})


@pytest.mark.parametrize(
    "head",
    ["a: [", "- a", "license: 3", "configs: [{config_name: a}, {config_name: a}]", "configs: {a: b}"],
)
def test_a_card_that_is_wrong_is_refused(head: str, hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/cards", {"a": b"a"})
    with pytest.raises(ValueError, match=r"Invalid metadata in README\.md"):
        member(commit, "org/cards", {"README.md": f"---\n{head}\n---\n".encode()})
    assert contents(repository) == {"a": b"a"}


def push(name: str, **how: Any) -> None:
    rows = {"a": [1, 2, 3]}
    whole = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows), "test": datasets.Dataset.from_dict(rows)})
    whole.push_to_hub(name, **how)


def pull(repo: str, **how: Any) -> dict[str, list[dict[str, Any]]]:
    return {split: rows.to_list() for split, rows in datasets.load_dataset(repo, **how).items()}


def test_datasets_pushes_and_loads_back(hub: StandIn, member: Client, connect: Connect) -> None:
    expected = {split: [{"a": 1}, {"a": 2}, {"a": 3}] for split in ("train", "test")}
    member(push, "org/pushed", private=True)
    assert member(pull, "org/pushed") == expected
    assert connect(READER)(pull, "org/pushed") == expected
    repository = hub.repositories["datasets", "org/pushed"]
    assert repository.access == "private"
    member(push, "org/pushed", config_name="more", revision="side")
    assert member(pull, "org/pushed", name="more", revision="side") == expected
    assert set(repository.branches) == {"main", "side"}
    member(push, "org/pushed", config_name="third", create_pr=True)
    assert member(pull, "org/pushed", name="third", revision="refs/pr/1") == expected
    assert "third" not in str(contents(repository))
