"""By which text a row is known: its digest, the same in any format, any order and any dataset that has the row."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sot_filter.conversation import (
    FORMATS,
    SHARED,
    InvalidRow,
    detect_format,
    format_of_columns,
    read_conversation,
    resolve_columns,
)
from sot_filter.errors import SourceError
from sot_filter.rows import EMPTY, INVALID
from sot_filter.sources import Unreadable
from sot_filter.weights.reading import read_rows

#: The digest of a row that has no text.
NO_TEXT: Final = bytes(16)
_SAMPLE_ROWS: Final = 16
#: Every name that a column with text may have without being named.
READABLE: Final = frozenset(
    {alias for fields in FORMATS.values() for aliases in fields.values() for alias in aliases} | set(SHARED)
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read as conversations: a format, and the column of each of its fields."""

    format: str
    columns: dict[str, str]

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys(self.columns.values()))

    def digest(self, row: Mapping[str, Any]) -> tuple[bytes, str]:
        """16 bytes that are equal for equal texts, or `NO_TEXT` with the status that a row without text has."""
        try:
            conversation = read_conversation(row, self.format, self.columns)
        except InvalidRow:
            return NO_TEXT, INVALID
        return (NO_TEXT, EMPTY) if conversation.is_empty else (conversation.digest(), "")


def find_reading(
    names: Sequence[str],
    sample: Iterable[Mapping[str, Any]],
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    known: Reading | None = None,
) -> Reading:
    """How the rows of a dataset are read.

    Args:
        names: its columns, without the weights' own.
        sample: a few of its rows.
        format: the user's word on the format, if any.
        columns: the user's own mapping, field to column, if any.
        known: how the run read them; taken where the user says nothing and the columns are there.

    Raises:
        SourceError: no format fits, or a column that is not there.
    """
    if format is None and not columns and known is not None and set(known.names) <= set(names):
        return known
    renamed = columns or {}
    if format not in (None, *FORMATS):
        raise SourceError(f"one of the formats {', '.join(FORMATS)}", str(format), "Correct `format`.")
    chosen = format or format_of_columns(renamed) or detect_format(names, list(sample))
    return Reading(chosen, resolve_columns(chosen, names, renamed))


def read_digests(files: Sequence[str], ours: Sequence[str], known: Reading | None) -> Iterator[bytes]:
    """The digest of each row of some files, `NO_TEXT` for a row without text; only columns with text are read.

    Args:
        files: their URLs.
        ours: names of weight columns, which hold no text of the row.
        known: how the run read the rows, if that is known.

    Raises:
        SourceError: no format fits, or a file cannot be read.
    """
    reading = known or _detected(files, ours)
    for url in files:
        for row in read_rows(url, lambda names: [name for name in reading.names if name in names]):
            yield NO_TEXT if isinstance(row, Unreadable) else reading.digest(row)[0]


def _detected(files: Sequence[str], ours: Sequence[str]) -> Reading:
    names: list[str] = []

    def readable(found: Sequence[str]) -> list[str]:
        names[:] = [name for name in found if name in READABLE and name not in ours]
        return names

    rows = itertools.islice((row for url in files for row in read_rows(url, readable)), _SAMPLE_ROWS)
    sample = [row for row in rows if isinstance(row, dict)]
    return find_reading(names, sample)
