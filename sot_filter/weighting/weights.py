"""Weights of kept rows, mean one: the solve's weights, seen row by row.

Scores of mode coupled are log-odds of being kept, and the weight is in proportion to that probability: no row counts
for more than a row that is certainly kept. Scores of the other modes are weighed by exp(score / temperature).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.weighting.exact_sum import ExactSum

#: What the weight of an unknown row is multiplied by where these are weighted down.
UNKNOWN_WEIGHT: Final = 0.25


def log_weights(scores: NDArray[np.float32], temperature: float | None) -> NDArray[np.float64]:
    """Logs [n] of weights that are not yet scaled.

    Args:
        scores: [n].
        temperature: what scores are divided by, in score units; None for scores that are log-odds.
    """
    values = scores.astype(np.float64)
    return -np.logaddexp(0, -values) if temperature is None else values / temperature


def weights(logs: NDArray[np.float64], kept: NDArray[np.bool_], normaliser: float) -> NDArray[np.float32]:
    """Weights [n]: exp(logs - normaliser) for kept rows, zero for the others."""
    return np.exp(np.where(kept, logs - normaliser, -np.inf)).astype(np.float32)


class WeightSums:
    """Sums over the kept rows, part by part, that scale their weights.

    Args:
        top: a log weight that no kept row is much above, so that the sums neither overflow nor vanish.
    """

    def __init__(self, top: float) -> None:
        self._top, self._rows = top, 0
        self._first, self._second = ExactSum(), ExactSum()

    def add(self, kept: NDArray[np.float64]) -> None:
        """Take in the log weights [k] of kept rows."""
        values = np.exp(kept - self._top)
        self._rows += len(values)
        self._first.add(values)
        self._second.add(values**2)

    @property
    def log_normaliser(self) -> float:
        """The number to subtract from the log weights so that the weights have mean one."""
        return self._top + math.log(self._first.value / self._rows)

    @property
    def effective_sample_size(self) -> float:
        """Kish's (Σw)² / Σw²: how many equally weighted rows would carry as much information."""
        return self._first.value**2 / self._second.value
