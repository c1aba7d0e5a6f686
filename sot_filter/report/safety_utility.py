"""Safety against utility of several models or filters: points with intervals and names, some of them on a curve."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np

from sot_filter.errors import ConfigError
from sot_filter.report.looks import FAINT, RULE, Picture, fitted, legend, our_style, saved, single
from sot_filter.report.spreadsheet import spreadsheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

#: Columns of the data; a row is a point.
COLUMNS: Final = (*("name", "group", "safety", "safety_low", "safety_high", "utility", "utility_low", "utility_high"),)
# Colours that stay apart for every kind of colour vision; dashes and markers differ too.
_LOOKS: Final[tuple[tuple[str, Any, str], ...]] = (
    ("#0067a5", "-", "o"),
    ("#c8500a", (0, (5, 2)), "D"),
    ("#1b7f5c", (0, (1, 1.4)), "s"),
    ("#8a4f9e", (0, (5, 1.5, 1, 1.5)), "^"),
    ("#5f6368", (0, (3, 1, 1, 1, 1, 1)), "v"),
)
_LONGEST_NAME: Final = 28
#: Letters that fit beside each other in the legend, its signs being as wide as so many.
_LEGEND, _SIGN = 96, 6
#: Where a name may stand, in points from its point, with its alignments; the first that is free is taken.
_PLACES: Final = tuple(
    (dx * far, dy * far, ha, va)
    for far in (1, 1.9, 3)
    for dx, dy, ha, va in (
        *((6, 4, "left", "bottom"), (6, -4, "left", "top"), (-6, 4, "right", "bottom"), (-6, -4, "right", "top")),
        *((0, 8, "center", "bottom"), (0, -8, "center", "top"), (8, 0, "left", "center"), (-8, 0, "right", "center")),
    )
)

Interval = tuple[float, float]


class Point(NamedTuple):
    """A model or a filter.

    Attributes:
        name: what it is called.
        safety: how safe, in any unit.
        utility: how useful, in any unit.
        safety_interval: both ends of the interval of ``safety``, if there is one.
        utility_interval: the same of ``utility``.
        group: what it has a colour with and may be joined to by a line, in the given order; by default none.
    """

    name: str
    safety: float
    utility: float
    safety_interval: Interval | None = None
    utility_interval: Interval | None = None
    group: str = ""


def safety_utility(
    points: Sequence[Point],
    *,
    title: str,
    safety: str = "safety",
    utility: str = "utility",
    note: str = "",
    joined: bool = True,
) -> Picture:
    """The picture; its data are the points.

    Args:
        points: at least one, of at most five groups.
        title: set above.
        safety: label of the upward axis, with the unit.
        utility: label of the other axis, with the unit.
        note: a sentence to set below.
        joined: whether a line joins the points of a group, as the settings of one method.

    Raises:
        ConfigError: no point, or too many groups; matplotlib is not installed.
    """
    groups = list(dict.fromkeys(point.group for point in points))
    if not 0 < len(groups) <= len(_LOOKS):
        raise ConfigError(f"points of one to {len(_LOOKS)} groups", f"{len(groups)}", "Draw them apart.")
    with our_style():
        figure = single(title, note)
        axes = figure.add_axes((0.115, 0.17, 0.85, 0.65))
        for (colour, line, marker), group in zip(_LOOKS, groups, strict=False):
            _draw(
                axes, [point for point in points if point.group == group], colour, line, marker, joined and bool(group)
            )
        axes.set_xlabel(fitted(utility, 90))
        axes.set_ylabel(fitted(safety, 60))
        axes.margins(0.12)
        axes.grid(color=RULE, alpha=0.35, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.locator_params(nbins=6)
        if groups != [""]:
            _legend(figure, groups, joined)
        colours = {group: look[0] for look, group in zip(_LOOKS, groups, strict=False)}
        place_names(figure, axes, points, colours)
        return saved(figure, spreadsheet(COLUMNS, _lines(points)))


def _draw(axes: "Axes", points: Sequence[Point], colour: str, line: Any, marker: str, joined: bool) -> None:
    x, y = [point.utility for point in points], [point.safety for point in points]
    if joined and len(points) > 1:
        axes.plot(x, y, color=colour, linestyle=line, linewidth=1.2, zorder=2)
    for point in points:
        if point.safety_interval is not None:
            axes.plot([point.utility] * 2, point.safety_interval, color=colour, alpha=0.55, linewidth=0.9, zorder=2)
        if point.utility_interval is not None:
            axes.plot(point.utility_interval, [point.safety] * 2, color=colour, alpha=0.55, linewidth=0.9, zorder=2)
    axes.scatter(x, y, s=26, color=colour, marker=marker, edgecolors="white", linewidths=0.5, zorder=3)


def _legend(figure: "Figure", groups: list[str], joined: bool) -> None:
    from matplotlib.lines import Line2D

    names = [group or "others" for group in groups]
    longest = next(n for n in range(_LEGEND, 0, -1) if sum(min(len(name), n) + _SIGN for name in names) <= _LEGEND)
    handles = [
        Line2D(
            *([], []),
            color=colour,
            linestyle=line if group and joined else "",
            marker=marker,
            markersize=4,
            label=fitted(name, longest),
        )
        for (colour, line, marker), group, name in zip(_LOOKS, groups, names, strict=False)
    ]
    legend(figure, handles, (0.022, 0.855), handlelength=3.2, handletextpad=0.5, columnspacing=1.6)


def place_names(figure: "Figure", axes: "Axes", points: Sequence[Point], colours: dict[str, str]) -> list["Bbox"]:
    """Set each name where it hides no point, line or other name, or where it hides least. Gives the names' boxes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    # Where points lie must be settled first, and lines from them to their names must not change it.
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    renderer = cast(Any, FigureCanvasAgg(figure)).get_renderer()
    at = axes.transData.transform([(point.utility, point.safety) for point in points])
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in at]
    for line in axes.get_lines():
        taken += _beads(axes.transData.transform(line.get_xydata()))
    frame, names = axes.bbox, []
    for point in points:
        best: tuple[float, Any, Bbox] | None = None
        for dx, dy, ha, va in _PLACES:
            label = axes.annotate(
                fitted(point.name, _LONGEST_NAME),
                (point.utility, point.safety),
                (dx, dy),
                textcoords="offset points",
                ha=ha,
                va=va,
                size=7.5,
                color=colours[point.group],
                zorder=4,
            )
            box = label.get_window_extent(renderer)
            outside = box.width * box.height - _shared(box, frame)
            hidden = sum(_shared(box, other) for other in taken) + 3 * outside
            if best is None or hidden < best[0]:
                if best is not None:
                    best[1].remove()
                best = hidden, label, box
            else:
                label.remove()
            if hidden < 1e-6:
                break
        if best is not None:
            taken.append(best[2])
            names.append(best[2])
            _point_at(best[2], axes, point)
    return names


def _point_at(box: "Bbox", axes: "Axes", point: Point) -> None:
    """A thin line from a name that stands far off to its point."""
    x, y = axes.transData.transform((point.utility, point.safety))
    near_x, near_y = min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1)
    if ((near_x - x) ** 2 + (near_y - y) ** 2) ** 0.5 > 26:
        ends = axes.transData.inverted().transform([(x, y), (near_x, near_y)])
        (line,) = axes.plot(ends[:, 0], ends[:, 1], color=FAINT, linewidth=0.4, zorder=1)
        line.set_in_layout(False)


def _beads(corners: Any) -> list["Bbox"]:
    """Small boxes along a line through points [k, 2] in pixels: what a name should not stand on."""
    from matplotlib.transforms import Bbox

    boxes = []
    for start, end in pairwise(corners):
        count = int(np.clip(np.hypot(*(end - start)) / 6, 2, 200))
        boxes += [Bbox.from_bounds(x - 2, y - 2, 4, 4) for x, y in np.linspace(start, end, count)]
    return boxes


def _shared(one: "Bbox", other: "Bbox") -> float:
    """Area that two boxes have in common."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(width * height) if width > 0 and height > 0 else 0.0


def _lines(points: Sequence[Point]) -> Iterator[tuple[Any, ...]]:
    for point in points:
        safety, utility = point.safety_interval or (None, None), point.utility_interval or (None, None)
        yield point.name, point.group, point.safety, *safety, point.utility, *utility
