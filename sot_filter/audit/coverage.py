"""Where rows lie that a reference has nothing like, and kinds of rows that it lacks.

A row is covered if the reference has a row as near to it as all but a few of the reference's own rows have among the
others: the nearest-neighbour distance as a novelty score, its threshold a quantile of held-out scores as in
conformal prediction (Laxhammar and Falkman 2010).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.audit.proportion import wilson

#: Similarities held at a time.
_TILE: Final = 1 << 22


def nearest(
    points: NDArray[np.float32],
    reference: NDArray[np.float32],
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Similarity [n] of each of ``points`` [n, d] to the nearest of ``reference`` [m, d].

    With ``groups`` [n], points and reference are the same rows, and a row of one's own group does not count (-1 where
    there is no other).
    """
    found = np.empty(len(points), np.float32)
    step = max(1, _TILE // len(reference))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        similarity = points[part] @ reference.T
        if groups is not None:
            similarity[groups[part, None] == groups] = -1
        found[part] = similarity.max(1)
    return found


def covered(similarity: NDArray[np.float32], own: NDArray[np.float32], miss: float) -> NDArray[np.bool_]:
    """Which rows [n] are as near to a reference as all but a share ``miss`` of its own rows are to its others.

    Args:
        similarity: of the rows to the nearest reference row [n].
        own: of the reference's rows to the nearest other one [m].
        miss: share of rows like the reference's that may be called uncovered; rounded down to whole rows.
    """
    threshold = np.sort(own)[int(miss * (len(own) + 1))] if len(own) else np.inf
    found: NDArray[np.bool_] = similarity >= threshold
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """How the kinds of some rows differ from those of a reference.

    Attributes:
        total_variation: half the sum of the absolute differences of the shares, 0 to 1.
        lacking: for each kind that the reference lacks, its share of the rows, most frequent first.
    """

    total_variation: float
    lacking: dict[str, float]


def difference(rows: Sequence[str], reference: Sequence[str], rare: float) -> Difference:
    """Compare kinds, as languages, of rows and of reference rows; neither may be empty.

    Args:
        rows: a kind for each row.
        reference: a kind for each reference row.
        rare: a kind is lacking if its share of the rows is at least this, and that of the reference less than half
            as large, as far as its rows can tell (upper bound of a 95 % interval).
    """
    ours, theirs = Counter(rows), Counter(reference)
    n, m = len(rows), len(reference)
    variation = sum(abs(ours[kind] / n - theirs[kind] / m) for kind in ours.keys() | theirs.keys()) / 2
    lacking = {
        kind: count / n
        for kind, count in ours.items()
        if count / n >= rare and wilson(theirs[kind], m)[1] < count / n / 2
    }
    return Difference(variation, dict(sorted(lacking.items(), key=lambda item: (-item[1], item[0]))))
