"""What a solve leaves behind for the scoring of any row: potentials, reference points, geometry."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from sot_filter.artifacts import Manifest, announce, read_bytes, require_manifest, write_bytes
from sot_filter.report.projection import Plane
from sot_filter.transport import (
    Cells,
    Clusters,
    Geometry,
    Measure,
    Neighbours,
    Replicates,
    RowScores,
    log_odds,
    score_rows,
)
from sot_filter.transport.cost import product
from sot_filter.transport.neighbours import Plan
from sot_filter.weighting import Coverage, PairModel

#: Log-odds are stored up to here, above `sot_filter.rows.UNSCORED`.
_FURTHEST = 99.0
#: How far two potentials of one reference may lie apart, in units of ε, to be found from one kernel.
_APART = 25.0


class Scored(NamedTuple):
    """What is known of n rows.

    Args:
        rows: potentials and evidence, and the score.
        own: the score [n] by the references alone, without the row's neighbours.
        learned: what of ``own`` [n] the learned direction and the offset of the calibration add, nats.
        replicates: the score in each of R replicates of the references [n, R].
        twin: the score [n] by another solution; that by this one if there is none.
    """

    rows: RowScores
    own: torch.Tensor
    learned: torch.Tensor
    replicates: torch.Tensor
    twin: torch.Tensor


@dataclass(frozen=True, eq=False)
class Coupled:
    """What a coupled solve knows beside the potentials.

    Attributes:
        tau: entropic strength, cost units.
        vector: the learned direction [d], scaled so that <vector, z> + offset are nats; zeros if there is none.
        offset: nats.
        mass: base masses [n] of the rows of the solve; one value if they are not coupled.
        local: log-odds [n] of the keep shares of their neighbourhoods; one value if they are not coupled.
        neighbours: the graph of these rows, or None.
    """

    tau: float
    vector: torch.Tensor
    offset: float
    mass: torch.Tensor
    local: torch.Tensor
    neighbours: Neighbours | None

    def plan(self, points: torch.Tensor, cells: torch.Tensor | None) -> Plan | None:
        """Where the neighbours of rows at ``points`` [n, d] are; None if rows are not coupled.

        Args:
            points: any rows.
            cells: the cells [n, probes] they look for neighbours in, where these are known.
        """
        return None if self.neighbours is None else self.neighbours.plan(points, cells)

    def score(
        self, points: torch.Tensor, gradient: torch.Tensor, plan: Plan | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log-odds [n] of rows, what of them is their own [n], and what of that is learned [n].

        Args:
            points: where they are [n, d].
            gradient: λ f_M - (1-λ) f_Q [n], cost units.
            plan: from `plan`.
        """
        own, learned = self.own(points, gradient)
        return bounded(log_odds(own, plan, self.local, self.mass)), bounded(own), learned

    def own(self, points: torch.Tensor, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-odds [n] of rows without neighbours or bounds, and what of them is learned [n]."""
        learned = product(points, self.vector[:, None])[:, 0] + self.offset
        return gradient / self.tau + learned, learned


@dataclass(frozen=True, eq=False)
class StoredSolution:
    """A solution as it is kept; n rows, references of m_Q and m_M points of dimension d.

    Attributes:
        geometry: how views become points.
        safe: the safe reference, points [m_Q, d].
        harmful: the harmful reference, points [m_M, d].
        psi_safe: dual potential [m_Q].
        psi_harmful: dual potential [m_M].
        epsilon: entropic strength of the solve.
        push_strength: its λ.
        temperature: weights are exp(score / temperature), up to a factor; None where scores are log-odds.
        plane: what rows and references are drawn on.
        clusters: a partition of the harmful reference, by which it is told what claims a row.
        coverage: what the references cover, by which rows are called unknown.
        coupled: what mode coupled scores by beside the potentials, or None.
        replicates: replicates of the references that rows are scored by as well, or None.
        row_digests: text digests [n] of rows that bring their own score (mode paper), or None.
        row_scores: these scores [n], or None.
    """

    geometry: Geometry
    safe: Measure
    harmful: Measure
    psi_safe: torch.Tensor
    psi_harmful: torch.Tensor
    epsilon: float
    push_strength: float
    temperature: float | None
    plane: Plane
    clusters: Clusters
    coverage: Coverage
    coupled: Coupled | None = None
    replicates: Replicates | None = None
    row_digests: NDArray[np.void] | None = None
    row_scores: NDArray[np.float32] | None = None

    def score(
        self,
        points: torch.Tensor,
        digests: NDArray[np.void],
        *,
        cells: torch.Tensor | None = None,
        twin: "StoredSolution | None" = None,
        read: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> Scored:
        """Score rows, in one pass over both references.

        Args:
            points: where they are [n, d], on the device of the solution.
            digests: digests of their texts [n].
            cells: as for `Coupled.plan`.
            twin: another solution to score them by, of which `shares_kernel` holds.
            read: as for `score_rows`.
        """
        scores = score_rows(
            points,
            self.safe,
            self.psi_safe,
            self.harmful,
            self.psi_harmful,
            self.epsilon,
            self.push_strength,
            clusters=self.clusters,
            columns=self._columns(twin),
            read=read,
        )
        if self.coupled is not None:
            return self._coupled(points, scores, twin, cells)
        none = torch.zeros_like(scores.score)
        if self.row_digests is None or self.row_scores is None:
            return Scored(scores, scores.score, none, scores.pulls, scores.score)
        order = np.argsort(self.row_digests)
        found = order[np.searchsorted(self.row_digests, digests, sorter=order)]
        own = torch.from_numpy(self.row_scores[found]).to(points.device)
        return Scored(scores._replace(score=own), own, none, scores.pulls, own)

    def shares_kernel(self, other: "StoredSolution") -> bool:
        """Whether another solution's rows, references and neighbours lie where this one's do, at the same ε."""
        mine, theirs = self.coupled, other.coupled
        if self.geometry.view_weights != other.geometry.view_weights or self.epsilon != other.epsilon:
            return False
        if mine is None or theirs is None or (mine.neighbours is None) != (theirs.neighbours is None):
            return False
        pairs = [(centre, other.geometry.centres[view]) for view, centre in self.geometry.centres.items()]
        for a, b in ((self.safe, other.safe), (self.harmful, other.harmful)):
            pairs += [(a.points, b.points), (a.mass, b.mass)]
        if mine.neighbours is not None and theirs.neighbours is not None:
            graphs = mine.neighbours, theirs.neighbours
            pairs += [(graphs[0].rows.points, graphs[1].rows.points), (graphs[0].reach, graphs[1].reach)]
            pairs += [(graphs[0].scaling, graphs[1].scaling)]
        return all(torch.equal(a, b) for a, b in pairs) and all(
            float(gap.max() - gap.min()) < _APART for gap in self._gaps(other)
        )

    def _gaps(self, other: "StoredSolution") -> tuple[torch.Tensor, torch.Tensor]:
        """How far the potentials of another solution lie above this one's, in units of ε."""
        psi = (self.psi_safe, other.psi_safe), (self.psi_harmful, other.psi_harmful)
        return (psi[0][1] - psi[0][0]) / self.epsilon, (psi[1][1] - psi[1][0]) / self.epsilon

    def _columns(self, twin: "StoredSolution | None") -> tuple[torch.Tensor, torch.Tensor] | None:
        """The columns of `score_rows`: of each replicate, and at last of the twin."""
        sides = [] if self.replicates is None else [self.replicates.columns(self.safe, self.harmful)]
        if twin is not None:
            gaps = self._gaps(twin)
            sides.append((gaps[0].exp()[:, None], gaps[1].exp()[:, None]))
        if not sides:
            return None
        return torch.cat([safe for safe, _ in sides], 1), torch.cat([harmful for _, harmful in sides], 1)

    def _coupled(
        self,
        points: torch.Tensor,
        scores: RowScores,
        twin: "StoredSolution | None",
        cells: torch.Tensor | None,
    ) -> Scored:
        coupled, balance, replicated = self.coupled, self.push_strength, scores.pulls[:, :0]
        assert coupled is not None
        plan = coupled.plan(points, cells)
        score, own, learned = coupled.score(points, scores.score, plan)
        if self.replicates is not None:
            count = self.replicates.slopes.shape[0]
            gradients = (balance * scores.pushes - (1 - balance) * scores.pulls)[:, :count]
            replicated = bounded(self.replicates.score(points, gradients, plan, coupled.mass))
        others = score
        if twin is not None:
            assert twin.coupled is not None
            gradient = twin.push_strength * scores.pushes[:, -1] - (1 - twin.push_strength) * scores.pulls[:, -1]
            others, _, _ = twin.coupled.score(points, gradient, plan)
        return Scored(scores._replace(score=score), own, learned, replicated, others)


def bounded(log_odds: torch.Tensor) -> torch.Tensor:
    """Log-odds as far as they are stored."""
    return log_odds.clamp(-_FURTHEST, _FURTHEST)


def write_solution(url: str, solution: StoredSolution, key: str, **facts: Any) -> None:
    """Write it as safetensors and announce it under ``key``."""
    tensors = {
        "safe.points": solution.safe.points,
        "safe.mass": solution.safe.mass,
        "safe.psi": solution.psi_safe,
        "harmful.points": solution.harmful.points,
        "harmful.mass": solution.harmful.mass,
        "harmful.psi": solution.psi_harmful,
        "harmful.cluster": solution.clusters.assignment,
        "harmful.medoids": solution.clusters.medoids,
        "coverage.pairs": torch.from_numpy(solution.coverage.pairs.counts),
        "plane.axes": torch.from_numpy(solution.plane.axes),
        "plane.origin": torch.from_numpy(solution.plane.origin),
        **{f"centre.{view}": centre for view, centre in solution.geometry.centres.items()},
    }
    if solution.row_digests is not None and solution.row_scores is not None:
        tensors["rows.digest"] = torch.from_numpy(solution.row_digests.view(np.uint8).reshape(-1, 16).copy())
        tensors["rows.score"] = torch.from_numpy(solution.row_scores)
    coupled, probes = solution.coupled, 0
    if coupled is not None:
        tensors |= {"learned.vector": coupled.vector, "local.mass": coupled.mass, "local.log_odds": coupled.local}
        if coupled.neighbours is not None:
            tensors |= {
                "neighbours.points": coupled.neighbours.rows.points,
                "neighbours.reach": coupled.neighbours.reach,
                "neighbours.scaling": coupled.neighbours.scaling,
            }
            if coupled.neighbours.cells is not None:
                tensors |= {
                    "cells.centroids": coupled.neighbours.cells.centroids,
                    "cells.sizes": coupled.neighbours.cells.sizes,
                }
                probes = coupled.neighbours.cells.probes
    if solution.replicates is not None:
        tensors |= {f"replicates.{name}": value for name, value in vars(solution.replicates).items()}
    settings = {
        "epsilon": solution.epsilon,
        "push_strength": solution.push_strength,
        "temperature": solution.temperature,
        "view_weights": solution.geometry.view_weights,
        "languages": solution.coverage.languages,
        "unlike": solution.coverage.thresholds,
        "tau": coupled.tau if coupled else None,
        "offset": coupled.offset if coupled else 0.0,
        "neighbours": coupled.neighbours.k if coupled and coupled.neighbours else 0,
        "probes": probes,
    }
    data = safetensors.torch.save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, {"settings": json.dumps(settings)}
    )
    digest, size = write_bytes(url, data)
    announce(url, Manifest(key, len(solution.safe) + len(solution.harmful), digest, size, {**facts, **settings}))


def read_solution(url: str, key: str) -> StoredSolution:
    """Read it back. Raises `ArtifactError` when the solve of this run is not finished."""
    settings = require_manifest(url, key).facts
    tensors = safetensors.torch.load(read_bytes(url) or b"")
    own = "rows.score" in tensors
    return StoredSolution(
        geometry=Geometry({v: tensors[f"centre.{v}"] for v in settings["view_weights"]}, settings["view_weights"]),
        safe=Measure(tensors["safe.points"], tensors["safe.mass"]),
        harmful=Measure(tensors["harmful.points"], tensors["harmful.mass"]),
        psi_safe=tensors["safe.psi"],
        psi_harmful=tensors["harmful.psi"],
        epsilon=settings["epsilon"],
        push_strength=settings["push_strength"],
        temperature=settings["temperature"],
        plane=Plane(tensors["plane.axes"].numpy(), tensors["plane.origin"].numpy()),
        clusters=Clusters(tensors["harmful.cluster"], tensors["harmful.medoids"]),
        coverage=Coverage(PairModel(tensors["coverage.pairs"].numpy()), settings["languages"], **settings["unlike"]),
        coupled=_coupled(tensors, settings) if settings["tau"] is not None else None,
        replicates=_replicates(tensors) if "replicates.local" in tensors else None,
        row_digests=tensors["rows.digest"].numpy().view("V16").reshape(-1) if own else None,
        row_scores=tensors["rows.score"].numpy() if own else None,
    )


def _coupled(tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> Coupled:
    neighbours, mass = None, tensors["local.mass"]
    if settings["neighbours"]:
        rows = Measure(tensors["neighbours.points"], mass)
        neighbours = Neighbours(
            rows,
            settings["neighbours"],
            tensors["neighbours.reach"],
            tensors["neighbours.scaling"],
            Cells(tensors["cells.centroids"], tensors["cells.sizes"], settings["probes"])
            if settings["probes"]
            else None,
        )
    vector, local = tensors["learned.vector"], tensors["local.log_odds"]
    return Coupled(settings["tau"], vector, settings["offset"], mass, local, neighbours)


def _replicates(tensors: dict[str, torch.Tensor]) -> Replicates:
    return Replicates(**{field.name: tensors[f"replicates.{field.name}"] for field in fields(Replicates)})
