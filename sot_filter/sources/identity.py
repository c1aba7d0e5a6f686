"""Whether a source file is still the one that was pinned: at once by size and time, else by its digest."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import fsspec
from fsspec import AbstractFileSystem

from sot_filter.errors import SourceError

#: What filesystems tell of a file that is another one each time it is written.
_CHANGES: Final = ("ETag", "etag", "e_tag", "md5Hash", "generation", "mtime", "LastModified", "created", "ino")
_digests: dict[tuple[str, int, str], str] = {}


def stamp_of(info: Mapping[str, Any]) -> str:
    """What is told of a file by its filesystem and changes when it is written; empty where nothing of the kind is."""
    return " ".join(str(info[fact]) for fact in _CHANGES if info.get(fact) is not None)


def digest_of(fs: AbstractFileSystem, path: str, info: Mapping[str, Any]) -> str:
    """The Hub's own digest where there is one, else SHA-256 of the bytes."""
    if lfs := info.get("lfs"):
        return f"sha256:{lfs['sha256']}"
    if blob := info.get("blob_id"):
        return f"git:{blob}"
    digest = hashlib.sha256()
    with fs.open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def check_unchanged(name: str, uri: str, size: int, digest: str, stamp: str) -> None:
    """Find that a file is the one that was pinned.

    Its bytes are read only when its stamp is another one, as after a copy, and once by a process.

    Args:
        name: how the source names it.
        uri: where it lies.
        size: its pinned size in bytes.
        digest: its pinned digest, from `digest_of`.
        stamp: its pinned stamp, from `stamp_of`; empty if there is none.

    Raises:
        SourceError: it is another file, or gone.
    """
    fs, path = fsspec.url_to_fs(uri)
    fs.invalidate_cache(path)
    try:
        info = fs.info(path)
        now = stamp_of(info)
        if int(info["size"]) == size:
            if now and now == stamp:
                return
            known = (uri, size, now)
            if known not in _digests:
                _digests[known] = digest_of(fs, path, info)
            if _digests[known] == digest:
                return
        got = "another one"
    except FileNotFoundError:
        got = "none"
    raise SourceError(
        f"the source file {name} as it was when the run was planned, at {uri}",
        got,
        "Put that file back and run again; to weigh the new one, run with --redo.",
    )
