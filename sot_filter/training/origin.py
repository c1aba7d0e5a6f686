"""Where rows to train on lie: a dataset of the Hub, the output folder of a run, or files. Map-style, memory-mapped."""

import glob
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import datasets
from huggingface_hub import HfApi, errors, is_offline_mode, snapshot_download
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not to type checkers

from sot_filter.errors import HubError, SotFilterError, SourceError

#: The loader for a file, by what its name ends in once a compression is taken off.
_LOADERS: Final = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
}
_COMPRESSIONS: Final = (".gz", ".zst", ".bz2", ".xz")
_SHA: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Rows, and where they came from.

    Attributes:
        rows: all of them, in their order.
        name: the Hub dataset's id, or the folder or files as they were given.
        revision: the commit sha of a Hub dataset.
        config: the configuration that was asked for.
        split: the split.
    """

    rows: datasets.Dataset
    name: str
    revision: str | None
    config: str | None
    split: str


def open_rows(
    dataset: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    split: str = "train",
    files: str | Sequence[str] | None = None,
) -> Origin:
    """Open rows; nothing of them is read yet that memory would have to hold.

    Args:
        dataset: a Hub dataset's id; this or ``files``.
        config: its configuration, or that of a folder with a card.
        revision: branch, tag or commit of the Hub dataset.
        split: the split to read; the files' own where they are given one by one.
        files: a folder, whose README.md says which of its files are data, or paths and globs of files of one kind.

    Raises:
        SourceError: no such dataset, configuration, split or files, or they cannot be read.
        HubError: the Hub did not answer.
    """
    if (dataset is None) == (files is None):
        got = "neither" if files is None else "both"
        raise SourceError("either a Hub dataset or files", got, "Give `dataset` or `files`.")
    if dataset is not None:
        sha = resolve_dataset(dataset, revision)
        with _told(f"{dataset} at {sha[:12]}"):
            rows = _load(dataset, config, split, revision=sha)
            _check_revision(rows, sha)
            return Origin(rows, dataset, sha, config, split)
    given = [files] if isinstance(files, str) else list(files or ())
    name = ", ".join(given)
    if len(given) == 1 and Path(given[0]).is_dir():
        with _told(name):
            return Origin(_load(given[0], config, split, _data_files(given[0])), name, None, config, split)
    paths = _expanded(given)
    with _told(name):
        return Origin(_load(_loader(paths), None, split, paths, data_files={split: paths}), name, None, None, split)


def resolve_dataset(dataset: str, revision: str | None = None) -> str:
    """The commit sha of a Hub dataset's branch, tag or commit; its default branch if none is named.

    Offline, it is the newest commit in the cache on this machine.

    Raises:
        SourceError: no such dataset or revision, or no access to it.
        HubError: the Hub did not answer.
    """
    if revision is not None and _SHA.fullmatch(revision):
        return revision
    with _told(dataset if revision is None else f"{dataset} at {revision}"):
        offline = is_offline_mode()
        if not offline:
            # Where the Hub does not answer, what follows would take the cache's word for it.
            HfApi().dataset_info(dataset, revision=revision)
        folder = snapshot_download(
            dataset, repo_type="dataset", revision=revision, allow_patterns="README.md", local_files_only=offline
        )
        return Path(folder).name


def _data_files(folder: str) -> list[str]:
    """All files of a folder that could be data."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return [str(path) for path in files if any(suffix.lower() in (*_LOADERS, ".arrow") for suffix in path.suffixes)]


def _content(files: Sequence[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        with open(file, "rb") as handle:
            digest.update(hashlib.file_digest(handle, hashlib.blake2b).digest())
    return digest.hexdigest()


def _load(path: str, config: str | None, split: str, local: Sequence[str] = (), **rest: Any) -> datasets.Dataset:
    # What `datasets` has read of a folder it finds again under the folder's last name, whatever has become of the
    # files since. A description, which nothing reads, is part of what it goes by.
    told = {"description": _content(local)} if local else {}
    rows = datasets.load_dataset(path, config, split=split, **told, **rest)
    if not isinstance(rows, datasets.Dataset):
        raise SourceError("one split of rows", type(rows).__name__, "Name one split, as `train`.")
    return rows


def _check_revision(rows: datasets.Dataset, sha: str) -> None:
    """Refuse rows of another commit: offline, `datasets` takes the newest in its cache, whatever was asked for."""
    found = {Path(file["filename"]).parent.name for file in rows.cache_files}
    if is_offline_mode() and found != {sha}:
        raise HubError(
            f"rows of commit {sha} in the cache, as HF_HUB_OFFLINE is set",
            f"those of {', '.join(sorted(found)) or 'no commit'}",
            "Unset HF_HUB_OFFLINE once, or name the commit that is there as `revision`.",
        )


def _expanded(given: Sequence[str]) -> list[str]:
    """The files that paths and globs name, each glob's in order of their names."""
    paths: list[str] = []
    for one in given:
        found = (
            [one] if Path(one).is_file() else sorted(p for p in glob.glob(one, recursive=True) if Path(p).is_file())
        )
        if not found:
            raise SourceError(f"files at {one}", "none", "Check `files`: a folder, or paths and globs of files.")
        paths += [path for path in found if path not in paths]
    return paths


def _loader(paths: Sequence[str]) -> str:
    """What reads these files."""
    kinds = {}
    for path in paths:
        suffixes = [suffix for suffix in Path(path).suffixes if suffix not in _COMPRESSIONS]
        kinds[_LOADERS.get(suffixes[-1].lower() if suffixes else "")] = path
    if None in kinds or len(kinds) != 1:
        shown = ", ".join(Path(path).name for path in kinds.values())
        raise SourceError(
            f"files of one kind among {', '.join(_LOADERS)}", shown, "Name the data files under `files`."
        )
    return str(next(iter(kinds)))


@contextmanager
def _told(where: str) -> Iterator[None]:
    """The libraries' errors in this package's words."""
    try:
        yield
    except SotFilterError:
        raise
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        datasets.exceptions.DatasetNotFoundError,
    ) as e:
        raise SourceError(
            f"rows of {where} on the Hub",
            _shown(e),
            "Check id and revision; for a private or gated dataset, log in or set HF_TOKEN.",
        ) from None
    except (httpx.HTTPError, ConnectionError, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as e:
        raise HubError(
            f"an answer of the Hub for {where}",
            _shown(e),
            "Check the network and log-in and try again, or set HF_HUB_OFFLINE=1 if it is in the cache here.",
        ) from None
    except StopIteration:  # so datasets says that the first of JSON files is empty
        raise SourceError(f"rows in {where}", "an empty file", "Check `files`.") from None
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as e:
        raise SourceError(f"rows in {where}", _shown(e), "Check configuration, split and files.") from None


def _shown(error: BaseException) -> str:
    """An error in one line, the cause where the error only says that there was one."""
    while isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
