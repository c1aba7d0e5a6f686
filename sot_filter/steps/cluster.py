"""Stages sample, cluster and assign: a sample of the texts, centroids of it, and each row's nearest centroids."""

from typing import Any

import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from numpy.typing import NDArray

from sot_filter.artifacts import Layout, digests, find_manifest, read_inventory, read_table, write_table
from sot_filter.steps.embed import EMBEDDED, my_share


class SampleRows(PipelineStep):
    """Draws rows by a keyed hash of their texts, so that rows of one text are drawn together, whatever the tasks.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        embed_key: key of the embed stage.
        key: key of this stage.
        share: of the texts to draw, 0 to 1.
        seed: of the run.
    """

    type = "SAMPLER"
    name = "a sample of the rows"

    def __init__(self, work_dir: str, part_rows: int, embed_key: str, key: str, share: float, seed: int) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.embed_key, self.key = work_dir, part_rows, embed_key, key
        self.share, self.seed = share, seed

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Draw from the task's parts. Raises `ArtifactError` when embeddings are missing."""
        layout = Layout(self.work_dir)
        source = read_inventory(layout.inventory)["input"]
        for part in my_share(source.parts(self.part_rows), rank, world_size):
            url = layout.sample(part)
            if find_manifest(url, self.key):
                continue
            table = read_table(layout.embeddings("input", source, part), self.embed_key)
            views = [name for name in table.column_names if name.startswith("view:")]
            embedded = np.asarray(table["status"].to_pylist()) == EMBEDDED
            drawn = np.flatnonzero(embedded & is_drawn(digests(table["digest"]), self.share, self.seed))
            write_table(url, table.select(["digest", *views]).take(drawn).combine_chunks(), self.key)
            self.stat_update("rows", value=len(drawn), unit="part")
        yield from ()


class FindCentroids(PipelineStep):
    """Chooses the problem's settings on the references, and clusters the sample in the space that they make.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        embed_key: key of the embed stage.
        sample_key: key of the sample stage.
        key: key of this stage.
        settings: arguments of `sot_filter.transport.choose`, but for the references.
        centroids: how many at most.
        threads: CPU threads, or None for torch's own choice.
        device: where it is done: ``auto``, ``cpu`` or ``cuda``.
    """

    type = "CLUSTERER"
    name = "centroids of the sample"

    def __init__(
        self,
        work_dir: str,
        part_rows: int,
        embed_key: str,
        sample_key: str,
        key: str,
        settings: dict[str, Any],
        centroids: int,
        threads: int | None,
        device: str,
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.embed_key, self.key = work_dir, part_rows, embed_key, key
        self.sample_key, self.settings, self.centroids = sample_key, settings, centroids
        self.threads, self.device = threads, device

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Cluster, unless it is done. Raises `ArtifactError` when embeddings or the sample are missing."""
        layout = Layout(self.work_dir)
        if rank == 0 and not find_manifest(layout.centroids, self.key):
            import torch

            from sot_filter.steps.clustered import cluster_run

            if self.threads:
                torch.set_num_threads(self.threads)
            with self.track_time("cluster"):
                cluster_run(
                    layout,
                    self.part_rows,
                    self.embed_key,
                    self.sample_key,
                    self.key,
                    self.settings,
                    self.centroids,
                    self.device,
                )
        yield from ()


class AssignRows(PipelineStep):
    """Finds the centroids nearest to each row, and adds up the rows of each centroid.

    Args:
        work_dir: the run's folder.
        part_rows: rows per part.
        embed_key: key of the embed stage.
        cluster_key: key of the cluster stage.
        key: key of this stage.
        probes: nearest centroids of a row to be kept.
        threads: CPU threads, or None for torch's own choice.
        device: where it is done: ``auto``, ``cpu`` or ``cuda``; of several GPUs in sight each task takes one.
    """

    type = "CLUSTERER"
    name = "nearest centroids of every row"

    def __init__(
        self,
        work_dir: str,
        part_rows: int,
        embed_key: str,
        cluster_key: str,
        key: str,
        probes: int,
        threads: int | None,
        device: str,
    ) -> None:
        super().__init__()
        self.work_dir, self.part_rows, self.embed_key, self.key = work_dir, part_rows, embed_key, key
        self.cluster_key, self.probes, self.threads, self.device = cluster_key, probes, threads, device

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Assign the rows of the task's parts. Raises `ArtifactError` when embeddings or centroids are missing."""
        layout = Layout(self.work_dir)
        source = read_inventory(layout.inventory)["input"]
        parts = my_share(source.parts(self.part_rows), rank, world_size)
        parts = [
            part
            for part in parts
            if not (find_manifest(layout.cells(part), self.key) and find_manifest(layout.sums(part), self.key))
        ]
        if not parts:
            return
        import torch

        from sot_filter.embedding.loading import choose_device
        from sot_filter.steps.choosing import read_choice
        from sot_filter.steps.clustered import assign_part, read_centroids
        from sot_filter.steps.devices import device_of

        if self.threads:
            torch.set_num_threads(self.threads)
        choice = read_choice(layout.choice, self.cluster_key)
        centroids = read_centroids(layout, self.cluster_key).to(choose_device(device_of(self.device, rank)))
        for part in parts:
            with self.track_time("part"):
                embedded = read_table(layout.embeddings("input", source, part), self.embed_key)
                cells, sums = assign_part(choice, centroids, embedded, self.probes)
            write_table(layout.sums(part), sums, self.key)
            write_table(layout.cells(part), cells, self.key)
            self.stat_update("rows", value=part.rows, unit="part")
        yield from ()


def is_drawn(texts: NDArray[np.void], share: float, seed: int) -> NDArray[np.bool_]:
    """Which of the texts [n], given by their 16-byte digests, are in a sample of this share; 1 takes all."""
    if share >= 1:
        return np.ones(len(texts), np.bool_)
    # The digests are random bits already; the seed stirs them, by the finaliser of splitmix64.
    bits = texts.view(np.uint64).reshape(len(texts), 2)[:, 0] ^ np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    drawn: NDArray[np.bool_] = (bits ^ (bits >> np.uint64(31))) < np.uint64(int(share * 2.0**64))
    return drawn
