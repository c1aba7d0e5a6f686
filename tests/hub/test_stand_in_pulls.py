"""The stand-in's branches, tags and pull requests, as the real client sees them."""

from typing import Any

import pytest
from huggingface_hub import DiscussionCommit, HfApi

from tests.hub.client import MEMBER, STRANGER, Client
from tests.hub.repository import Repository
from tests.hub.stand_in import StandIn
from tests.hub.test_stand_in_writing import commit, contents, status


def ask(method: str, name: str, *args: Any, token: str | None = None, **kwargs: Any) -> Any:
    """The refusal that a method of the client meets, if any."""
    return status(getattr(HfApi(token=token), method), name, *args, repo_type="dataset", **kwargs)


def names(name: str) -> dict[str, str]:
    refs = HfApi().list_repo_refs(name, repo_type="dataset", include_pull_requests=True)
    listed = (*refs.branches, *refs.tags, *refs.converts, *(refs.pull_requests or []))
    return {ref.ref: ref.target_commit for ref in listed}


def test_branches_and_tags(hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/names", {"a": b"a"})
    first = repository.branches["main"]
    second = repository.commit({"b": b"b"})
    assert member(ask, "create_branch", "org/names", branch="old/one", revision=first) is None
    assert member(ask, "create_branch", "org/names", branch="new") is None
    assert member(ask, "create_branch", "org/names", branch="new")[1] == 409
    assert member(ask, "create_branch", "org/names", branch="new", exist_ok=True) is None
    assert member(ask, "create_branch", "org/names", branch="refs/pr/9")[:2] == ("BadRequestError", 400)
    assert member(ask, "create_branch", "org/names", branch="x", revision="nowhere")[0] == "RevisionNotFoundError"
    assert member(ask, "create_tag", "org/names", tag="v1", revision="old/one") is None
    assert member(ask, "create_tag", "org/names", tag="v1")[1] == 409
    repository.branches["refs/convert/parquet"] = second
    assert member(names, "org/names") == {
        "refs/heads/main": second,
        "refs/heads/old/one": first,
        "refs/heads/new": second,
        "refs/tags/v1": first,
        "refs/convert/parquet": second,
    }
    member(commit, "org/names", {"c": b"c"}, revision="old/one")
    assert contents(repository, "old/one") == {"a": b"a", "c": b"c"}
    for sha in (first, "v1", "nowhere"):
        assert member(commit, "org/names", {"d": b"d"}, revision=sha)[0] == "RevisionNotFoundError"
    assert member(ask, "delete_branch", "org/names", branch="new") is None
    assert member(ask, "delete_tag", "org/names", tag="v1") is None
    assert member(ask, "delete_branch", "org/names", branch="main")[1] == 403
    assert set(repository.branches) == {"main", "old/one", "refs/convert/parquet"}


def log(name: str, revision: str) -> list[tuple[str, str, str]]:
    commits = HfApi().list_repo_commits(name, repo_type="dataset", revision=revision)
    return [(one.commit_id, one.title, one.message) for one in commits]


def test_commits_are_listed_page_by_page(hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/long", {"a": b"0"})
    for n in range(24):
        repository.commit({"a": str(n).encode()}, f"Number {n}")
    assert member(log, "org/long", "main") == [(one.sha, one.title, "") for one in repository.history()]
    assert len(repository.history()) == 25


def opened(name: str, title: str = "Pull", token: str | None = None) -> tuple[str, str | None, str | None]:
    made = HfApi(token=token).create_pull_request(name, title, repo_type="dataset")
    return made.status, made.git_reference, made.target_branch


def described(name: str, num: int) -> dict[str, Any]:
    found = HfApi().get_discussion_details(name, num, repo_type="dataset")
    kept = ("title", "status", "author", "conflicting_files", "target_branch", "merge_commit_oid", "is_pull_request")
    commits = [event.summary for event in found.events if isinstance(event, DiscussionCommit)]
    return {key: getattr(found, key) for key in kept} | {"commits": commits}


@pytest.fixture
def pulled(hub: StandIn, member: Client, request: pytest.FixtureRequest) -> Repository:
    """A repository with a draft that has two commits."""
    name = f"org/{request.node.name}"
    repository = hub.create("datasets", name, {"a": b"a", "b": b"b", "c": b"c"})
    assert member(opened, name) == ("draft", "refs/pr/1", "refs/heads/main")
    for n, files in enumerate(({"a": b"A"}, {"d": b"d"})):
        done = member(commit, name, files, revision="refs/pr/1", commit_message=f"Part {n}")
        assert repository.pulls == {"refs/pr/1": done["oid"]}
    return repository


def test_a_draft_becomes_one_commit(pulled: Repository, member: Client) -> None:
    before = dict(pulled.branches)
    assert member(names, pulled.id)["refs/pr/1"] == pulled.pulls["refs/pr/1"]
    assert member(ask, "merge_pull_request", pulled.id, 1)[1] == 400
    assert pulled.branches == before
    pulled.commit({"b": None})
    assert member(ask, "change_discussion_status", pulled.id, 1, "open") is None
    assert member(ask, "merge_pull_request", pulled.id, 1) is None
    assert contents(pulled) == {"a": b"A", "c": b"c", "d": b"d"}
    assert [one.title for one in pulled.history()] == ["Pull (#1)", "Update", "Initial commit"]
    told = member(described, pulled.id, 1)
    assert (told["status"], told["merge_commit_oid"]) == ("merged", pulled.head.sha)
    assert told["commits"] == ["Part 0", "Part 1"]
    assert member(ask, "merge_pull_request", pulled.id, 1)[1] == 400


def test_a_conflict_is_told_and_not_merged(pulled: Repository, member: Client) -> None:
    pulled.commit({"a": b"theirs", "d": b"d"})
    before = dict(pulled.branches)
    assert member(described, pulled.id, 1)["conflicting_files"] == ["a"]
    member(ask, "change_discussion_status", pulled.id, 1, "open")
    assert member(ask, "merge_pull_request", pulled.id, 1)[1] == 409
    assert pulled.branches == before


def found(name: str, **how: Any) -> list[tuple[int, str, str]]:
    return [(one.num, one.title, one.status) for one in HfApi().get_repo_discussions(name, repo_type="dataset", **how)]


def test_pull_requests_are_found_again(pulled: Repository, member: Client) -> None:
    for n in range(2, 14):
        member(opened, pulled.id, f"Number {n}")
    member(ask, "change_discussion_status", pulled.id, 2, "closed")
    member(ask, "rename_discussion", pulled.id, 3, new_title="Renamed")
    assert member(ask, "create_discussion", pulled.id, "Only talk") is None
    everything = member(found, pulled.id)
    assert [num for num, _, _ in everything] == list(range(14, 0, -1))
    assert everything[-3:] == [(3, "Renamed", "draft"), (2, "Number 2", "closed"), (1, "Pull", "draft")]
    assert [num for num, _, _ in member(found, pulled.id, discussion_status="closed")] == [2]
    assert [num for num, _, _ in member(found, pulled.id, discussion_type="discussion")] == [14]
    pulls = member(found, pulled.id, discussion_type="pull_request", discussion_status="open", author="member")
    assert [num for num, _, _ in pulls] == [13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 1]
    assert member(found, pulled.id, author="stranger") == []


def test_a_commit_opens_a_pull_request_where_it_began(hub: StandIn, member: Client) -> None:
    repository = hub.create("datasets", "org/opens", {"a": b"a"})
    first = repository.branches["main"]
    repository.branches["side"] = repository.commit({"b": b"b"})
    before = dict(repository.branches)
    done = member(commit, "org/opens", {"c": b"c"}, create_pr=True, parent_commit=first, revision="side")
    assert done["pr"] == "refs/pr/1"
    assert contents(repository, "refs/pr/1") == {"a": b"a", "c": b"c"}
    told = member(described, "org/opens", 1)
    assert (told["status"], told["target_branch"], told["title"]) == ("open", "refs/heads/side", "Add")
    assert repository.branches == before
    assert member(commit, "org/opens", {"c": b"c"}, create_pr=True, revision=first)[0] == "RevisionNotFoundError"
    member(ask, "merge_pull_request", "org/opens", 1)
    assert contents(repository, "side") == {"a": b"a", "b": b"b", "c": b"c"}
    assert repository.branches["main"] == before["main"]


def test_a_stranger_proposes_and_does_not_decide(
    hub: StandIn, anyone: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = hub.create("datasets", "org/proposed", {"a": b"a"})
    before = dict(repository.branches)
    refused = anyone(commit, "org/proposed", {"x.parquet": b"PAR1"}, token=STRANGER)
    assert (refused[1], "create_pr=1" in refused[2]) == (403, True)
    done = anyone(commit, "org/proposed", {"x.parquet": b"PAR1"}, token=STRANGER, create_pr=True)
    assert done["pr"] == "refs/pr/1"
    assert anyone(ask, "merge_pull_request", "org/proposed", 1, token=STRANGER)[1] == 403
    assert repository.branches == before
    assert anyone(ask, "merge_pull_request", "org/proposed", 1, token=MEMBER) is None
    assert contents(repository) == {"a": b"a", "x.parquet": b"PAR1"}
    monkeypatch.setattr(hub.limits, "foreign", False)
    refused = anyone(commit, "org/proposed", {"y.parquet": b"PAR2"}, token=STRANGER, create_pr=True)
    assert refused[1:] == (403, "Authorization error.")
    assert anyone(commit, "org/proposed", {"y.csv": b"y"}, token=STRANGER, create_pr=True)["pr"] == "refs/pr/2"
