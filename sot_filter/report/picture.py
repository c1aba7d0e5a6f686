"""The picture of a run: the scores and where they are cut, beside a map of the rows among the two references."""

from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from sot_filter.report.histogram import ScoreBins, draw_histogram
from sot_filter.report.looks import framed, our_style
from sot_filter.report.rows_map import draw_map, shown

#: Width and height of the picture in pixels.
SIZE: Final = (1600, 720)


def draw(
    handle: IO[bytes],
    *,
    title: str,
    scores: NDArray[np.float32],
    kept: NDArray[np.bool_],
    cut: float,
    rows_xy: NDArray[np.float32],
    safe_xy: NDArray[np.float32],
    harmful_xy: NDArray[np.float32],
    rows_total: int,
    note: str = "",
) -> None:
    """Write the picture as one PNG of `SIZE`; the same arguments give the same bytes.

    Args:
        handle: where the PNG goes.
        title: name of the run.
        scores: scores [n] of the rows that are shown, n at least 1.
        kept: whether each of them [n] is kept.
        cut: lowest score that is kept.
        rows_xy: their coordinates [n, 2], from `sot_filter.report.projection.Plane.place`.
        safe_xy: coordinates [a, 2] of the safe reference.
        harmful_xy: coordinates [b, 2] of the harmful reference.
        rows_total: rows with a score, shown or not.
        note: a sentence to set below.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    exact = scores.astype(np.float64)
    bins = ScoreBins(float(exact.min()), float(exact.max()), len(exact), cut)
    bins.add(exact, kept)
    with our_style():
        figure = framed(SIZE, title, f"{shown(len(scores), rows_total, max(len(safe_xy), len(harmful_xy)))}. {note}")
        draw_histogram(figure.add_axes((0.075, 0.16, 0.355, 0.62)), bins)
        box, bar = (0.5, 0.16, 0.415, 0.62), (0.932, 0.16, 0.01, 0.62)
        draw_map(figure, box, bar, (0.49, 0.827), exact, kept, cut, rows_xy, safe_xy, harmful_xy)
        figure.savefig(handle, format="png", metadata={"Software": None})
