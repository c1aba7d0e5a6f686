"""What a solve leaves behind for the scoring of any row: potentials, reference points, geometry."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from sot_filter.artifacts import Manifest, announce, read_bytes, require_manifest, write_bytes
from sot_filter.report.projection import Plane
from sot_filter.transport import Clusters, Geometry, Measure, Neighbours, RowScores, log_odds, score_rows
from sot_filter.weighting import Coverage, PairModel

#: Log-odds are stored up to here, above `sot_filter.rows.UNSCORED`.
_FURTHEST = 99.0


class Scored(NamedTuple):
    """What is known of n rows.

    Args:
        rows: potentials and evidence, and the score.
        own: the score [n] by the references alone, without the row's neighbours.
        learned: what of ``own`` [n] the learned direction and the offset of the calibration add, nats.
    """

    rows: RowScores
    own: torch.Tensor
    learned: torch.Tensor


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

    def score(self, points: torch.Tensor, rows: RowScores) -> Scored:
        """Log-odds of rows at ``points`` [n, d] from what the potentials say of them."""
        learned = points @ self.vector + self.offset
        own = rows.score / self.tau + learned
        plan = None if self.neighbours is None else self.neighbours.plan(points)
        score = log_odds(own, plan, self.local, self.mass).clamp(-_FURTHEST, _FURTHEST)
        return Scored(rows._replace(score=score), own.clamp(-_FURTHEST, _FURTHEST), learned)


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
    row_digests: NDArray[np.void] | None = None
    row_scores: NDArray[np.float32] | None = None

    def score(self, points: torch.Tensor, digests: NDArray[np.void]) -> Scored:
        """Score rows from their points [n, d] and the digests [n] of their texts."""
        scores = score_rows(
            points,
            self.safe,
            self.psi_safe,
            self.harmful,
            self.psi_harmful,
            self.epsilon,
            self.push_strength,
            clusters=self.clusters,
        )
        if self.coupled is not None:
            return self.coupled.score(points, scores)
        learned = torch.zeros_like(scores.score)
        if self.row_digests is None or self.row_scores is None:
            return Scored(scores, scores.score, learned)
        order = np.argsort(self.row_digests)
        found = order[np.searchsorted(self.row_digests, digests, sorter=order)]
        own = torch.from_numpy(self.row_scores[found])
        return Scored(scores._replace(score=own), own, learned)


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
    coupled = solution.coupled
    if coupled is not None:
        tensors |= {"learned.vector": coupled.vector, "local.mass": coupled.mass, "local.log_odds": coupled.local}
        if coupled.neighbours is not None:
            tensors |= {
                "neighbours.points": coupled.neighbours.rows.points,
                "neighbours.reach": coupled.neighbours.reach,
                "neighbours.scaling": coupled.neighbours.scaling,
            }
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
        row_digests=tensors["rows.digest"].numpy().view("V16").reshape(-1) if own else None,
        row_scores=tensors["rows.score"].numpy() if own else None,
    )


def _coupled(tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> Coupled:
    neighbours, mass = None, tensors["local.mass"]
    if settings["neighbours"]:
        rows = Measure(tensors["neighbours.points"], mass)
        neighbours = Neighbours(
            rows, settings["neighbours"], tensors["neighbours.reach"], tensors["neighbours.scaling"]
        )
    vector, local = tensors["learned.vector"], tensors["local.log_odds"]
    return Coupled(settings["tau"], vector, settings["offset"], mass, local, neighbours)
