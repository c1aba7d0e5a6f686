"""Stage weigh: each row's own potentials in one streamed pass, with its nearest reference rows."""

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from sot_filter.artifacts import Layout, find_manifest, read_inventory, read_table, require_manifest, write_table
from sot_filter.steps.embed import my_share


class WeighRows(PipelineStep):
    """Scores the rows of the parts that are not scored yet.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        embed_key: key of the embed stage.
        solve_key: key of the solve stage.
        key: key of this stage.
        threads: CPU threads, or None for torch's own choice.
        slices: columns of the source by which the selection is watched, beside the built-in facets.
    """

    type = "SCORER"
    name = "potentials of every row"

    def __init__(
        self,
        work_dir: str,
        part_rows: int,
        embed_key: str,
        solve_key: str,
        key: str,
        threads: int | None,
        slices: list[str],
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.threads, self.slices = work_dir, part_rows, threads, slices
        self.embed_key, self.solve_key, self.key = embed_key, solve_key, key

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Score the task's parts. Raises `ArtifactError` when embeddings or the solution are missing."""
        layout = Layout(self.work_dir)
        source = read_inventory(layout.inventory)["input"]
        parts = my_share(source.parts(self.part_rows), rank, world_size)
        parts = [part for part in parts if not find_manifest(layout.scores(part), self.key)]
        if not parts:
            return
        import torch

        from sot_filter.steps.scoring import scored_table
        from sot_filter.steps.slicing import add_slices
        from sot_filter.steps.solution import read_solution
        from sot_filter.steps.stability import add_stability

        if self.threads:
            torch.set_num_threads(self.threads)
        solution = read_solution(layout.solution, self.solve_key)
        duplicates = read_table(layout.duplicates, self.solve_key)
        facts = require_manifest(layout.solution, self.solve_key).facts
        stability = read_table(layout.stability, self.solve_key) if facts["replicates"] else None
        for part in parts:
            with self.track_time("part"):
                embedded = read_table(layout.embeddings("input", source, part), self.embed_key)
                table = scored_table(solution, facts["simple"]["score"], embedded, duplicates)
                table = add_slices(table, embedded, source, part, self.slices)
                if stability is not None:
                    table = add_stability(table, embedded, stability)
            write_table(layout.scores(part), table, self.key)
            self.stat_update("rows", value=part.rows, unit="part")
        yield from ()
