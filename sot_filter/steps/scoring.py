"""Scores of one part: from its embeddings and a solution to a table row by row."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from sot_filter.artifacts import Layout, digests, matrix, read_table, require_manifest
from sot_filter.errors import SolverError
from sot_filter.rows import UNSCORED
from sot_filter.steps.embed import EMBEDDED, JUDGED_BY, side_pairs
from sot_filter.steps.simple import Simple
from sot_filter.steps.solution import StoredSolution
from sot_filter.steps.solution_file import read_solution
from sot_filter.steps.stability import stability_columns
from sot_filter.transport import Geometry, move
from sot_filter.weighting import likeness


class Placed(NamedTuple):
    """A part that is read and ready to be scored; n rows, t of them with an embedding.

    Attributes:
        embedded: its table of the embed stage.
        found: which rows have an embedding [n].
        first: for each row the row of the duplicates that gives it its vectors [n], or -1.
        points: where the rows with an embedding are [t, d].
        cells: the cells they look for neighbours in [t, probes], where these are known.
        reseeded: where they are in the space of the other solution, if that is another.
    """

    embedded: pa.Table
    found: NDArray[np.bool_]
    first: NDArray[np.int64]
    points: torch.Tensor
    cells: torch.Tensor | None
    reseeded: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Scorer:
    """All that scores the rows of a run, part by part.

    Attributes:
        solution: on the device that scores.
        reseeded: the solution at another seed, if there are replicates.
        shared: whether both are scored by one kernel.
        simple: the simple score.
        duplicates: texts that several rows share, with the first row's vectors.
        device: where the references are, and the rows while they are scored.
    """

    solution: StoredSolution
    reseeded: StoredSolution | None
    shared: bool
    simple: Simple
    duplicates: pa.Table
    device: torch.device

    @classmethod
    def read(cls, layout: Layout, solve_key: str, device: str = "cpu") -> "Scorer":
        """Read what the solve stage has left.

        Args:
            layout: of the run.
            solve_key: key of the solve stage.
            device: as ``cpu`` or ``cuda``; ``auto`` is a GPU where there is one.

        Raises:
            ArtifactError: the solve of this run is not finished.
            SolverError: there is no such device.
        """
        place = scoring_device(device)
        facts = require_manifest(layout.solution, solve_key).facts
        solution = read_solution(layout.solution, solve_key)
        reseeded = read_solution(layout.reseeded, solve_key) if facts["replicates"] else None
        shared = reseeded is not None and solution.shares_kernel(reseeded)
        return cls(
            move(solution, place),
            move(reseeded, place),
            shared,
            move(Simple.prepare(facts["simple"]["score"], solution.safe.points, solution.harmful.points), place),
            read_table(layout.duplicates, solve_key),
            place,
        )

    def place(self, embedded: pa.Table, cells: pa.Table | None = None) -> Placed:
        """Make a part ready to be scored; it works on the CPU, so that it can be done while another is scored.

        Args:
            embedded: the part's table of the embed stage.
            cells: its table of the assign stage, if there is one.
        """
        found = np.asarray(embedded["status"].to_pylist()) == EMBEDDED
        points, first = place_rows(self.solution.geometry, embedded, self.duplicates, self._order)
        reseeded = None
        if self.reseeded is not None and not self.shared:
            reseeded = place_rows(self.reseeded.geometry, embedded, self.duplicates, self._order)[0][found]
        looked_into = None
        if cells is not None:
            looked_into = place_cells(cells, self.duplicates, first)[found]
        return Placed(embedded, found, first, points if found.all() else points[found], looked_into, reseeded)

    def score(self, part: Placed) -> pa.Table:
        """Score the n rows of a part.

        A row that shares its text with others is scored with the vectors of the first of them, so that all get
        exactly the same score, whatever batches they were embedded in.

        Returns:
            A table of n rows: status, detail, truncated, duplicate_of, score, own (the score without the row's
            neighbours), learned (what of it is the learned direction), simple (what `sot_filter.steps.simple` would
            give it), pull, push, index of and similarity to the nearest row of either reference, medoid of the harmful
            cluster that claims most of the row's mass and the share it claims, what may make it unknown (see
            `sot_filter.weighting.Coverage`), x and y on the map; and, if there are replicates, `stability_columns`.
            Rows without an embedding have `UNSCORED` and zeros.
        """
        solution, embedded, duplicates, first = self.solution, part.embedded, self.duplicates, part.first
        n, found = len(embedded), part.found
        texts, points = digests(embedded["digest"])[found], part.points.to(self.device)
        twin = self.reseeded if self.shared else None
        rows, own, learned, replicates, reseeded = solution.score(
            points,
            texts,
            cells=None if part.cells is None else part.cells.to(self.device),
            twin=twin,
            read=self.simple.read,
        )
        # As the vectors, so that rows of one text are all unknown or none of them.
        shared, taken = np.unique(first[first >= 0], return_inverse=True)
        likewise = pa.concat_tables([embedded.select(JUDGED_BY), duplicates.select(JUDGED_BY).take(shared)])
        judged_as = np.arange(n)
        judged_as[first >= 0] = n + taken
        likewise = likewise.take(judged_as[found])
        languages = likewise["language"].to_pylist()
        nearest = torch.maximum(rows.nearest_safe_similarity, rows.nearest_harmful_similarity)
        coverage = likeness(part.points, nearest.cpu())
        surprise = solution.coverage.pairs.surprises(side_pairs(likewise)).astype(np.float32)
        unknown = solution.coverage.judge(coverage, surprise, languages)
        xy = solution.plane.place(part.points.numpy())
        firsts = duplicates["first"].take(pa.array(first, mask=first < 0)).fill_null("")

        def spread(values: torch.Tensor | NDArray[Any], dtype: type, fill: Any = 0) -> pa.Array:
            column: NDArray[Any] = np.full(n, fill, dtype)
            column[found] = values.cpu() if isinstance(values, torch.Tensor) else values
            return pa.array(column)

        table = {
            "status": embedded["status"],
            "detail": embedded["detail"],
            "truncated": embedded["truncated"],
            "duplicate_of": firsts,
            "score": spread(rows.score, np.float32, UNSCORED),
            "own": spread(own, np.float32, UNSCORED),
            "learned": spread(learned, np.float32),
            "simple": spread(self.simple.score(points, rows.contrast), np.float32, -np.inf),
            "pull": spread(rows.pull, np.float32),
            "push": spread(rows.push, np.float32),
            "nearest_safe": spread(rows.nearest_safe, np.int32, -1),
            "safe_similarity": spread(rows.nearest_safe_similarity, np.float32),
            "nearest_harmful": spread(rows.nearest_harmful, np.int32, -1),
            "harmful_similarity": spread(rows.nearest_harmful_similarity, np.float32),
            "harmful_cluster": spread(solution.clusters.medoids[rows.cluster.cpu()], np.int32, -1),
            "harmful_cluster_share": spread(rows.cluster_share, np.float32),
            "coverage": spread(coverage, np.float32),
            "surprise": spread(surprise, np.float32),
            "language": spread(np.asarray(languages, object), object, ""),
            "unknown": spread(unknown, np.int8),
            "x": spread(xy[:, 0], np.float32),
            "y": spread(xy[:, 1], np.float32),
        }
        if self.reseeded is not None:
            if part.reseeded is not None:
                reseeded = self.reseeded.score(part.reseeded.to(self.device), texts).rows.score
            columns = stability_columns(rows.score, replicates, reseeded)
            table |= {name: spread(values, np.float32) for name, values in columns.items()}
        return pa.table(table)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(digests(self.duplicates["digest"]))


def place_rows(
    geometry: Geometry, embedded: pa.Table, duplicates: pa.Table, order: NDArray[np.int64] | None = None
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Place the n rows of a part in the space of the solve.

    Args:
        geometry: of the solve.
        embedded: the part's table of the embed stage.
        duplicates: texts that several rows share, with the first row's vectors.
        order: what sorts ``duplicates`` by digest, if that is known.

    Returns:
        Their points [n, d], zero for rows without an embedding; and for each the row of ``duplicates`` that has its
        text and so gives it its vectors, or -1.
    """
    known = digests(duplicates["digest"])
    first = _positions(digests(embedded["digest"]), known, np.argsort(known) if order is None else order)
    views = {}
    for view in geometry.view_weights:
        vectors = matrix(embedded[f"view:{view}"]).astype(np.float32)
        if (first >= 0).any():
            vectors[first >= 0] = matrix(duplicates[f"view:{view}"])[first[first >= 0]]
        views[view] = torch.from_numpy(vectors)
    return geometry.points(views), first


def place_cells(cells: pa.Table, duplicates: pa.Table, first: NDArray[np.int64]) -> torch.Tensor:
    """The cells [n, probes] that the rows of a part look for neighbours in.

    Args:
        cells: the part's table of the assign stage.
        duplicates: as for `place_rows`, with their cells.
        first: from `place_rows` [n].
    """
    nearest = matrix(cells["cells"]).copy()
    nearest[first >= 0] = matrix(duplicates["cells"])[first[first >= 0]]
    return torch.from_numpy(nearest)


def scoring_device(name: str) -> torch.device:
    """A device by its name; ``auto`` is a GPU where there is one. Raises `SolverError` where there is none such."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SolverError(f"device {name}", f"{torch.cuda.device_count()} CUDA devices", "Set device to auto or cpu.")
    return device


def _positions(texts: NDArray[np.void], known: NDArray[np.void], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in ``known``, which ``order`` sorts, each of ``texts`` is, or -1."""
    if not len(known):
        return np.full(len(texts), -1)
    place = order[np.minimum(np.searchsorted(known, texts, sorter=order), len(known) - 1)]
    return np.where(known[place] == texts, place, -1)
