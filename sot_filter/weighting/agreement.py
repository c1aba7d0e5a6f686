"""How far two people agree on the same rows, and how far beyond chance: Cohen's kappa with its interval.

kappa = (p_o - p_e) / (1 - p_e), with p_o the share of rows on which both say the same, and p_e what two people with
these habits would agree on by chance (Cohen 1960). Its large-sample variance is that of Fleiss, Cohen and Everitt
(1969, eq. 13), as in `statsmodels.stats.inter_rater.cohens_kappa`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.weighting.review_shares import wilson

#: Standard normal quantile of a 95 % interval.
_Z: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two people on the same rows.

    Attributes:
        rows: number of rows that both have labelled.
        share: share of them on which both say the same.
        low: lower end of its 95 % interval (Wilson).
        high: upper end.
        kappa: Cohen's kappa, or None where chance explains everything: both say one and the same of all rows.
        kappa_low: lower end of its 95 % interval, at least -1.
        kappa_high: upper end, at most 1.
    """

    rows: int
    share: float
    low: float
    high: float
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None


def cohen_kappa(table: NDArray[np.int64]) -> Agreement:
    """Judge a table of counts.

    Args:
        table: how many rows [k, k] the one gave the label of the row, and the other that of the column; not all zero.
    """
    n = int(table.sum())
    p = table / n
    one, other = p.sum(1), p.sum(0)
    observed, chance = float(np.trace(p)), float(one @ other)
    low, high = (float(end) for end in wilson(np.trace(table), np.asarray(n)))
    if chance >= 1:
        return Agreement(n, observed, low, high, None, None, None)
    kappa = (observed - chance) / (1 - chance)
    spread = one[None, :] + other[:, None]
    same = np.diag(p) @ (1 - (one + other) * (1 - kappa)) ** 2
    apart = (1 - kappa) ** 2 * ((p * spread**2).sum() - np.diag(p) @ np.diag(spread) ** 2)
    variance = (same + apart - (kappa - chance * (1 - kappa)) ** 2) / ((1 - chance) ** 2 * n)
    reach = _Z * float(np.sqrt(max(variance, 0.0)))
    return Agreement(n, observed, low, high, kappa, max(kappa - reach, -1.0), min(kappa + reach, 1.0))
