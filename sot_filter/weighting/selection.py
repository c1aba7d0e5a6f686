"""Which rows to keep: a share, a number, or all above a score; ties go to the row that comes first."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the kept rows end. A row can be judged by it alone, without the other rows.

    Attributes:
        score: lowest score that is kept.
        last: position (in row order) of the last row that is kept at exactly that score.
    """

    score: float
    last: int

    def keeps(self, scores: NDArray[np.float32], positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Judge rows [n] by their scores and their positions in row order."""
        cut = np.float32(self.score)
        kept: NDArray[np.bool_] = (scores > cut) | ((scores == cut) & (positions <= self.last))
        return kept


def select_rows(scores: NDArray[np.float32], positions: NDArray[np.int64], **rule: float) -> Cut:
    """Find the cut.

    Args:
        scores: scores [n] of the rows that have one, higher is better.
        positions: their places [n] in row order, increasing; rows that share their text share the place of the first.
        rule: one of `RULES` and its value.

    Raises:
        ConfigError: not one rule, a ``top_k`` larger than n, or a rule that would keep nothing.
    """
    rows = len(scores)
    wanted = apply_rule(rows, float(scores.max(initial=-np.inf)), **rule)
    if isinstance(wanted, Cut):
        return wanted
    lowest = np.partition(scores, rows - wanted)[rows - wanted]
    spare = wanted - int((scores > lowest).sum())
    return Cut(float(lowest), int(positions[scores == lowest][spare - 1]))


def apply_rule(rows: int, best: float, /, **rule: float) -> int | Cut:
    """What a rule asks for: how many of the ``rows`` to keep, or the cut itself. Raises as `select_rows`.

    Args:
        rows: number of rows that have a score.
        best: the highest of their scores.
        rule: one of `RULES` and its value.
    """
    if len(rule) != 1 or not set(rule) <= set(RULES):
        raise ConfigError(f"one of {', '.join(RULES)}", ", ".join(rule) or "none", "Correct `select`.")
    if rows == 0:
        raise ConfigError("rows with a score", "none: all are empty or unreadable", "Check the input's columns.")
    ((name, value),) = rule.items()
    return RULES[name](rows, best, value)


def _retention(rows: int, best: float, share: float) -> int:
    """Keep a share of the rows, rounded half up, at least one row."""
    return _top_k(rows, best, max(1, math.floor(share * rows + 0.5)))


def _top_k(rows: int, best: float, kept: float) -> int:
    """Keep a number of rows."""
    if int(kept) > rows:
        raise ConfigError(f"at least {int(kept):,} rows with a score", f"{rows:,}", "Lower select.top_k.")
    return int(kept)


def _threshold(rows: int, best: float, lowest: float) -> Cut:
    """Keep all rows that score at least this."""
    cut = float(np.float32(lowest))
    if best < cut:
        raise ConfigError(
            f"rows that score {lowest:+.4f} or more", f"the best is {best:+.4f}", "Lower select.threshold."
        )
    return Cut(cut, int(np.iinfo(np.int64).max))


#: Selection rules by the name that `select` gives; each takes the number of rows, the best score and its value, and
#: gives the number of rows to keep, or the cut itself.
RULES: Final[dict[str, Callable[[int, float, float], int | Cut]]] = {
    "retention": _retention,
    "top_k": _top_k,
    "threshold": _threshold,
}
