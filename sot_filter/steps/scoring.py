"""Scores of one part: from its embeddings and a solution to a table row by row."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from sot_filter.artifacts import digests, matrix
from sot_filter.rows import UNSCORED
from sot_filter.steps.embed import EMBEDDED, JUDGED_BY, row_sides
from sot_filter.steps.simple import simple_score
from sot_filter.steps.solution import StoredSolution
from sot_filter.transport import Geometry
from sot_filter.weighting import likeness


def scored_table(solution: StoredSolution, simple: str, embedded: pa.Table, duplicates: pa.Table) -> pa.Table:
    """Score the n rows of a part.

    A row that shares its text with others is scored with the vectors of the first of them, so that all get exactly
    the same score, whatever batches they were embedded in.

    Returns:
        A table of n rows: status, detail, truncated, duplicate_of, score, own (the score without the row's
        neighbours), learned (what of it is the learned direction), simple (what `sot_filter.steps.simple` would give
        it), pull, push, index of and similarity to the nearest row of either reference, medoid of the harmful cluster
        that claims most of the row's mass and the share it claims, what may make it unknown (see
        `sot_filter.weighting.Coverage`), x and y on the map. Rows without an embedding have `UNSCORED` and zeros.
    """
    n = len(embedded)
    texts = digests(embedded["digest"])
    found = np.asarray(embedded["status"].to_pylist()) == EMBEDDED
    points, first = place_rows(solution.geometry, embedded, duplicates)
    points = points[found]
    scores, by_references, learned = solution.score(points, texts[found])
    # As the vectors, so that rows of one text are all unknown or none of them.
    own = embedded.select(JUDGED_BY)
    likewise = pa.concat_tables([own, duplicates.select(JUDGED_BY)])
    likewise = likewise.take(np.where(first >= 0, n + first, np.arange(n))[found])
    languages = likewise["language"].to_pylist()
    nearest = torch.maximum(scores.nearest_safe_similarity, scores.nearest_harmful_similarity)
    coverage = likeness(points, nearest)
    surprise = np.asarray([solution.coverage.pairs.surprise(sides) for sides in row_sides(likewise)], np.float32)
    unknown = solution.coverage.judge(coverage, surprise, languages)
    xy = torch.from_numpy(solution.plane.place(points.numpy()))
    firsts = duplicates["first"].to_pylist()

    def spread(values: torch.Tensor | NDArray[Any], dtype: type, fill: Any = 0) -> pa.Array:
        column: NDArray[Any] = np.full(n, fill, dtype)
        column[found] = values
        return pa.array(column)

    return pa.table(
        {
            "status": embedded["status"],
            "detail": embedded["detail"],
            "truncated": embedded["truncated"],
            "duplicate_of": pa.array([firsts[i] if i >= 0 else "" for i in first], pa.string()),
            "score": spread(scores.score, np.float32, UNSCORED),
            "own": spread(by_references, np.float32, UNSCORED),
            "learned": spread(learned, np.float32),
            "simple": spread(
                simple_score(simple, points, solution.safe.points, solution.harmful.points), np.float32, -np.inf
            ),
            "pull": spread(scores.pull, np.float32),
            "push": spread(scores.push, np.float32),
            "nearest_safe": spread(scores.nearest_safe, np.int32, -1),
            "safe_similarity": spread(scores.nearest_safe_similarity, np.float32),
            "nearest_harmful": spread(scores.nearest_harmful, np.int32, -1),
            "harmful_similarity": spread(scores.nearest_harmful_similarity, np.float32),
            "harmful_cluster": spread(solution.clusters.medoids[scores.cluster], np.int32, -1),
            "harmful_cluster_share": spread(scores.cluster_share, np.float32),
            "coverage": spread(coverage, np.float32),
            "surprise": spread(surprise, np.float32),
            "language": spread(np.asarray(languages, object), object, ""),
            "unknown": spread(unknown, np.int8),
            "x": spread(xy[:, 0], np.float32),
            "y": spread(xy[:, 1], np.float32),
        }
    )


def place_rows(geometry: Geometry, embedded: pa.Table, duplicates: pa.Table) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Place the n rows of a part in the space of the solve.

    Returns:
        Their points [n, d], zero for rows without an embedding; and for each the row of ``duplicates`` that has its
        text and so gives it its vectors, or -1.
    """
    first = _positions(digests(embedded["digest"]), duplicates)
    views = {}
    for view in geometry.view_weights:
        vectors = matrix(embedded[f"view:{view}"]).astype(np.float32)
        if (first >= 0).any():
            vectors[first >= 0] = matrix(duplicates[f"view:{view}"])[first[first >= 0]]
        views[view] = torch.from_numpy(vectors)
    return geometry.points(views), first


def _positions(texts: NDArray[np.void], duplicates: pa.Table) -> NDArray[np.int64]:
    """Row of ``duplicates`` that has each digest, or -1."""
    if not len(duplicates):
        return np.full(len(texts), -1)
    known = digests(duplicates["digest"])
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, texts, sorter=order), len(known) - 1)]
    return np.where(known[place] == texts, place, -1)
