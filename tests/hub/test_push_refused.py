"""What is said where a push cannot be, and that nothing has changed then."""

import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sot_filter.errors import ArtifactError, ConfigError, HubError, SotFilterError
from sot_filter.hub import Target
from tests.hub.client import MEMBER, NOWHERE, READER, STRANGER, Client, Connect
from tests.hub.pushes import committed, new_name, output, push, target, uploaded, words
from tests.hub.repository import Repository
from tests.hub.rows import as_jsonl, as_parquet, pairs
from tests.hub.stand_in import Account, StandIn
from tests.hub.test_push import SOURCE


@pytest.fixture
def repository(hub: StandIn) -> Repository:
    """A dataset of the test's own."""
    return hub.create("datasets", new_name(), SOURCE)


def refused(client: Client, kind: type[SotFilterError], do: Callable[..., Any], *arguments: Any) -> SotFilterError:
    """What a call raises: of this kind, in one line, and with nobody's token in it or in what led to it."""
    with pytest.raises(kind) as raised:
        client(do, *arguments)
    said = str(raised.value)
    assert "\n" not in said
    everything = said + "".join(traceback.format_exception(raised.value))
    assert not [token for token in (MEMBER, READER, STRANGER) if token in everything]
    return raised.value


def test_without_a_token(repository: Repository, anyone: Client, tmp_path: Path) -> None:
    before = dict(repository.branches)
    for do, more in ((words, ()), (push, (output(tmp_path),))):
        error = refused(anyone, HubError, do, target(repository.id), *more)
        assert ("token" in error.expected, "HF_TOKEN" in error.do) == (True, True)
    assert repository.branches == before


def test_with_the_hub_switched_off(hub: StandIn, repository: Repository, connect: Connect, tmp_path: Path) -> None:
    offline, start = connect(MEMBER, HF_HUB_OFFLINE="1"), len(hub.served)
    for do, more in ((words, ()), (push, (output(tmp_path),))):
        assert "HF_HUB_OFFLINE" in refused(offline, HubError, do, target(repository.id), *more).got
    assert len(hub.served) == start


@pytest.mark.parametrize("token", [READER, STRANGER, "hf_expiredEXPIREDexpired"])
def test_with_a_token_that_may_not_write(
    token: str, hub: StandIn, repository: Repository, connect: Connect, tmp_path: Path
) -> None:
    client, before = connect(token), dict(repository.branches)
    for where in (target(repository.id), target(new_name())):
        for do, more in ((words, ()), (push, (output(tmp_path),))):
            error = refused(client, HubError, do, where, *more)
            assert "HF_TOKEN" in error.do
            assert where.repo in error.expected
            assert token not in str(error)
        assert where.repo == repository.id or ("datasets", where.repo) not in hub.repositories
    assert repository.branches == before


def test_read_only_in_an_organization(hub: StandIn, connect: Connect) -> None:
    hub.accounts["hf_guestGUESTguestGUEST"] = Account("guest", role="write", orgs={"org": "read"})
    hub.tokens |= {"hf_guestGUESTguestGUEST"}
    assert "org" in refused(connect("hf_guestGUESTguestGUEST"), HubError, words, target(new_name())).got


def test_a_name_that_a_model_has(hub: StandIn, member: Client) -> None:
    model = hub.create("models", new_name(), {"config.json": b"{}"})
    error = refused(member, ConfigError, words, target(model.id))
    assert (f"the model {model.id}" in error.got, "another name" in error.do) == (True, True)


def test_a_pull_request_needs_a_dataset(member: Client) -> None:
    assert "create_pr" in refused(member, ConfigError, words, target(new_name(), create_pr=True)).expected


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"dataset": "ORG/x", "revision": "0" * 40}, "output.hub.branch"),
        ({"branch": "weights", "create_pr": True}, "create_pr"),
        ({"branch": "refs/pr/1"}, "branch"),
        ({"branch": "a b"}, "branch"),
        ({"repo": "org/a--b"}, "org/name"),
    ],
    ids=str,
)
def test_targets_that_are_none(how: dict[str, Any], said: str, member: Client, tmp_path: Path) -> None:
    where = target(how.pop("repo", "org/x"), **how)
    for do, more in ((words, ()), (committed, ([],))):
        error = refused(member, ConfigError, do, where, *more)
        assert said in str(error)


@pytest.mark.parametrize("how", [{"create_pr": True}, {"branch": "main"}], ids=str)
def test_rows_that_have_changed_since(
    how: dict[str, Any], repository: Repository, member: Client, tmp_path: Path
) -> None:
    weighed = repository.branches["main"]
    where = target(repository.id, dataset=repository.id, revision=weighed, **how)
    uploads = member(uploaded, where, output(tmp_path))
    repository.commit({"data/train-1.parquet": as_parquet(pairs(2)), "data/z.jsonl": as_jsonl(pairs(1))}, "Theirs")
    before = dict(repository.branches)
    for do, more in ((words, ()), (committed, (uploads,))):
        error = refused(member, HubError, do, where, *more)
        for part in (
            weighed,
            before["main"],
            "data/train-1.parquet and 1 more",
            "input.revision",
            "output.hub.branch",
        ):
            assert part in str(error)
    assert (repository.branches, repository.discussions) == (before, [])
    beside = replace(where, branch="weights", create_pr=False)
    assert member(committed, beside, uploads).branch == "weights"
    assert repository.branches["main"] == before["main"]


def test_storage_that_is_used_up(
    hub: StandIn, member: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = target(new_name())
    monkeypatch.setattr(hub.limits, "private", 100)
    error = refused(member, HubError, push, where, output(tmp_path))
    assert ("storage" in error.got, "storage" in error.do) == (True, True)
    assert len(hub.repositories["datasets", where.repo].history("main")) == 1


@pytest.mark.parametrize("status", [413, 429])
def test_storage_by_other_statuses(status: int, hub: StandIn, repository: Repository, member: Client, tmp_path: Path):
    message = "You have exceeded your private storage limit"
    with hub.fault("POST", rf"{repository.id}\b.*/commit/", status=status, message=message, times=None) as fault:
        error = refused(member, HubError, push, target(repository.id), output(tmp_path))
    assert ("storage" in error.do, fault.hits) == (True, 1)


def test_too_many_repositories(hub: StandIn, member: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.limits, "repositories", 0)
    where = target(new_name())
    error = refused(member, HubError, impatient, where)
    assert ("429" in error.got, where.repo in error.expected) == (True, True)


def impatient(where: Target) -> None:
    """With one attempt only."""
    from sot_filter.hub import ensure_repository, retry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "ATTEMPTS", 1)
        ensure_repository(where)


def test_pull_requests_that_are_switched_off(
    hub: StandIn, repository: Repository, member: Client, tmp_path: Path
) -> None:
    where, files = target(repository.id, create_pr=True), output(tmp_path)
    message = "Pull requests are disabled for this repository"
    with hub.fault("POST", rf"{repository.id}/discussions", status=403, message=message, times=None):
        assert "Enable pull requests" in refused(member, HubError, push, where, files).do


def test_others_who_never_stop(hub: StandIn, repository: Repository, member: Client, tmp_path: Path) -> None:
    with hub.fault("POST", rf"{repository.id}\b.*/commit/", status=412, times=None) as fault:
        error = refused(member, HubError, push_in_haste, target(repository.id), output(tmp_path))
    assert ("412" in error.got, "output.hub.branch" in error.do, fault.hits) == (True, True, 3)
    assert len(repository.history("main")) == 1


def push_in_haste(where: Target, files: dict[str, str]) -> None:
    """With few attempts."""
    from sot_filter.hub import retry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "ATTEMPTS", 3)
        push(where, files)


def test_a_commit_that_is_too_large(
    hub: StandIn, repository: Repository, member: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(repository.branches)
    monkeypatch.setattr(hub.limits, "payload", 200)
    error = refused(member, HubError, push, target(repository.id), output(tmp_path))
    assert ("413" in error.got, "too large for a commit" in error.do) == (True, True)
    assert repository.branches == before


@pytest.mark.parametrize("status", [400, 403, 404])
def test_what_is_not_tried_again(
    status: int, hub: StandIn, repository: Repository, member: Client, tmp_path: Path
) -> None:
    before = dict(repository.branches)
    with hub.fault("POST", rf"{repository.id}\b.*/commit/", status=status, message="No", times=None) as fault:
        error = refused(member, HubError, push, target(repository.id), output(tmp_path))
    assert (str(status) in error.got, fault.hits, repository.branches) == (True, 1, before)


def test_a_hub_that_does_not_answer(connect: Connect) -> None:
    error = refused(connect(MEMBER, url=NOWHERE), HubError, words, target("org/x"))
    assert (error.exit_code, "network" in error.do) == (5, True)


def test_a_card_that_is_no_text(hub: StandIn, member: Client, tmp_path: Path) -> None:
    repository = hub.create("datasets", new_name(), {"README.md": b"\xff\xfe"})
    assert "UTF-8" in refused(member, HubError, push, target(repository.id), output(tmp_path)).expected


def test_a_card_with_broken_metadata(hub: StandIn, member: Client, tmp_path: Path) -> None:
    repository = hub.create("datasets", new_name(), {"README.md": b"---\nlicense: [\n---\n"})
    error = refused(member, HubError, push, target(repository.id), output(tmp_path))
    assert ("README.md" in error.got, "YAML" in error.do) == (True, True)
    assert len(repository.history("main")) == 1


def test_a_file_that_is_gone_or_another(repository: Repository, member: Client, tmp_path: Path) -> None:
    where, files = target(repository.id), output(tmp_path)
    uploads = member(uploaded, where, files)
    (tmp_path / "data/test.jsonl").write_bytes(b"{}\n")
    assert "data/test.jsonl" in refused(member, ArtifactError, committed, where, uploads).expected
    (tmp_path / "data/train-0.parquet").unlink()
    assert "data/train-0.parquet" in refused(member, ArtifactError, uploaded, where, files).expected
    assert len(repository.history("main")) == 1
