"""Files as they are to be in the repository: whether one is there already, and the operation that puts it there."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sot_filter.hub.target import Upload

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.hf_api import RepoFile

#: Files in a commit, of which the Hub recommends fewer than a hundred: it looks at each, and has 60 seconds.
FILES: Final = 100
#: Bytes that travel in a commit itself, in memory here and as base64 on the wire.
BYTES: Final = 64_000_000


@dataclass(frozen=True)
class Piece:
    """A file as it is to be in the repository.

    Attributes:
        path: its path there.
        size: bytes.
        sha256: SHA-256 of its bytes, in hex.
        lfs: whether it lies with the Hub already, so that its digest stands for it in a commit.
        read: its bytes, for one that does not.
        url: where it is to be read again, for one that was uploaded.
    """

    path: str
    size: int
    sha256: str
    lfs: bool
    read: Callable[[], bytes]
    url: str | None = None

    @classmethod
    def of_upload(cls, upload: Upload, url: str, read: Callable[[], bytes]) -> "Piece":
        """A file that a worker has uploaded, or noted."""
        return cls(upload.path, upload.size, upload.sha256, upload.lfs, read, url)

    @classmethod
    def of_bytes(cls, path: str, content: bytes) -> "Piece":
        """A small file that is here already."""
        return cls(path, len(content), hashlib.sha256(content).hexdigest(), False, lambda: content)

    @cached_property
    def blob(self) -> str:
        """Git's name of the content."""
        return hashlib.sha1(b"blob %d\0" % self.size + self.read(), usedforsecurity=False).hexdigest()

    def is_at(self, entry: "RepoFile | None") -> bool:
        """Whether the repository's entry for the path has these bytes."""
        if entry is None or (self.lfs and entry.lfs is None):
            return False
        return entry.lfs.sha256 == self.sha256 if entry.lfs else entry.blob_id == self.blob

    def operation(self) -> "CommitOperationAdd":
        """What puts the file into a commit. One that was uploaded, by whatever process, is not read again."""
        from huggingface_hub import CommitOperationAdd
        from huggingface_hub.lfs import UploadInfo

        if not self.lfs:
            return CommitOperationAdd(self.path, self.read())
        # The state in which `preupload_lfs_files` leaves an operation, which it offers no way to carry elsewhere.
        operation = CommitOperationAdd(self.path, b"")
        operation.upload_info = UploadInfo(size=self.size, sample=b"", sha256=bytes.fromhex(self.sha256))
        operation._upload_mode = "lfs"
        operation._is_uploaded = True
        return operation


def batches(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """The pieces in order, in lots that a commit can carry: at most `FILES`, and `BYTES` of those not uploaded."""
    lot: list[Piece] = []
    carried = 0
    for piece in pieces:
        weight = 0 if piece.lfs else piece.size
        if lot and (len(lot) == FILES or (weight and carried + weight > BYTES)):
            yield lot
            lot, carried = [], 0
        lot.append(piece)
        carried += weight
    if lot:
        yield lot
