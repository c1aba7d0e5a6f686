"""Reference rows that earlier versions of the references had too: their embeddings are taken, not made again."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import fsspec
import pyarrow as pa

from sot_filter.artifacts import Layout, find_manifest, read_table
from sot_filter.conversation import Conversation, InvalidRow
from sot_filter.sources import Source

#: The roles whose rows change while the input stays.
REFERENCES: Final = ("safe", "harmful")
#: Facts of an embedding that must agree between all parts of a run; the rest may differ by a rounding.
MUST_AGREE: Final = ("model", "digest", "dtype", "pooling", "layer", "max_length")
#: The column by which rows are known again.
CONTENT: Final = "content"
_NOTHING: Final = bytes(16)


def contents(rows: Sequence[Conversation | InvalidRow]) -> list[bytes]:
    """For each row 16 bytes that are equal only for rows that are embedded alike: all turns, tools and white space.

    Rows whose text is the same may still differ in them, as by who speaks. Zeros for a row that is no conversation.
    """
    return [_content(row) if isinstance(row, Conversation) else _NOTHING for row in rows]


def agreeing(described: dict[str, Any]) -> dict[str, Any]:
    """What must agree of an embedder's `describe`."""
    return {name: described.get(name) for name in MUST_AGREE}


@dataclass(frozen=True, slots=True)
class Known:
    """Rows that were embedded alike.

    Attributes:
        embedder: what the embedder said of itself.
        table: their table of the embed stage.
        places: the row of each content; of several, the first.
    """

    embedder: dict[str, Any]
    table: pa.Table
    places: dict[bytes, int]

    @classmethod
    def of_tables(cls, embedder: dict[str, Any], tables: list[pa.Table]) -> "Known":
        """The rows of several tables."""
        whole, places = pa.concat_tables(tables), dict[bytes, int]()
        for place, content in enumerate(whole[CONTENT].to_pylist()):
            if content != _NOTHING:
                places.setdefault(content, place)
        return cls(embedder, whole, places)

    def take(self, content: Sequence[bytes]) -> pa.Table:
        """The rows of these contents, all of them known."""
        return self.table.take(pa.array([self.places[one] for one in content], pa.int64()))


def find_known(layout: Layout, sources: dict[str, Source], key: str) -> list[Known]:
    """All rows of references that the run does not use now, grouped by how they were embedded, in order of their urls.

    Parts of the present references are left out, since which of them are finished depends on who is how fast.

    Args:
        layout: where the artifacts are.
        sources: the run's sources by role.
        key: key of the embed stage.
    """
    now = {layout.embedded(role, sources[role]).rpartition("/")[2] for role in REFERENCES}
    found: dict[str, tuple[dict[str, Any], list[pa.Table]]] = {}
    for url in _urls(layout, now):
        manifest = find_manifest(url, key)
        if manifest is None:
            continue
        table = read_table(url, key)
        if CONTENT in table.column_names:
            embedder = manifest.facts["embedder"]
            found.setdefault(json.dumps(agreeing(embedder)), (embedder, []))[1].append(table)
    return [Known.of_tables(embedder, tables) for embedder, tables in found.values()]


def _urls(layout: Layout, now: set[str]) -> Iterator[str]:
    fs, root = fsspec.url_to_fs(f"{layout.root}/embed")
    if not fs.exists(root):
        return
    for folder in sorted(fs.ls(root, detail=False)):
        name = folder.rstrip("/").rpartition("/")[2]
        if name not in now and name.partition("-")[0] in REFERENCES:
            yield from (fs.unstrip_protocol(file) for file in sorted(fs.find(folder)) if file.endswith(".arrow"))


def _content(row: Conversation) -> bytes:
    turns = [[message.role, message.content, dict(message.extra)] for message in row.messages]
    whole = json.dumps([turns, list(row.tools)], default=str)
    return hashlib.blake2b(whole.encode(), digest_size=16).digest()
