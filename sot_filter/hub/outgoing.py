"""What a push wants in the repository, what of it a commit lacks, and the request that adds it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from sot_filter.errors import HubError
from sot_filter.hub.pieces import Piece, batches
from sot_filter.hub.session import CARD, KIND, card_at, files_at
from sot_filter.hub.target import Published, Target, Upload
from sot_filter.hub.upload import changed, read_noted, store, upload_file

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi

#: What the Hub says of a commit in which a file is named by a digest that it does not have (any more).
_LOST: Final = "LFS pointer"


@dataclass
class Outgoing:
    """One push, as far as it has come. Every question is asked anew, so an attempt may start at any time.

    Attributes:
        api: the client.
        target: where it goes.
        pieces: the files, without the card.
        card: the card's text, from the text that is there or None.
        key: what names the run.
        title: of commit and pull request.
        description: of both.
        sent: commits made so far.
        furthest: files that some branch or pull request has had of this push, at most; it grows only as it advances.
        tried: whether a commit was asked for; its answer may have been lost.
    """

    api: "HfApi"
    target: Target
    pieces: Sequence[Piece]
    card: Callable[[str | None], str]
    key: str
    title: str
    description: str
    sent: int = 0
    furthest: int = 0
    tried: bool = False
    _cards: set[str] = field(default_factory=set)
    _first: tuple[str, dict[str, str]] | None = None

    @property
    def repo(self) -> str:
        """The repository."""
        return self.target.repo

    def lacking(self, revision: str) -> list[Piece]:
        """What a commit does not have, or not with these bytes; the card comes last."""
        found = files_at(self.api, self.repo, revision, (piece.path for piece in self.pieces))
        lacking = [piece for piece in self.pieces if not piece.is_at(found.get(piece.path))]
        existing = card_at(self.api, self.repo, revision)
        text = self.card(existing)
        if existing is None or (existing != text and existing not in self._cards):
            self._cards.add(text)
            lacking.append(Piece.of_bytes(CARD, text.encode()))
        return lacking

    def check_others(self, head: str) -> None:
        """Raise `HubError` if somebody has changed a file of ours since this push first looked."""
        found = files_at(self.api, self.repo, head, (piece.path for piece in self.pieces))
        blobs = {path: entry.blob_id for path, entry in found.items()}
        if self._first is None:
            self._first = head, blobs
        start, before = self._first
        for piece in self.pieces:
            path = piece.path
            if blobs.get(path) != before.get(path) and not piece.is_at(found.get(path)):
                raise HubError(
                    f"{path} of {self.repo} at {self.target.name} as it was at {start}",
                    f"{head}, in which somebody has changed it; nothing was committed",
                    "Look at that commit; then run again to write over it, or set output.hub.branch.",
                )

    def fill(self, ref: str, head: str) -> str:
        """Commit what a branch or pull request lacks, in lots that a commit can carry, and return its new head."""
        lots = list(batches(self.lacking(head)))
        left = sum(map(len, lots))
        for number, lot in enumerate(lots, 1):
            part = f", part {number} of {len(lots)}" if len(lots) > 1 else ""
            head = self.send(lot, ref, head, self.title + part).oid
            left -= len(lot)
            # Not what was sent, which has no end where somebody keeps moving the head.
            self.furthest = max(self.furthest, len(self.pieces) + 1 - left)
        return head

    def send(
        self, lot: Sequence[Piece], ref: str, parent: str, title: str, *, create_pr: bool = False
    ) -> "CommitInfo":
        """Make one commit on ``ref``, which must be at ``parent``; or open a pull request on it with one."""
        from huggingface_hub.errors import BadRequestError

        create = partial(self._create, lot, ref, parent, title, create_pr)
        self.tried = True
        try:
            made = create()
        except BadRequestError as error:
            if _LOST not in str(error):
                raise
            self._upload_again(lot)
            made = create()
        self.sent += 1
        return made

    def published(self, sha: str, commits: int | None = None, pull_request: str | None = None) -> Published:
        """The outcome, after a look that the commit has everything. Raises `HubError` if it does not."""
        if lacking := self.lacking(sha):
            raise HubError(
                f"all files of the output in commit {sha} of {self.repo}",
                f"{len(lacking)} that are not there, as {lacking[0].path}",
                "Look at that commit, then run again: what is there is not committed twice.",
            )
        url = pull_request or f"{self.api.endpoint}/datasets/{self.repo}/commit/{sha}"
        made = max(self.sent, int(self.tried)) if commits is None else commits
        return Published(sha, url, self.target.name, pull_request, made)

    def _create(self, lot: Sequence[Piece], ref: str, parent: str, title: str, create_pr: bool) -> "CommitInfo":
        operations = [piece.operation() for piece in lot]
        store(self.api, self.repo, [operation for operation in operations if not operation._is_uploaded], ref)
        return self.api.create_commit(
            self.repo,
            operations,
            commit_message=title,
            commit_description=f"{self.description}\n\nsot-filter run {self.key}",
            repo_type=KIND,
            revision=ref,
            parent_commit=parent,
            create_pr=create_pr,
        )

    def _upload_again(self, lot: Sequence[Piece]) -> None:
        """Bring back what the Hub has dropped: it keeps files without a commit for a while only."""
        for piece in lot:
            if piece.lfs and piece.url:
                noted = Upload(piece.path, piece.size, piece.sha256, piece.lfs)
                if upload_file(self.target, piece.path, piece.url).sha256 != piece.sha256:
                    raise changed(noted, piece.url)


def outgoing_pieces(uploads: Sequence[tuple[Upload, str]], others: dict[str, bytes]) -> list[Piece]:
    """The files of a push, each path once."""
    pieces = [Piece.of_upload(upload, url, partial(read_noted, upload, url)) for upload, url in uploads]
    pieces += [Piece.of_bytes(path, content) for path, content in others.items()]
    return list({piece.path: piece for piece in pieces}.values())
