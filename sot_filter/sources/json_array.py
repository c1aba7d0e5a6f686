"""A JSON file that is one array of objects, as many instruction sets are published."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import IO, Final

import pyarrow as pa
from fsspec import AbstractFileSystem

from sot_filter.errors import SourceError
from sot_filter.sources.json_lines import JsonLines, joined
from sot_filter.sources.survey import Row, Survey, Unreadable, text_rows

_SPACE: Final = re.compile(r"[ \t\n\r]*")


class JsonArray:
    """One array of objects, read whole; a ``.json`` file that holds JSON Lines is read as these."""

    def survey(self, fs: AbstractFileSystem, path: str, reserved: Sequence[str] = ()) -> Survey:
        """Rows and keys. Raises `SourceError` for broken JSON or something other than an array of objects."""
        if not _is_array(fs, path):
            return JsonLines().survey(fs, path, reserved)
        rows = [row for row, _ in _items(fs, path)]
        sample = [row for row in rows[:200] if isinstance(row, dict)]
        if rows and not sample:
            raise SourceError(f"an array of objects in {path}", "other values in it", "Check the file's format.")
        ours = [name for name in reserved if any(isinstance(row, dict) and name in row for row in rows)]
        return Survey(len(rows), dict.fromkeys([*(name for row in sample for name in row), *ours], ""), sample)

    def read(
        self, fs: AbstractFileSystem, path: str, start: int, stop: int, columns: Sequence[str] | None
    ) -> Iterator[Row]:
        """The array's items ``start`` to ``stop``."""
        if not _is_array(fs, path):
            yield from JsonLines().read(fs, path, start, stop, columns)
            return
        for row, _ in _items(fs, path)[start:stop]:
            yield row if isinstance(row, dict) else Unreadable(f"it is a JSON {type(row).__name__}, not an object")

    def append(self, fs: AbstractFileSystem, path: str, out: IO[bytes], added: Iterator[pa.Table]) -> None:
        """Put the new keys behind the old ones of each object; one object begins on each line."""
        if not _is_array(fs, path):
            JsonLines().append(fs, path, out, added)
            return
        opening = b"[\n"
        for (_, text), new in zip(_items(fs, path), text_rows(added), strict=True):
            out.write(opening + joined(text.encode(), json.dumps(new, ensure_ascii=False)))
            opening = b",\n"
        out.write(b"\n]\n" if opening == b",\n" else b"[]\n")


def _is_array(fs: AbstractFileSystem, path: str) -> bool:
    with fs.open(path, "rb") as handle:
        return bool(handle.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[")


def _items(fs: AbstractFileSystem, path: str) -> list[tuple[object, str]]:
    """The array's items, each as a value and as the text it was written in."""
    try:
        with fs.open(path, "rb") as handle:
            return list(_split(handle.read().decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise SourceError(
            "UTF-8 text", f"other bytes in {path}", "Convert the file to UTF-8, as with iconv."
        ) from None
    except ValueError as error:
        raise SourceError("valid JSON", f"{error} in {path}", "Correct the file.") from None
    except RecursionError:
        raise SourceError("valid JSON", f"values nested too deeply in {path}", "Correct the file.") from None


def _split(text: str) -> Iterator[tuple[object, str]]:
    decoder, place = json.JSONDecoder(), _after(text, text.index("[") + 1)
    closed = text[place : place + 1] == "]"
    while not closed:
        value, end = decoder.raw_decode(text, place)
        yield value, text[place:end]
        place = _after(text, end)
        closed = text[place : place + 1] == "]"
        if not closed:
            if text[place : place + 1] != ",":
                raise json.JSONDecodeError("Expecting ',' or ']'", text, place)
            place = _after(text, place + 1)
    if _after(text, place + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, place + 1)


def _after(text: str, place: int) -> int:
    """Where the white space from ``place`` on ends."""
    return _SPACE.match(text, place).end()  # type: ignore[union-attr]  # the pattern matches nothing, too
