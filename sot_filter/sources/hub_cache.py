"""Datasets in the Hub's cache on this machine, read from there when HF_HUB_OFFLINE switches the Hub off."""

import glob
import hashlib
import json
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import fsspec
from fsspec import AbstractFileSystem

from sot_filter.errors import HubError
from sot_filter.sources.hub_errors import answered

_PATH: Final = re.compile(r"datasets/([^/@]+/[^/@]+)@([0-9a-f]{40})/(.+)")
#: What says how `datasets` lays a repository out, where the repository has it.
LAYOUT: Final = ("README.md", ".huggingface.yaml", "dataset_infos.json")
_SHOWN = 3


class HubCache(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The cache seen as the Hub: paths and facts of files are those of ``HfFileSystem``, at commits only, to read."""

    protocol = "hf"
    cachable = False

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Size, and the digest that the Hub has for the file. Raises `HubError` where it is not in the cache."""
        dataset, sha, name = _parsed(self._strip_protocol(path))
        file = _located(dataset, sha, name)
        large, blob = _names(file, dataset, sha, name)
        facts = {"name": self._strip_protocol(path), "type": "file", "size": file.stat().st_size, "blob_id": blob}
        return facts | ({"lfs": {"sha256": large}} if large else {})

    def _open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> IO[bytes]:
        return _located(*_parsed(path)).open("rb")


def filesystem_of(uri: str) -> tuple[AbstractFileSystem, str]:
    """Where a source file is read from: what its URL says, or the Hub's cache where the Hub is switched off.

    Raises:
        HubError: the Hub is switched off, and the cache does not have the file.
        Exception: what the Hub's client raises where it does not have it, or does not answer.
    """
    if not _PATH.fullmatch(uri.removeprefix("hf://")):
        fs, path = fsspec.url_to_fs(uri)
        return fs, path
    from huggingface_hub import is_offline_mode

    fs = HubCache() if is_offline_mode() else fsspec.filesystem("hf")
    path = fs._strip_protocol(uri)
    # Now, since later the client would ask for it without trying again; it keeps the answer.
    answered(lambda: fs.info(path))
    return fs, path


def cached_commit(dataset: str, revision: str | None) -> str:
    """The commit that a revision meant when the cache last heard of it. Raises `HubError` where it never did."""
    from huggingface_hub import errors, resolve_revision

    try:
        return resolve_revision(dataset, repo_type="dataset", revision=revision, local_files_only=True).resolved
    except errors.RevisionResolutionError:
        raise _absent(dataset, revision, f"no commit of {revision or 'main'} in the cache") from None


def cached_names(dataset: str, sha: str) -> list[str] | None:
    """The names of all files of a commit, those not in the cache too; None where the cache does not know them."""
    tree = _tree(dataset, sha)
    return None if tree is None else sorted(tree)


@contextmanager
def outline(dataset: str, sha: str) -> Iterator[str]:
    """A folder that `datasets` finds the same splits in as in a commit: what lays it out, and its data as empty files.

    Where the cache does not know the files of the commit, those that it has stand for all: see `prepared_rows`.

    Raises:
        HubError: the cache has nothing of the commit, or not what lays it out.
        RuntimeError: the dataset is a script; what `datasets` raises of one.
    """
    names = cached_names(dataset, sha)
    known = names if names is not None else _present(dataset, sha)
    if not known:
        raise _absent(dataset, sha, f"no file of the commit {sha} in the cache")
    if (script := f"{dataset.split('/')[1]}.py") in known:
        raise RuntimeError(f"Dataset scripts are not supported, but found {script}")
    with tempfile.TemporaryDirectory() as folder:
        # No path of a list that came by the network leads out of the folder.
        for name in (name for name in known if ".." not in name.split("/") and not name.startswith("/")):
            empty = Path(folder, name)
            empty.parent.mkdir(parents=True, exist_ok=True)
            empty.touch()
        for name in LAYOUT:
            if name in known:
                Path(folder, name).write_bytes(_located(dataset, sha, name).read_bytes())
            elif names is None and not _known_absent(dataset, sha, name):
                raise unknown_files(dataset, sha)
        yield os.path.realpath(folder)


def prepared_rows(sha: str, config: str, split: str) -> int | None:
    """How many rows `datasets` found in a split at a commit when it last loaded it here, if it did."""
    from datasets import config as settings

    pattern = Path(glob.escape(str(settings.HF_DATASETS_CACHE)), "*", glob.escape(config), "*", sha)
    for file in glob.glob(str(pattern / "dataset_info.json")):
        splits = json.loads(Path(file).read_text(encoding="utf-8")).get("splits") or {}
        if split in splits:
            return int(splits[split]["num_examples"])
    return None


def require_cached(dataset: str, sha: str, names: Sequence[str]) -> None:
    """Find that all of these files are in the cache. Raises `HubError` that names those that are not."""
    if missing := sorted(set(names) - set(_present(dataset, sha))):
        shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if missing[_SHOWN:] else "")
        raise _absent(dataset, sha, f"no {shown} in the cache", missing)


def unknown_files(dataset: str, sha: str) -> HubError:
    """The error for a commit of which the cache has files, but does not know whether these are all."""
    return _absent(dataset, sha, "files of it in the cache, perhaps not all")


def _parsed(path: str) -> tuple[str, str, str]:
    found = _PATH.fullmatch(path)
    if found is None:
        raise FileNotFoundError(f"{path} is no file of a dataset at a commit")
    return found[1], found[2], found[3]


def _located(dataset: str, sha: str, name: str) -> Path:
    """Where the cache has a file. Raises `HubError` where it has not, FileNotFoundError where it knows of none."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(dataset, name, revision=sha, repo_type="dataset")
    if isinstance(found, str):
        return Path(found)
    if _known_absent(dataset, sha, name):
        raise FileNotFoundError(f"{dataset} at {sha} has no {name}")
    raise _absent(dataset, sha, f"no {name} in the cache", [name])


def _known_absent(dataset: str, sha: str, name: str) -> bool:
    """Whether the cache knows that a commit does not have a file."""
    from huggingface_hub import try_to_load_from_cache

    tree = _tree(dataset, sha)
    if tree is not None:
        return name not in tree
    found = try_to_load_from_cache(dataset, name, revision=sha, repo_type="dataset")
    return found is not None and not isinstance(found, str)


def _names(file: Path, dataset: str, sha: str, name: str) -> tuple[str | None, str | None]:
    """SHA-256 of a file in large file storage, or git's name of another, as the Hub states them."""
    blob = file.resolve()
    if blob.parent.name == "blobs":
        return (blob.name, None) if len(blob.name) == 64 else (None, blob.name)
    # A cache without links has no blobs: only the commit's tree knows which of the two names the file has.
    tree = _tree(dataset, sha)
    if tree is None:
        raise unknown_files(dataset, sha)
    size = file.stat().st_size
    git, large = hashlib.sha1(b"blob %d\0" % size), hashlib.sha256()
    with file.open("rb") as handle:
        while block := handle.read(1 << 20):
            git.update(block)
            large.update(block)
    return (None, git.hexdigest()) if git.hexdigest() == tree[name] else (large.hexdigest(), None)


def _tree(dataset: str, sha: str) -> dict[str, str] | None:
    """Git's name of each file of a commit, or of the pointer to it, where the cache knows them."""
    from huggingface_hub import errors, get_cached_repo_tree

    try:
        return {file.path: file.blob_id for file in get_cached_repo_tree(dataset, repo_type="dataset", revision=sha)}
    except errors.CachedRepoTreeNotFoundError:
        return None


def _present(dataset: str, sha: str) -> list[str]:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE, f"datasets--{dataset.replace('/', '--')}", "snapshots", sha)
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(file.relative_to(folder).as_posix() for file in files if file.is_file())


def _absent(dataset: str, revision: str | None, got: str, names: Sequence[str] = ()) -> HubError:
    command = ["hf", "download", dataset, "--repo-type", "dataset"]
    command += ["--revision", revision] if revision else []
    command += ["--include", *names] if 0 < len(names) <= _SHOWN else []
    return HubError(
        f"{dataset}{f' at {revision}' if revision else ''} in the Hub's cache here, since HF_HUB_OFFLINE is set",
        got,
        f"Unset it, or run `{shlex.join(command)}` where the Hub can be reached.",
    )
