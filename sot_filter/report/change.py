"""What other references made of the same rows: which of them crossed the cut, where, and what moved them."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sot_filter.sources import Source

#: How many of the rows that crossed the cut are named, those first whose scores changed most.
NAMED: Final = 20
#: What names of columns begin with whose values are slices.
SLICE: Final = "slice:"
_ROLES: Final = ("safe", "harmful")


@dataclass(frozen=True, slots=True)
class Run:
    """What a finished run made of its n rows.

    Attributes:
        rows: kept, scored, score, ids of the nearest rows and of the harmful cluster [n], and of the slices.
        references: role, id, content, and for a harmful row the id of its cluster's medoid.
        facts: plain values: its sources of references, its problem, its cut and its harmful share.
    """

    rows: pa.Table
    references: pa.Table
    facts: dict[str, Any]

    def column(self, name: str) -> NDArray[Any]:
        """A column of the rows [n]."""
        found: NDArray[Any] = self.rows[name].to_numpy()
        return found

    def contents(self, role: str) -> dict[bytes, str]:
        """The ids of a reference's rows by their contents."""
        columns = (self.references[name].to_pylist() for name in ("role", "content", "id"))
        return {content: row_id for own, content, row_id in zip(*columns, strict=True) if own == role}


def compare(before: Run, after: Run, source: Source) -> dict[str, Any]:
    """What other references made of the same rows.

    Args:
        before: the run with the references as they were.
        after: the run with the references as they are.
        source: the source of the rows.

    Returns:
        Plain values: ``rows``; ``kept``, ``cut``, ``harmful_share`` and ``problem`` before and after; ``references``
        by role, with the ids of rows that were added and removed; ``slices`` in which rows crossed the cut; and the
        rows that ``fell`` below it and ``rose`` above it: how many, the first of them, and how many by the harmful
        cluster that claims those that fell now, and claimed those that rose before.
    """
    references: dict[str, dict[str, Any]] = {}
    for role in _ROLES:
        old, new = before.contents(role), after.contents(role)
        references[role] = {
            "before": len(old),
            "after": len(new),
            "added": [row_id for content, row_id in new.items() if content not in old],
            "removed": [row_id for content, row_id in old.items() if content not in new],
        }
    was, now = before.column("kept"), after.column("kept")
    fell, rose = was & ~now, ~was & now
    shift = after.column("score") - before.column("score")
    added, removed = ({role: set(facts[kind]) for role, facts in references.items()} for kind in ("added", "removed"))

    def crossed(which: NDArray[np.bool_], harmful: Run, other: Run, pole: set[str], gone: set[str]) -> dict[str, Any]:
        rows = np.flatnonzero(which)
        order = rows[np.argsort(-np.abs(shift[rows]), kind="stable")]
        near = {
            role: np.isin(run.column(f"nearest_{role}"), list(changed))
            for role, run, changed in (("harmful", harmful, pole), ("safe", other, gone))
        }
        return {
            "rows": len(rows),
            "nearest_changed": {role: int((which & changed).sum()) for role, changed in near.items()},
            "named": [
                {
                    "id": _row_id(source, int(row)),
                    "before": round(float(before.column("score")[row]), 4),
                    "after": round(float(after.column("score")[row]), 4),
                    "cluster": str(harmful.column("cluster")[row]),
                }
                for row in order[:NAMED]
            ],
            "clusters": _clusters(harmful, which, pole, near["harmful"]),
        }

    return {
        "rows": len(was),
        **{name: [run.facts[name] for run in (before, after)] for name in ("cut", "harmful_share", "problem")},
        "kept": [int(was.sum()), int(now.sum())],
        "references": references,
        # What moves a row down is a harmful row that came or a safe one that went, and the other way round.
        "fell": crossed(fell, after, before, added["harmful"], removed["safe"]),
        "rose": crossed(rose, before, after, removed["harmful"], added["safe"]),
        "slices": _slices(after, was, now),
    }


def _clusters(run: Run, which: NDArray[np.bool_], changed: set[str], near: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Rows by the harmful cluster that claims them, and how much of the cluster came or went; the most first."""
    claimed = run.column("cluster")
    ids, members = (run.references[name].to_numpy() for name in ("id", "cluster"))
    is_changed = np.isin(ids, list(changed))
    found = [
        {
            "id": str(medoid),
            "rows": int((which & (claimed == medoid)).sum()),
            "nearest_changed": int((which & near & (claimed == medoid)).sum()),
            "members": int((members == medoid).sum()),
            "members_changed": int((is_changed & (members == medoid)).sum()),
        }
        for medoid in np.unique(claimed[which].astype(str))
        if medoid
    ]
    return sorted(found, key=lambda one: (-one["rows"], one["id"]))


def _slices(run: Run, was: NDArray[np.bool_], now: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The slices in which rows crossed the cut, facet by facet, the most first; not of a facet with one value."""
    found = []
    for name in run.rows.column_names:
        if not name.startswith(SLICE):
            continue
        kinds, member = np.unique(run.column(name).astype(str), return_inverse=True)
        if len(kinds) < 2:
            continue
        counts = {
            "rows": np.bincount(member, minlength=len(kinds)),
            **{
                kind: np.bincount(member[which], minlength=len(kinds))
                for kind, which in (
                    ("kept_before", was),
                    ("kept_after", now),
                    ("fell", was & ~now),
                    ("rose", ~was & now),
                )
            },
        }
        order = np.lexsort((np.arange(len(kinds)), -counts["rose"], -counts["fell"]))
        found += [
            {
                "facet": name.removeprefix(SLICE),
                "value": str(kinds[k]),
                **{kind: int(of[k]) for kind, of in counts.items()},
            }
            for k in order
            if counts["fell"][k] or counts["rose"][k]
        ]
    return found


def _row_id(source: Source, row: int) -> str:
    starts = np.cumsum([0, *(file.rows for file in source.files)])
    file = int(np.searchsorted(starts, row, side="right")) - 1
    return source.key(source.files[file], row - int(starts[file])).id
