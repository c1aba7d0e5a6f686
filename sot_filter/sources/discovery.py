"""Finding the files of a source and pinning them: row counts, digests, format, columns."""

import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Final

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from sot_filter.conversation import FORMATS, detect_format, format_of_columns, resolve_columns
from sot_filter.errors import SourceError
from sot_filter.sources.identity import digest_of, stamp_of
from sot_filter.sources.source import Source, SourceFile
from sot_filter.sources.storage import STORAGES, kind_of, storage_of
from sot_filter.sources.survey import Survey

_GLOB: Final = "*?["


def local_source(
    patterns: str | Sequence[str],
    *,
    split: str = "train",
    config: str = "default",
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reserved: Sequence[str] = (),
) -> Source:
    """Find local files (or any that fsspec reaches).

    Args:
        patterns: paths, folders (read with all below) or globs.
        split: the split's name in row ids.
        config: the configuration's name in row ids.
        format: one of `FORMATS`, or ``auto``.
        columns: the user's own mapping, field to column.
        reserved: columns that are to be added, so that no row may have one of these names.

    Raises:
        SourceError: nothing found, a kind of file not known, an unreadable or empty file, files that disagree, or a
            column of a reserved name.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    found: dict[str, tuple[AbstractFileSystem, str]] = {}
    roots = []
    for pattern in patterns:
        fs, path = _reached(pattern)
        paths, root = _expand(fs, path, pattern)
        roots.append(root)
        found.update({fs.unstrip_protocol(p): (fs, p) for p in paths})
    # One root for all patterns: names then stay distinct, and do not change when a pattern is written otherwise.
    root = posixpath.commonpath(roots) if len(set(roots)) > 1 else roots[0]
    named = {posixpath.relpath(path, root): (fs, path) for fs, path in found.values()}
    return pin_files(named, config=config, split=split, format=format, columns=columns or {}, reserved=reserved)


def _reached(pattern: str) -> tuple[AbstractFileSystem, str]:
    try:
        fs, path = fsspec.url_to_fs(pattern)
    except (ValueError, ImportError) as error:
        raise SourceError(
            "a path, or a URL of a protocol that fsspec knows", f"{pattern} ({error})", "Correct it, or install that."
        ) from None
    # Without `..`, which would make one file of another name for each way to write its path.
    return fs, os.path.abspath(path) if isinstance(fs, LocalFileSystem) else path


def _expand(fs: AbstractFileSystem, path: str, pattern: str) -> tuple[list[str], str]:
    """The files a pattern means, and the folder their names are relative to."""
    if any(sign in path for sign in _GLOB) and not fs.exists(path):
        fixed = path[: min(path.index(sign) for sign in _GLOB if sign in path)]
        try:
            paths, root = [p for p in fs.glob(path) if fs.isfile(p)], posixpath.dirname(fixed)
        except ValueError as error:
            raise SourceError("a glob", f"{pattern} ({error})", "Correct it, as in data/**/*.jsonl.") from None
    elif fs.isdir(path):
        inside = [p for p in fs.find(path) if not _hidden(posixpath.relpath(p, path))]
        paths, root = [p for p in inside if storage_of(p)], path
    else:
        paths, root = ([path] if fs.exists(path) else []), posixpath.dirname(path)
    if not paths:
        raise SourceError(f"files at {pattern}", "none", "Check the path; it is relative to the working folder.")
    return sorted(paths), root


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


def pin_files(
    named: Mapping[str, tuple[AbstractFileSystem, str]],
    *,
    config: str,
    split: str,
    format: str,
    columns: Mapping[str, str],
    reserved: Sequence[str] = (),
    **origin: str | None,
) -> Source:
    """A source of these files, counted and digested.

    Args:
        named: where each file is, by its name in row ids.
        config: the configuration's name.
        split: the split's name.
        format: one of `FORMATS`, or ``auto``.
        columns: the user's own mapping, field to column.
        reserved: columns that are to be added, so that no row may have one of these names.
        origin: ``dataset`` and ``revision``, where it is one of the Hub.

    Raises:
        SourceError: a kind of file not known, an unreadable or empty file, files that disagree, or a column of a
            reserved name.
    """
    files, surveys = [], {}
    for name in sorted(named):
        fs, path = named[name]
        storage = storage_of(name)
        if storage is None:
            raise SourceError(
                f"files ending in {', '.join(STORAGES)}", name, "Convert the file, or leave it out of the pattern."
            )
        surveys[name] = STORAGES[storage].survey(fs, path, reserved)
        info = fs.info(path)
        uri = fs.unstrip_protocol(path)
        digest = digest_of(fs, path, info)
        files.append(SourceFile(name, uri, storage, surveys[name].rows, int(info["size"]), digest, stamp_of(info)))
    if len(kinds := {kind_of(file.storage) for file in files}) > 1:
        do = "Weigh them in separate runs: the output would not load as one dataset."
        raise SourceError("files of one schema and one kind", " and ".join(sorted(kinds)), do)
    if sum(file.rows for file in files) == 0:
        raise SourceError("at least one row", f"none in {', '.join(named)}", "Check the files.")
    _check_free(surveys, reserved)
    chosen, found = _reading(surveys, format, columns)
    return Source(config, split, chosen, found, tuple(files), **origin)


def _check_free(surveys: Mapping[str, Survey], reserved: Sequence[str]) -> None:
    """Find that the names of the new columns are free. Raises `SourceError`, naming those that are taken."""
    for name, survey in surveys.items():
        if taken := [column for column in reserved if column in survey.columns]:
            raise SourceError(
                "an input without columns of the names that are to be added",
                f"{', '.join(taken)} in {name}",
                "Set another output.prefix, as again_, or output.mode to sidecar, which adds none; "
                "or weigh the original dataset.",
            )


def _reading(surveys: Mapping[str, Survey], format: str, columns: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """One format and one set of columns for all files, or the error that names the two that disagree."""
    agreed: tuple[str, tuple[str, dict[str, str]], dict[str, str]] | None = None
    for name, survey in surveys.items():
        if survey.rows == 0:
            continue
        if format not in ("auto", *FORMATS):
            raise SourceError(f"one of the formats {', '.join(FORMATS)}", format, "Set input.format.")
        chosen = format if format != "auto" else format_of_columns(columns)
        chosen = chosen or detect_format(list(survey.columns), survey.sample)
        reading = chosen, resolve_columns(chosen, list(survey.columns), columns)
        if agreed is None:
            agreed = name, reading, survey.columns
        elif any(survey.columns.values()) and survey.columns != agreed[2]:
            different = sorted(set(survey.columns.items()) ^ set(agreed[2].items()))
            raise SourceError(
                "files of one schema",
                f"{agreed[0]} and {name}, which differ in {', '.join(dict.fromkeys(k for k, _ in different))}",
                "Weigh them in separate runs, or give them the same columns.",
            )
        elif reading != agreed[1]:
            raise SourceError(
                "files of one schema",
                f"{agreed[0]} read as {_shown(agreed[1])} and {name} read as {_shown(reading)}",
                "Weigh them in separate runs, or set input.format and input.columns.",
            )
    if agreed is None:
        raise SourceError("at least one row", "none", "Check the files.")
    return agreed[1]


def _shown(reading: tuple[str, dict[str, str]]) -> str:
    return f"{reading[0]} ({', '.join(reading[1].values())})"
