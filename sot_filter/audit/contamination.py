"""The share of wrong labels in each of two references, from scores that no row had a part in.

Let the safe reference be (1-a) S + a H and the harmful one (1-b) H + b S, S and H the clean kinds. Where rows are most
surely harmful, only H is left, so there the first has κ = a/(1-b) times the density of the second, and where they are
most surely safe the other has b/(1-a) times that of the first. Both are estimated as the ratio of the two references'
shares above a cut, at the cut of the least upper confidence bound (the best-bin estimate of Garg et al., Mixture
Proportion Estimation and PU Learning, 2021), and solved for a and b (Scott, Blanchard and Handy, Classification with
Asymmetric Label Noise, 2013, section 2.2). Hard but rightly labelled rows, as refusals of harmful prompts, lie between
and do not count. What both kinds share cannot be told from noise: a row that is harmful in both eyes is a wrong label.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.audit.proportion import wilson

#: With fewer rows than this in either reference nothing is said.
FEWEST_ROWS: Final = 40
#: A cut lies below at least this share of the purer reference. Smaller bins are purer, but the least of so many noisy
#: ratios is too small.
_LEAST_BIN: Final = 0.3


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """Estimated share of wrong labels, and the bounds of its interval: 95 % for a given cut, each ratio by itself."""

    share: float
    low: float
    high: float

    def rows(self, n: int) -> int:
        """The estimate as a number of ``n`` rows, rounded."""
        return round(self.share * n)


def label_noise(
    safe: NDArray[np.float64], harmful: NDArray[np.float64]
) -> tuple[LabelNoise, LabelNoise] | tuple[None, None]:
    """Estimate the noise of both references.

    Args:
        safe: evidence [m_Q] of the safe reference's rows from `out_of_fold_evidence`, higher = safer.
        harmful: the same [m_M] of the harmful reference's rows.

    Returns:
        The noise of the safe reference (harmful rows in it) and that of the harmful one, or None and None if either
        has fewer than `FEWEST_ROWS` rows.
    """
    if min(len(safe), len(harmful)) < FEWEST_ROWS:
        return None, None
    in_safe, in_harmful = _ratio(-safe, -harmful), _ratio(harmful, safe)
    return _noise(in_safe, in_harmful), _noise(in_harmful, in_safe)


def _ratio(mixed: NDArray[np.float64], pure: NDArray[np.float64]) -> tuple[float, float, float]:
    """The ratio of the shares of ``mixed`` and ``pure`` above the best cut, with its bounds; at most one."""
    order, other = np.sort(pure)[::-1], np.sort(mixed)
    per_share = len(pure) / len(mixed)
    best = math.inf, 0, 1
    for cut in np.unique(order[math.ceil(_LEAST_BIN * len(order)) - 1 :]):
        of_pure = int(np.searchsorted(-order, -cut, side="right"))
        of_mixed = len(other) - int(np.searchsorted(other, cut, side="left"))
        bound = wilson(of_mixed, of_mixed + of_pure)[1]
        best = min(best, (bound, of_mixed, of_pure))
    _, hits, rest = best
    # Of the rows above the cut, the share of mixed ones is binomial; its odds are the ratio wanted.
    low, high = (min(share / (1 - share) * per_share, 1.0) for share in wilson(hits, hits + rest))
    return min(hits / rest * per_share, 1.0), low, high


def _noise(own: tuple[float, float, float], other: tuple[float, float, float]) -> LabelNoise:
    """Solve the two ratios for one reference's noise; it grows with its own ratio and falls with the other."""
    return LabelNoise(_share(own[0], other[0]), _share(own[1], other[2]), _share(own[2], other[1]))


def _share(own: float, other: float) -> float:
    # Ratios of one are references that nothing tells apart: half of each is the other.
    return own * (1 - other) / (1 - own * other) if own * other < 1 else 0.5
