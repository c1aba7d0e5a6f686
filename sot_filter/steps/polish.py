"""Stages polish and settle: a pass over all rows, and the solution that follows from what they gather."""

from collections.abc import Mapping

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger

from sot_filter.artifacts import Layout, find_manifest, read_inventory, read_table, write_table
from sot_filter.sources import Part
from sot_filter.steps.embed import my_share
from sot_filter.steps.weigh import ahead


class GatherRows(PipelineStep):
    """Adds up what the rows of each part gather on the references, at the present potentials.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        keys: key of every stage, by name.
        number: of the pass.
        before: url and key of the present solution.
        threads: CPU threads, or None for torch's own choice.
        device: where rows are scored: ``auto``, ``cpu`` or ``cuda``; of several GPUs in sight each task takes one.
    """

    type = "SCORER"
    name = "what all rows gather on the references"

    def __init__(
        self,
        work_dir: str,
        part_rows: int,
        keys: Mapping[str, str],
        number: int,
        before: tuple[str, str],
        threads: int | None,
        device: str,
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.keys, self.number = work_dir, part_rows, dict(keys), number
        self.before, self.threads, self.device = before, threads, device

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Go over the task's parts. Raises `ArtifactError` when embeddings or the solution are missing."""
        layout, keys, key = Layout(self.work_dir), self.keys, self.keys[f"polish-{self.number}"]
        source = read_inventory(layout.inventory)["input"]
        parts = my_share(source.parts(self.part_rows), rank, world_size)
        parts = [part for part in parts if not find_manifest(layout.gathered(self.number, part), key)]
        if not parts:
            return
        import torch

        from sot_filter.steps.devices import device_of
        from sot_filter.steps.polishing import Gatherer, Located

        if self.threads:
            torch.set_num_threads(self.threads)
        gatherer = Gatherer.read(layout, *self.before, keys["solve"], device_of(self.device, rank))
        if gatherer.free:
            logger.info("both marginals are free, so there is nothing that a pass over all rows could correct")

        def located(part: Part) -> Located | None:
            if gatherer.free:
                return None
            embedded = read_table(layout.embeddings("input", source, part), keys["embed"])
            return gatherer.locate(embedded, read_table(layout.cells(part), keys["assign"]))

        for part, rows in ahead(located, parts):
            with self.track_time("part"):
                table = gatherer.gather(rows)
            write_table(layout.gathered(self.number, part), table, key)
            self.stat_update("rows", value=part.rows, unit="part")
        yield from ()


class SettlePotentials(PipelineStep):
    """Adds up what all rows gather, takes the step that follows, and settles the keep shares of the sample.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        keys: key of every stage, by name.
        number: of the pass.
        before: url and key of the present solution.
        after: where the corrected one goes.
        probes: as the sample was assigned with.
        threads: CPU threads, or None for torch's own choice.
        device: where it is done: ``auto``, ``cpu`` or ``cuda``.
    """

    type = "SOLVER"
    name = "potentials corrected by all rows"

    def __init__(
        self,
        work_dir: str,
        part_rows: int,
        keys: Mapping[str, str],
        number: int,
        before: tuple[str, str],
        after: str,
        probes: int,
        threads: int | None,
        device: str,
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.keys, self.number = work_dir, part_rows, dict(keys), number
        self.before, self.after, self.probes = before, after, probes
        self.threads, self.device = threads, device

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Settle, unless it is done. Raises `ArtifactError` when a part of the pass is missing."""
        layout = Layout(self.work_dir)
        if rank == 0 and not find_manifest(self.after, self.keys[f"settle-{self.number}"]):
            import torch

            from sot_filter.steps.polishing import settle_run

            if self.threads:
                torch.set_num_threads(self.threads)
            with self.track_time("settle"):
                settle_run(
                    layout, self.part_rows, self.keys, self.number, self.before, self.after, self.probes, self.device
                )
        yield from ()
