"""A risk from a score: weighted isotonic regression of what people said, by pooling adjacent violators.

Of all functions r of the score that nowhere rise, the one with the least Σ w_i (y_i - r(s_i))² (Ayer et al. 1955;
Zadrozny and Elkan 2002 for calibration; scikit-learn's `IsotonicRegression(increasing=False, out_of_bounds="clip")`).
It is a mean of labels in blocks of neighbouring scores, so that it is as well calibrated as the labels are many.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A function that nowhere rises.

    Attributes:
        scores: where it is known [k], increasing.
        risks: its values there [k], never increasing.
    """

    scores: NDArray[np.float64]
    risks: NDArray[np.float64]

    def at(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Its values [n] at ``scores`` [n]: straight lines between those that are known, and level beyond them."""
        return np.interp(scores.astype(np.float64), self.scores, self.risks)


def fit_isotonic(scores: NDArray[np.floating], harmful: NDArray[np.bool_], weight: NDArray[np.floating]) -> Isotonic:
    """Fit it.

    Args:
        scores: of the labelled rows [n], higher is safer; at least one. Rows of one score count as one, their mean.
        harmful: their labels [n].
        weight: how many rows each stands for [n], all above 0.
    """
    known, at = np.unique(scores.astype(np.float64), return_inverse=True)
    weights = np.bincount(at, weight)
    means = np.bincount(at, weight * harmful) / weights
    # Blocks of mean, weight and number of scores; one that is above the block before it is pooled with that one.
    blocks: list[tuple[float, float, int]] = []
    for mean, mass in zip(means.tolist(), weights.tolist(), strict=True):
        count = 1
        while blocks and blocks[-1][0] <= mean:
            before, its_mass, its_count = blocks.pop()
            mean = (before * its_mass + mean * mass) / (its_mass + mass)
            mass, count = its_mass + mass, its_count + count
        blocks.append((mean, mass, count))
    return Isotonic(known, np.repeat([mean for mean, _, _ in blocks], [count for _, _, count in blocks]))
