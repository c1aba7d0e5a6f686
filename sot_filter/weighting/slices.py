"""Slices of the rows (a language, a length, a file): which of them lose more than the rest, and how to keep a minimum.

Whether a slice loses more is told by Newcombe's interval for a difference of two proportions, made of two Wilson
intervals (Newcombe, 1998, method 10; Wilson, 1927), with Bonferroni's correction over all slices that are tested.
"""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

#: Slices with fewer rows raise no alarm and have no minimum: they could be made of anything.
FEWEST_ROWS: Final = 30
#: An alarm means that a slice keeps less than the rest by at least this much, as far as the rows can tell.
MARGIN: Final = 0.1
#: Chance of any alarm at all where no slice loses more than the rest.
_FALSE_ALARM: Final = 0.05
#: Characters at which the next bucket of lengths begins; 500 are about 80 English words.
_LENGTHS: Final = (100, 500, 2_000, 10_000)


class Slice(NamedTuple):
    """What became of the rows of one slice.

    Attributes:
        facet: what the rows were sorted by.
        value: what they have in common.
        rows: how many rows there are.
        kept: how many of them are kept.
        alarm: whether it loses significantly more than the rest of the rows.
    """

    facet: str
    value: str
    rows: int
    kept: int
    alarm: bool


def length_bucket(characters: int) -> str:
    """The bucket that a text of so many characters falls in, in words."""
    edges = [0, *_LENGTHS]
    at = int(np.searchsorted(_LENGTHS, characters, side="right"))
    if at == len(_LENGTHS):
        return f"{edges[at]:,} characters or more"
    return f"{edges[at]:,} to {_LENGTHS[at] - 1:,} characters"


def judge_slices(counts: Mapping[str, Mapping[str, tuple[int, int]]]) -> list[Slice]:
    """Sort and judge slices.

    Args:
        counts: for each facet and value, how many rows there are and how many are kept; the values of a facet
            together are all rows.

    Returns:
        Facet by facet, the largest slice first.
    """
    tested = sum(rows >= FEWEST_ROWS for values in counts.values() for rows, _ in values.values() if len(values) > 1)
    z = NormalDist().inv_cdf(1 - _FALSE_ALARM / max(tested, 1))
    found = []
    for facet, values in counts.items():
        total, total_kept = (sum(pair[i] for pair in values.values()) for i in (0, 1))
        for value, (rows, kept) in sorted(values.items(), key=lambda item: (-item[1][0], item[0])):
            alarm = FEWEST_ROWS <= rows < total and loses_more(kept, rows, total_kept - kept, total - rows, z)
            found.append(Slice(facet, value, rows, kept, alarm))
    return found


def loses_more(kept: int, rows: int, rest_kept: int, rest: int, z: float) -> bool:
    """Whether a slice's retention is below the rest's by more than `MARGIN`, at ``z`` standard deviations."""
    share, rest_share = kept / rows, rest_kept / rest
    _, upper = _wilson(kept, rows, z)
    rest_lower, _ = _wilson(rest_kept, rest, z)
    return share - rest_share + math.hypot(upper - share, rest_share - rest_lower) < -MARGIN


def rows_to_keep(rows: int, kept: int, minimum: float) -> int | None:
    """How many of a slice's rows its own cut has to keep; None where the cut over all rows keeps enough of them.

    Every row above that cut, or above its slice's own cut, is kept: then each slice keeps its best rows, and at least
    its minimum of them. No slice's cut depends on another's.

    Args:
        rows: rows of the slice that may be kept.
        kept: how many of them are above the cut over all rows.
        minimum: share to keep at least.
    """
    wanted = math.ceil(minimum * rows - 1e-9)
    return wanted if rows >= FEWEST_ROWS and kept < wanted else None


def _wilson(successes: int, n: int, z: float) -> tuple[float, float]:
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
