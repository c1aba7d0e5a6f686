"""Stage publish: every source file again, one to one, with its rows' new columns; or these alone, file by file."""

import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from numpy.typing import NDArray

from sot_filter.artifacts import (
    Layout,
    Manifest,
    announce,
    find_manifest,
    read_inventory,
    read_table,
    require_manifest,
    write_atomic,
)
from sot_filter.conversation import Conversation
from sot_filter.references import reference_ids
from sot_filter.rows import COLUMNS, DIGEST, DROPPED, DUPLICATE, KEPT, UNKNOWN, named, published_name
from sot_filter.sources import STORAGES, Part, Source, SourceFile, filesystem_of, with_columns
from sot_filter.steps.embed import my_share
from sot_filter.steps.select import Fate, decide, file_starts, is_repeated, judged, may_be_kept, places
from sot_filter.steps.stability import replicates_of
from sot_filter.weighting import least_retention, reason, unknown_words, weights

_ARROW = {"string": pa.string(), "float32": pa.float32(), "bool": pa.bool_()}
#: The new columns as an Arrow schema.
SCHEMA = pa.schema([pa.field(name, _ARROW[kind], nullable=True) for name, kind in COLUMNS.items()])
#: How `datasets` cuts columns into pages by their content.
_CHUNKING: Final = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
#: What the embed stage stores as the digest of a row that has messages but no text.
_DIGEST_OF_NOTHING: Final = Conversation(()).digest()
#: What the sentence on an unknown row is made of.
_MEASURED = ("coverage", "surprise", "language")


class WriteColumns(PipelineStep):
    """Writes the output files that are not written yet.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        keys: key of every stage, by name.
        folder: where the files go.
        mode: ``columns`` or ``sidecar``.
        prefix: how the names of the new columns begin.
    """

    type = "WRITER"
    name = "source files with weight columns"

    def __init__(
        self, work_dir: str, part_rows: int, keys: dict[str, str], folder: str, mode: str, prefix: str
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.keys, self.folder = work_dir, part_rows, keys, folder
        self.mode, self.prefix = mode, prefix

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write the task's files.

        Raises:
            ArtifactError: an earlier stage is not finished.
            SourceError: a source file is not the one that was planned.
        """
        layout = Layout(self.work_dir)
        sources = read_inventory(layout.inventory)
        selection = require_manifest(layout.selection, self.keys["select"]).facts
        columns = Columns(sources, self.part_rows, layout, self.keys["weigh"], selection)
        for file in my_share(list(sources["input"].files), rank, world_size):
            if find_manifest(layout.published(file.name), self.keys["publish"]):
                continue
            url = f"{self.folder}/{published_name(file.name, self.mode)}"
            with self.track_time("file"):
                digest, size = write_atomic(url, self._writer(sources["input"], file, columns))
            announce(
                layout.published(file.name),
                Manifest(self.keys["publish"], file.rows, facts={"url": url, "digest": digest, "bytes": size}),
            )
            self.stat_update("rows", value=file.rows, unit="file")
        yield from ()

    def _writer(self, source: Source, file: SourceFile, columns: "Columns") -> Callable[[IO[bytes]], None]:
        if self.mode == "sidecar":
            tables = columns.with_digests(file, self.keys["embed"])
            return partial(_write_sidecar, (renamed(table, self.prefix) for table in tables))
        return partial(_append, source, file, (renamed(table, self.prefix) for table in columns.of_file(file)))


def renamed(table: pa.Table, prefix: str) -> pa.Table:
    """New columns under names that begin with ``prefix``."""
    return table.rename_columns([named(name, prefix) for name in table.column_names])


def _write_sidecar(tables: Iterator[pa.Table], out: IO[bytes]) -> None:
    """Write the columns alone, as `datasets` writes Parquet: in pages by content, which stay where others change."""
    first = next(tables)
    schema = with_columns(pa.schema([], {"huggingface": json.dumps({"info": {"features": {}}})}), first.schema)
    with pq.ParquetWriter(out, schema, use_content_defined_chunking=_CHUNKING, write_page_index=True) as writer:
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(_CHUNKING)})
        for table in itertools.chain([first], tables):
            if table.num_rows:
                writer.write_table(table.cast(schema))


def _append(source: Source, file: SourceFile, columns: Iterator[pa.Table], out: IO[bytes]) -> None:
    source.check(file)
    fs, path = filesystem_of(file.uri)
    STORAGES[file.storage].append(fs, path, out, columns)
    # Before the output file gets its name: what was written may be of two different files.
    source.check(file)


class Columns:
    """The new columns of any source file, from its scores and the selection.

    Args:
        sources: the run's sources by role.
        part_rows: rows per part.
        layout: where the scores are.
        weigh_key: key of the weigh stage.
        selection: facts of the select stage.
    """

    def __init__(
        self, sources: dict[str, Source], part_rows: int, layout: Layout, weigh_key: str, selection: dict[str, Any]
    ) -> None:
        self._source, self._layout, self._weigh_key = sources["input"], layout, weigh_key
        self._selection = selection
        self._ids = {role: reference_ids(sources[role]) for role in ("safe", "harmful")}
        self._parts = self._source.parts(part_rows)
        self._starts = file_starts(self._source)

    def of_file(self, file: SourceFile) -> Iterator[pa.Table]:
        """Tables in row order that cover the file; one without rows when the file has none."""
        if file.rows == 0:
            yield SCHEMA.empty_table()
        for part in self._parts:
            if part.file.name == file.name:
                yield self.of_part(part)

    def with_digests(self, file: SourceFile, embed_key: str) -> Iterator[pa.Table]:
        """As `of_file`, with the digest of each row's text behind, of which the embed stage is asked by its key."""
        parts = [part for part in self._parts if part.file.name == file.name]
        for part, table in itertools.zip_longest(parts, self.of_file(file)):
            digests: list[bytes] = []
            if part is not None:
                url = self._layout.embeddings("input", self._source, part)
                digests = read_table(url, embed_key, ["digest"])["digest"].to_pylist()
            said = [bytes(16).hex() if digest == _DIGEST_OF_NOTHING else digest.hex() for digest in digests]
            yield table.append_column(DIGEST, pa.array(said, pa.string()))

    def of_part(self, part: Part) -> pa.Table:
        """The new columns of a part's rows."""
        scored = read_table(self._layout.scores(part), self._weigh_key)
        ids = [self._source.key(part.file, row).id for row in range(part.start, part.stop)]
        place = places(scored["duplicate_of"], self._starts[part.file.name] + part.start, self._starts)
        return new_columns(scored, ids, place, self._selection, self._ids["safe"], self._ids["harmful"])


class Outcomes(NamedTuple):
    """What becomes of n rows.

    Attributes:
        fate: whether they are kept, and why.
        status: their status [n].
        weight: their weight [n].
    """

    fate: Fate
    status: NDArray[Any]
    weight: NDArray[np.float32]


def outcomes(
    scored: pa.Table, first: NDArray[np.bool_], place: NDArray[np.int64], selection: dict[str, Any]
) -> Outcomes:
    """What becomes of n rows.

    Args:
        scored: the rows' table of the weigh stage.
        first: which of them are the first rows of their texts [n].
        place: where they stand [n] among all rows, from `sot_filter.steps.select.places`.
        selection: facts of the select stage.
    """
    fate = decide(scored, place, selection)
    verdict = np.where(scored["unknown"].to_numpy() != 0, UNKNOWN, np.where(fate.kept, KEPT, DROPPED)).astype(object)
    # The first row of a text is no duplicate of itself.
    status = np.where(is_repeated(scored["duplicate_of"]) & ~first, DUPLICATE, verdict)
    without = ~judged(scored)
    status[without] = scored["status"].filter(without).to_numpy()
    return Outcomes(fate, status, weights(fate.log_weight, fate.kept, selection["log_normaliser"]))


def new_columns(
    scored: pa.Table,
    ids: list[str],
    place: NDArray[np.int64],
    selection: dict[str, Any],
    safe_ids: list[str],
    harmful_ids: list[str],
) -> pa.Table:
    """The columns of `sot_filter.rows.COLUMNS` for n rows.

    Args:
        scored: the rows' table of the weigh stage.
        ids: the rows' ids [n].
        place: where they stand [n] among all rows, from `sot_filter.steps.select.places`.
        selection: facts of the select stage.
        safe_ids: ids of the safe reference's rows.
        harmful_ids: ids of the harmful reference's rows.
    """
    n = len(scored)
    column = {name: scored[name].to_numpy() for name in scored.column_names}
    scorable = judged(scored)
    first = np.asarray([first == row_id for first, row_id in zip(column["duplicate_of"], ids, strict=True)], np.bool_)
    fate, status, weight = outcomes(scored, first, place, selection)
    kept, unknown = fate.kept, column["unknown"]
    selectable, retention = may_be_kept(scored, selection["unknown"]), np.zeros(n)
    retention[scorable] = least_retention(column["score"][scorable], place[scorable], selection["retention_cuts"])
    times, edge = replicates_of(scored, selectable, place, selection)
    reasons = [
        reason(
            status[i],
            kept=bool(kept[i]),
            score=float(column["score"][i]),
            cut=selection["cut"],
            weight=float(weight[i]),
            safe_similarity=float(column["safe_similarity"][i]),
            harmful_similarity=float(column["harmful_similarity"][i]),
            cluster=harmful_ids[column["harmful_cluster"][i]],
            cluster_share=float(column["harmful_cluster_share"][i]),
            # No retention keeps a row that is not selected from.
            retention=float(retention[i]) if selectable[i] else None,
            kept_for=fate.kept_for[i],
            unknown=unknown_words(unknown[i], {k: column[k][i] for k in _MEASURED}, selection["unlike"])
            if unknown[i]
            else "",
            policy=selection["unknown"],
            replicates=(int(times[i]), selection["replicates"]) if edge[i] else None,
            duplicate_of="" if first[i] else column["duplicate_of"][i],
            truncated=bool(column["truncated"][i]),
            detail=column["detail"][i],
        )
        for i in range(n)
    ]
    return pa.table(
        [
            ids,
            column["score"],
            weight,
            kept,
            column["pull"],
            column["push"],
            status.tolist(),
            reasons,
            [safe_ids[i] if i >= 0 else "" for i in column["nearest_safe"]],
            [harmful_ids[i] if i >= 0 else "" for i in column["nearest_harmful"]],
        ],
        schema=SCHEMA,
    )
