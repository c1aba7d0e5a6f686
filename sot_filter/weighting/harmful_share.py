"""Which share of the rows is harmful, estimated twice: by what looks harmful, and by what does not look safe.

The scores give one estimate, the mean probability of harm. It is near where the harmful reference is like the harm
among the rows, and too low where it is not. The other does not trust that reference. Rows are a mixture of safe and
harmful ones, so of any log-odds t the share of rows above is at least (1 - h) times that of safe rows:

    h >= 1 - P(row >= t) / P(safe row >= t),

with equality where no harmful row is above t. Held-out rows of the safe reference stand for the safe rows, and t is
where the bound is best after its own sampling error: mixture proportion estimation (Blanchard, Lee and Scott 2010;
Garg et al. 2021, "best bin estimation").

Harmful rows in the safe reference make both too low; safe rows unlike the safe reference make the second too high,
without end. So harm counts as found only where more than a few rows look harmful one by one, by both references and
their neighbourhood. Then the larger of the two is the estimate, else the first.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.weighting.exact_sum import ExactSum
from sot_filter.weighting.rows_below import RowsBelow

#: Share of rows that may look harmful in a set without harm; so many, and no share is told from none.
RESOLUTION: Final = 0.01
#: Thresholds have so many safe rows at or below them, or the normal approximation fails, and at most this share of
#: them, or the bound is mostly noise.
_FEWEST, _SOUGHT = 5, 0.5
#: Standard errors: of the interval's ends (95 %), of the bound that picks the threshold, and of the lower end, which
#: is the best of many bounds and pays for that.
_TWO_SIDED, _PICK, _BEST_OF_MANY = 1.96, 2.0, 3.0


@dataclass(frozen=True, slots=True)
class HarmfulShare:
    """An estimate of the share of harmful rows among `rows` rows.

    Attributes:
        estimate: the share.
        low: lower end of its 95 % interval; 0 where no harm is found.
        high: upper end.
        unlike_safe: lower end of the second estimate, harm found or not: at least this share is not like the held-out
            rows of the safe reference.
        looks_harmful: number of rows whose score says that they are more probably harmful than safe.
        rows: number of rows.
    """

    estimate: float
    low: float
    high: float
    unlike_safe: float
    looks_harmful: int
    rows: int

    @property
    def found(self) -> bool:
        """Whether more rows look harmful than may in a set without harm."""
        return self.looks_harmful > RESOLUTION * self.rows


class HarmCounts:
    """What is counted of the rows, part by part, to estimate how many of them are harmful.

    Args:
        held_out: log-odds by the references alone of their own held-out rows.

    Attributes:
        rows: number of rows.
        looks_harmful: number of rows that are more probably harmful than safe.
        own: how many rows are below each of the held-out rows, by the references alone.
    """

    def __init__(self, held_out: NDArray[np.floating]) -> None:
        self.rows = self.looks_harmful = self._copies = 0
        self.own = RowsBelow(held_out)
        self._harm = ExactSum()

    def add(self, score: NDArray[np.floating], own: NDArray[np.floating], repeats: NDArray[np.int64]) -> None:
        """Take in rows.

        Args:
            score: log-odds of safe [n], neighbours included.
            own: log-odds by the references alone [n].
            repeats: of texts that several rows share, how many these are, each text once; their rows may come in
                other parts.
        """
        self.rows += len(score)
        self.looks_harmful += int((score < 0).sum())
        self._harm.add(1 / (1 + np.exp(np.clip(score.astype(np.float64), -500, 500))))
        self._copies += int((repeats * (repeats - 1)).sum())
        self.own.add(own)

    @property
    def by_score(self) -> float:
        """Mean probability of harm."""
        return self._harm.value / self.rows

    @property
    def evidence(self) -> float:
        """How many rows of distinct texts these are worth (Kish): rows of one text are one piece of evidence."""
        return self.rows**2 / (self.rows + self._copies)


def estimate_share(counts: HarmCounts, held_out_safe: NDArray[np.floating]) -> HarmfulShare:
    """Estimate it.

    The interval is that of the ratio at the chosen threshold, by the delta method. A bootstrap would choose the
    threshold anew in every draw and so add the bias of that choice a second time.

    Args:
        counts: of all rows, at least one.
        held_out_safe: log-odds by the references alone of the rows [m] of the safe reference, each held out of what
            judges it; among those that ``counts`` was made for.
    """
    n, by_score = counts.rows, counts.by_score
    error = float(np.sqrt(by_score * (1 - by_score) / counts.evidence))
    by_safe, low, high = _bound(counts, held_out_safe.astype(np.float64))
    found = HarmfulShare(by_score, 0.0, max(by_score + _TWO_SIDED * error, high), low, counts.looks_harmful, n)
    if found.found:
        found = replace(found, estimate=max(by_score, by_safe), low=low)
    return replace(found, high=min(found.high, 1.0))


def _bound(counts: HarmCounts, safe: NDArray[np.float64]) -> tuple[float, float, float]:
    """The best bound from the safe reference alone, and the ends of its interval; all 0 to 1."""
    m = len(safe)
    k = np.arange(_FEWEST, int(_SOUGHT * m) + 1)
    if not len(k):
        return 0.0, 0.0, 0.0
    thresholds = np.sort(safe)[k - 1]
    # Mean and variance of the mass above the k-th lowest of m draws, whatever they are drawn from.
    safe_above = 1 - k / (m + 1)
    safe_variance = safe_above * (1 - safe_above) / (m + 2)
    above = 1 - counts.own.below(thresholds) / counts.rows
    ratio = above / safe_above
    error = np.sqrt(above * (1 - above) / counts.evidence + ratio**2 * safe_variance) / safe_above
    best = int(np.argmin(ratio + _PICK * error))
    found, low = 1 - ratio[best], (1 - ratio - _BEST_OF_MANY * error).max()
    high = found + _TWO_SIDED * error[best]
    estimate, low, high = np.clip([found, low, high], 0, 1).tolist()
    return estimate, low, high
