"""What another cut would do: rows kept, and held-out rows of the references kept or lost, by where the cut is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sot_filter.report.looks import (
    DROPPED,
    INK,
    KEPT,
    RULE,
    SAFE,
    Picture,
    legend,
    mark_cut,
    our_style,
    percentage,
    saved,
    single,
)
from sot_filter.report.spreadsheet import spreadsheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Columns of the curve's data; ``chosen`` is 1 in the line of the run's own cut, and the harmful share stands there.
COLUMNS: Final = (
    *("chosen", "cut", "rows_kept", "held_out_harmful_kept", "held_out_safe_lost"),
    *("harmful_share", "harmful_share_low", "harmful_share_high"),
)
#: Share of the rows beyond either end of the axis: single scores far away would squeeze all others.
_BEYOND: Final = 0.005


class HeldOut(NamedTuple):
    """Held-out rows of the references along k cuts, in shares of them, as at the run's own cut.

    Attributes:
        harmful_kept: of the harmful ones [k], or at the run's own cut.
        safe_lost: of the safe ones [k], or at the run's own cut.
    """

    harmful_kept: Any
    safe_lost: Any


class Curve(NamedTuple):
    """What is known of k cuts, the highest first.

    Attributes:
        cuts: lowest score that each keeps [k].
        kept: share of the rows that each keeps [k], growing to 1.
        cut: the run's own.
        kept_at_cut: share of the rows that it keeps.
        held_out: along the cuts; None where the scores are no log-odds.
        held_out_at_cut: the same at the run's own cut.
        harmful_share: facts of the selection: ``estimate``, ``low``, ``high``, ``found``; None without.
    """

    cuts: NDArray[np.floating]
    kept: NDArray[np.floating]
    cut: float
    kept_at_cut: float
    held_out: HeldOut | None = None
    held_out_at_cut: HeldOut | None = None
    harmful_share: dict[str, Any] | None = None


def retention_curve(curve: Curve, *, title: str, rows: int, note: str = "") -> Picture:
    """The picture; its data are the curve.

    Args:
        curve: of at least one cut.
        title: name of the run.
        rows: how many rows the shares are of.
        note: a sentence to set below.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    with our_style():
        caption = f"Of {rows:,} {'row' if rows == 1 else 'rows'} that may be kept{_share_words(curve)}. {note}"
        figure = single(title, caption)
        axes = figure.add_axes((0.095, 0.165, 0.87, 0.615))
        low, high = _ends(curve)
        axes.set_xlim(low, high)
        axes.set_ylim(-2, 103)
        band = _estimate(axes, curve.harmful_share)
        # Beyond the lowest score all rows are kept, beyond the highest none.
        x = np.concatenate([[high], curve.cuts, [low]])
        (kept,) = axes.plot(x, 100 * _beyond(curve.kept, 0, 1), color=INK, linewidth=1.6, label="rows kept")
        handles = [kept]
        if curve.held_out is not None:
            for values, colour, dashes, word, ends in (
                (curve.held_out.harmful_kept, DROPPED, (5, 2), "held-out harmful kept", (None, 1)),
                (curve.held_out.safe_lost, KEPT, (1.2, 1.4), "held-out safe lost", (None, 0)),
            ):
                y = 100 * _beyond(values, *ends)
                handles += axes.plot(x, y, color=colour, linewidth=1.4, dashes=dashes, label=word)
        mark_cut(axes, curve.cut, low, high)
        _values_at_cut(axes, curve, low, high)
        axes.yaxis.set_major_formatter("{x:.0f}%")
        axes.set_xlabel("cut  (lowest score that is kept)")
        axes.set_ylabel("share of rows")
        axes.grid(axis="y", color=RULE, alpha=0.35, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.locator_params(axis="x", nbins=6)
        legend(figure, [*handles, *band], (0.022, 0.855), handlelength=2.4, handletextpad=0.5, columnspacing=1.4)
        return saved(figure, spreadsheet(COLUMNS, _lines(curve)))


def _ends(curve: Curve) -> tuple[float, float]:
    low, high = (float(curve.cuts[np.searchsorted(curve.kept, share)]) for share in (1 - _BEYOND, _BEYOND))
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin


def _beyond(values: NDArray[np.floating], high: float | None, low: float) -> NDArray[np.float64]:
    """The values with those at the axis's ends."""
    return np.concatenate([[values[0] if high is None else high], values, [low]]).astype(np.float64)


def _estimate(axes: "Axes", share: dict[str, Any] | None) -> list[Any]:
    """A band where the harmless rows end, by the estimate, if harm is found; for the legend."""
    if share is None or not share["found"]:
        return []
    lowest, middle, highest = (100 * (1 - share[name]) for name in ("high", "estimate", "low"))
    axes.axhline(middle, color=SAFE, linewidth=0.9)
    return [axes.axhspan(lowest, highest, color=SAFE, alpha=0.3, linewidth=0, label="harmless rows, estimated")]


def _values_at_cut(axes: "Axes", curve: Curve, low: float, high: float) -> None:
    """What the run's own cut does, in figures beside the curves, no two of them on one another."""
    if not low <= curve.cut <= high:
        return
    at = [(curve.kept_at_cut, INK)]
    if curve.held_out_at_cut is not None:
        at += [(curve.held_out_at_cut.harmful_kept, DROPPED), (curve.held_out_at_cut.safe_lost, KEPT)]
    right = (curve.cut - low) / (high - low) < 0.85
    heights: list[float] = []
    for value, _ in sorted(at):
        y = min(max(100 * value, 2.0), 99.0)
        heights.append(max(y, heights[-1] + 5.5) if heights else y)
    over = max(heights[-1] - 99.0, 0.0)
    heights = [max(min(y, 99.0 - 5.5 * (len(heights) - 1 - i)), 0.0) if over else y for i, y in enumerate(heights)]
    for (value, colour), y in zip(sorted(at), heights, strict=True):
        axes.plot([curve.cut], [100 * value], "o", markersize=4, color=colour, clip_on=False, zorder=4)
        axes.annotate(
            percentage(value),
            (curve.cut, y),
            (7 if right else -7, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            size=8,
            weight="bold",
            color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            zorder=5,
        )


def _share_words(curve: Curve) -> str:
    share = curve.harmful_share
    if share is None:
        return ""
    if not share["found"]:
        return f"; harmful share: none told from zero, at most {percentage(share['high'])}"
    interval = f"{percentage(share['low'])} to {percentage(share['high'])}"
    return f"; estimated harmful share {percentage(share['estimate'])} ({interval})"


def _lines(curve: Curve) -> Iterator[tuple[Any, ...]]:
    share = curve.harmful_share or {}
    own, along = curve.held_out_at_cut or HeldOut(None, None), curve.held_out
    # A cut is a float32, as scores are.
    yield 1, np.float32(curve.cut), curve.kept_at_cut, *own, *(share.get(name) for name in ("estimate", "low", "high"))
    for i, (cut, kept) in enumerate(zip(curve.cuts, curve.kept, strict=True)):
        found = (None, None) if along is None else (along.harmful_kept[i], along.safe_lost[i])
        yield 0, cut, kept, *found, None, None, None
