"""Files that appear whole or not at all, on any filesystem that fsspec reaches."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from sot_filter.errors import ArtifactError, SotFilterError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def reached(url: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of a URL, and the path there. Raises `ArtifactError` when it cannot be had."""
    try:
        fs, path = fsspec.url_to_fs(url)
    except Exception as error:
        # Each protocol has its own client, and each client its own exceptions.
        raise _unreachable(error, url) from None
    return fs, path


@contextlib.contextmanager
def reaching(fs: AbstractFileSystem, url: str) -> Iterator[None]:
    """Say that a place did not answer as a place for files does. A missing file passes: it may well be missing.

    Raises:
        ArtifactError: no permission, no network, no credentials, a mount that is gone.
    """
    try:
        yield
    except (SotFilterError, FileNotFoundError):
        raise
    except Exception as error:
        if isinstance(fs, LocalFileSystem) and not isinstance(error, OSError):
            raise
        raise _unreachable(error, url) from None


def _unreachable(error: Exception, url: str) -> ArtifactError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    got = " ".join(f"{type(error).__name__}: {reason}".split())[:200].rstrip(". ")
    return ArtifactError(
        f"to reach {url}", got, "Check the path, its permissions, and for a URL its package, credentials and network."
    )


def write_atomic(url: str, write: Callable[[IO[bytes]], object]) -> tuple[str, int]:
    """Write a file beside its place, read it back, and only then give it its name.

    Args:
        url: where the file goes.
        write: writes the content to the handle it is given.

    Returns:
        SHA-256 of what was read back, and its size in bytes.

    Raises:
        ArtifactError: no room, or the place cannot be written. Nothing of the file is left then.
    """
    fs, path = reached(url)
    local = isinstance(fs, LocalFileSystem)
    folder = Path(path).parent if local else Path(tempfile.gettempdir())
    beside = folder / f".{Path(path).name[:100]}.{uuid.uuid4().hex}.part"
    try:
        _make_folder(folder, url)
        try:
            with beside.open("xb") as handle:
                write(handle)
                handle.flush()
                os.fsync(handle.fileno())
            with beside.open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            size = beside.stat().st_size
            if local:
                beside.replace(path)
            else:
                with reaching(fs, url):
                    fs.makedirs(fs._parent(path), exist_ok=True)
                    fs.put_file(str(beside), path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, FileNotFoundError | ConnectionError) or error.errno is None:
            raise
        raise write_error(error, url) from None
    return digest, size


def _make_folder(folder: Path, url: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(error, url) from None


def write_error(error: OSError, url: str) -> ArtifactError:
    """What a failed write to ``url`` means to a user."""
    if error.errno in _FULL:
        return ArtifactError(
            f"room to write {url}",
            "a full disk or quota",
            "Free some space and run the same command again; what is finished is kept.",
        )
    reason = error.strerror or str(error)
    return ArtifactError(f"to be able to write {url}", reason.lower(), "Check the path and its permissions.")


def write_bytes(url: str, data: bytes) -> tuple[str, int]:
    """As `write_atomic`, for content that is at hand."""
    return write_atomic(url, lambda handle: handle.write(data))


def write_json(url: str, data: Any) -> None:
    """Write ``data`` as JSON, whole or not at all."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(url, text.encode())


def read_bytes(url: str) -> bytes | None:
    """A file's content, or None where there is none. Raises `ArtifactError` when the place cannot be reached."""
    fs, path = reached(url)
    try:
        with reaching(fs, url):
            return bytes(fs.cat_file(path))
    except FileNotFoundError:
        return None


def read_json(url: str) -> Any:
    """A JSON file's content, or None where there is none. Raises `ArtifactError` for broken JSON."""
    data = read_bytes(url)
    if data is None:
        return None
    try:
        return json.loads(data)
    except ValueError:
        raise not_json(url) from None


def not_json(url: str) -> ArtifactError:
    """What broken JSON at ``url`` means to a user."""
    return ArtifactError(f"valid JSON in {url}", "something else", "Remove the file and run again.")


def remove(url: str) -> None:
    """Remove a file, if it is there. Raises `ArtifactError` when the place cannot be reached."""
    fs, path = reached(url)
    with contextlib.suppress(FileNotFoundError), reaching(fs, url):
        fs.rm_file(path)
