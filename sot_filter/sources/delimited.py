"""Comma- or tab-separated text with a header, kept to the byte when columns are appended."""

import csv
import io
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
from fsspec import AbstractFileSystem

from sot_filter.errors import SourceError
from sot_filter.sources.survey import Row, Survey, Unreadable, text_rows

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


class Delimited:
    """Delimited text. The first record is the header; blank lines are no rows.

    Args:
        delimiter: what stands between fields.
    """

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter

    def survey(self, fs: AbstractFileSystem, path: str, reserved: Sequence[str] = ()) -> Survey:
        """Count the records. Raises `SourceError` for bytes that are no UTF-8, or a missing header."""
        records = self._records(fs, path)
        header = next(records, ([], ""))[0]
        if not header or len(set(header)) != len(header):
            raise SourceError(f"a header of distinct names in {path}", str(header)[:80], "Give each column a name.")
        sample = [dict(zip(header, fields, strict=False)) for fields, _ in itertools.islice(records, 16)]
        return Survey(len(sample) + sum(1 for _ in records), dict.fromkeys(header, ""), sample)

    def read(
        self, fs: AbstractFileSystem, path: str, start: int, stop: int, columns: Sequence[str] | None
    ) -> Iterator[Row]:
        """Records of the range, every field as text."""
        records = self._records(fs, path)
        header = next(records, ([], ""))[0]
        for fields, _ in itertools.islice(records, start, stop):
            yield _row(header, fields)

    def append(self, fs: AbstractFileSystem, path: str, out: IO[bytes], added: Iterator[pa.Table]) -> None:
        """Put the new fields behind each record as it was written; an unreadable one leaves its own fields blank."""
        records = self._records(fs, path)
        header, text = next(records)
        table = next(added)
        out.write(self._joined(text, table.column_names))
        for (fields, record), new in zip(records, text_rows(itertools.chain([table], added)), strict=True):
            if isinstance(_row(header, fields), Unreadable):
                record = self._delimiter * (len(header) - 1)
            out.write(self._joined(record, list(new.values())))

    def _joined(self, record: str, values: Sequence[object]) -> bytes:
        line = io.StringIO()
        csv.writer(line, delimiter=self._delimiter, lineterminator="\n").writerow(values)
        return f"{record.rstrip(chr(10) + chr(13))}{self._delimiter}{line.getvalue()}".encode()

    def _records(self, fs: AbstractFileSystem, path: str) -> Iterator[tuple[list[str], str]]:
        """Each record as its fields and as the text it was written in."""
        with fs.open(path, "rb") as handle:
            text = io.TextIOWrapper(handle, encoding="utf-8-sig", newline="")
            lines: list[str] = []

            def remembered() -> Iterator[str]:
                # A blank line is no record, unless a quote is open: then the one put at the end ends that record.
                for line in itertools.chain(text, ["\n"]):
                    lines.append(line)
                    yield line

            try:
                for fields in csv.reader(remembered(), delimiter=self._delimiter, strict=False):
                    if fields and lines[-1] == "\n":
                        raise csv.Error("a quote that is never closed")
                    if fields:
                        yield fields, "".join(lines)
                    lines.clear()
            except UnicodeDecodeError:
                raise SourceError(
                    "UTF-8 text", f"other bytes in {path}", "Convert the file to UTF-8, as with iconv."
                ) from None
            except csv.Error as error:
                raise SourceError("delimited text", f"{error} in {path}", "Correct the file.") from None


def _row(header: Sequence[str], fields: Sequence[str]) -> Row:
    if len(fields) != len(header):
        return Unreadable(f"it has {len(fields)} fields where the header has {len(header)}")
    return dict(zip(header, fields, strict=True))
