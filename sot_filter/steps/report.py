"""Stage report: check what was published, then write picture, card and, last of all, the summary."""

import hashlib
import json
from importlib.util import find_spec
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
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
    write_bytes,
    write_json,
)
from sot_filter.errors import ArtifactError
from sot_filter.report.card import card
from sot_filter.report.summary import Tally, warnings
from sot_filter.sources import STORAGES, Source
from sot_filter.steps.publish import Columns

#: Rows drawn at most; more only hide each other.
_SHOWN = 20_000
#: Facts of the selection that no reader of a summary wants.
_LENGTHY = ("retention_cuts", "replicate_cuts", "kept_texts", "unlike")


class WriteReport(PipelineStep):
    """Writes the summary, unless it is written.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        keys: key of every stage, by name.
        folder: the output folder.
        about: what the summary says of the run as planned: name, references, versions.
        label: a column and the value that marks a row as known harmful, or nothing; only counted.
        seed: seed of the rows that are drawn.
    """

    type = "WRITER"
    name = "summary, card and picture"

    def __init__(
        self,
        work_dir: str,
        part_rows: int,
        keys: dict[str, str],
        folder: str,
        about: dict[str, Any],
        label: dict[str, Any],
        seed: int,
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.keys, self.folder = work_dir, part_rows, keys, folder
        self.about, self.label, self.seed = about, label, seed

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write it. Raises `ArtifactError` when a published file is not what was announced."""
        layout = Layout(self.work_dir)
        if rank == 0 and not find_manifest(layout.report, self.keys["report"]):
            sources = read_inventory(layout.inventory)
            self._check_published(layout, sources["input"])
            summary, tally = self._summary(layout, sources)
            if find_spec("matplotlib"):
                self._draw(layout, sources["input"], tally, summary)
            self._set_aside(layout, sources, summary["selection"]["unknown"] == "review")
            write_bytes(f"{self.folder}/README.md", card(summary).encode())
            write_json(f"{self.folder}/summary.json", summary)
            announce(layout.report, Manifest(self.keys["report"], summary["rows"]["total"]))
        yield from ()

    def _set_aside(self, layout: Layout, sources: dict[str, Source], wanted: bool) -> None:
        """List the ids of unknown rows for review; what an earlier selection listed is removed."""
        url, source = f"{self.folder}/review.jsonl", sources["input"]
        if not wanted:
            fs, path = fsspec.url_to_fs(url)
            if fs.exists(path):
                fs.rm(path)
            return
        lines = []
        for part in source.parts(self.part_rows):
            unknown = read_table(layout.scores(part), self.keys["weigh"], ["unknown"])["unknown"].to_numpy()
            ids = (source.key(part.file, part.start + int(i)).id for i in np.flatnonzero(unknown))
            lines += [json.dumps({"sot_row_id": row_id}, ensure_ascii=False) for row_id in ids]
        write_bytes(url, "".join(f"{line}\n" for line in lines).encode())

    def _check_published(self, layout: Layout, source: Source) -> None:
        for file in source.files:
            url = f"{self.folder}/{file.name}"
            facts = require_manifest(layout.published(file.name), self.keys["publish"]).facts
            fs, path = fsspec.url_to_fs(url)
            found = STORAGES[file.storage].survey(fs, path).rows if fs.exists(path) else None
            with fs.open(path, "rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            if found != file.rows or digest != facts["digest"]:
                raise ArtifactError(f"{file.rows:,} rows in {url}", f"{found}", "Remove that file and run again.")

    def _summary(self, layout: Layout, sources: dict[str, Source]) -> tuple[dict[str, Any], Tally]:
        source = sources["input"]
        solve = require_manifest(layout.solution, self.keys["solve"]).facts
        selection = require_manifest(layout.selection, self.keys["select"]).facts
        columns = Columns(sources, self.part_rows, layout, self.keys["weigh"], selection)
        tally = Tally()
        for part in source.parts(self.part_rows):
            tally.add(columns.of_part(part), read_table(layout.scores(part), self.keys["weigh"]))
        summary = {
            **self.about,
            "problem": solve["problem"],
            "rows": tally.rows(),
            "kept": tally.weights(),
            "unknown": {**tally.unknown(), **solve["unlike"]},
            "slices": tally.slices(),
            "simple": {**solve["simple"], **tally.simple()},
            "selection": {name: value for name, value in selection.items() if name not in _LENGTHY},
            "solve": solve,
            "embedding": self._embedding(layout, source),
            "input": source.to_json(),
            "quality": tally.quality(np.asarray(source.having(self.label))) if self.label else None,
        }
        return {**summary, "warnings": warnings(summary)}, tally

    def _embedding(self, layout: Layout, source: Source) -> dict[str, Any]:
        manifests, truncated = [], 0
        for part in source.parts(self.part_rows):
            url = layout.embeddings("input", source, part)
            manifests.append(require_manifest(url, self.keys["embed"]))
            truncated += int(np.sum(read_table(url, self.keys["embed"], ["truncated"])["truncated"].to_numpy()))
        return {
            **manifests[0].facts["embedder"],
            "tokens": sum(manifest.facts["tokens"] for manifest in manifests),
            "truncated": truncated,
            "seconds": round(sum(manifest.facts["seconds"] for manifest in manifests), 1),
        }

    def _draw(self, layout: Layout, source: Source, tally: Tally, summary: dict[str, Any]) -> None:
        from sot_filter.report.picture import draw

        judged = np.flatnonzero(tally.judged)
        if len(judged) > _SHOWN:
            judged = np.sort(np.random.default_rng(self.seed).choice(judged, _SHOWN, replace=False))
        parts = source.parts(self.part_rows)
        rows = pa.concat_tables(read_table(layout.scores(p), self.keys["weigh"], ["x", "y"]) for p in parts)
        references = read_table(layout.map, self.keys["solve"])
        role = references["role"].to_numpy()
        write_atomic(
            f"{self.folder}/map.png",
            lambda handle: draw(
                handle,
                title=summary["name"],
                scores=tally.scores[judged],
                kept=tally.kept[judged],
                cut=summary["selection"]["cut"],
                rows_xy=_coordinates(rows)[judged],
                safe_xy=_coordinates(references)[role == "safe"],
                harmful_xy=_coordinates(references)[role == "harmful"],
                rows_total=int(tally.judged.sum()),
            ),
        )


def _coordinates(table: pa.Table) -> NDArray[np.float32]:
    return np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
