"""A stand-in of the Hub on loopback, for tests: repositories in memory, served as the real clients ask for them.

It stands in for the protocol only, as huggingface_hub and datasets speak it: accounts and their rights, info, trees,
refs, files whole or by range; large file storage, commits, branches, tags, pull requests. It knows nothing of what the
Hub is beyond that (search, Xet, the dataset viewer, redirects to a CDN), so a test that passes here shows that our
side of the conversation is right, not that the Hub is up to it.

A `Repository` is a graph of commits, each with all its files as bytes, and keeps every one of them; a request is
answered by the first row of `ROUTES` whose method and path fit. A new ability is one function and one row there.
"""

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final
from urllib.parse import unquote

from tests.hub import cards, discussions, owning, reading, uploading, writing
from tests.hub.faults import Fault, Faults
from tests.hub.repository import Access, Kind, Repository
from tests.hub.state import Account, Call, Limits, State
from tests.hub.wire import Answer, Refusal, Request, Served, Server

__all__ = ["Account", "Answer", "Fault", "Limits", "Refusal", "Request", "Served", "StandIn"]


class StandIn(State):
    """The server. Use as a context; `url` is what HF_ENDPOINT must be.

    Args:
        tokens: the tokens of all accounts; another one is refused.
        accounts: whom tokens belong to; one that is not here belongs to a stranger and may write nowhere.
    """

    def __init__(self, tokens: frozenset[str] = frozenset(), accounts: Mapping[str, Account] | None = None) -> None:
        super().__init__(tokens, accounts or {})
        self.faults = Faults()
        self.served: list[Served] = []
        self._server = Server(self.answer, self.faults, self.served)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "StandIn":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def create(
        self, kind: Kind, id: str, files: Mapping[str, bytes], access: Access = "open", *members: str
    ) -> Repository:
        """Add a repository with a first commit on ``main``."""
        repository = Repository(kind, id, access, frozenset(members))
        repository.commit(files, "Initial commit")
        self.repositories[kind, id] = repository
        return repository

    def fault(self, method: str, path: str, **how: Any) -> AbstractContextManager[Fault]:
        """Let requests go wrong while the context is open; what can be said is in `Fault`."""
        return self.faults.planted(Fault(method, path, **how))

    def answer(self, request: Request) -> Answer:
        """Answer a request by the table of routes."""
        try:
            if request.token is not None and request.token not in self.tokens:
                raise Refusal(401, "", "Invalid credentials in Authorization header")
            for method, pattern, handle in ROUTES:
                if method == request.method.replace("HEAD", "GET") and (found := pattern.fullmatch(request.path)):
                    parts = {name: unquote(part or "") for name, part in found.groupdict().items()}
                    with self.lock:
                        return handle(Call(self, request, parts))
            raise Refusal(404, "", f"No such page: {request.path}")
        except Refusal as refusal:
            return refusal.answer({})

    def bytes_served(self, path: str) -> int:
        """Bytes of all answers to requests whose path ends like this."""
        return sum(served.bytes for served in self.served if served.path.endswith(path) and served.method == "GET")

    def uploads(self, since: int = 0) -> list[Served]:
        """What was put into large file storage, objects or parts of them, since `served` had a length."""
        return [served for served in self.served[since:] if (served.method, served.status) == ("PUT", 200)]


_NAME: Final = r"(?P<id>[\w.-]+/[\w.-]+)"
_KIND: Final = r"(?P<kind>datasets|models)"
_API: Final = rf"/api/{_KIND}/{_NAME}"
_REVISION: Final = r"(?P<revision>[^/]+)"
_OBJECT: Final = rf"/lfs/{_KIND}/{_NAME}/(?P<oid>[0-9a-f]{{64}})"
_TALK: Final = rf"{_API}/discussions/(?P<num>\d+)"
#: Method, path (still quoted, so that a slash within a revision is no separator) and what answers. HEAD goes with GET.
ROUTES: Final[list[tuple[str, re.Pattern[str], Callable[[Call], Answer]]]] = [
    (method, re.compile(path), handle)
    for method, path, handle in (
        ("GET", rf"{_API}(?:/revision/{_REVISION})?", reading.info),
        ("GET", rf"{_API}/refs", reading.refs),
        ("GET", rf"{_API}/commits/{_REVISION}", reading.commits),
        ("GET", rf"{_API}/tree/{_REVISION}(?:/(?P<path>.+))?", reading.tree),
        ("POST", rf"{_API}/paths-info/{_REVISION}", reading.paths_info),
        ("GET", rf"/(?:(?P<kind>datasets)/)?{_NAME}/resolve/{_REVISION}/(?P<path>.+)", reading.resolve),
        ("GET", r"/api/whoami-v2", owning.whoami),
        ("POST", r"/api/repos/create", owning.create),
        ("DELETE", r"/api/repos/delete", owning.delete),
        ("GET", rf"{_API}/auth-check(?P<write>/write)?", owning.auth_check),
        ("POST", r"/api/validate-yaml", cards.validate),
        ("POST", rf"{_API}/preupload/{_REVISION}", uploading.preupload),
        ("POST", rf"/(?:(?P<kind>datasets)/)?{_NAME}\.git/info/lfs/objects/batch", uploading.batch),
        ("PUT", _OBJECT, uploading.put),
        ("PUT", rf"{_OBJECT}/(?P<part>\d+)", uploading.put_part),
        ("POST", rf"{_OBJECT}/complete", uploading.complete),
        ("POST", rf"/lfs-verify/{_KIND}/{_NAME}", uploading.verify),
        ("POST", rf"{_API}/commit/{_REVISION}", writing.commit),
        ("POST", rf"{_API}/branch/(?P<branch>[^/]+)", writing.create_branch),
        ("DELETE", rf"{_API}/branch/(?P<branch>[^/]+)", writing.delete_branch),
        ("POST", rf"{_API}/tag/{_REVISION}", writing.create_tag),
        ("DELETE", rf"{_API}/tag/(?P<tag>[^/]+)", writing.delete_tag),
        ("GET", rf"{_API}/discussions", discussions.listing),
        ("POST", rf"{_API}/discussions", discussions.create),
        ("GET", _TALK, discussions.details),
        ("POST", rf"{_TALK}/comment", discussions.comment),
        ("POST", rf"{_TALK}/title", discussions.rename),
        ("POST", rf"{_TALK}/status", discussions.change_status),
        ("POST", rf"{_TALK}/merge", discussions.merge),
    )
]
