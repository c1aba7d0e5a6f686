"""The harmful share of rows from a stratified sample that people have labelled.

In each stratum the labelled rows are a simple random sample, so each stands for N_h / n_h rows (Horvitz and Thompson
1952), and the share is Σ W_h p_h with W_h = N_h / N: unbiased where every stratum has labels. Its interval combines
Wilson's of the strata, [l_h, u_h], by recovering variances (MOVER; Zou and Donner 2008, Yan and Su 2010):

    low = p - √Σ W_h² (p_h - l_h)²,    high = p + √Σ W_h² (u_h - p_h)².

A stratum without a harmful label so keeps the width that its few labels leave, where the usual variance would be 0.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Standard normal quantile of a 95 % interval.
_Z: Final = 1.959964
#: Draws of which so few meet a goal say nothing of where the cut would be.
_FEWEST_DRAWS: Final = 20


def wilson(hits: Any, trials: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 95 % score intervals of Wilson (1927) for ``hits`` of ``trials``, of any one shape; 0 to 1 of no trials."""
    n, z = np.maximum(trials, 1e-12), _Z
    share = hits / n
    middle = share + z**2 / (2 * n)
    reach = z * np.sqrt(np.maximum(share * (1 - share), 0) / n + z**2 / (4 * n**2))
    width = 1 + z**2 / n
    low = np.where(np.asarray(hits) > 0, (middle - reach) / width, 0.0)
    high = np.where(np.asarray(hits) < trials, (middle + reach) / width, 1.0)
    return np.where(trials > 0, low, 0.0), np.where(trials > 0, high, 1.0)


@dataclass(frozen=True, slots=True)
class Shares:
    """Harmful shares of one or several sets of rows, each field of the shape that was asked for.

    Attributes:
        estimate: the share.
        low: lower end of its 95 % interval.
        high: upper end; strata without labels count as if all of their rows might be harmful.
    """

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def harmful_shares(rows: NDArray[np.int64], labelled: NDArray[np.int64], harmful: NDArray[np.int64]) -> Shares:
    """Estimate the share [...] of each set of rows, NaN with the interval 0 to 1 where it has no rows or no labels.

    Args:
        rows: how many rows of the set each stratum has [..., h].
        labelled: how many of them are labelled [..., h].
        harmful: how many of these are harmful [..., h].
    """
    total = rows.sum(-1, keepdims=True)
    weight = rows / np.maximum(total, 1)
    known = labelled > 0
    means = harmful / np.maximum(labelled, 1)
    covered = (weight * known).sum(-1, keepdims=True)
    pooled = (weight * known * means).sum(-1, keepdims=True) / np.where(covered > 0, covered, np.nan)
    means = np.where(known, means, np.nan_to_num(pooled))
    # A sample of most of a stratum tells more than as many rows of a large one; of all of it, everything.
    left = np.where(known, (rows - labelled) / np.maximum(rows - 1, 1), 1.0)
    worth = labelled / np.maximum(left, 1e-9)
    low, high = wilson(means * worth, worth)
    estimate = (weight * means).sum(-1)
    down = np.sqrt((weight**2 * (means - low) ** 2).sum(-1))
    up = np.sqrt((weight**2 * (high - means) ** 2).sum(-1))
    told = covered[..., 0] > 0
    return Shares(
        np.where(told, estimate, np.nan),
        np.where(told, np.clip(estimate - down, 0, 1), 0.0),
        np.where(told, np.clip(estimate + up, 0, 1), 1.0),
    )


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labelled rows that may be kept, of k candidate cuts, lowest first, each the lowest score that is kept.

    Attributes:
        cuts: the candidates [k], increasing.
        rows: how many rows of each stratum a cut keeps [k, h].
        scores: scores of the labelled rows [n].
        stratum: their strata [n].
        harmful: their labels [n].
    """

    cuts: NDArray[np.float64]
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    stratum: NDArray[np.int64]
    harmful: NDArray[np.bool_]

    def shares(self, repeats: NDArray[np.int64] | None = None) -> Shares:
        """Harmful share of what each cut keeps [k], each label counted as often as ``repeats`` [n] says, else once."""
        times = np.ones(len(self.scores), np.int64) if repeats is None else repeats
        shape = (len(self.cuts) + 1, self.rows.shape[1])
        # A row counts for all cuts up to its score.
        at = np.searchsorted(self.cuts, self.scores, side="right")
        counts = []
        for values in (times, times * self.harmful):
            table = np.zeros(shape, np.int64)
            np.add.at(table, (at, self.stratum), values)
            counts.append(table[::-1].cumsum(0)[::-1][1:])
        return harmful_shares(self.rows, *counts)

    def lowest_cut(self, goal: float, repeats: NDArray[np.int64] | None = None) -> int | None:
        """The lowest cut at which the share's upper end is within ``goal``, or None where there is none."""
        meets = np.flatnonzero((self.shares(repeats).high <= goal) & (self.rows.sum(1) > 0))
        return int(meets[0]) if len(meets) else None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A cut that meets a goal.

    Attributes:
        at: which of the candidates it is.
        low: the candidate at the lower end of its 95 % interval.
        high: the one at the upper end; both are as ``at`` where too few draws meet the goal.
        met: share of the bootstrap's draws in which a cut meets the goal.
    """

    at: int
    low: int
    high: int
    met: float


def suggest_cut(labelled: Labelled, goal: float, draws: int, seed: int) -> Suggestion | None:
    """The cut that keeps the most rows while the upper end of their harmful share is within a goal.

    Its interval says how far the cut moves with the rows that happened to be drawn: a bootstrap that draws the
    labelled rows of each stratum anew and looks for the cut again.

    Args:
        labelled: the labels.
        goal: harmful share of the kept rows, 0 to 1.
        draws: of the bootstrap.
        seed: of these draws.
    """
    at = labelled.lowest_cut(goal)
    if at is None:
        return None
    random, found = np.random.default_rng(seed), []
    members = [np.flatnonzero(labelled.stratum == h) for h in range(labelled.rows.shape[1])]
    for _ in range(draws):
        repeats = np.zeros(len(labelled.scores), np.int64)
        for rows in members:
            repeats += np.bincount(random.choice(rows, len(rows)), minlength=len(repeats)) if len(rows) else 0
        if (cut := labelled.lowest_cut(goal, repeats)) is not None:
            found.append(cut)
    low, high = (at, at) if len(found) < _FEWEST_DRAWS else np.quantile(found, (0.025, 0.975), method="nearest")
    return Suggestion(at, int(low), int(high), len(found) / draws)
