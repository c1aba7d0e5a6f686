"""How every picture of a run looks: colours, fonts, frame, and how it becomes PNG and SVG.

Equal arguments give equal bytes: a reader's matplotlibrc has no say, and neither file holds a date or random ids.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from sot_filter.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width and height in pixels of the PNG of a picture with one part.
SINGLE: Final = (1120, 800)
#: Dots per inch of a PNG, and of what is drawn as dots within an SVG.
DPI: Final = 160
_DOTS: Final = 320

# Blue and vermilion stay apart for every kind of colour vision.
KEPT, KEPT_EDGE, SAFE = "#0067a5", "#0b3d66", "#6fa8cf"
DROPPED, DROPPED_EDGE, HARMFUL = "#c8500a", "#5e2405", "#e0a070"
INK, FAINT, RULE = "#22262b", "#666c73", "#a4a9ae"
STYLE: Final[dict[str, Any]] = {
    "font.size": 8,
    "font.family": ["DejaVu Sans"],
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    # With the ids of an SVG's parts, which are random otherwise.
    "svg.hashsalt": "sot-filter",
    **{f"{axis}tick.{part}": value for axis in "xy" for part, value in (
        ("color", RULE), ("labelcolor", FAINT), ("major.width", 0.6), ("major.size", 3),
    )},
}  # fmt: skip
_LONGEST_TITLE: Final = 80
_LONGEST_CAPTION: Final = 180
_LINE: Final = 118


class Picture(NamedTuple):
    """A picture three times: as PNG, as SVG, and what it shows as CSV that is safe to open in a spreadsheet."""

    png: bytes
    svg: bytes
    csv: bytes


def require_matplotlib() -> None:
    """Raises `ConfigError` without matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ConfigError(
            "matplotlib, to draw the picture", "a Python without it", "Run `pip install sot-filter[report]`."
        ) from None


@contextmanager
def our_style() -> Iterator[None]:
    """Draw and save within it, and a reader's own settings of matplotlib do not matter."""
    require_matplotlib()
    from matplotlib import style

    with style.context(["default", STYLE]), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def framed(size: tuple[int, int], title: str, caption: str) -> "Figure":
    """A figure of so many pixels with a title above and a caption below; needs `our_style`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    figure.text(0.022, 0.935, fitted(title, _LONGEST_TITLE), size=13, weight="bold", va="center")
    figure.text(0.022, 0.032, fitted(caption, _LONGEST_CAPTION), size=7, color=FAINT, va="center")
    return figure


def single(title: str, caption: str) -> "Figure":
    """As `framed`, of a picture with one part, whose caption may take two lines."""
    from textwrap import wrap

    figure = framed(SINGLE, fitted(title, 46), "")
    lines = wrap(fitted(caption, 2 * _LINE - 20), _LINE)
    figure.text(0.022, 0.018, "\n".join(lines), size=7, color=FAINT, va="bottom", linespacing=1.35)
    return figure


def saved(figure: "Figure", csv: bytes) -> Picture:
    """The figure as a picture, with its data; needs `our_style`."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    figure.savefig(svg, format="svg", dpi=_DOTS, metadata={"Date": None, "Creator": None})
    return Picture(png.getvalue(), svg.getvalue(), csv)


def legend(figure: "Figure", handles: list[Any], at: tuple[float, float], **options: Any) -> None:
    """A legend in one line without a frame, its lower left corner there."""
    settings = {"ncols": len(handles), "fontsize": 8, "handletextpad": 0.2, "columnspacing": 1.2, **options}
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=at, frameon=False, borderpad=0, **settings)


def mark_cut(axes: "Axes", cut: float, low: float, high: float) -> None:
    """A line at the cut, or a sign that points to where it is beyond the axis from ``low`` to ``high``."""
    said = f"cut {signed(cut, '.4f')}"
    if low <= cut <= high:
        axes.axvline(cut, color=INK, linewidth=1, dashes=(3, 2))
        x, align = float(np.clip((cut - low) / (high - low), 0.09, 0.91)), "center"
    elif cut < low:
        x, align, said = 0.0, "left", f"◂ {said}"
    else:
        x, align, said = 1.0, "right", f"{said} ▸"
    axes.text(x, 1.015, said, size=7.5, ha=align, transform=axes.transAxes)


def signed(value: float, precision: str) -> str:
    """A number with its sign, the minus being one."""
    return f"{value:+{precision}}".replace("-", "−")


def percentage(share: float) -> str:
    """A percentage that says 0 and 100 only where it is none and all."""
    percent = 100 * share
    if percent in (0, 100) or 1 <= percent <= 99:
        return f"{percent:.0f}%"
    return f"{np.clip(percent, 0.1, 99.9):.1f}%"


def fitted(text: str, longest: int) -> str:
    """At most so many letters of a text, in one line, without anything that no font can show."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
