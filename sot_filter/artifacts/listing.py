"""Which of thousands of artifacts are finished: one listing per folder, and each manifest read once."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from sot_filter.artifacts.files import not_json, reached, reaching

#: Manifests that are fetched side by side where a filesystem can.
_BATCH: Final = 1000
#: What a listing tells of a file beside its size, by which it is known that the file is another one.
_CHANGES: Final = ("ETag", "etag", "e_tag", "md5Hash", "generation", "mtime", "LastModified", "created")


class _Listed(NamedTuple):
    """What a listing says of a file; the stamp is empty where it says nothing but the size."""

    size: int
    stamp: tuple[Any, ...]


class _Read(NamedTuple):
    """What `finished` keeps of a manifest it has read."""

    listed: _Listed
    key: str
    rows: int
    bytes: int | None


_read: dict[str, _Read] = {}


def finished(urls: Iterable[str], key: str) -> dict[str, int]:
    """The rows of those artifacts that `find_manifest` finds, looked up together.

    Each folder is listed once, and a manifest is read again only when the listing says that it is another one, so that
    thousands of parts can be watched. Raises `ArtifactError` as `find_manifest` does.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    for url in urls:
        folder, _, name = url.rpartition("/")
        folders[folder].append(name)
    found = {}
    for folder, names in folders.items():
        fs, path = reached(folder)
        with reaching(fs, folder):
            listed = _list(fs, path, {*names, *(f"{name}.json" for name in names)})
        there = [name for name in names if f"{name}.json" in listed]
        _read_again(fs, folder, path, {f"{name}.json": listed[f"{name}.json"] for name in there})
        for name in there:
            read = _read.get(f"{folder}/{name}.json")
            if read is None or read.key != key:
                continue
            if read.bytes is None or (name in listed and listed[name].size == read.bytes):
                found[f"{folder}/{name}"] = read.rows
    return found


def _list(fs: AbstractFileSystem, path: str, names: set[str]) -> dict[str, _Listed]:
    """Those of the names that are in a folder."""
    try:
        if isinstance(fs, LocalFileSystem):
            with os.scandir(path) as entries:
                stats = {entry.name: entry.stat() for entry in entries if entry.name in names}
            return {name: _Listed(s.st_size, (s.st_mtime_ns, s.st_ino)) for name, s in stats.items()}
        # What other machines wrote is not in the listing that a client remembers.
        fs.invalidate_cache(path)
        infos = {info["name"].rstrip("/").rpartition("/")[2]: info for info in fs.ls(path, detail=True)}
        fs.invalidate_cache(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {
        name: _Listed(infos[name]["size"], tuple(str(infos[name][fact]) for fact in _CHANGES if fact in infos[name]))
        for name in names & infos.keys()
    }


def _read_again(fs: AbstractFileSystem, folder: str, path: str, listed: Mapping[str, _Listed]) -> None:
    """Read the manifests of a folder that are not those that were read before."""
    new = []
    for name, now in listed.items():
        before = _read.get(f"{folder}/{name}")
        if before is None or before.listed != now or not now.stamp:
            new.append(name)
    for start in range(0, len(new), _BATCH):
        for name, data in _fetch(fs, folder, path, new[start : start + _BATCH]).items():
            url = f"{folder}/{name}"
            try:
                manifest = json.loads(data)
            except ValueError:
                raise not_json(url) from None
            if isinstance(manifest, dict) and "key" in manifest:
                size = manifest["bytes"] if manifest["digest"] else None
                _read[url] = _Read(listed[name], manifest["key"], manifest["rows"], size)
            else:
                _read.pop(url, None)


def _fetch(fs: AbstractFileSystem, folder: str, path: str, names: list[str]) -> dict[str, bytes]:
    """The content of files of a folder, but for those that have gone since they were listed."""
    if not isinstance(fs, LocalFileSystem):
        with reaching(fs, folder):
            paths = [f"{path.rstrip('/')}/{name}" for name in names]
            contents = fs.cat(paths, on_error="omit") if paths else {}
        return {file.rpartition("/")[2]: content for file, content in contents.items()}
    found = {}
    for name in names:
        try:
            with reaching(fs, f"{folder}/{name}"):
                found[name] = Path(path, name).read_bytes()
        except FileNotFoundError:
            _read.pop(f"{folder}/{name}", None)
    return found
