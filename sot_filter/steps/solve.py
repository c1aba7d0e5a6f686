"""Stage solve: all embeddings to the dual potentials of the push-pull problem, in one task."""

from typing import Any

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from sot_filter.artifacts import Layout, find_manifest


class SolvePushPull(PipelineStep):
    """Solves the problem and writes potentials, geometry and the texts that several rows share.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        embed_key: key of the embed stage.
        key: key of this stage.
        settings: arguments of `sot_filter.transport.choose`, but for the references.
        tau: strength of the entropy, or None where the solver finds it.
        neighbours: how many neighbours share a row's fate in mode coupled, itself among them; 0 for none.
        replicates: half-samples of the references to score the rows by in mode coupled; 0 for none.
        solver: arguments of `sot_filter.transport.solve`.
        threads: CPU threads, or None for torch's own choice.
        device: where it is solved: ``auto``, ``cpu`` or ``cuda``.
        sampled: where the rows are too many to be solved all: keys of the stages cluster and assign and the probes,
            as `sot_filter.steps.clustered.read_sample` takes them.
        polished: whether passes over all rows follow, which make the solution of that of the sample.
    """

    type = "SOLVER"
    name = "push-pull optimal transport"

    def __init__(
        self,
        work_dir: str,
        part_rows: int,
        embed_key: str,
        key: str,
        settings: dict[str, Any],
        tau: float | None,
        neighbours: int,
        replicates: int,
        solver: dict[str, Any],
        threads: int | None,
        device: str,
        sampled: dict[str, Any] | None = None,
        polished: bool = False,
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.embed_key, self.key = work_dir, part_rows, embed_key, key
        self.device, self.sampled, self.polished = device, sampled, polished
        self.settings, self.tau, self.neighbours = settings, tau, neighbours
        self.replicates, self.solver, self.threads = replicates, solver, threads

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Solve, unless it is solved. Raises `ArtifactError` when embeddings are missing or do not match."""
        layout = Layout(self.work_dir)
        found = layout.unpolished if self.polished else layout.solution
        if rank == 0 and not find_manifest(found, self.key):
            # Steps are built by every command; only the task that solves should wait for torch to load.
            import torch

            from sot_filter.steps.solving import solve_run

            if self.threads:
                torch.set_num_threads(self.threads)
            with self.track_time("solve"):
                solve_run(
                    layout,
                    self.part_rows,
                    self.embed_key,
                    self.key,
                    self.settings,
                    self.tau,
                    self.neighbours,
                    self.replicates,
                    self.solver,
                    self.sampled,
                    self.device,
                    self.polished,
                )
        yield from ()
