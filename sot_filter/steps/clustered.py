"""From a sample of the rows to cells of neighbours, and from the centroids of all rows to the rows of the solve."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from sot_filter.artifacts import (
    Layout,
    digests,
    fixed_size_column,
    matrix,
    read_inventory,
    read_table,
    write_table,
)
from sot_filter.clustering import ClusterSums, assign, kmeans
from sot_filter.embedding.loading import choose_device
from sot_filter.errors import SourceError
from sot_filter.sources import Source
from sot_filter.steps.choosing import write_choice
from sot_filter.steps.embed import EMBEDDED
from sot_filter.steps.embedded import Embedded
from sot_filter.transport import Cells, Choice, Geometry, Measure, choose, move, stratified

#: Rows of the sample that a centroid has on average, at least; so that a cell is worth a look.
_ROWS_PER_CENTROID = 64


class Sample(NamedTuple):
    """The rows of the solve in mode centroid, n distinct texts sorted by cell.

    Args:
        digests: of their texts [n].
        views: for each view their raw vectors [n, d_v].
        mass: of the rows [n]; those of a centroid have its mass among them.
        membership: the centroid [n] of each.
        cells: where they lie.
        centroids: raw means and masses of all rows by centroid, where a marginal is constrained.
        rows: how many rows all these stand for.
    """

    digests: NDArray[np.void]
    views: dict[str, torch.Tensor]
    mass: torch.Tensor
    membership: torch.Tensor
    cells: Cells
    centroids: Measure | None
    rows: int


def cluster_run(
    layout: Layout,
    part_rows: int,
    embed_key: str,
    sample_key: str,
    key: str,
    settings: dict[str, Any],
    centroids: int,
    device: str,
) -> None:
    """Choose, cluster, and write both; the arguments are those of `FindCentroids`.

    Raises:
        ArtifactError: embeddings or the sample are missing.
        SourceError: no row has an embedding.
        ReferenceError: a reference that cannot be used.
    """
    sources = read_inventory(layout.inventory)
    safe, harmful = (Embedded.load(layout, role, sources[role], part_rows, embed_key) for role in ("safe", "harmful"))
    views = safe.views
    for role, reference in (("safe", safe), ("harmful", harmful)):
        reference.demand(views, role)
    place = choose_device(device)
    choice = choose(move(safe.tensors(views), place), move(harmful.tensors(views), place), **settings)
    parts = sources["input"].parts(part_rows)
    table = pa.concat_tables([read_table(layout.sample(part), sample_key) for part in parts])
    _, first, counts = np.unique(digests(table["digest"]), return_index=True, return_counts=True)
    if not len(first):
        raise SourceError(
            "rows with text in the sample", "none", "Raise cluster.sample; if it is large, check the input's columns."
        )
    order = np.argsort(first)
    first, counts = first[order], counts[order]
    table = table.take(first)
    points = choice.geometry.points(move(_views(table), place))
    k = min(centroids, max(1, len(points) // _ROWS_PER_CENTROID))
    found = kmeans(points, k, seed=settings["seed"])
    cell, found = assign(points, found).cpu(), found.cpu()
    sizes = torch.bincount(cell, minlength=k)
    # A cell that no row of the sample lies in is nobody's neighbourhood.
    found, cell = found[sizes > 0], (sizes > 0).cumsum(0)[cell] - 1
    order = cell.argsort(stable=True).numpy()
    table = table.take(order).append_column("count", pa.array(counts[order]))
    table = table.append_column("cell", pa.array(cell.numpy()[order])).combine_chunks()
    write_choice(layout.choice, move(choice, "cpu"), key)
    write_table(layout.sampled, table, key)
    write_table(layout.centroids, pa.table({"centroid": fixed_size_column(found.numpy())}), key)


def read_centroids(layout: Layout, key: str) -> torch.Tensor:
    """The unit centroids [K, d]."""
    return torch.from_numpy(matrix(read_table(layout.centroids, key)["centroid"]).copy())


def assign_part(choice: Choice, centroids: torch.Tensor, embedded: pa.Table, probes: int) -> tuple[pa.Table, pa.Table]:
    """Assign the n rows of a part.

    Args:
        choice: the problem's settings and geometry.
        centroids: unit vectors [K, d], on the device where it is done.
        embedded: the part's table of the embed stage.
        probes: nearest centroids to keep of a row; all of them if there are fewer.

    Returns:
        A table of n rows, ``cells``: the nearest centroids of each row, the nearest first; zeros without an
        embedding. And one of K rows: ``mass``, the rows of each centroid; and where a marginal is constrained, so that
        the means are asked for, ``total``, the sum of their points.
    """
    points = move(choice.geometry, centroids.device).points(move(_views(embedded), centroids.device))
    cells = Cells(centroids, torch.zeros(len(centroids), dtype=torch.int64), probes).nearest(points)
    found = torch.from_numpy(np.asarray(embedded["status"].to_pylist()) == EMBEDDED)
    constrained = choice.setting.rho_safe > 0 or choice.setting.rho_harmful > 0
    sums = ClusterSums.zeros(len(centroids), points.shape[1] if constrained else 0, points.device)
    sums.add(points[found, : sums.total.shape[1]], cells[found, 0])
    cells, sums = move((cells, sums), "cpu")
    added = {"mass": pa.array(sums.mass.numpy())}
    if constrained:
        added["total"] = fixed_size_column(sums.total.float().numpy())
    return pa.table({"cells": fixed_size_column(cells.int().numpy())}), pa.table(added)


def read_sample(
    layout: Layout, source: Source, part_rows: int, cluster_key: str, assign_key: str, probes: int
) -> Sample:
    """The rows of the solve, and what all rows add up to.

    Raises:
        ArtifactError: the stages cluster or assign are not finished.
    """
    table, centroids = read_table(layout.sampled, cluster_key), read_centroids(layout, cluster_key)
    sums: ClusterSums | None = None
    for part in source.parts(part_rows):
        own = read_table(layout.sums(part), assign_key)
        added = matrix(own["total"]).astype(np.float64) if "total" in own.column_names else np.empty((len(own), 0))
        found = ClusterSums(torch.from_numpy(own["mass"].to_numpy().copy()), torch.from_numpy(added))
        if sums is None:
            sums = found
        else:
            sums.merge(found)
    assert sums is not None, "a source has a part"
    membership = torch.from_numpy(table["cell"].to_numpy().copy())
    counts = torch.from_numpy(table["count"].to_numpy().copy())
    return Sample(
        digests=digests(table["digest"]),
        views=_views(table),
        mass=stratified(counts, membership, sums.mass),
        membership=membership,
        cells=Cells(centroids, torch.bincount(membership, minlength=len(centroids)), probes),
        # A sample's own centroid has at least the sample's rows, so no mass is zero.
        centroids=Measure.of_counts(sums.means.float(), sums.mass) if sums.total.shape[1] else None,
        rows=int(sums.mass.sum()),
    )


def add_cells(table: pa.Table, geometry: Geometry, cells: Cells) -> pa.Table:
    """Add to rows with views the column ``cells`` of `assign_part`."""
    return table.append_column("cells", fixed_size_column(cells.nearest(geometry.points(_views(table))).int().numpy()))


def _views(table: pa.Table) -> dict[str, torch.Tensor]:
    names = [name for name in table.column_names if name.startswith("view:")]
    return {name.removeprefix("view:"): torch.from_numpy(matrix(table[name]).astype(np.float32)) for name in names}
