"""Stage weigh: each row's own potentials in one streamed pass, with its nearest reference rows."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from sot_filter.artifacts import Layout, find_manifest, read_inventory, read_table, write_table
from sot_filter.sources import Part
from sot_filter.steps.embed import my_share

#: Rows that are scored at a time, in small parts: in each cell of neighbours there should be some.
_TOGETHER = 16_384

Item = TypeVar("Item")
Read = TypeVar("Read")


class WeighRows(PipelineStep):
    """Scores the rows of the parts that are not scored yet.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        embed_key: key of the embed stage.
        assign_key: key of the assign stage, where rows have been assigned to centroids.
        solve_key: key of the solve stage.
        key: key of this stage.
        threads: CPU threads, or None for torch's own choice.
        slices: columns of the source by which the selection is watched, beside the built-in facets.
        device: where rows are scored: ``auto``, ``cpu`` or ``cuda``.
    """

    type = "SCORER"
    name = "potentials of every row"

    def __init__(
        self,
        work_dir: str,
        part_rows: int,
        embed_key: str,
        assign_key: str | None,
        solve_key: str,
        key: str,
        threads: int | None,
        slices: list[str],
        device: str = "auto",
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.threads, self.slices = work_dir, part_rows, threads, slices
        self.embed_key, self.assign_key, self.solve_key, self.key = embed_key, assign_key, solve_key, key
        self.device = device

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Score the task's parts. Raises `ArtifactError` when embeddings or the solution are missing."""
        layout = Layout(self.work_dir)
        source = read_inventory(layout.inventory)["input"]
        parts = my_share(source.parts(self.part_rows), rank, world_size)
        parts = [part for part in parts if not find_manifest(layout.scores(part), self.key)]
        if not parts:
            return
        import torch

        from sot_filter.steps.devices import device_of
        from sot_filter.steps.scoring import Placed, Scorer
        from sot_filter.steps.slicing import add_slices

        if self.threads:
            torch.set_num_threads(self.threads)
        scorer = Scorer.read(layout, self.solve_key, device_of(self.device, rank))

        def placed(some: list[Part]) -> Placed:
            cells = None
            if self.assign_key:
                cells = pa.concat_tables([read_table(layout.cells(part), self.assign_key) for part in some])
            urls = [layout.embeddings("input", source, part) for part in some]
            return scorer.place(pa.concat_tables([read_table(url, self.embed_key) for url in urls]), cells)

        for some, rows in ahead(placed, together(parts)):
            with self.track_time("parts"):
                whole, start = scorer.score(rows), 0
            for part in some:
                scored, embedded = (table.slice(start, part.rows) for table in (whole, rows.embedded))
                table = add_slices(scored, embedded, source, part, self.slices)
                write_table(layout.scores(part), table.combine_chunks(), self.key)
                self.stat_update("rows", value=part.rows, unit="part")
                start += part.rows
        yield from ()


def together(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts, in order, in groups of as many rows as are well scored at a time."""
    groups: list[list[Part]] = []
    rows = _TOGETHER
    for part in parts:
        if rows + part.rows > _TOGETHER:
            groups.append([])
            rows = 0
        groups[-1].append(part)
        rows += part.rows
    return groups


def ahead(read: Callable[[Item], Read], items: Sequence[Item]) -> Iterator[tuple[Item, Read]]:
    """Each item with what ``read`` makes of it; while one is worked on, a thread reads the next, and no further."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(read, items[0])
        for item, after in zip(items, [*items[1:], None], strict=True):
            ready = following.result()
            if after is not None:
                following = pool.submit(read, after)
            yield item, ready
            del ready
