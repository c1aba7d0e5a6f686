"""Datasets of the Hub as sources: which commit, which files of it, and its card; without the Hub, from its cache."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

import yaml

from sot_filter.errors import HubError, SotFilterError, SourceError
from sot_filter.sources.converted import BRANCH, converted_files, is_conversion, looks_converted
from sot_filter.sources.discovery import pin_files
from sot_filter.sources.hub_cache import (
    cached_commit,
    cached_names,
    filesystem_of,
    outline,
    prepared_rows,
    require_cached,
    unknown_files,
)
from sot_filter.sources.hub_errors import answered, hub_errors
from sot_filter.sources.source import Source
from sot_filter.sources.storage import STORAGES, storage_of

_CARD: Final = "README.md"


class _Commit(NamedTuple):
    """A commit, and the names of its files; None where these are not known, as in a cache that `datasets` made."""

    sha: str
    names: Sequence[str] | None


class _OfOtherKinds(Exception):
    """What a repository holds instead of files of the kinds that are read here."""


def hub_source(
    dataset: str,
    *,
    config: str | None = None,
    revision: str | None = None,
    split: str = "train",
    format: str = "auto",
    columns: dict[str, str] | None = None,
    reserved: Sequence[str] = (),
) -> Source:
    """Find the files of a Hub dataset's split, its revision resolved to a commit sha.

    Files of the kinds in `STORAGES` are read as they lie; of a dataset of other kinds, what the Hub has converted to
    Parquet is, see `sot_filter.sources.converted`. With HF_HUB_OFFLINE all of it comes from the Hub's cache.

    Raises:
        SourceError: no such dataset, configuration, split or revision, no access, or files of a kind not known.
        HubError: the Hub did not answer, or is switched off and the cache does not have the rows.
    """
    from huggingface_hub import errors as hub
    from huggingface_hub import is_offline_mode

    if dataset.count("/") != 1:
        raise _no_id(dataset)
    where = f"{dataset}" + (f" at {revision}" if revision else "")
    with hub_errors(where):
        try:
            commit = _commit(dataset, revision)
        except hub.HFValidationError:
            raise _no_id(dataset) from None
        if is_conversion(commit.names or (), revision, config):
            name, files = converted_files(commit.names or (), config, split, where)
        else:
            try:
                name, files = _as_it_lies(dataset, commit, config, split, where)
            except (_OfOtherKinds, SourceError, OSError) as problem:
                if commit.names is None:
                    raise unknown_files(dataset, commit.sha) from None
                if not isinstance(problem, _OfOtherKinds):
                    raise
                commit = _conversion(dataset, revision, where, str(problem))
                name, files = converted_files(commit.names or (), config, split, f"{dataset} at {BRANCH}")
        if is_offline_mode():
            require_cached(dataset, commit.sha, files)
        source = pin_files(
            {file: filesystem_of(_uri(dataset, commit.sha, file)) for file in files},
            config=name,
            split=split,
            format=format,
            columns=columns or {},
            reserved=reserved,
            dataset=dataset,
            revision=commit.sha,
        )
        # `datasets` leaves files in the cache without a list of them. That none is missing is seen by their rows.
        if commit.names is None and prepared_rows(commit.sha, name, split) != source.rows:
            raise unknown_files(dataset, commit.sha)
        return source


def read_card(dataset: str, revision: str) -> str | None:
    """The card of a dataset at a commit, None where it has none; of the Hub's conversion, the card on ``main``.

    Raises:
        SourceError: no such dataset or commit, or no access.
        HubError: the Hub did not answer, or is switched off and the cache does not have the card.
    """
    with hub_errors(f"{dataset} at {revision}"):
        card = _text(dataset, revision)
        if card is None and looks_converted(_commit(dataset, revision).names or ()):
            try:
                card = _text(dataset, _commit(dataset, None).sha)
            except HubError:
                # Where the Hub is switched off, the conversion may be all that was fetched.
                card = None
    return card


def _text(dataset: str, sha: str) -> str | None:
    try:
        fs, path = filesystem_of(_uri(dataset, sha, _CARD))
        with fs.open(path, "rb") as handle:
            return bytes(handle.read()).decode("utf-8", "replace")
    except FileNotFoundError as error:
        # The clients say so of a missing repository too, and name it as the cause.
        if error.__cause__ is not None:
            raise
        return None


def _commit(dataset: str, revision: str | None) -> _Commit:
    from huggingface_hub import HfApi, is_offline_mode

    if is_offline_mode():
        sha = cached_commit(dataset, revision)
        return _Commit(sha, cached_names(dataset, sha))
    info = answered(lambda: HfApi().dataset_info(dataset, revision=revision))
    return _Commit(str(info.sha), [sibling.rfilename for sibling in info.siblings or ()])


def _as_it_lies(dataset: str, commit: _Commit, config: str | None, split: str, where: str) -> tuple[str, list[str]]:
    """The configuration and the files of a split, as `datasets` finds them. Raises `_OfOtherKinds`."""
    import datasets
    from datasets.exceptions import DataFilesNotFoundError
    from huggingface_hub import is_offline_mode

    datasets.disable_progress_bars()
    with ExitStack() as stack:
        # Of its own, since `datasets` leaves locks there, and a cache that is shared may be read-only.
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        # The prefix keeps a folder of the same name from being taken for the dataset.
        place = f"hf://datasets/{dataset}"
        try:
            if is_offline_mode():
                place = stack.enter_context(outline(dataset, commit.sha))
            builder = answered(
                lambda: datasets.load_dataset_builder(place, config, revision=commit.sha, cache_dir=scratch)
            )
        except (DataFilesNotFoundError, RuntimeError) as error:
            # The latter of a dataset that is a script.
            raise _OfOtherKinds(_said(error)) from error
        except (ValueError, yaml.YAMLError) as error:
            raise SourceError(
                f"a configuration of {where} that `datasets` can load",
                _said(error),
                "Set input.config, or correct the dataset's card.",
            ) from None
        splits = builder.config.data_files or {}
        if split not in splits:
            raise SourceError(
                f"a split {split!r} of {where}", f"splits {', '.join(map(str, splits))}", "Set input.split."
            )
        files = [_name(str(uri), place) for uri in splits[split]]
    if other := [file for file in files if storage_of(file) is None]:
        raise _OfOtherKinds(other[0])
    return builder.config.name, files


def _name(uri: str, place: str) -> str:
    """A file's name in its repository."""
    if uri.startswith("hf://"):
        return uri.split("@", 1)[1].split("/", 1)[1]
    return os.path.relpath(uri, place).replace(os.sep, "/")


def _conversion(dataset: str, revision: str | None, where: str, got: str) -> _Commit:
    """The head of the Hub's conversion. Raises `SourceError` where there is none, or none of that revision."""
    from huggingface_hub import errors as hub

    expected = f"{where} as files ending in {', '.join(STORAGES)}, or converted to Parquet by the Hub"
    do = "Push it again as Parquet, with push_to_hub of `datasets`, or give its data as `files`."
    if revision not in (None, "main"):
        do = f"The Hub converts the main branch only: leave out input.revision, or set it to {BRANCH}."
        raise SourceError(expected, got, do)
    try:
        commit = _commit(dataset, BRANCH)
    except hub.RevisionNotFoundError:
        commit = _Commit("", ())
    if not looks_converted(commit.names or ()):
        raise SourceError(expected, f"{got}, and no {BRANCH}", do)
    return commit


def _uri(dataset: str, sha: str, file: str) -> str:
    return f"hf://datasets/{dataset}@{sha}/{file}"


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _no_id(dataset: str) -> SotFilterError:
    return SourceError("a Hub dataset id as org/name", repr(dataset), "Correct it; for a local folder give `files`.")
