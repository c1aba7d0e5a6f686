"""What is published where: the target, a file that lies with the Hub, and the outcome."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """Where on the Hub the output goes.

    Attributes:
        repo: the dataset repository, as ``org/name``.
        branch: the branch to commit to; None for ``main``.
        create_pr: open a pull request instead.
        private: whether a repository that has to be made is private.
        dataset: the Hub dataset that the rows were read from; None for files from elsewhere.
        revision: the commit that they were read at.
    """

    repo: str
    branch: str | None
    create_pr: bool
    private: bool
    dataset: str | None
    revision: str | None

    @property
    def name(self) -> str:
        """The branch that the output ends up on, or is proposed for."""
        return self.branch or "main"

    @property
    def source(self) -> str | None:
        """The commit that the rows were read at, where the output goes to their own repository."""
        # The Hub's names are the same in capitals.
        return self.revision if self.dataset and self.repo.lower() == self.dataset.lower() else None

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Target":
        """Read `to_json` back."""
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of the output that is ready for a commit.

    Attributes:
        path: its path in the repository.
        size: bytes.
        sha256: SHA-256 of its bytes, in hex.
        lfs: whether it lies with the Hub already; else it is small, and travels in the commit.
    """

    path: str
    size: int
    sha256: str
    lfs: bool

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Upload":
        """Read `to_json` back."""
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a push.

    Attributes:
        commit: the sha of the commit that has the output.
        url: the address of the commit, or of the pull request.
        branch: the branch that it is on or, for a pull request, proposed for.
        pull_request: the address of the pull request, if one was asked for.
        commits: how many commits this push made; 0 where an earlier one had made them.
    """

    commit: str
    url: str
    branch: str
    pull_request: str | None
    commits: int

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of plain values."""
        return asdict(self)
