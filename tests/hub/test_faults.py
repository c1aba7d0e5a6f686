"""Each fault that can be planted, as the real clients meet it."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from huggingface_hub import HfApi, errors, get_session

from tests.hub.client import MEMBER, Client
from tests.hub.repository import Repository
from tests.hub.stand_in import StandIn
from tests.hub.test_stand_in_writing import ROWS, commit, contents


@pytest.fixture
def repository(hub: StandIn, request: pytest.FixtureRequest) -> Repository:
    return hub.create("datasets", f"org/{request.node.name.split('[')[0]}", {"a": b"a" * 1000})


def lost(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str | None:
    """What kind of broken connection a call ends in, if any."""
    try:
        call(*args, **kwargs)
    except httpx2.TransportError as error:
        return type(error).__name__
    return None


def headers_of_refusal(name: str) -> dict[str, str]:
    try:
        HfApi().upload_file(path_or_fileobj=b"b", path_in_repo="b", repo_id=name, repo_type="dataset")
    except errors.HfHubHTTPError as error:
        return {key.lower(): value for key, value in error.response.headers.items()}
    return {}


@pytest.mark.parametrize("status", [409, 412, 429, 500, 503])
def test_a_refused_commit_did_not_happen(status: int, repository: Repository, hub: StandIn, member: Client) -> None:
    before = dict(repository.branches)
    with hub.fault("POST", rf"{repository.id}/commit/", status=status, times=2, message="not now") as fault:
        for _ in range(2):
            assert member(commit, repository.id, {"b": b"b"})[1:] == (status, "not now")
        assert repository.branches == before
        assert member(commit, repository.id, {"b": b"b"})["oid"] == repository.branches["main"]
    assert fault.hits == 2


def test_a_refusal_says_when_to_come_again(repository: Repository, hub: StandIn, member: Client) -> None:
    with hub.fault("POST", rf"{repository.id}/commit/", status=429, retry_after=7, code="TooMany"):
        told = member(headers_of_refusal, repository.id)
    assert (told["retry-after"], told["x-error-code"]) == ("7", "TooMany")


def test_a_fault_can_wait_for_its_turn_and_goes_with_its_context(
    repository: Repository, hub: StandIn, member: Client
) -> None:
    with hub.fault("*", rf"{repository.id}/commit/main$", status=503, skip=1, times=None) as fault:
        assert "oid" in member(commit, repository.id, {"b": b"b"})
        assert member(commit, repository.id, {"c": b"c"})[1] == 503
        assert member(commit, repository.id, {"c": b"c"})[1] == 503
    assert "oid" in member(commit, repository.id, {"c": b"c"})
    assert fault.hits == 2


def test_a_connection_cut_before_the_commit(repository: Repository, hub: StandIn, member: Client) -> None:
    before, start = dict(repository.branches), len(hub.served)
    with hub.fault("POST", rf"{repository.id}/commit/", cut="before"):
        assert member(lost, commit, repository.id, {"b": b"b"}) == "RemoteProtocolError"
    assert repository.branches == before
    assert [(one.status, one.heard) for one in hub.served[start:] if "/commit/" in one.path] == [(0, False)]


def test_a_connection_cut_after_the_commit(repository: Repository, hub: StandIn, member: Client) -> None:
    start = len(hub.served)
    with hub.fault("POST", rf"{repository.id}/commit/", cut="after"):
        assert member(lost, commit, repository.id, {"b": b"b"}) == "RemoteProtocolError"
    assert contents(repository)["b"] == b"b"
    assert [(one.status, one.heard) for one in hub.served[start:] if "/commit/" in one.path] == [(200, False)]


def test_an_upload_that_is_cut_is_sent_again(repository: Repository, hub: StandIn, member: Client) -> None:
    start = len(hub.served)
    with hub.fault("PUT", f"/lfs/datasets/{repository.id}/", cut="upload") as fault:
        assert "oid" in member(commit, repository.id, {"x.parquet": ROWS})
    assert (fault.hits, len(hub.uploads(start))) == (1, 1)
    assert contents(repository)["x.parquet"] == ROWS


def get(path: str, **how: Any) -> bytes:
    return get_session().get(f"{HfApi().endpoint}/datasets/{path}", **how).content


def test_an_answer_that_breaks_off(repository: Repository, hub: StandIn, anyone: Client) -> None:
    path = f"{repository.id}/resolve/main/a"
    with hub.fault("GET", path, cut="body") as fault:
        assert anyone(lost, get, path) == "RemoteProtocolError"
        assert hub.served[-1].bytes == 500
        assert anyone(get, path) == b"a" * 1000
    assert fault.hits == 1


def test_a_slow_answer(repository: Repository, hub: StandIn, anyone: Client, member: Client) -> None:
    path = f"{repository.id}/resolve/main/a"
    with hub.fault("GET", path, delay=0.5, times=2):
        begun = time.monotonic()
        assert anyone(get, path) == b"a" * 1000
        assert time.monotonic() - begun >= 0.5
        assert anyone(lost, get, path, timeout=0.1) == "ReadTimeout"
    with hub.fault("POST", rf"{repository.id}/commit/", delay=0.5, status=503):
        begun = time.monotonic()
        assert member(commit, repository.id, {"b": b"b"})[1] == 503
        assert time.monotonic() - begun >= 0.5


def put_in_chunks(path: str, content: bytes) -> int:
    def pieces() -> Iterator[bytes]:
        for first in range(0, len(content), 700):
            yield content[first : first + 700]

    return get_session().put(f"{HfApi().endpoint}{path}", content=pieces()).status_code


def test_a_body_may_come_in_chunks_and_must_be_what_it_says(
    repository: Repository, hub: StandIn, anyone: Client
) -> None:
    sha = "0" * 64
    assert anyone(put_in_chunks, f"/lfs/datasets/{repository.id}/{sha}", ROWS) == 400
    assert (hub.served[-1].received, repository.objects) == (len(ROWS), {})


def test_a_client_that_dies_in_the_middle_changes_nothing(repository: Repository, hub: StandIn) -> None:
    before, start = dict(repository.branches), len(hub.served)
    address = urlsplit(hub.url)
    line = json.dumps({"key": "header", "value": {"summary": "Half"}}).encode() + b"\n"
    for head, body in (
        ("Content-Length: 5000", line),
        ("Transfer-Encoding: chunked", b"%x\r\n%s\r\n" % (len(line), line)),
    ):
        with socket.create_connection((address.hostname, address.port)) as connection:
            path = f"/api/datasets/{repository.id}/commit/main"
            said = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {MEMBER}\r\n{head}\r\n\r\n"
            connection.sendall(said.encode() + body)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b""
    assert repository.branches == before
    assert [(one.status, one.heard) for one in hub.served[start:]] == [(0, False), (0, False)]
