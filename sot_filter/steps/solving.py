"""From embeddings to potentials: gather the rows, fold equal texts, pose the problem, solve it, keep the solution."""

import time
from dataclasses import asdict
from typing import Any

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
    require_manifest,
    write_table,
)
from sot_filter.errors import ArtifactError, ReferenceError, SourceError
from sot_filter.report.projection import fit_plane
from sot_filter.sources import Source
from sot_filter.steps.earlier import agreeing
from sot_filter.steps.embed import EMBEDDED, JUDGED_BY, row_sides
from sot_filter.steps.simple import best_simple
from sot_filter.steps.solution import Coupled, StoredSolution, write_solution
from sot_filter.steps.stability import stability_table
from sot_filter.transport import (
    Choice,
    Measure,
    PushPullProblem,
    Solution,
    choose,
    find_clusters,
    find_neighbours,
    solve,
)
from sot_filter.weighting import Coverage, fit_coverage

#: Where mode exact starts from when its τ follows from the share of rows that the weights are to be worth.
_ANY_TAU = 0.1
#: How many of the settings that were tried are told.
_TRIALS_TOLD = 5


def solve_run(
    layout: Layout,
    part_rows: int,
    embed_key: str,
    key: str,
    settings: dict[str, Any],
    tau: float | None,
    neighbours: int,
    replicates: int,
    solver: dict[str, Any],
) -> None:
    """Solve a run's problem and write its solution; the arguments are those of `SolvePushPull`.

    Raises:
        ArtifactError: embeddings are missing, or were not made alike.
        SourceError: no row has an embedding.
        ReferenceError: a reference lacks a view in all of its rows.
    """
    started = time.monotonic()
    sources = read_inventory(layout.inventory)
    rows, safe, harmful = (
        Embedded.load(layout, role, sources[role], part_rows, embed_key) for role in ("input", "safe", "harmful")
    )
    views = safe.views
    for role, reference in (("safe", safe), ("harmful", harmful)):
        reference.demand(views, role)
    coupled = solver["mode"] == "coupled"

    def pose(seed: int, like: PushPullProblem | None = None) -> tuple[Choice, PushPullProblem]:
        choice = choose(safe.tensors(views), harmful.tensors(views), **{**settings, "seed": seed})
        points = choice.geometry.points(rows.tensors(views, first))
        if like is not None and torch.equal(points, like.rows.points):
            custom, coupling = like.rows, like.coupling
        else:
            custom = Measure.of_counts(points, torch.from_numpy(counts))
            coupling = find_neighbours(custom, neighbours) if coupled and neighbours else None
        strength = tau if tau or coupled else _ANY_TAU
        return choice, choice.pose(custom, tau=strength, tilted=coupled, coupling=coupling)

    first, counts, duplicates = rows.fold()
    if not len(first):
        raise SourceError("rows with text", "none: all are empty or unreadable", "Check the input's columns.")
    choice, problem = pose(settings["seed"])
    solution = solve(problem, **solver)
    if replicates and coupled:
        stability = stability_table(
            rows.digests[first],
            problem,
            solution,
            choice,
            replicates,
            settings["seed"],
            lambda seed: solve(pose(seed, problem)[1], **solver).score,
        )
        write_table(layout.stability, stability, key)
    plane = fit_plane(problem.rows.points.numpy(), problem.safe.points.numpy(), problem.harmful.points.numpy())
    placed = {role: plane.place(getattr(problem, role).points.numpy()) for role in ("safe", "harmful")}
    write_table(
        layout.map,
        pa.table(
            {
                "role": [role for role, xy in placed.items() for _ in xy],
                "x": np.concatenate([xy[:, 0] for xy in placed.values()]),
                "y": np.concatenate([xy[:, 1] for xy in placed.values()]),
                # At the τ of the solve, as the rows' own.
                "held_out": (choice.held_out * choice.calibration.tau / problem.tau).numpy().astype(np.float32),
            }
        ),
        key,
    )
    # The potentials score any row; mode paper instead ranks the rows it was given by their weights.
    own_scores = solver["mode"] == "paper"
    write_table(layout.duplicates, rows.duplicate_table(duplicates, sources["input"]), key)
    write_solution(
        layout.solution,
        StoredSolution(
            geometry=choice.geometry,
            safe=problem.safe,
            harmful=problem.harmful,
            psi_safe=solution.psi_safe,
            psi_harmful=solution.psi_harmful,
            epsilon=problem.epsilon,
            push_strength=problem.push_strength,
            temperature=solution.temperature,
            plane=plane,
            clusters=find_clusters(problem.harmful.points),
            coverage=cover((safe, harmful), (problem.safe, problem.harmful)),
            coupled=stored(choice, problem, solution) if coupled else None,
            row_digests=rows.digests[first] if own_scores else None,
            row_scores=solution.score.numpy().astype(np.float32) if own_scores else None,
        ),
        key,
        mode=solver["mode"],
        problem={
            **_plain(asdict(choice.setting)),
            "tau": problem.tau if coupled else solution.temperature,
            "direction": choice.direction is not None,
            "neighbours": neighbours if coupled else 0,
        },
        held_out={
            "log_loss": choice.calibration.log_loss,
            "standard_error": choice.calibration.standard_error,
            "tried": len(choice.trials),
            "trials": [_plain(trial) for trial in choice.trials[:_TRIALS_TOLD]],
        },
        replicates=replicates if coupled else 0,
        simple=best_simple(choice),
        kept_share=solution.kept_share,
        gap=solution.gap,
        outcome=solution.outcome.value,
        message=solution.outcome.message,
        certificate=solution.certificate,
        marginal_error_safe=solution.marginal_error_safe,
        marginal_error_harmful=solution.marginal_error_harmful,
        objective=solution.objective,
        iterations=solution.iterations,
        effective_sample_size=solution.effective_sample_size,
        distinct_rows=len(first),
        rows=int(counts.sum()),
        overlap={
            "safe_harmful": safe.shared(harmful),
            "input_safe": rows.shared(safe),
            "input_harmful": rows.shared(harmful),
        },
        seconds=round(time.monotonic() - started, 3),
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Values that JSON can say."""
    return {name: str(value) if value == float("inf") else value for name, value in values.items()}


def stored(choice: Choice, problem: PushPullProblem, solution: Solution) -> Coupled:
    """What scores any row after a coupled solve."""
    # Another τ than the calibrated one makes potentials and tilt alike sharper or softer.
    sharper = choice.calibration.tau / problem.tau
    vector = torch.zeros_like(problem.safe.points[0])
    if choice.direction is not None:
        vector = choice.direction.vector * (choice.calibration.direction * sharper)
    offset = choice.calibration.offset + (
        choice.calibration.direction * choice.direction.offset if choice.direction else 0.0
    )
    mass, local = problem.rows.mass, solution.local_log_odds
    assert local is not None
    if problem.coupling is None:
        mass, local = torch.ones(1), (mass.to(local) @ local)[None]
    return Coupled(problem.tau, vector, offset * sharper, mass, local, problem.coupling)


def cover(references: tuple["Embedded", ...], measures: tuple[Measure, ...]) -> Coverage:
    """What the references cover, from their rows and where these are."""
    return fit_coverage(
        torch.cat([measure.points for measure in measures]),
        np.concatenate([reference.digests for reference in references]),
        [sides for reference in references for sides in reference.sides],
        [language for reference in references for language in reference.languages],
    )


class Embedded:
    """All embedded rows of a source, in row order.

    Args:
        tables: the parts' tables.
    """

    def __init__(self, tables: list[pa.Table]) -> None:
        self._table = pa.concat_tables(tables)
        self.digests = digests(self._table["digest"])
        self._embedded = np.asarray(self._table["status"].to_pylist()) == EMBEDDED
        self.views = [name.removeprefix("view:") for name in self._table.column_names if name.startswith("view:")]

    @classmethod
    def load(cls, layout: Layout, role: str, source: Source, part_rows: int, key: str) -> "Embedded":
        """Read every part. Raises `ArtifactError` when one is missing, or parts were embedded differently."""
        tables, described = [], None
        for part in source.parts(part_rows):
            url = layout.embeddings(role, source, part)
            facts = agreeing(require_manifest(url, key).facts["embedder"])
            if described not in (None, facts):
                raise ArtifactError(
                    "parts embedded alike",
                    f"{described} and {facts}",
                    "Set embed.dtype, remove the embed folder, rerun.",
                )
            described = facts
            tables.append(read_table(url, key))
        return cls(tables)

    @property
    def languages(self) -> list[str]:
        """The language of every row."""
        return self._table["language"].to_pylist()

    @property
    def sides(self) -> list[list[NDArray[np.uint32]]]:
        """The character pairs of every row's prompt and response."""
        return row_sides(self._table)

    def demand(self, views: list[str], role: str) -> None:
        """Raise `ReferenceError` if there is a view that no row has."""
        for view, vectors in self.tensors(views).items():
            if not vectors.any():
                raise ReferenceError(
                    f"rows with a {view} in the {role} reference",
                    "none",
                    f"Leave {view} out of embed.views, or choose another reference.",
                )

    def tensors(self, views: list[str], rows: NDArray[np.int64] | None = None) -> dict[str, torch.Tensor]:
        """The views' vectors [n, d] in float32, of all rows or of some."""
        taken = self._table if rows is None else self._table.take(rows)
        return {view: torch.from_numpy(matrix(taken[f"view:{view}"]).astype(np.float32)) for view in views}

    def fold(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """First row and number of rows of each distinct text, in row order; and which of these are repeated."""
        own = np.flatnonzero(self._embedded)
        _, first, counts = np.unique(self.digests[own], return_index=True, return_counts=True)
        order = np.argsort(first)
        first, counts = own[first[order]], counts[order]
        return first, counts, first[counts > 1]

    def duplicate_table(self, first: NDArray[np.int64], source: Source) -> pa.Table:
        """Digest, id, and all that a row is judged by, of the first of each set of rows that share a text."""
        taken = self._table.take(first)
        starts = np.cumsum([0, *(file.rows for file in source.files)])
        files = np.searchsorted(starts, first, side="right") - 1
        ids = [source.key(source.files[f], int(row - starts[f])).id for f, row in zip(files, first, strict=True)]
        views = [name for name in taken.column_names if name.startswith("view:")]
        return pa.table(
            {
                "digest": taken["digest"],
                "first": pa.array(ids, pa.string()),
                **{name: taken[name] for name in JUDGED_BY},
                **{name: fixed_size_column(matrix(taken[name])) for name in views},
            }
        )

    def shared(self, other: "Embedded") -> int:
        """How many rows of this source have a text that the other has too."""
        return int(np.isin(self.digests[self._embedded], other.digests[other._embedded]).sum())
