"""An interval for a share that was counted."""

#: Standard normal quantile of a 95 % interval.
_Z = 1.959964


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of Wilson (1927) for ``hits`` of ``trials``; 0 to 1 where nothing was counted."""
    if not trials:
        return 0.0, 1.0
    share, z = hits / trials, _Z
    middle = share + z**2 / (2 * trials)
    reach = z * (share * (1 - share) / trials + z**2 / (4 * trials**2)) ** 0.5
    width = 1 + z**2 / trials
    low = (middle - reach) / width if hits else 0.0
    high = (middle + reach) / width if hits < trials else 1.0
    return low, high
