"""The output of a run as an export reads it: every row with its weight, fate and source values, one at a time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from sot_filter.artifacts import reached, reaching, read_json
from sot_filter.errors import ArtifactError, SourceError
from sot_filter.rows import COLUMNS, INVALID, PREFIX, STATUSES, named
from sot_filter.sources import STORAGES, Source, Unreadable, local_source

#: What an export has to know of a row.
_NEEDED: Final = ("sot_row_id", "sot_weight", "sot_keep", "sot_status")
_SPELLED: Final = {"True": True, "False": False}


@dataclass(frozen=True, slots=True)
class Output:
    """The files of a finished run.

    Attributes:
        name: of the run, or of the file.
        source: the output's files, read in the run's own format and columns.
        prefix: how the names of the new columns begin.
    """

    name: str
    source: Source
    prefix: str

    @property
    def padded(self) -> bool:
        """Whether the rows come from Arrow, which fills a key that an object lacks with nothing."""
        return self.source.files[0].storage in (".parquet", ".arrow")

    @property
    def ours(self) -> dict[str, str]:
        """The new columns by their names here, with their types."""
        return {named(column, self.prefix): kind for column, kind in COLUMNS.items()}


@dataclass(frozen=True, slots=True)
class WeighedRow:
    """A row with what the run decided.

    Attributes:
        id: its row id; empty if the row cannot be read.
        weight: its weight.
        kept: whether the run keeps it.
        status: one of `STATUSES`.
        values: the columns that make its conversation.
    """

    id: str
    weight: float
    kept: bool
    status: str
    values: dict[str, Any]


def find_output(url: str) -> Output:
    """Find the output of a run.

    Args:
        url: the folder that the run wrote, or one data file of it; a path, or a URL that fsspec reaches.

    Raises:
        SourceError: nothing is there, or it is not the output of a run in mode ``columns``.
        ArtifactError: a file of the output is missing, or has not as many rows as the run wrote.
    """
    fs, path = reached(url)
    url = url.rstrip("/")
    with reaching(fs, url):
        if not fs.exists(path):
            raise SourceError(f"the output of a run at {url}", "nothing", "Check the path.")
        folder = fs.isdir(path)
    return _of_folder(url) if folder else _of_file(url)


def weighed_rows(output: Output) -> Iterator[WeighedRow]:
    """All rows in the output's order. Raises `SourceError` for a row whose new columns are not those of a run."""
    columns = {column: named(column, output.prefix) for column in _NEEDED}
    wanted = [*dict.fromkeys([*columns.values(), *output.source.columns.values()])]
    for file in output.source.files:
        for number, row in enumerate(output.source.read_raw(file, columns=wanted)):
            if isinstance(row, Unreadable):
                yield WeighedRow("", 0.0, False, INVALID, {})
                continue
            try:
                yield _weighed(row, columns)
            except (KeyError, TypeError, ValueError):
                raise SourceError(
                    f"{', '.join(columns.values())} as a run writes them in every row",
                    f"something else in row {number} of {file.name}",
                    "The file was changed since; run again.",
                ) from None


def _weighed(row: dict[str, Any], columns: Mapping[str, str]) -> WeighedRow:
    row_id, weight, kept, status = (row[column] for column in columns.values())
    # A delimited file has only texts, a JSON file the shortest decimals of the float32.
    weight, kept = float(np.float32(weight)), _SPELLED[kept] if isinstance(kept, str) else kept
    if not (isinstance(row_id, str) and row_id and isinstance(kept, bool) and status in STATUSES):
        raise ValueError
    if not math.isfinite(weight) or weight < 0:
        raise ValueError
    return WeighedRow(row_id, weight, kept, status, row)


def _of_folder(folder: str) -> Output:
    summary = read_json(f"{folder}/summary.json")
    known = isinstance(summary, dict) and isinstance(summary.get("input"), dict)
    if not known or not {"files", "format", "columns", "config", "split"} <= summary["input"].keys():
        raise SourceError(
            f"the output folder of a run, with its summary.json, at {folder}",
            "a folder without one",
            "Give the folder that `sot-filter run` wrote, or one data file of it.",
        )
    written = summary.get("output") or {}
    if written.get("mode", "columns") != "columns":
        raise SourceError(
            "an output with texts and weights in the same files",
            f"the sidecar of {folder}, which has no texts",
            "Run again with --set output.mode=columns and another output.folder: only the files are written anew.",
        )
    source = summary["input"]
    found = _pinned(
        [f"{folder}/{file['name']}" for file in source["files"]],
        config=source["config"],
        split=source["split"],
        format=source["format"],
        columns=source["columns"],
    )
    if found.rows != (rows := sum(int(file["rows"]) for file in source["files"])):
        raise ArtifactError(f"{rows:,} rows in {folder}", f"{found.rows:,}", "Run again to write the files anew.")
    return Output(str(summary.get("name", "")), found, _prefix(found, written.get("prefix")))


def _of_file(url: str) -> Output:
    found = _pinned([url])
    return Output(found.files[0].name, found, _prefix(found))


def _pinned(urls: Sequence[str], **reading: Any) -> Source:
    for url in urls:
        fs, path = reached(url)
        with reaching(fs, url):
            if not fs.isfile(path):
                raise ArtifactError(f"the output file {url}", "none", "Run again to write it.")
    return local_source(urls, **reading)


def _prefix(source: Source, given: str | None = None) -> str:
    """How the new columns' names begin. Raises `SourceError` unless exactly one set of them is in every file."""
    found: set[str] = set()
    for file in source.files:
        if file.rows == 0:
            continue
        fs, path = reached(file.uri)
        names = STORAGES[file.storage].survey(fs, path).columns
        ends = named("sot_row_id", "")
        prefixes = {name.removesuffix(ends) for name in names if name.endswith(ends)} | {given or PREFIX}
        has = {prefix for prefix in prefixes if all(named(column, prefix) in names for column in _NEEDED)}
        if given is not None:
            has &= {given}
        if not has:
            missing = [named(column, given or PREFIX) for column in _NEEDED]
            raise SourceError(
                f"the columns {', '.join(missing)} in {file.name}",
                f"columns {', '.join(names)}",
                "Give the output of a run; rows that were not weighed have nothing to export.",
            )
        found |= has
    if len(found) > 1:
        raise SourceError(
            "the new columns of one run",
            f"names that begin with {' and '.join(sorted(found))}",
            "Give the run's output folder: its summary.json says which are the run's.",
        )
    return found.pop()
