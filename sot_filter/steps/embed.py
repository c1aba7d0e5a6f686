"""Stage embed: rows of the input and of both references, part by part, to one vector per view."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from numpy.typing import NDArray

from sot_filter.artifacts import Layout, finished, fixed_size_column, read_inventory, write_table
from sot_filter.conversation import Conversation, InvalidRow
from sot_filter.embedding import Embedder, load_embedder
from sot_filter.errors import SourceError
from sot_filter.facets import UNDETERMINED, Facets, facets
from sot_filter.rows import EMPTY, INVALID
from sot_filter.steps.earlier import CONTENT, REFERENCES, Known, agreeing, contents, find_known
from sot_filter.weighting import character_pairs

#: Status of a row that has an embedding, before the selection says kept or dropped.
EMBEDDED = "embedded"
#: The columns that describe a row, see `sot_filter.facets.Facets`.
FACETS = {"language": pa.string(), "characters": pa.int64(), "format": pa.string(), "code": pa.bool_()}
#: The two texts of a row whose character pairs are counted, each in a column `pairs:<side>`.
SIDES = ("prompt", "response")
#: What a row is judged by beside its vectors.
JUDGED_BY = ("language", *(f"pairs:{side}" for side in SIDES))
_NO_FACETS = Facets(UNDETERMINED, 0, "", False)


def my_share(items: list[Any], rank: int, world_size: int) -> list[Any]:
    """The items of a task: a contiguous share, so that a task stays within few files."""
    return items[len(items) * rank // world_size : len(items) * (rank + 1) // world_size]


class ReadRows(PipelineStep):
    """Yields every row of the parts that are not embedded yet, also those without text.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        key: key of the embed stage; a part that has a manifest of it is left alone.
    """

    type = "READER"
    name = "rows of source parts"

    def __init__(self, work_dir: str, part_rows: int, key: str) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.key = work_dir, part_rows, key

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield one document per row; its metadata hold role, part, the part's artifact, and the conversation.

        Raises `SourceError` when a source file is not the one that was planned.
        """
        layout = Layout(self.work_dir)
        sources = read_inventory(layout.inventory)
        parts = [(role, part) for role, source in sources.items() for part in source.parts(self.part_rows)]
        mine = [(layout.embeddings(role, sources[role], p), role, p) for role, p in my_share(parts, rank, world_size)]
        done = finished([url for url, _, _ in mine], self.key)
        for url, role, part in mine:
            if url in done:
                continue
            rows = sources[role].read(part.file, part.start, part.stop)
            for number, row in enumerate(rows, part.start):
                text = row.text() if isinstance(row, Conversation) else ""
                row_id = sources[role].key(part.file, number).id
                facts = {"artifact": url, "role": role, "part": part, "row": row}
                yield Document(text=text, id=row_id, metadata=facts)


class EmbedRows(PipelineStep):
    """Embeds the rows it is given and writes one artifact per part.

    A row of a reference that an earlier version of the references had is not embedded again.

    Args:
        work_dir: the run's folder.
        key: key of the embed stage.
        embedder: arguments of `sot_filter.embedding.load_embedder`.
    """

    type = "EMBEDDER"
    name = "hidden states of the frozen model"

    def __init__(self, work_dir: str, key: str, embedder: dict[str, Any]) -> None:
        super().__init__()
        self.work_dir, self.key, self.embedder = work_dir, key, embedder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Consume the documents. Raises `SourceError` when a part's rows are not as many as planned."""
        layout, known = Layout(self.work_dir), None
        for url, documents in groupby(data, key=lambda document: document.metadata["artifact"]):
            started = time.monotonic()
            metadata = [document.metadata for document in documents]
            part, role, rows = metadata[0]["part"], metadata[0]["role"], [facts["row"] for facts in metadata]
            if len(rows) != part.rows:
                raise SourceError(
                    f"{part.rows:,} rows in {part.name}",
                    f"{len(rows):,}",
                    "The file changed while it was read; run again.",
                )
            with self.track_time("part"):
                if known is None and role in REFERENCES:
                    known = find_known(layout, read_inventory(layout.inventory), self.key)
                taken = known if known and role in REFERENCES else []
                table, facts = completed_table(lambda: self._load(rank), rows, taken)
            write_table(url, table, self.key, **facts, seconds=round(time.monotonic() - started, 3))
            self.stat_update("rows", value=len(rows), unit="part")
            self.stat_update("tokens", value=facts["tokens"], unit="part")
        yield from ()

    def _load(self, rank: int) -> Embedder:
        from sot_filter.steps.devices import device_of

        return load_embedder(**{**self.embedder, "device": device_of(self.embedder["device"], rank)})


def completed_table(
    load: Callable[[], Embedder], rows: list[Conversation | InvalidRow], known: Sequence[Known]
) -> tuple[pa.Table, dict[str, Any]]:
    """The table of n rows, as of `embedded_table`; those that are known are taken from there.

    Args:
        load: loads the embedder; called only if it is needed.
        rows: the rows.
        known: from `find_known`; what was embedded otherwise than the embedder would is not taken.

    Returns:
        The table, and as facts for its manifest the embedder, the tokens fed to it now, and how many rows were taken.
    """
    content = contents(rows)
    for one in known:
        if all(row in one.places for row in content):
            return one.take(content), {"embedder": one.embedder, "tokens": 0, "taken": len(rows)}
    embedder = load()
    described = embedder.describe()
    alike = next((one for one in known if agreeing(one.embedder) == agreeing(described)), None)
    fresh = [i for i, row in enumerate(content) if alike is None or row not in alike.places]
    table, tokens = embedded_table(embedder, [rows[i] for i in fresh])
    if alike is not None and len(fresh) < len(rows):
        old = np.setdiff1d(np.arange(len(rows)), fresh)
        table = pa.concat_tables([table, alike.take([content[i] for i in old])])
        table = table.take(np.argsort(np.concatenate([fresh, old]), kind="stable")).combine_chunks()
    return table, {"embedder": described, "tokens": tokens, "taken": len(rows) - len(fresh)}


def embedded_table(embedder: Embedder, rows: list[Conversation | InvalidRow]) -> tuple[pa.Table, int]:
    """Embed n rows.

    Returns:
        A table of n rows (status, detail, digests of text and content, tokens, truncated, the facets, the character
        pairs of prompt and response, one vector column per view), and the number of tokens. Rows without an embedding
        have zero vectors.
    """
    found = {i: row for i, row in enumerate(rows) if isinstance(row, Conversation) and not row.is_empty}
    readable = list(found)
    embeddings = embedder.embed(list(found.values()))
    n = len(rows)
    tokens, truncated = np.zeros(n, np.int32), np.zeros(n, bool)
    tokens[readable], truncated[readable] = embeddings.tokens, embeddings.truncated
    views = {view: np.zeros((n, embedder.dimension), np.float16) for view in embedder.views}
    for view, vectors in embeddings.vectors.items():
        views[view][readable] = vectors
    with_vector = np.any([vectors.any(axis=1) for vectors in views.values()], axis=0)
    status = [
        INVALID if isinstance(row, InvalidRow) else EMBEDDED if embedded else EMPTY
        for row, embedded in zip(rows, with_vector, strict=True)
    ]
    described = [facets(row) if isinstance(row, Conversation) else _NO_FACETS for row in rows]
    table = pa.table(
        {
            "status": status,
            "detail": [str(row) if isinstance(row, InvalidRow) else "" for row in rows],
            "digest": pa.array(_digests(rows), pa.binary(16)),
            CONTENT: pa.array(contents(rows), pa.binary(16)),
            "tokens": tokens,
            "truncated": truncated,
            **{name: pa.array([getattr(d, name) for d in described], kind) for name, kind in FACETS.items()},
            **{f"pairs:{side}": _pairs(rows, side) for side in SIDES},
            **{f"view:{view}": fixed_size_column(vectors) for view, vectors in views.items()},
        }
    )
    return table, int(tokens.sum())


def _digests(rows: list[Conversation | InvalidRow]) -> Iterator[bytes]:
    return (row.digest() if isinstance(row, Conversation) else bytes(16) for row in rows)


def row_sides(embedded: pa.Table) -> list[list[NDArray[np.uint32]]]:
    """For each row of an embedded table the character pairs of its prompt and its response."""
    columns = [embedded[f"pairs:{side}"].combine_chunks() for side in SIDES]
    pairs = [(column.offsets.to_numpy(), column.values.to_numpy()) for column in columns]
    return [[values[ends[i] : ends[i + 1]] for ends, values in pairs] for i in range(len(embedded))]


def side_pairs(embedded: pa.Table) -> list[tuple[NDArray[np.uint32], NDArray[np.int64]]]:
    """For prompts and for responses the character pairs of all n rows, and where each row's begin and end [n + 1]."""
    columns = [embedded[f"pairs:{side}"].combine_chunks() for side in SIDES]
    return [(column.values.to_numpy(), column.offsets.to_numpy().astype(np.int64)) for column in columns]


def _pairs(rows: list[Conversation | InvalidRow], side: str) -> pa.Array:
    texts = (row.text(side) if isinstance(row, Conversation) else "" for row in rows)
    return pa.array([character_pairs(text) for text in texts], pa.list_(pa.uint32()))
