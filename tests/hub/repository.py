"""A repository of the stand-in: commits with all their files as bytes, and the names that point at them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

Kind = Literal["datasets", "models"]
Access = Literal["open", "gated", "private"]

#: Endings that a new repository keeps in large file storage, so that their digest is a SHA-256.
LARGE: Final = (".parquet", ".arrow", ".safetensors", ".bin", ".gz", ".zst")


@dataclass(frozen=True)
class File:
    """A file's content and the two names that the Hub has for it."""

    content: bytes
    large: bool

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def blob(self) -> str:
        """Git's name of what is in the tree: the content, or the pointer to it in large file storage."""
        return git_blob(self.pointer if self.large else self.content)

    @property
    def etag(self) -> str:
        """What the clients' caches name the content by."""
        return self.sha256 if self.large else self.blob

    @property
    def pointer(self) -> bytes:
        """What stands in the tree for a file in large file storage."""
        size = len(self.content)
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {size}\n".encode()


@dataclass(frozen=True)
class Commit:
    """All files of a repository at one time, by path."""

    sha: str
    title: str
    parent: str | None
    files: Mapping[str, File]
    description: str = ""
    author: str = "someone"


@dataclass
class Discussion:
    """A discussion, or a pull request where it has a `base`.

    Attributes:
        status: ``draft``, ``open``, ``closed`` or ``merged``.
        base: the branch that a pull request is to be merged into.
        start: the commit that a pull request began at.
        merged: the commit on the base that merged it.
    """

    num: int
    title: str
    author: str
    status: str = "open"
    base: str | None = None
    start: str | None = None
    merged: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """The name of a pull request's head."""
        return f"refs/pr/{self.num}"


@dataclass
class Repository:
    """A repository: commits by sha, and the names that branches, tags and pull requests give them.

    Attributes:
        access: ``open``; ``gated``, where all may look and members may read files; ``private``, for members only.
        members: tokens of those who may read, besides the namespace's own.
        writers: tokens of those who may read and write, besides the namespace's own.
        pulls: heads of the pull requests, by ``refs/pr/N``.
        objects: large file storage, by SHA-256: what was uploaded, whether a commit names it or not.
    """

    kind: Kind
    id: str
    access: Access = "open"
    members: frozenset[str] = frozenset()
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    writers: frozenset[str] = frozenset()
    pulls: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    discussions: list[Discussion] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """Whose it is."""
        return self.id.split("/")[0]

    @property
    def head(self) -> Commit:
        """The newest commit on ``main``."""
        return self.commits[self.branches["main"]]

    def commit(
        self, files: Mapping[str, bytes | None], title: str = "Update", branch: str = "main", *, keep: bool = True
    ) -> str:
        """Add a commit on a branch and return its sha.

        Args:
            files: new contents by path, None to delete.
            title: first line of the message.
            branch: made from nothing if it is not there.
            keep: whether files that are not named stay.
        """
        parent = self.branches.get(branch)
        after = dict(self.commits[parent].files) if parent and keep else {}
        for path, content in files.items():
            if content is None:
                del after[path]
            else:
                after[path] = File(content, path.endswith(LARGE))
        return self.record(after, branch, parent, title)

    def record(
        self,
        files: Mapping[str, File],
        ref: str,
        parent: str | None,
        title: str,
        description: str = "",
        author: str = "someone",
    ) -> str:
        """Add a commit with exactly these files, move a branch or a pull request's head to it, and return its sha."""
        tree = sorted((path, file.blob) for path, file in files.items())
        sha = hashlib.sha1(json.dumps([self.kind, self.id, len(self.commits), parent, title, tree]).encode())
        commit = Commit(sha.hexdigest(), title, parent, dict(files), description, author)
        self.commits[commit.sha] = commit
        self.objects |= {file.sha256: file.content for file in files.values() if file.large}
        (self.pulls if ref.startswith("refs/pr/") else self.branches)[ref] = commit.sha
        return commit.sha

    def at(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag, a pull request or a sha names."""
        for names in (self.branches, self.tags, self.pulls):
            if revision in names:
                return self.commits[names[revision]]
        return self.commits.get(revision)

    def history(self, revision: str = "main") -> list[Commit]:
        """The commits that led to a revision, newest first."""
        commit, found = self.at(revision), []
        while commit is not None:
            found.append(commit)
            commit = self.commits[commit.parent] if commit.parent else None
        return found

    def readable_by(self, token: str | None) -> bool:
        """Whether who has this token may read files, whoever they are."""
        return self.access == "open" or token in self.members | self.writers


def git_blob(content: bytes) -> str:
    """Git's name of a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
