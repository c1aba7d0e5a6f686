"""Weights of kept rows, mean one: the solve's weights, seen row by row.

Scores of mode coupled are log-odds of being kept, and the weight is in proportion to that probability: no row counts
for more than a row that is certainly kept. Scores of the other modes are weighed by exp(score / temperature).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

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


def log_normaliser(kept: NDArray[np.float64]) -> float:
    """The number to subtract from the log weights ``kept`` [k] so that the weights have mean one."""
    top = kept.max()
    return float(top + np.log(np.exp(kept - top).mean()))


def weights(logs: NDArray[np.float64], kept: NDArray[np.bool_], normaliser: float) -> NDArray[np.float32]:
    """Weights [n]: exp(logs - normaliser) for kept rows, zero for the others."""
    return np.exp(np.where(kept, logs - normaliser, -np.inf)).astype(np.float32)


def effective_sample_size(kept: NDArray[np.float64]) -> float:
    """Kish's (Σw)² / Σw² of log weights [k]: how many equally weighted rows would carry as much information."""
    values = np.exp(kept - kept.max())
    return float(values.sum() ** 2 / (values**2).sum())
