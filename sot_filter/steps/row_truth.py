"""Whether an output file has its source's rows, each with the columns that its own scores say: not one row misplaced.

Rows are compared by what they hold and by their ids, in Arrow where the file has types, so that a check takes about as
long as reading both files; at no moment more than a batch of rows is held.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import fsspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sot_filter.conversation import Conversation
from sot_filter.errors import ArtifactError, SourceError
from sot_filter.rows import COLUMNS, DIGEST, named
from sot_filter.sources import STORAGES, TABULAR, Source, SourceFile, Unreadable, filesystem_of
from sot_filter.sources.hub_errors import hub_errors

_ROWS: Final = 1024
_NO_TEXT: Final = bytes(16).hex()
#: What fields of text files that hold true and false are read as.
_TRUTH: Final[Mapping[Any, bool]] = {"True": True, "False": False}
#: Rows as Python values or as a table, whatever can be sliced.
_Rows = Any


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an output file is not what it should be.

    Attributes:
        row: the row's number in the source file.
        own: columns of the source that the row has not as they were.
        new: columns among the new ones that are not as the scores say.
        lost: where the file has no such rows, or more, what is the matter in words.
        rows: how many rows this is.
    """

    row: int
    own: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    lost: str = ""
    rows: int = 1


def check_file(
    source: Source, file: SourceFile, url: str, columns: Iterator[pa.Table], mode: str, prefix: str
) -> None:
    """Find that an output file has exactly the rows of its source, in order, with their ids and their columns.

    Args:
        source: the pinned source.
        file: one of its files.
        url: the output file.
        columns: what the scores say, as `sot_filter.steps.publish.Columns.of_file` makes it.
        mode: ``columns`` or ``sidecar``.
        prefix: how the names of the new columns begin.

    Raises:
        ArtifactError: it has not; the error names the file, the first such row by its id, and what differs.
        SourceError: the source file is not the one that was pinned.
    """
    for found in differences(source, file, url, columns, mode, prefix):
        what = found.lost or f"another {', '.join((*found.new, *found.own))}"
        raise ArtifactError(
            f"the rows of {file.name}, each with its own columns, in {url}",
            f"{what} at {source.key(file, found.row).id}",
            "Nothing of it is published. Set a new output.folder and run again with --redo, which writes it anew.",
        )


def check_complete(source: Source, rows: Mapping[str, int]) -> None:
    """Find that a set of checked files is the whole source: every file once, and all of its rows.

    Args:
        source: the pinned source.
        rows: for each file that was checked, by its name, how many rows it has.

    Raises:
        ArtifactError: a file is missing, or is none of the source's, or has another number of rows.
    """
    wanted = {file.name: file.rows for file in source.files}
    for name in sorted(wanted.keys() | rows.keys()):
        if wanted.get(name) != rows.get(name):
            raise ArtifactError(
                f"{wanted.get(name, 'no'):,} rows of {name}" if name in wanted else f"no file {name}",
                f"{rows[name]:,}" if name in rows else "none",
                "Run `sot-filter run` again; it continues.",
            )
    total = sum(rows.values())
    if len(wanted) != len(source.files) or total != source.rows:
        raise ArtifactError(
            f"{source.rows:,} rows in {len(source.files):,} files of distinct names",
            f"{total:,} in {len(wanted):,}",
            "Give each source file a name of its own.",
        )


def differences(
    source: Source, file: SourceFile, url: str, columns: Iterator[pa.Table], mode: str, prefix: str
) -> Iterator[Difference]:
    """All rows in which an output file is not what it should be, in order; arguments and errors as of `check_file`."""
    fs, path = fsspec.url_to_fs(url)
    names = [named(name, prefix) for name in COLUMNS]
    wanted = (table.rename_columns(names) for table in columns)
    compared: Callable[[_Rows, _Rows, pa.Table], Iterator[tuple[str, NDArray[np.bool_]]]]
    if mode == "sidecar":
        before, after, compared = (
            _digests(source, file, named(DIGEST, prefix)),
            _tables(".parquet", fs, path),
            _in_tables,
        )
    elif file.storage in TABULAR:
        before, after, compared = _source_tables(source, file), _tables(file.storage, fs, path), _in_tables
    else:
        before = _batches(source.read_raw(file))
        after = _batches(STORAGES[file.storage].read(fs, path, 0, file.rows + 1, None))
        compared = _in_rows
    row, ended = 0, ["the file ends"]
    for old, found, new in _abreast(before, _while_readable(after, ended), wanted):
        if found is None:
            if rows := file.rows - row:
                yield Difference(row, lost=ended[-1], rows=rows)
            return
        if old is None or new is None:
            if len(found):
                yield Difference(row, lost="one more row")
                return
            continue
        wrong = dict(compared(old, found, new))
        for i in np.flatnonzero(np.logical_or.reduce(list(wrong.values()))) if wrong else ():
            here = [name for name, mask in wrong.items() if mask[i]]
            yield Difference(
                row + int(i), tuple(n for n in here if n not in names), tuple(n for n in here if n in names)
            )
        row += len(found)


def _abreast(*streams: Iterator[_Rows]) -> Iterator[list[_Rows]]:
    """Streams of rows in pieces of equal length, None for those that have ended, until all have."""
    held = [next(stream, None) for stream in streams]
    while any(rows is not None for rows in held):
        n = min(len(rows) for rows in held if rows is not None)
        yield [None if rows is None else rows[:n] for rows in held]
        for i, rows in enumerate(held):
            if rows is not None:
                held[i] = rows[n:] if len(rows) > n else next(streams[i], None)


def _while_readable(stream: Iterator[_Rows], ended: list[str]) -> Iterator[_Rows]:
    """A stream up to where it cannot be read any more, which is then told in ``ended``."""
    try:
        yield from stream
    except FileNotFoundError:
        ended.append("no such file")
    except (SourceError, OSError, ValueError):
        ended.append("a file that cannot be read")


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(rows, _ROWS)):
        yield batch


def _tables(storage: str, fs: Any, path: str) -> Iterator[pa.Table]:
    yield from TABULAR[storage].tables(fs, path)


def _source_tables(source: Source, file: SourceFile) -> Iterator[pa.Table]:
    source.check(file)
    with hub_errors(f"{source.dataset} at {source.revision}") if source.dataset else nullcontext():
        yield from _tables(file.storage, *filesystem_of(file.uri))
    source.check(file)


def _digests(source: Source, file: SourceFile, name: str) -> Iterator[pa.Table]:
    """The texts' digests, from the source itself, as the column that a sidecar has of them."""
    yield pa.table({name: pa.array([], pa.string())})
    for rows in _batches(source.read(file)):
        yield pa.table({name: [text_digest(row) for row in rows]})


def text_digest(row: Any) -> str:
    """A row's digest as a sidecar has it: 32 hexadecimal digits, zeros for a row without text."""
    return row.digest().hex() if isinstance(row, Conversation) and not row.is_empty else _NO_TEXT


def _in_tables(before: pa.Table, after: pa.Table, wanted: pa.Table) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Columns of ``after`` that differ, and in which rows."""
    expected = {name: table[name] for table in (before, wanted) for name in table.column_names}
    for name in dict.fromkeys([*expected, *after.column_names]):
        if name not in expected or after.column_names.count(name) != 1:
            yield name, np.ones(len(after), np.bool_)
        elif (unlike := _unlike(after[name], expected[name])).any():
            yield name, unlike


def _unlike(one: pa.ChunkedArray, other: pa.ChunkedArray) -> NDArray[np.bool_]:
    """In which rows two columns differ [n]; not where both have no number, and whatever the dictionaries' order is."""
    if one.type != other.type:
        return np.ones(len(one), np.bool_)
    if one.equals(other):
        return np.zeros(len(one), np.bool_)
    try:
        return np.array(
            [repr(a) != repr(b) for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True)], np.bool_
        )
    except UnicodeDecodeError:
        return np.array([not one.slice(i, 1).equals(other.slice(i, 1)) for i in range(len(one))], np.bool_)


def _in_rows(before: list[Any], after: list[Any], wanted: pa.Table) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """As `_in_tables`, of rows as text files have them."""
    names, found = wanted.column_names, [row if isinstance(row, dict) else {} for row in after]
    wrong: dict[str, NDArray[np.bool_]] = {}
    for i, (old, row) in enumerate(zip(before, found, strict=True)):
        rest = {name: value for name, value in row.items() if name not in names}
        if isinstance(old, Unreadable):
            # Of such a row the fields are blank, in a storage that cannot leave them out.
            different = [name for name, value in rest.items() if value != ""]
        elif repr(rest) != repr(old):
            all_names = {**old, **rest}
            different = [k for k in all_names if k not in old or k not in rest or repr(old[k]) != repr(rest[k])]
            different = different or ["order of columns"]
        else:
            continue
        for name in different:
            wrong.setdefault(name, np.zeros(len(after), np.bool_))[i] = True
    yield from wrong.items()
    for name in names:
        unlike = _misread([row.get(name) for row in found], wanted[name])
        if unlike.any():
            yield name, unlike


def _misread(found: list[Any], wanted: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which fields of a text file are not the values of a column [n]."""
    kinds, values = set(map(type, found)), wanted.to_pylist()
    if kinds == {float} and pa.types.is_float32(wanted.type):
        with np.errstate(over="ignore"):
            return np.asarray(np.asarray(found, np.float32) != wanted.to_numpy(), np.bool_)
    if kinds == set(map(type, values)) and found == values:
        return np.zeros(len(found), np.bool_)
    return np.array([not _reads(field, value) for field, value in zip(found, values, strict=True)], np.bool_)


def _reads(found: Any, want: str | float | bool) -> bool:
    """Whether a field of a text file is a value: it gives numbers back as text or float64."""
    if isinstance(want, str):
        return bool(found == want)
    if isinstance(want, bool):
        return found is want or (isinstance(found, str) and _TRUTH.get(found) is want)
    if isinstance(found, bool) or not isinstance(found, str | float | int):
        return False
    try:
        with np.errstate(over="ignore"):
            return bool(np.float32(found) == np.float32(want))
    except (ValueError, OverflowError):
        return False
