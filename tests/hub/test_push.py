"""A push to each kind of target, by the real clients: what is there afterwards, and what is as it was."""

import os
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pytest

from sot_filter.hub import Published, Target, Upload, commit
from sot_filter.report.card_merge import BEGIN, END, merge_card
from tests.hub.client import MEMBER, STRANGER, Client, Connect
from tests.hub.pushes import KEY, OTHERS, OURS, card, committed, new_name, output, push, target, uploaded, words
from tests.hub.repository import Commit, Repository
from tests.hub.rows import as_jsonl, as_parquet, pairs
from tests.hub.stand_in import StandIn

SOURCE = MappingProxyType(
    {
        "README.md": b"---\nlicense: cc0-1.0\n---\n# By hand\n",
        "data/train-0.parquet": as_parquet(pairs(5)),
        "notes.txt": b"not ours",
    }
)


def holds(commit: Commit | None, files: dict[str, str]) -> bool:
    """Whether a commit has exactly what was pushed, of what was pushed."""
    assert commit is not None
    wanted = {path: Path(url).read_bytes() for path, url in files.items()} | OTHERS
    readme = commit.files["README.md"].content.decode()
    return OURS in readme and {path: commit.files[path].content for path in wanted} == wanted


def dataset(hub: StandIn, repo: str) -> Repository:
    return hub.repositories["datasets", repo]


@pytest.mark.parametrize("private", [True, False])
def test_a_new_dataset(private: bool, hub: StandIn, member: Client, tmp_path: Path) -> None:
    where, files = target(f"org/new-{private}", private=private), output(tmp_path)
    kind = "private" if private else "public"
    assert member(words, where) == (False, None, f"makes the {kind} dataset {where.repo}")
    assert ("datasets", where.repo) not in hub.repositories
    published = member(push, where, files)
    repository = dataset(hub, where.repo)
    assert repository.access == ("private" if private else "open")
    assert list(repository.branches) == ["main"]
    head = repository.branches["main"]
    assert published == Published(head, f"{hub.url}/datasets/{where.repo}/commit/{head}", "main", None, 1)
    assert holds(repository.at("main"), files)
    assert len(repository.history("main")) == 2
    assert (repository.head.title, KEY in repository.head.description) == ("Weigh 12 rows", True)


def test_an_existing_dataset_keeps_what_is_not_ours(hub: StandIn, member: Client, tmp_path: Path) -> None:
    repository = hub.create("datasets", "org/existing", SOURCE)
    where, files, before = target(repository.id), output(tmp_path), repository.branches["main"]
    assert member(words, where) == (True, before, "commits to main of org/existing")
    published = member(push, where, files)
    assert holds(repository.at("main"), files)
    assert repository.head.files["notes.txt"].content == b"not ours"
    assert repository.head.files["README.md"].content.decode() == card(SOURCE["README.md"].decode())
    assert (repository.head.sha, repository.head.parent) == (published.commit, before)


def test_what_is_there_is_found_and_not_committed_again(hub: StandIn, member: Client, tmp_path: Path) -> None:
    where, files = target("org/twice"), output(tmp_path)
    first = member(push, where, files)
    start = len(hub.served)
    again = member(push, where, files)
    assert (again.commit, again.commits) == (first.commit, 0)
    assert hub.uploads(start) == []
    assert [served for served in hub.served[start:] if "/commit/" in served.path] == []


def test_another_output_replaces_the_first(hub: StandIn, member: Client, tmp_path: Path) -> None:
    where = target("org/renewed")
    member(push, where, output(tmp_path / "a"))
    files = output(tmp_path / "b", "cake")
    member(push, where, files, "fedcba9876543210")
    assert holds(dataset(hub, where.repo).at("main"), files)
    assert len(dataset(hub, where.repo).history("main")) == 3


def test_a_new_branch_starts_at_the_weighed_commit(hub: StandIn, member: Client, tmp_path: Path) -> None:
    repository = hub.create("datasets", "org/branched", SOURCE)
    weighed = repository.branches["main"]
    repository.commit({"data/later.jsonl": as_jsonl(pairs(2))}, "Later")
    main = repository.branches["main"]
    where = target(repository.id, branch="weights/v1", dataset="Org/Branched", revision=weighed)
    said = f"commits to branch weights/v1 of org/branched, made from {weighed[:8]}"
    assert member(words, where) == (True, None, said)
    files = output(tmp_path)
    published = member(push, where, files)
    assert repository.branches == {"main": main, "weights/v1": published.commit}
    assert holds(repository.at("weights/v1"), files)
    assert "data/later.jsonl" not in repository.commits[published.commit].files
    assert [commit.sha for commit in repository.history("weights/v1")] == [published.commit, weighed]
    assert (published.branch, published.commits) == ("weights/v1", 1)


def test_an_existing_branch_goes_on(hub: StandIn, member: Client, tmp_path: Path) -> None:
    repository = hub.create("datasets", "org/on-branch", SOURCE)
    weighed = repository.branches["main"]
    repository.commit({**SOURCE, "old.txt": b"old"}, "Weights", "weights")
    head = repository.branches["weights"]
    where = target(repository.id, branch="weights", dataset=repository.id, revision=weighed)
    assert member(words, where) == (True, head, "commits to branch weights of org/on-branch")
    files = output(tmp_path)
    published = member(push, where, files)
    assert repository.branches == {"main": weighed, "weights": published.commit}
    assert repository.commits[published.commit].parent == head
    assert holds(repository.at("weights"), files)


def test_main_of_the_input_where_it_is_named(hub: StandIn, member: Client, tmp_path: Path) -> None:
    repository = hub.create("datasets", "org/own", SOURCE)
    weighed = repository.branches["main"]
    repository.commit({"README.md": b"# Words only\n"}, "Words")
    where = target(repository.id, branch="main", dataset=repository.id, revision=weighed)
    files = output(tmp_path)
    member(push, where, files)
    assert holds(repository.at("main"), files)


@pytest.mark.parametrize("token", [MEMBER, STRANGER], ids=["member", "stranger"])
def test_a_pull_request(token: str, hub: StandIn, connect: Connect, tmp_path: Path) -> None:
    repository = hub.create("datasets", f"org/asked-{token[3:9]}", SOURCE)
    weighed, client = repository.branches["main"], connect(token)
    where = target(repository.id, create_pr=True, dataset=repository.id, revision=weighed)
    assert client(words, where) == (True, weighed, f"opens a pull request on {repository.id}")
    files = output(tmp_path)
    published = client(push, where, files)
    (request,) = repository.discussions
    assert (request.status, "Weigh 12 rows" in request.title) == ("open", True)
    assert published.pull_request == published.url == f"{hub.url}/datasets/{repository.id}/discussions/{request.num}"
    assert (published.branch, published.commits) == ("main", 1)
    assert repository.branches == {"main": weighed}
    assert repository.pulls[request.ref] == published.commit
    assert holds(repository.at(request.ref), files)
    assert [commit.sha for commit in repository.history(request.ref)] == [published.commit, weighed]
    again = client(push, where, files)
    assert (again.commit, again.pull_request, again.commits) == (published.commit, published.pull_request, 0)
    assert len(repository.discussions) == 1


def test_a_pull_request_that_somebody_else_gave_our_title(
    hub: StandIn, member: Client, connect: Connect, tmp_path: Path
) -> None:
    repository = hub.create("datasets", "org/mimicked", SOURCE)
    connect(STRANGER)(mimic, repository.id)
    published = member(push, target(repository.id, create_pr=True), output(tmp_path))
    theirs, ours = sorted(repository.discussions, key=lambda request: request.num)
    assert repository.pulls[theirs.ref] == repository.branches["main"]
    assert published.pull_request.endswith(f"/{ours.num}")


def mimic(repo: str) -> None:
    from huggingface_hub import HfApi

    HfApi().create_pull_request(repo, f"Mine (sot-filter {KEY[:8]})", repo_type="dataset")


def test_a_gitignore_makes_nothing_vanish(hub: StandIn, member: Client, tmp_path: Path) -> None:
    repository = hub.create("datasets", "org/ignoring", {**SOURCE, ".gitignore": b"*.json\n*.jsonl\n*.parquet\n"})
    files = output(tmp_path)
    member(push, target(repository.id), files)
    assert holds(repository.at("main"), files)


@pytest.mark.parametrize(
    "there", [None, b"# Words\r\nonly", b"---\nlicense: cc0-1.0 # as is\nconfigs: []\n---\n# Set\n"]
)
def test_the_real_card_is_found_again(there: bytes | None, hub: StandIn, member: Client, tmp_path: Path) -> None:
    where = target(new_name())
    if there is not None:
        hub.create("datasets", where.repo, {"README.md": there})
    uploads = member(uploaded, where, output(tmp_path))
    first, again = member(with_real_card, where, uploads), member(with_real_card, where, uploads)
    assert (first.commits, again.commits, again.commit) == (1, 0, first.commit)


def with_real_card(where: Target, uploads: list[tuple[Upload, str]]) -> Published:
    files = "".join(f"    - {upload.path}\n" for upload, _ in uploads if "train" in upload.path)
    head = f"license: mit\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path:\n{files}"
    ours = partial(merge_card, ours=f"---\n{head}---\n\n# Ours\n\n{BEGIN}\nWeighed.\n{END}\n")
    return commit(where, uploads, OTHERS, ours, key=KEY, title="Weigh 12 rows", description="How.")


def test_workers_at_once(hub: StandIn, connect: Connect, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    where = target("org/crowded")
    files = output(tmp_path)
    clients = [connect(MEMBER), connect(MEMBER)]
    # A process takes its environment when it is born, one after the other.
    assert len({client(os.getpid) for client in clients}) == 2
    start = len(hub.served)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda client: client(uploaded, where, files), clients))
    assert answers[0] == answers[1]
    made = [served for served in hub.served[start:] if served.path == "/api/repos/create"]
    assert sorted(served.status for served in made) in ([200], [200, 409])
    published = clients[0](committed, where, answers[0])
    assert holds(dataset(hub, where.repo).at("main"), files)
    assert published.commits == 1


def test_a_file_that_the_hub_has_is_not_sent(hub: StandIn, member: Client, tmp_path: Path) -> None:
    where, files = target("org/known"), output(tmp_path)
    uploads = member(uploaded, where, files)
    assert {upload.path: upload.lfs for upload, _ in uploads} == {
        "data/train-0.parquet": True,
        "data/train-1.parquet": True,
        "data/test.jsonl": False,
    }
    start = len(hub.served)
    assert member(uploaded, where, files) == uploads
    assert hub.uploads(start) == []
    assert list(dataset(hub, where.repo).history("main")) == [dataset(hub, where.repo).head]


def test_files_on_another_filesystem(hub: StandIn, member: Client, tmp_path: Path) -> None:
    where, files = target("org/remote"), output(tmp_path)
    elsewhere = {path: f"simplecache::file://{url}" for path, url in files.items()}
    member(push, where, elsewhere)
    assert holds(dataset(hub, where.repo).at("main"), files)


def test_a_target_travels(tmp_path: Path) -> None:
    where = target("org/x", branch="b", dataset="org/y", revision="0" * 40)
    assert Target.from_json(where.to_json()) == where
