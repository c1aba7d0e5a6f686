"""The stand-in's wire: requests in, answers out, each noted, and each in danger of the faults that a test planted."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.faults import Fault, Faults

_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """What a client asks: method, path as it was quoted, query and form merged, headers, and what came with it."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def token(self) -> str | None:
        """The token that came with it."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    @property
    def json(self) -> dict[str, Any]:
        """The body, where it is an object; nothing where there is none."""
        value = json.loads(self.body or b"{}")
        return value if isinstance(value, dict) else {}

    def flag(self, name: str) -> bool:
        """A switch of the query, off where it is not given."""
        return self.query.get(name, ["false"])[-1].lower() in ("true", "1")


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An answer other than the wished one, with the code by which the clients tell its meaning."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def answer(self, headers: Mapping[str, str]) -> Answer:
        """As it goes back."""
        said = {"X-Error-Message": self.message} | ({"X-Error-Code": self.code} if self.code else {})
        return Answer(self.status, as_json({"error": self.message}), {**headers, **said})


@dataclass(frozen=True)
class Served:
    """One request as it was answered: what went over the wire, for tests that count.

    Attributes:
        status: of the answer, 0 where the request was never carried out.
        bytes: of the answer's body.
        received: bytes of the request's body.
        heard: whether the client got the whole answer; false where the connection was cut.
    """

    method: str
    path: str
    status: int
    bytes: int
    received: int = 0
    heard: bool = True


def as_json(value: Any) -> bytes:
    """A value as it goes over the wire."""
    return json.dumps(value).encode()


class Server(ThreadingHTTPServer):
    """A server on loopback, at a port of its own.

    Args:
        answer: what answers a request.
        faults: what goes wrong.
        served: where each request is noted.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[Request], Answer], faults: Faults, served: list[Served]) -> None:
        super().__init__(("127.0.0.1", 0), _handler(answer, faults, served))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(
    answer: Callable[[Request], Answer], faults: Faults, served: list[Served]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            fault = faults.take(self.command, path) or Fault("", "")
            if fault.cut == "upload":
                self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
                served.append(Served(self.command, path, 0, 0, heard=False))
                return self._hang_up()
            body = self._body()
            if body is None or fault.cut == "before":
                served.append(Served(self.command, path, 0, 0, len(body or b""), heard=False))
                return self._hang_up()
            if fault.status is not None:
                headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                found = Refusal(fault.status, fault.code, fault.message).answer(headers)
            else:
                form = parse_qs(body.decode()) if self.headers.get("Content-Type") == _FORM else {}
                query = parse_qs(parts.query) | form
                found = answer(Request(self.command, parts.path, query, self.headers, body))  # type: ignore[arg-type]
            sent = b"" if self.command == "HEAD" else found.body
            sent = sent[: len(sent) // 2] if fault.cut == "body" else sent
            served.append(Served(self.command, path, found.status, len(sent), len(body), fault.cut is None))
            time.sleep(fault.delay)
            if fault.cut == "after":
                return self._hang_up()
            self.send_response(found.status)
            headers = {"Content-Type": "application/json", **found.headers, "Content-Length": str(len(found.body))}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)
            return self._hang_up() if fault.cut == "body" else None

        def _body(self) -> bytes | None:
            """The whole body; None where the client went away in the middle, and nothing may come of it."""
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                return body if len(body) == size else None
            pieces = []
            while line := self.rfile.readline():
                size = int(line.split(b";")[0], 16)
                pieces.append(self.rfile.read(size))
                if not self.rfile.readline():
                    return None
                if size == 0:
                    return b"".join(pieces)
            return None

        def _hang_up(self) -> None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(SHUT_RDWR)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing; `served` has it all."""

    return Handler
