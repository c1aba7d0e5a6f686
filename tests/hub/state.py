"""What the stand-in knows: repositories, accounts with their rights, limits; and a request as its handlers see it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from tests.hub.repository import Commit, Kind, Repository
from tests.hub.wire import Refusal, Request

#: When everything happened.
DATE: Final = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Account:
    """Whom a token belongs to, and what it may do.

    Attributes:
        name: also the namespace of the account's own repositories.
        role: of the token: ``read`` may never write; ``fineGrained`` may only where a repository's writers name it.
        orgs: the organizations that the account is in, with its role there: ``admin``, ``write`` or ``read``.
    """

    name: str
    role: Literal["read", "write", "fineGrained"] = "write"
    orgs: Mapping[str, str] = field(default_factory=dict)

    def may_write_in(self, namespace: str) -> bool:
        """Whether this token may make repositories in a namespace and write to all that are there."""
        own = namespace == self.name or self.orgs.get(namespace) in ("admin", "write")
        return self.role == "write" and own

    def may_read_in(self, namespace: str) -> bool:
        """Whether this token may read what is closed in a namespace."""
        return self.role != "fineGrained" and (namespace == self.name or namespace in self.orgs)


@dataclass
class Limits:
    """What the stand-in accepts; a test sets them lower than the Hub's.

    Attributes:
        payload: bytes of a commit's request.
        regular: bytes of a file outside of large file storage.
        part: bytes above which an upload to large file storage goes in parts of this size.
        repositories: how many a namespace may hold for another to be made.
        private: bytes in large file storage that the private repositories of a namespace may hold.
        page: discussions or commits on one page of a listing.
        foreign: whether those who may not write may fill large file storage for a pull request. The Hub's word on
            this has changed more than once.
    """

    payload: int | None = None
    regular: int = 10_000_000
    part: int | None = None
    repositories: int | None = None
    private: int | None = None
    page: int = 10
    foreign: bool = True


class State:
    """Everything that the stand-in knows.

    Args:
        tokens: the tokens of all accounts; another one is refused.
        accounts: whom tokens belong to; one that is not here belongs to a stranger and may write nowhere.
    """

    url: str

    def __init__(self, tokens: frozenset[str], accounts: Mapping[str, Account]) -> None:
        self.tokens = tokens | frozenset(accounts)
        self.accounts = dict(accounts)
        self.repositories: dict[tuple[Kind, str], Repository] = {}
        self.limits = Limits()
        #: Parts of objects on their way into large file storage, by digest and number.
        self.parts: dict[tuple[str, int], bytes] = {}
        #: One request at a time is carried out, so that a commit sees the head that it replaces.
        self.lock = threading.RLock()

    def account(self, token: str) -> Account:
        """Whom a token belongs to."""
        return self.accounts.get(token, Account("someone"))

    def may_read(self, repository: Repository, token: str | None) -> bool:
        """Whether who has this token may read files."""
        if repository.readable_by(token):
            return True
        return token is not None and self.account(token).may_read_in(repository.namespace)

    def may_write(self, repository: Repository, token: str | None) -> bool:
        """Whether who has this token may move branches."""
        if token is None:
            return False
        account = self.account(token)
        named = account.role != "read" and token in repository.writers
        return named or account.may_write_in(repository.namespace)


@dataclass(frozen=True)
class Call:
    """A request with what its handler needs: the state, the parts of its path, the repository that it is about."""

    hub: State
    request: Request
    parts: Mapping[str, str]

    @cached_property
    def place(self) -> Repository | None:
        """The repository that the path names, whoever asks; None if it is not there."""
        kind: Kind = "datasets" if self.parts["kind"] == "datasets" else "models"
        return self.hub.repositories.get((kind, self.parts["id"]))

    @property
    def page(self) -> str:
        """The address of the repository's page."""
        folder = "datasets/" if self.parts["kind"] == "datasets" else ""
        return f"{self.hub.url}/{folder}{self.parts['id']}"

    @cached_property
    def repository(self) -> Repository:
        """The repository that the path names.

        Raises:
            Refusal: if it is not there, or not for this token to know of.
        """
        repository, token = self.place, self.request.token
        if repository is None or (repository.access == "private" and not self.hub.may_read(repository, token)):
            # Whether it is there is not for everyone to know.
            raise Refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        return repository

    @cached_property
    def account(self) -> Account:
        """Who asks.

        Raises:
            Refusal: if no token came.
        """
        if self.request.token is None:
            raise Refusal(401, "", "Invalid username or password.")
        return self.hub.account(self.request.token)

    def commit(self, revision: str | None = None) -> Commit:
        """The commit that a revision names, by default the one in the path, or the head of ``main``.

        Raises:
            Refusal: if there is none.
        """
        wanted = revision or self.parts.get("revision") or "main"
        commit = self.repository.at(wanted)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {wanted}")
        return commit

    def must_write(self, *, pull: bool = False) -> None:
        """Refuse who may not write.

        Args:
            pull: whether it is about a pull request, which everyone may open who may read and has a write token.
        """
        repository = self.repository
        if self.account.role == "read":
            raise Refusal(403, "", "you must use a write token to upload to a repository.")
        if self.hub.may_write(repository, self.request.token):
            return
        if not pull:
            raise Refusal(403, "", "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        if not self.hub.may_read(repository, self.request.token):
            raise Refusal(403, "GatedRepo", f"Access to {repository.id} is restricted")
