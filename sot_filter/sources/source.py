"""A pinned source of rows: its files with their row counts and digests, and how its rows are read."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from sot_filter.conversation import Conversation, InvalidRow, read_conversation
from sot_filter.rows import RowKey
from sot_filter.sources.hub_cache import filesystem_of
from sot_filter.sources.hub_errors import hub_errors
from sot_filter.sources.identity import check_unchanged
from sot_filter.sources.storage import STORAGES
from sot_filter.sources.survey import Unreadable


def has_values(row: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Whether each column of ``where`` has the value given there, or one of those in a list."""
    return all(
        row.get(column) in (value if isinstance(value, list | tuple) else (value,)) for column, value in where.items()
    )


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Attributes:
        name: what row ids say.
        uri: where it lies now.
        storage: its kind, a key of `STORAGES`.
        rows: number of rows.
        bytes: size.
        digest: of its content.
        stamp: what its filesystem said of it beside its size, from `sot_filter.sources.identity.stamp_of`.
    """

    name: str
    uri: str
    storage: str
    rows: int
    bytes: int
    digest: str
    stamp: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Part:
    """A range of rows of one source file: the unit of work. Artifacts are named after it, never after a rank."""

    file: SourceFile
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    @property
    def name(self) -> str:
        """The part's place among artifacts, ``file/start-stop``."""
        return f"{self.file.name}/{self.start:012d}-{self.stop:012d}"


@dataclass(frozen=True, slots=True)
class Source:
    """Rows at a pinned revision, and the format that makes conversations of them."""

    config: str
    split: str
    format: str
    columns: dict[str, str]
    files: tuple[SourceFile, ...]
    dataset: str | None = None
    revision: str | None = None

    @property
    def rows(self) -> int:
        """Number of rows in all files."""
        return sum(file.rows for file in self.files)

    def key(self, file: SourceFile, row: int) -> RowKey:
        """Identity of a row."""
        return RowKey(self.config, self.split, file.name, row)

    @property
    def digest(self) -> str:
        """SHA-256 over names, contents and reading rules: equal exactly when the same rows would be read alike."""
        facts = [self.config, self.split, self.format, sorted(self.columns.items())]
        files = [[file.name, file.storage, file.rows, file.digest] for file in self.files]
        return hashlib.sha256(json.dumps([facts, files]).encode()).hexdigest()

    def parts(self, part_rows: int) -> list[Part]:
        """Cut the files into parts of at most ``part_rows`` rows."""
        return [
            Part(file, start, min(start + part_rows, file.rows))
            for file in self.files
            for start in range(0, file.rows, part_rows)
        ]

    def read(self, file: SourceFile, start: int = 0, stop: int | None = None) -> Iterator[Conversation | InvalidRow]:
        """Read rows as conversations; a row that is none comes as the `InvalidRow` that says why."""
        for row in self.read_raw(file, start, stop, list(self.columns.values())):
            if isinstance(row, Unreadable):
                yield InvalidRow(row.detail)
                continue
            try:
                yield read_conversation(row, self.format, self.columns)
            except InvalidRow as problem:
                yield problem

    def having(self, where: Mapping[str, Any]) -> list[bool]:
        """For every row of all files, in order, whether `has_values` holds; not for a row that cannot be read."""
        rows = (row for file in self.files for row in self.read_raw(file, columns=list(where)))
        return [isinstance(row, dict) and has_values(row, where) for row in rows]

    def read_raw(
        self, file: SourceFile, start: int = 0, stop: int | None = None, columns: list[str] | None = None
    ) -> Iterator[dict[str, Any] | Unreadable]:
        """Read rows ``start`` to ``stop`` of a file as Python values, in order, one item for every row.

        Raises:
            SourceError: the file is not the one that was pinned, or it changed while it was read.
        """
        self.check(file)
        with hub_errors(f"{self.dataset} at {self.revision}") if self.dataset else nullcontext():
            fs, path = filesystem_of(file.uri)
            yield from STORAGES[file.storage].read(fs, path, start, file.rows if stop is None else stop, columns)
        self.check(file)

    def check(self, file: SourceFile) -> None:
        """Find that a file is still the one that was pinned. Raises `SourceError`, naming the file."""
        # What the Hub has under a commit's sha never changes.
        if self.revision is None:
            check_unchanged(file.name, file.uri, file.bytes, file.digest, file.stamp)

    def to_json(self) -> dict[str, Any]:
        """As plain values for a JSON file, without the files' stamps, which say nothing of the rows."""
        data = dataclasses.asdict(self)
        return {**data, "files": [{k: v for k, v in file.items() if k != "stamp"} for file in data["files"]]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Source":
        """Back from `to_json`, or from all of its fields."""
        return cls(**{**data, "files": tuple(SourceFile(**file) for file in data["files"])})
