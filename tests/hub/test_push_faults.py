"""What a push makes of a Hub that stumbles, of others who commit meanwhile, and of being killed."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sot_filter.errors import HubError
from sot_filter.hub import Published, Target
from tests.hub.client import MEMBER, Client, Connect
from tests.hub.pushes import OURS, committed, new_name, output, push, target, uploaded
from tests.hub.repository import Repository
from tests.hub.rows import as_jsonl, pairs
from tests.hub.stand_in import StandIn
from tests.hub.test_push import SOURCE, holds


@pytest.fixture
def repository(hub: StandIn) -> Repository:
    """A dataset of the test's own."""
    return hub.create("datasets", new_name(), SOURCE)


COMMIT = r"/commit/"
STUMBLES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "412 twice": ("POST", COMMIT, {"status": 412, "times": 2}),
    "409 on commit": ("POST", COMMIT, {"status": 409}),
    "429 with a wait": ("POST", COMMIT, {"status": 429, "retry_after": 2}),
    "503 on commit": ("POST", COMMIT, {"status": 503, "times": 2}),
    "500 on refs": ("GET", r"/refs", {"status": 500}),
    "cut before the commit": ("POST", COMMIT, {"cut": "before"}),
    "cut while it is sent": ("POST", COMMIT, {"cut": "upload"}),
    "answer of the commit lost": ("POST", COMMIT, {"cut": "after"}),
    "answer of the commit half lost": ("POST", COMMIT, {"cut": "body"}),
    "a slow commit": ("POST", COMMIT, {"delay": 2}),
    "503 on preupload": ("POST", r"/preupload/", {"status": 503}),
    "503 on storage": ("PUT", r"/lfs/", {"status": 503}),
    "cut in storage": ("PUT", r"/lfs/", {"cut": "upload"}),
    "503 on paths": ("POST", r"/paths-info/", {"status": 503}),
    "cut card": ("GET", r"/README.md", {"cut": "body"}),
}


@pytest.mark.parametrize("kind", STUMBLES)
@pytest.mark.parametrize("way", ["branch", "pull request"])
def test_one_commit_all_the_same(
    kind: str, way: str, hub: StandIn, repository: Repository, member: Client, tmp_path: Path
) -> None:
    method, path, how = STUMBLES[kind]
    before, files = dict(repository.branches), output(tmp_path)
    where = target(repository.id, create_pr=way == "pull request")
    start, began = len(hub.served), time.monotonic()
    with hub.fault(method, rf"{repository.id}\b.*{path}|{path}.*{repository.id}\b", **how) as fault:
        published = member(push, where, files)
    assert fault.hits == how.get("times", 1)
    assert time.monotonic() - began >= how.get("retry_after", 0)
    if way == "branch":
        assert (published.commit, len(repository.history("main"))) == (repository.branches["main"], 2)
        assert repository.discussions == []
    else:
        assert repository.branches == before
        (request,) = repository.discussions
        assert (request.status, len(repository.history(request.ref))) == ("open", 2)
        assert published.commit == repository.pulls[request.ref]
    assert published.commits == 1
    assert holds(repository.commits[published.commit], files)
    assert len(hub.uploads(start)) == 3


def test_a_hub_that_falls_silent(hub: StandIn, repository: Repository, member: Client, tmp_path: Path) -> None:
    files = output(tmp_path)
    began = time.monotonic()
    with hub.fault("POST", rf"{repository.id}/commit/", delay=20) as fault:
        published = member(push_impatiently, target(repository.id), files)
    assert time.monotonic() - began < 20
    assert (fault.hits, published.commits, len(repository.history("main"))) == (1, 1, 2)
    assert holds(repository.at("main"), files)


def push_impatiently(where: Target, files: dict[str, str]) -> Published:
    """With a second of silence allowed."""
    from sot_filter.hub import session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_SILENCE", 1.0)
        return push(where, files)


@pytest.mark.parametrize("path", ["/discussions$", "/discussions/1/status", "/branch/"])
@pytest.mark.parametrize("cut", ["before", "after"])
def test_lost_words_around_the_commit(
    path: str, cut: str, hub: StandIn, repository: Repository, member: Client, tmp_path: Path
) -> None:
    where = target(repository.id, create_pr="branch" not in path, branch="weights" if "branch" in path else None)
    main, files = repository.branches["main"], output(tmp_path)
    with hub.fault("POST", rf"{repository.id}{path}", cut=cut, times=1) as fault:
        published = member(push, where, files)
    assert fault.hits == 1
    assert [request.status for request in repository.discussions] == ["open"] * where.create_pr
    expected = {"main": main} if where.create_pr else {"main": main, "weights": published.commit}
    assert repository.branches == expected
    assert holds(repository.commits[published.commit], files)


@pytest.fixture(params=["between attempts", "between look and commit"])
def meanwhile(hub: StandIn, request: pytest.FixtureRequest) -> Iterator[Callable[[str, Callable[[], object]], None]]:
    """Have somebody do something while a push is under way: after its commit failed, or so that it is too late."""
    with ExitStack() as stack:

        def during(repo: str, do: Callable[[], object]) -> None:
            late = request.param == "between look and commit"
            where, how = ("/api/validate-yaml", {"delay": 2}) if late else (rf"{repo}{COMMIT}", {"status": 503})
            fault = stack.enter_context(hub.fault("POST", where, times=1, **how))

            def watch() -> None:
                while not fault.hits:
                    time.sleep(0.005)
                do()

            thread = threading.Thread(target=watch, daemon=True)
            thread.start()
            stack.callback(thread.join, 60)

        yield during


def test_others_commit_something_else(
    hub: StandIn, repository: Repository, member: Client, tmp_path: Path, meanwhile: Callable[..., None]
) -> None:
    files = output(tmp_path)
    changed = {"more.jsonl": as_jsonl(pairs(1)), "README.md": b"# New words\n"}
    meanwhile(repository.id, lambda: repository.commit(changed, "Theirs"))
    start = len(hub.served)
    published = member(push, target(repository.id), files)
    answers = [served.status for served in hub.served[start:] if f"{repository.id}/commit/" in served.path]
    assert answers in ([503, 200], [0, 200], [412, 200])
    assert [commit.title for commit in repository.history("main")][1:] == ["Theirs", "Initial commit"]
    assert holds(repository.at("main"), files)
    assert repository.head.files["README.md"].content.decode() == "# New words\n" + OURS
    assert published.commits == 1


def test_others_commit_to_a_file_of_ours(
    hub: StandIn, repository: Repository, member: Client, tmp_path: Path, meanwhile: Callable[..., None]
) -> None:
    theirs = {"data/train-0.parquet": b"PAR1 theirs"}
    meanwhile(repository.id, lambda: repository.commit(theirs, "Theirs"))
    start = repository.branches["main"]
    with pytest.raises(HubError) as raised:
        member(push, target(repository.id), output(tmp_path))
    head = repository.branches["main"]
    assert repository.head.title == "Theirs"
    assert all(said in str(raised.value) for said in ("data/train-0.parquet", start, head, "output.hub.branch"))


def test_stale_uploads_are_brought_again(hub: StandIn, repository: Repository, member: Client, tmp_path: Path) -> None:
    where, files = target(repository.id), output(tmp_path)
    uploads = member(uploaded, where, files)
    repository.objects.clear()
    member(committed, where, uploads)
    assert holds(repository.at("main"), files)


@pytest.mark.parametrize("kind", [{}, {"branch": "weights"}, {"create_pr": True}], ids=str)
def test_killed_before_the_commit_and_run_again(
    kind: dict[str, Any], hub: StandIn, repository: Repository, connect: Connect, member: Client, tmp_path: Path
) -> None:
    where, files, before = target(repository.id, **kind), output(tmp_path), dict(repository.branches)
    start = len(hub.served)
    killed_at(hub, connect, rf"{repository.id}{COMMIT}", where, files)
    shown = {name: sha for name, sha in repository.branches.items() if not name.startswith("sot-filter-")}
    assert shown == before
    assert all(request.status == "draft" for request in repository.discussions)
    sent = len(hub.uploads(start))
    published = member(push, where, files)
    assert holds(repository.commits[published.commit], files)
    pictures = 1
    assert len(hub.uploads(start)) <= sent + pictures
    assert len(repository.discussions) == int(where.create_pr)
    assert set(repository.branches) == {"main", *([where.branch] if where.branch else [])}
    assert published.commits == 1


def killed_at(
    hub: StandIn, connect: Connect, path: str, *arguments: Any, do: Callable[..., object] = push, skip: int = 0
) -> None:
    """Push in a process that is killed while the Hub has a request of it in hand, which it never carries out."""
    client = connect(MEMBER)
    pid = client(os.getpid)
    with ThreadPoolExecutor(1) as pool, hub.fault("POST", path, cut="before", times=None, skip=skip) as fault:
        ended = pool.submit(client, do, *arguments)
        while not fault.hits:
            assert not ended.done(), ended.exception()
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            ended.result(60)
