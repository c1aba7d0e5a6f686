"""JSON Lines, plain or compressed: one object a line, kept to the byte when columns are appended."""

import contextlib
import gzip
import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any, cast

import pyarrow as pa
import zstandard
from fsspec import AbstractFileSystem

from sot_filter.errors import SourceError
from sot_filter.sources.survey import Row, Survey, Unreadable, text_rows

_SAMPLE_ROWS = 200
#: A letter, digit or underscore written by its number, as a column's name may be.
_ESCAPED = re.compile(r"\\u00(?:3[0-9]|[4-7])")


class JsonLines:
    """JSON Lines. Blank lines are no rows.

    Args:
        compression: ``gzip`` or ``zstd``, None for plain text.
    """

    def __init__(self, compression: str | None = None) -> None:
        self._compression = compression

    def survey(self, fs: AbstractFileSystem, path: str, reserved: Sequence[str] = ()) -> Survey:
        """Count the lines. Raises `SourceError` for bytes that are no UTF-8 and for a broken compressed file."""
        rows = 0
        sample: list[dict[str, Any]] = []
        ours: set[str] = set()
        quoted = [f'"{name}"' for name in reserved]
        for line in self._lines(fs, path):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                raise SourceError(
                    "UTF-8 text", f"other bytes in row {rows} of {path}", "Convert the file to UTF-8, as with iconv."
                ) from None
            if len(sample) < _SAMPLE_ROWS and isinstance(row := parse(text), dict):
                sample.append(row)
            elif _may_have(text, quoted) and isinstance(row := parse(text), dict):
                ours |= row.keys() & set(reserved)
            rows += 1
        names = dict.fromkeys([*(name for row in sample for name in row), *sorted(ours)])
        if rows and not names:
            raise SourceError(f"a JSON object on each line of {path}", "none in it", "Check the file's format.")
        return Survey(rows, dict.fromkeys(names, ""), sample)

    def read(
        self, fs: AbstractFileSystem, path: str, start: int, stop: int, columns: Sequence[str] | None
    ) -> Iterator[Row]:
        """Parse the lines of the range; ``columns`` is not needed to read less."""
        for line in itertools.islice(self._lines(fs, path), start, stop):
            yield parse(line)

    def append(self, fs: AbstractFileSystem, path: str, out: IO[bytes], added: Iterator[pa.Table]) -> None:
        """Put the new keys behind the old ones of each line; what stood there stays as it was written."""
        with _compressing(out, self._compression) as sink:
            for line, new in zip(self._lines(fs, path), text_rows(added), strict=True):
                sink.write(joined(line, json.dumps(new, ensure_ascii=False)) + b"\n")

    def _lines(self, fs: AbstractFileSystem, path: str) -> Iterator[bytes]:
        try:
            with fs.open(path, "rb") as handle:
                first = True
                for line in _plain(handle, self._compression):
                    line = line.removeprefix(b"\xef\xbb\xbf").strip() if first else line.strip()
                    first = False
                    if line:
                        yield line
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SourceError(f"a whole file at {path}", str(error), "Write the file again.") from None


def _may_have(text: str, quoted: Sequence[str]) -> bool:
    """Whether a line is to be parsed to find a name in it, which may be there without being a key, or be escaped."""
    return any(name in text for name in quoted) or (bool(quoted) and _ESCAPED.search(text) is not None)


def parse(line: bytes | str) -> Row:
    """One line as a row, or as the `Unreadable` that says what is wrong with it."""
    try:
        row = json.loads(line)
    except ValueError as error:
        return Unreadable(f"its line is not valid JSON ({error})")
    except RecursionError:
        return Unreadable("its line is nested too deeply")
    return row if isinstance(row, dict) else Unreadable(f"its line is a JSON {type(row).__name__}, not an object")


def joined(text: bytes, new: str) -> bytes:
    """The JSON object ``text`` as it stands, with the keys of the object ``new`` behind its own; else only these."""
    row = parse(text)
    if isinstance(row, Unreadable):
        return new.encode()
    return text[:-1].rstrip() + (b", " if row else b"") + new[1:].encode()


def _plain(handle: IO[bytes], compression: str | None) -> IO[bytes]:
    """``handle`` behind a decompressor that reads frame after frame and says when the last one is cut short."""
    if compression is None:
        return handle
    stream = pa.CompressedInputStream(pa.PythonFile(handle, "r"), compression)
    return cast(IO[bytes], io.BufferedReader(stream))


def _compressing(out: IO[bytes], compression: str | None) -> AbstractContextManager[IO[bytes]]:
    """``out`` behind a compressor whose bytes depend on nothing but the content, so that a repeat is identical."""
    if compression == "gzip":
        return cast(IO[bytes], gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0))
    if compression == "zstd":
        return cast(IO[bytes], zstandard.ZstdCompressor().stream_writer(out, closefd=False))
    return contextlib.nullcontext(out)
