"""How many rows to drop: what the estimated harmful share asks for, or a stated goal, told by held-out canaries.

Canaries are rows of the two references, each held out of what judges it. A goal is turned into a lowest log-odds by
the references alone, as a split-conformal quantile (Vovk, Gammerman and Shafer 2005) of the canaries' own: a further
row like them misses the goal with at most the stated chance. As many rows as are below it are dropped. Which ones,
the full score says, which knows the rows' neighbours as well and ranks them better; a canary has none.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.weighting.harmful_share import HarmfulShare
from sot_filter.weighting.rows_below import RowsBelow

#: The upper end of the interval rests on the safe reference being like the rows. Where it is not, this many rows are
#: dropped at most for every row that looks harmful by itself.
_AT_MOST: Final = 4.0


@dataclass(frozen=True, slots=True)
class DropCount:
    """A decision.

    Attributes:
        rows: how many rows to drop, the lowest first.
        missed: goals that cannot be met, of ``harmful_kept`` and ``safe_lost``.
    """

    rows: int
    missed: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Canaries:
    """Log-odds by the references alone, of the references' own held-out rows: ``safe`` [m_Q], ``harmful`` [m_M]."""

    safe: NDArray[np.floating]
    harmful: NDArray[np.floating]

    @property
    def every(self) -> NDArray[np.floating]:
        """All of them [m_Q + m_M]."""
        return np.concatenate([self.safe, self.harmful])

    def rates(self, own: RowsBelow, dropped: int) -> dict[str, float]:
        """Share of harmful canaries kept and of safe ones dropped, where the ``dropped`` lowest rows are."""
        if dropped == 0:
            return {"harmful_kept": 1.0, "safe_lost": 0.0}
        # A canary is above the highest dropped row if so many rows are below it.
        return {
            "harmful_kept": float((own.below(self.harmful) >= dropped).mean()),
            "safe_lost": float((own.below(self.safe) < dropped).mean()),
        }


def count_to_drop(
    share: HarmfulShare,
    own: RowsBelow,
    canaries: Canaries,
    harmful_kept: float | None = None,
    safe_lost: float | None = None,
) -> DropCount:
    """Decide it.

    Without a goal: as many rows as the upper end of the estimated share, if harm is found; else those alone that
    look harmful by themselves, which may be none. ``harmful_kept`` replaces this count, ``safe_lost`` limits it.

    Args:
        share: the estimate for these rows.
        own: counts of these rows by the references alone, made for the canaries.
        canaries: held-out rows of the references.
        harmful_kept: share of harmful canaries that may be kept, 0 to 1.
        safe_lost: share of safe canaries that may be dropped, 0 to 1.
    """
    missed = []
    rows = _by_share(share)
    if harmful_kept is not None:
        allowed = _allowed(harmful_kept, len(canaries.harmful))
        if allowed < 0:
            missed.append("harmful_kept")
        above = np.sort(canaries.harmful)[::-1]
        rows = 0 if allowed >= len(above) else int(own.up_to(above[[max(allowed, 0)]])[0])
    if safe_lost is not None:
        allowed = _allowed(safe_lost, len(canaries.safe))
        limit = _below(own, np.sort(canaries.safe), allowed)
        if limit < rows:
            missed += ["harmful_kept"] * (harmful_kept is not None and "harmful_kept" not in missed)
            missed += ["safe_lost"] * (allowed < 0 < safe_lost)
            rows = limit
    return DropCount(rows, tuple(missed))


def _by_share(share: HarmfulShare) -> int:
    if not share.found:
        return share.looks_harmful
    most = min(share.high * share.rows, _AT_MOST * share.looks_harmful, share.rows)
    return max(share.looks_harmful, math.ceil(most - 1e-9))


def _allowed(goal: float, canaries: int) -> int:
    """How many of the canaries may miss a goal, so that a further one does with at most this chance; -1: no number."""
    return math.floor(goal * (canaries + 1) + 1e-9) - 1


def _below(own: RowsBelow, ascending: NDArray[np.floating], allowed: int) -> int:
    """How many rows may be dropped if at most ``allowed`` of the canaries, and the next one, may be below them."""
    if allowed < 0:
        return 0
    return own.rows if allowed >= len(ascending) else int(own.below(ascending[[allowed]])[0])
