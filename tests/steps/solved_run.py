"""A run whose solve is done, made without texts or a model: small references, and parts of any number of rows."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sot_filter.artifacts import Layout, fixed_size_column, write_inventory, write_table
from sot_filter.report.projection import fit_plane
from sot_filter.sources import Source, SourceFile
from sot_filter.steps.solution import StoredSolution
from sot_filter.steps.solution_file import write_solution
from sot_filter.steps.solving import scoring
from sot_filter.transport import (
    Choice,
    Measure,
    PushPullProblem,
    Solution,
    choose,
    draw_halves,
    find_clusters,
    find_neighbours,
    fit_replicates,
    replicate_scores,
    solve,
)
from sot_filter.weighting import Coverage, PairModel, character_pairs
from sot_filter.weighting.typicality import CLASSES

REPLICATES = 4
SAFE, HARMFUL = 40, 45
Views = dict[str, NDArray[np.float16]]


class SolvedRun:
    """A run of two views in a folder, its 90 rows solved by mode coupled.

    Args:
        folder: where it lies.
        d: dimension of a view.
        simple: the simple score.
        other: settings of the solve at another seed that are not chosen.
    """

    def __init__(self, folder: Path, d: int = 8, simple: str = "knn", other: dict[str, object] | None = None) -> None:
        self.d, self.layout = d, Layout(str(folder))
        safe, harmful = (tensors(self.vectors(n, seed, by)) for n, seed, by in ((SAFE, 1, 0.4), (HARMFUL, 2, -0.4)))
        self.views = self.vectors(90, 3)
        choice = choose(safe, harmful)
        self.problem, self.solution = self.solved(choice)
        halves = draw_halves(SAFE, HARMFUL, REPLICATES, 0)
        arguments = self.problem, self.solution, choice.direction, choice.folds, halves
        self.replicates = replicate_scores(*arguments)
        measures = self.problem.rows, self.problem.safe, self.problem.harmful
        kept = StoredSolution(
            **scoring(choice, self.problem, self.solution, coupled=True),
            temperature=None,
            plane=fit_plane(*(measure.points.numpy() for measure in measures)),
            clusters=find_clusters(self.problem.harmful.points),
            coverage=Coverage(PairModel(np.ones((CLASSES, CLASSES), np.int64)), {"en": 80}, 0.1, 9.0, 0.01),
            replicates=fit_replicates(*arguments),
        )
        again = choose(safe, harmful, seed=1, **(other or {}))
        posed, solution = self.solved(again)
        self.reseeded = solution.score
        twin = replace(kept, **scoring(again, posed, solution, coupled=True), replicates=None)
        write_solution(self.layout.reseeded, twin, "solve")
        facts = {"simple": {"score": simple}, "replicates": REPLICATES, "mode": "coupled"}
        write_solution(self.layout.solution, kept, "solve", **facts)

    def solved(self, choice: Choice) -> tuple[PushPullProblem, Solution]:
        """The problem of the run's rows by a choice, and its solution."""
        rows = Measure.uniform(choice.geometry.points(tensors(self.views)))
        problem = choice.pose(rows, coupling=find_neighbours(rows, 8))
        return problem, solve(problem, mode="coupled")

    def vectors(self, n: int, seed: int, shift: float | None = None) -> Views:
        """Views [n, d] of rows that lie ``shift`` to one side; of four on the safe one and one on the other."""
        generator, found = np.random.default_rng(seed), {}
        side = np.where(np.arange(n) % 5 == 0, -0.4, 0.4) if shift is None else np.full(n, shift)
        for view in ("prompt", "response"):
            points = generator.normal(size=(n, self.d)) / self.d**0.5
            points[:, 0] += side
            found[view] = normalize(torch.from_numpy(points)).half().numpy()
        return found

    def table(self, views: Views, texts: list[str], status: list[str] | None = None) -> pa.Table:
        """What the embed stage makes of n rows."""
        n, pairs = len(texts), pa.array([character_pairs(text) for text in texts], pa.list_(pa.uint32()))
        digests = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
        return pa.table(
            {
                "status": status or ["embedded"] * n,
                "detail": [""] * n,
                "digest": pa.array(digests, pa.binary(16)),
                "truncated": [False] * n,
                "language": ["en"] * n,
                "characters": pa.array([len(text) for text in texts], pa.int64()),
                "format": ["plain"] * n,
                "code": [False] * n,
                "pairs:prompt": pairs,
                "pairs:response": pairs,
                **{f"view:{view}": fixed_size_column(vectors) for view, vectors in views.items()},
            }
        )

    def duplicates(self, embedded: pa.Table, rows: list[int]) -> pa.Table:
        """The table of shared texts, with some rows of a table as the first of each."""
        taken = embedded.take(pa.array(rows, pa.int64()))
        names = ["digest", "language", "pairs:prompt", "pairs:response"]
        views = {name: taken[name].combine_chunks() for name in taken.column_names if name.startswith("view:")}
        first = pa.array([f"first#{row}" for row in rows], pa.string())
        return pa.table({"first": first, **{name: taken[name] for name in names}, **views})

    def write_parts(self, parts: int, rows: int) -> Source:
        """An inventory and embeddings of as many parts, all of the same rows; no text is shared."""
        file = SourceFile("rows.jsonl", "file:///nowhere/rows.jsonl", ".jsonl", parts * rows, 1, "0")
        source = Source("default", "train", "plain", {}, (file,))
        write_inventory(self.layout.inventory, dict.fromkeys(("input", "safe", "harmful"), source))
        embedded = self.table(self.vectors(rows, 5), [f"text {i}" for i in range(rows)])
        for part in source.parts(rows):
            write_table(self.layout.embeddings("input", source, part), embedded, "embed")
        write_table(self.layout.duplicates, self.duplicates(embedded, []), "solve")
        return source


def tensors(views: Views) -> dict[str, Tensor]:
    """Views as the solve reads them."""
    return {view: torch.from_numpy(vectors).float() for view, vectors in views.items()}
