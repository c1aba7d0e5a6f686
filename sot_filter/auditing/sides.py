"""Audit two references for an input: wrong labels, repeats, overlap, coverage and leverage."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sot_filter.audit import (
    FEWEST_ROWS,
    covered,
    difference,
    label_noise,
    near_duplicates,
    nearest,
    out_of_fold_evidence,
)
from sot_filter.audit.sentences import sentences
from sot_filter.auditing.leverage import Placed, leverage
from sot_filter.transport import Clusters, choose, find_clusters

#: Similarity in the solver's space, the weighted mean of the views' centred cosines, from which texts count as alike.
ALIKE: Final = 0.95
#: Share of a reference's own rows that are as far from its others as rows that count as not covered.
MISS: Final = 0.05
#: A kind that less of the input has is not looked for in the references.
_RARE: Final = 0.02
#: Suspects that are named even where no noise is found.
_FEWEST_SUSPECTS: Final = 5
FACETS: Final = ("language", "length", "format", "code")


@dataclass(frozen=True, slots=True)
class Side:
    """Rows that are audited: n of the input, each text once, or those of a reference.

    Attributes:
        ids: their ids [n].
        views: raw unit vectors [n, d_v] by view.
        facets: kinds [n] by facet.
    """

    ids: Sequence[str]
    views: Mapping[str, Tensor]
    facets: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


def audit_sides(
    rows: Side,
    safe: Side,
    harmful: Side,
    *,
    settings: Mapping[str, Any],
    neighbours: int,
    kept: float,
    folded: Mapping[str, int],
    seed: int,
) -> dict[str, Any]:
    """Audit two references for an input.

    Args:
        rows: the input's rows.
        safe: the safe reference.
        harmful: the harmful reference.
        settings: arguments of `sot_filter.transport.choose`, but for the views.
        neighbours: rows that share their fate.
        kept: share of the rows that is kept.
        folded: for each reference, rows that were left out as exact duplicates.
        seed: of folds, clusters and samples.

    Returns:
        Plain values: ``rows`` of each side; by reference ``contamination`` (None with too few rows), ``duplicates``,
        ``coverage`` and ``leverage``; ``overlap`` between sides; input ``regions``; ``warnings`` in sentences.
    """
    choice = choose(safe.views, harmful.views, **settings)
    sides = {
        role: Placed(side.ids, choice.geometry.points(side.views).numpy(), side.facets)
        for role, side in {"input": rows, "safe": safe, "harmful": harmful}.items()
    }
    placed = sides.pop("input")
    group = near_duplicates(np.concatenate([side.points for side in sides.values()]), ALIKE)
    groups = {"safe": group[: len(safe.ids)], "harmful": group[len(safe.ids) :]}
    clusters = {role: find_clusters(torch.from_numpy(side.points), seed) for role, side in sides.items()}
    near = {role: nearest(placed.points, side.points) for role, side in sides.items()}
    inside = {role: covered(near[role], nearest(s.points, s.points, groups[role]), MISS) for role, s in sides.items()}
    found: dict[str, Any] = {
        "rows": {"input": len(rows.ids), **{role: len(side.ids) for role, side in sides.items()}},
        "fewest_rows": FEWEST_ROWS,
        "contamination": _contamination(sides, group, clusters, seed),
        "duplicates": {
            role: {"folded": folded.get(role, 0), **_repeats(groups[role], clusters[role], side)}
            for role, side in sides.items()
        },
        "alike": ALIKE,
        "overlap": {
            "input_safe": int((near["safe"] >= ALIKE).sum()),
            "input_harmful": int((near["harmful"] >= ALIKE).sum()),
            "safe_harmful": int((nearest(sides["safe"].points, sides["harmful"].points) >= ALIKE).sum()),
        },
        "coverage": {
            "miss": MISS,
            **{role: _coverage(placed, side, inside[role]) for role, side in sides.items()},
            "neither": int((~inside["safe"] & ~inside["harmful"]).sum()),
            "nearer_harmful": int((near["harmful"] > near["safe"]).sum()),
        },
        "regions": _regions(placed, near, inside, seed),
        "leverage": leverage(placed, sides, clusters, choice, neighbours, kept, seed),
    }
    return {**found, "warnings": sentences(found)}


def _contamination(
    sides: Mapping[str, Placed], group: NDArray[np.int64], clusters: Mapping[str, Clusters], seed: int
) -> dict[str, Any]:
    """Label noise of each reference, and its rows and clusters that look most like the other's.

    A cluster is judged as one, without any of its rows: wrong rows of a kind that the other reference lacks vouch for
    each other and show only so. Refusals may look harmful in this way, so it is told and not warned of.
    """
    safe, harmful = sides.values()
    if min(len(safe.ids), len(harmful.ids)) < FEWEST_ROWS:
        return dict.fromkeys(sides)
    points = np.concatenate([safe.points, harmful.points])
    is_safe = np.arange(len(group)) < len(safe.ids)
    evidence = out_of_fold_evidence(points, is_safe, group, seed=seed)
    member = {role: found.assignment.numpy() for role, found in clusters.items()}
    together = np.concatenate([member["safe"], len(clusters["safe"]) + member["harmful"]])
    as_one = out_of_fold_evidence(points, is_safe, together, seed=seed)
    found = {}
    for role, noise, own, sign in zip(
        sides, label_noise(evidence[is_safe], evidence[~is_safe]), (is_safe, ~is_safe), (1, -1), strict=True
    ):
        assert noise is not None
        ids, sizes, mine = sides[role].ids, clusters[role].sizes.numpy(), sign * evidence[own]
        worst = np.argsort(mine, kind="stable")[: max(noise.rows(len(mine)), _FEWEST_SUSPECTS)]
        astray = np.bincount(member[role], sign * as_one[own] < 0, len(sizes)) / sizes
        found[role] = {
            **dataclasses.asdict(noise),
            "rows": noise.rows(len(mine)),
            "suspects": [{"id": ids[i], "evidence": round(float(mine[i]), 4)} for i in worst],
            "clusters": [
                {"id": ids[int(clusters[role].medoids[c])], "rows": int(sizes[c]), "astray": float(astray[c])}
                for c in np.argsort(-astray, kind="stable")[:_FEWEST_SUSPECTS]
            ],
        }
    return found


def _repeats(groups: NDArray[np.int64], clusters: Clusters, side: Placed) -> dict[str, Any]:
    """How many rows say nearly what another says, and how the rows spread over clusters."""
    first, sizes = np.unique(groups, return_counts=True)
    largest = int(sizes.argmax())
    members = np.flatnonzero(groups == first[largest])
    mass = clusters.sizes.numpy() / len(groups)
    return {
        "near_duplicates": int(len(groups) - len(sizes)),
        "distinct": len(sizes),
        "largest_group": {"id": side.ids[int(members[0])], "rows": int(sizes[largest])},
        "clusters": len(clusters),
        "effective_clusters": float(1 / (mass**2).sum()),
        "largest_cluster": {"id": side.ids[int(clusters.medoids[0])], "share": float(mass[0])},
    }


def _coverage(rows: Placed, side: Placed, inside: NDArray[np.bool_]) -> dict[str, Any]:
    """How many rows are not covered by a reference, and which kinds of rows it lacks."""
    facets = {
        name: dataclasses.asdict(difference(rows.facets[name], side.facets[name], _RARE))
        for name in FACETS
        if name in rows.facets and name in side.facets
    }
    return {"not_covered": int((~inside).sum()), "facets": facets}


def _regions(
    rows: Placed, near: Mapping[str, NDArray[np.float32]], inside: Mapping[str, NDArray[np.bool_]], seed: int
) -> list[dict[str, Any]]:
    """Clusters of the input: how much of each is nearer to the harmful reference, or near neither; worst first."""
    clusters = find_clusters(torch.from_numpy(rows.points), seed)
    member = clusters.assignment.numpy()
    sizes = clusters.sizes.numpy()
    counts = {
        "nearer_harmful": np.bincount(member, near["harmful"] > near["safe"], len(clusters)),
        "not_covered_by_safe": np.bincount(member, ~inside["safe"], len(clusters)),
        "neither": np.bincount(member, ~inside["safe"] & ~inside["harmful"], len(clusters)),
    }
    order = np.lexsort((np.arange(len(clusters)), -counts["not_covered_by_safe"]))
    return [
        {
            "medoid": rows.ids[int(clusters.medoids[c])],
            "rows": int(sizes[c]),
            **{name: int(count[c]) for name, count in counts.items()},
        }
        for c in order
    ]
