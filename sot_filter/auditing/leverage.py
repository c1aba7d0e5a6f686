"""What the ranking of the input hangs on: clusters and rows of the references, left out in turn."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from sot_filter.audit import influence, ranking_shift
from sot_filter.transport import Choice, Clusters, Measure, find_neighbours, replicate_scores, solve

#: Rows that are ranked again for each cluster left out.
_RANKED: Final = 1000
#: Clusters, and single rows, of each reference that are left out in turn: those of the most influence.
_LEFT_OUT: Final = {"clusters": 10, "rows": 3}
#: What a row that is left out counts, since masses are positive.
_NOTHING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Placed:
    """A side whose views have become points [n, d] of the solver's space."""

    ids: Sequence[str]
    points: NDArray[np.float32]
    facets: Mapping[str, Sequence[str]]


def leverage(
    rows: Placed,
    sides: Mapping[str, Placed],
    clusters: Mapping[str, Clusters],
    choice: Choice,
    neighbours: int,
    kept: float,
    seed: int,
) -> dict[str, Any]:
    """Solve for a sample of the rows in mode coupled, then without the clusters, and the rows, of the most influence.

    What is left out counts nothing in potentials, direction and calibration; settings and space stay as they are.

    Args:
        rows: the input's rows.
        sides: the references, the safe one first.
        clusters: of each reference.
        choice: the settings, and what was learned at them.
        neighbours: rows that share their fate.
        kept: share of the rows that is kept.
        seed: of the sample.

    Returns:
        Number of ``rows`` ranked; by reference, what leaving out ``clusters`` and ``rows`` moved, the most first.
    """
    chosen = np.random.default_rng(seed).permutation(len(rows.ids))[:_RANKED]
    sample = Measure.uniform(torch.from_numpy(rows.points[np.sort(chosen)]))
    problem = choice.pose(sample, coupling=find_neighbours(sample, neighbours) if neighbours else None)
    solution = solve(problem, mode="coupled")
    entries: list[tuple[str, str, dict[str, Any]]] = []
    counts: list[NDArray[np.bool_]] = []
    for role, psi in (("safe", solution.psi_safe), ("harmful", solution.psi_harmful)):
        side = sides[role]
        offset = (psi / problem.epsilon).numpy() - np.float32(np.log(len(side.ids)))
        single = np.arange(len(side.ids))
        parts = {"clusters": (clusters[role].assignment.numpy(), clusters[role].medoids.numpy())}
        for kind, (member, stands_for) in {**parts, "rows": (single, single)}.items():
            felt = influence(sample.points.numpy(), side.points, offset, problem.epsilon, member)
            for c in np.argsort(-felt.swing, kind="stable")[: _LEFT_OUT[kind]]:
                if (member != c).any():
                    facts = {"id": side.ids[int(stands_for[c])], "rows": int((member == c).sum())}
                    entries.append((role, kind, {**facts, "mass": float(felt.mass[c])}))
                    counts.append(
                        np.concatenate(
                            [(member != c) if r == role else np.ones(len(s.ids), bool) for r, s in sides.items()]
                        )
                    )
    found: dict[str, Any] = {"rows": len(sample), **{role: {kind: [] for kind in _LEFT_OUT} for role in sides}}
    if not entries:
        return found
    after = replicate_scores(
        problem,
        solution,
        choice.direction,
        choice.folds,
        torch.from_numpy(np.stack(counts, 1).astype(np.float32)).clamp_min(_NOTHING),
    )
    for (role, kind, facts), score in zip(entries, after.numpy().T, strict=True):
        shift = ranking_shift(solution.score.numpy(), score, kept)
        found[role][kind].append({**facts, **dataclasses.asdict(shift)})
    for role in sides:
        for kind in _LEFT_OUT:
            # By what they did, which their influence at fixed potentials only foretells.
            found[role][kind].sort(key=lambda entry: -entry["kept_changed"])
    return found
