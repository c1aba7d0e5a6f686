"""The picture of a training: the share of safe answers preferred, beside the loss on what is to be learned.

Drawn from histories (`sot_filter.training.history`), of one run or of several to compare: as PNG, as SVG, and as CSV.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sot_filter.errors import ArtifactError, ConfigError
from sot_filter.training.history import SAFETY, TRAINING, UTILITY, Record, replace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width and height of the PNG in pixels.
SIZE: Final = (1600, 720)
#: Columns of the CSV; a row is what was seen of a run at a step.
COLUMNS: Final = (
    *("run", "step", "epoch", "triples", "preferred", "share", "low", "high", "margin", "margin_per_token"),
    *("utility_loss", "training_loss"),
)

_DPI: Final = 160
_LONGEST_TITLE: Final = 80
_LONGEST_NOTE: Final = 180
#: Letters that fit beside each other in the legend, its lines being as wide as so many.
_LEGEND, _LINE = 120, 6
# Colours that stay apart for every kind of colour vision; dashes and markers differ too.
_LOOKS: Final[tuple[tuple[str, Any, str], ...]] = (
    ("#0067a5", "-", "o"),
    ("#c8500a", (0, (5, 2)), "D"),
    ("#1b7f5c", (0, (1, 1.4)), "s"),
    ("#8a4f9e", (0, (5, 1.5, 1, 1.5)), "^"),
    ("#5f6368", (0, (3, 1, 1, 1, 1, 1)), "v"),
)
_INK, _FAINT, _RULE = "#22262b", "#666c73", "#a4a9ae"
_STYLE: Final[dict[str, Any]] = {
    "font.size": 8,
    "font.family": ["DejaVu Sans"],
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _FAINT,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": _INK,
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
    # With the ids of an SVG's parts, which are random otherwise.
    "svg.hashsalt": "sot-filter",
    **{f"{axis}tick.{part}": value for axis in "xy" for part, value in (
        ("color", _RULE), ("labelcolor", _FAINT), ("major.width", 0.6), ("major.size", 3),
    )},
}  # fmt: skip


def write_curves(runs: Mapping[str, Sequence[Record]], stem: Path, title: str, note: str = "") -> tuple[Path, ...]:
    """Write ``stem.png``, ``stem.svg`` and ``stem.csv``, each whole or not at all; equal arguments give equal bytes.

    Args:
        runs: each run's history by its name, five runs at most.
        stem: where they go, without the ending.
        title: set above the picture.
        note: a sentence set below it.

    Returns:
        The three files.

    Raises:
        ConfigError: no run or more than five; matplotlib is not installed.
        ArtifactError: a file cannot be written.
    """
    if not 0 < len(runs) <= len(_LOOKS):
        raise ConfigError(f"from one run to {len(_LOOKS)}", f"{len(runs)}", "Draw them apart.")
    contents = {"csv": table(runs).encode(), **picture(runs, title, note)}
    files = tuple(stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "svg", "csv"))
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for file in files:
            replace(file, contents[file.suffix[1:]])
    except OSError as error:
        raise ArtifactError(
            "a folder for the curves", f"{stem.parent}: {error.strerror}", "Make it writable."
        ) from None
    return files


def table(runs: Mapping[str, Sequence[Record]]) -> str:
    """The histories as CSV of `COLUMNS`, a row for each run and step, empty where nothing was seen."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for name, records in runs.items():
        for step, found in _by_step(records).items():
            look = found.get(SAFETY) or {}
            row = {column: look.get(column) for column in COLUMNS}
            row |= {"run": _text(name), "step": step, "epoch": found["epoch"], "share": _share(look)}
            writer.writerow(row | {"utility_loss": found.get(UTILITY), "training_loss": found.get(TRAINING)})
    return text.getvalue()


def picture(runs: Mapping[str, Sequence[Record]], title: str, note: str = "") -> dict[str, bytes]:
    """The picture of `runs` as ``png``, of `SIZE`, and as ``svg``. Raises `ConfigError` without matplotlib."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "matplotlib, to draw the curves", "a Python without it", "Run `pip install sot-filter[report]`."
        ) from None
    drawn = {}
    # A reader's own matplotlibrc has no say: the bytes depend on the arguments alone.
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(SIZE[0] / _DPI, SIZE[1] / _DPI), dpi=_DPI, facecolor="white")
        figure.text(0.022, 0.935, _fitted(title, _LONGEST_TITLE), size=13, weight="bold", va="center")
        figure.text(0.022, 0.032, _fitted(note, _LONGEST_NOTE), size=7, color=_FAINT, va="center")
        _safety(figure.add_axes((0.065, 0.16, 0.4, 0.6)), runs)
        _utility(figure.add_axes((0.56, 0.16, 0.4, 0.6)), runs)
        last = max((record["step"] for records in runs.values() for record in records), default=0) or 1
        for axes in figure.axes:
            axes.set_xlim(-0.04 * last, 1.04 * last)
        _legend(figure, list(runs))
        for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            handle = io.BytesIO()
            figure.savefig(handle, format=ending, metadata=metadata)
            drawn[ending] = handle.getvalue()
    return drawn


def _safety(axes: "Axes", runs: Mapping[str, Sequence[Record]]) -> None:
    triples = set()
    for (colour, line, marker), records in zip(_LOOKS, runs.values(), strict=False):
        looks = [(record["step"], record[SAFETY]) for record in records if SAFETY in record]
        steps, found = [step for step, _ in looks], [look for _, look in looks]
        triples |= {look["triples"] for look in found}
        shares = [100 * look["preferred"] / look["triples"] for look in found]
        low, high = ([100 * look[end] for look in found] for end in ("low", "high"))
        axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(steps, shares, color=colour, linestyle=line, marker=marker, markersize=3.5, linewidth=1.4)
        for step, look, share in zip(steps, found, shares, strict=True):
            if look["stop"]:
                below = -11 if share > 12 else 5
                axes.annotate(
                    "stopped", (step, share), (4, below), textcoords="offset points", ha="right", size=7, color=colour
                )
    axes.set_ylim(-3, 103)
    axes.yaxis.set_major_formatter("{x:.0f}%")
    counted = f"  ({max(triples):,} triples, band: 95% interval)" if len(triples) == 1 else ""
    _dress(axes, "safety", f"safe answers preferred{counted}", empty=not triples)


def _utility(axes: "Axes", runs: Mapping[str, Sequence[Record]]) -> None:
    """The loss on evaluation rows; the training loss, faint, where no run has any."""
    kind = UTILITY if any(UTILITY in record for records in runs.values() for record in records) else TRAINING
    drawn = 0
    for (colour, line, marker), records in zip(_LOOKS, runs.values(), strict=False):
        points = [(r["step"], r[kind]) for r in records if kind in r and r[kind] is not None]
        drawn += len(points)
        shown = marker if kind == UTILITY or len(points) == 1 else ""
        axes.plot(*_columns(points), color=colour, linestyle=line, marker=shown, markersize=3.5, linewidth=1.4)
    axes.locator_params(axis="y", nbins=6)
    _dress(axes, "utility", "loss on evaluation rows" if kind == UTILITY else "loss in training", empty=not drawn)


def _dress(axes: "Axes", name: str, what: str, empty: bool) -> None:
    axes.text(0, 1.06, name, size=9.5, weight="bold", transform=axes.transAxes)
    axes.text(0.13, 1.06, what, size=8, color=_FAINT, transform=axes.transAxes)
    axes.set_xlabel("optimiser step")
    axes.grid(axis="y", color=_RULE, alpha=0.35, linewidth=0.5)
    axes.set_axisbelow(True)
    if empty:
        axes.text(0.5, 0.5, "nothing seen", color=_FAINT, ha="center", transform=axes.transAxes)
    else:
        axes.locator_params(axis="x", nbins=7, integer=True)


def _legend(figure: "Figure", names: list[str]) -> None:
    from matplotlib.lines import Line2D

    longest = _LEGEND // len(names) - _LINE
    entries = [
        Line2D([], [], color=colour, linestyle=line, marker=marker, markersize=3.5, label=_fitted(name, longest))
        for (colour, line, marker), name in zip(_LOOKS, names, strict=False)
    ]
    figure.legend(
        handles=entries,
        loc="upper left",
        bbox_to_anchor=(0.016, 0.905),
        ncols=len(entries),
        frameon=False,
        fontsize=8,
        handlelength=3.2,
        columnspacing=1.6,
        borderpad=0,
    )


def _by_step(records: Sequence[Record]) -> dict[int, Record]:
    """The records of a step in one, by their steps in order."""
    steps: dict[int, Record] = {}
    for record in sorted(records, key=lambda record: int(record["step"])):
        steps.setdefault(record["step"], {}).update(record)
    return steps


def _share(look: Mapping[str, Any]) -> float | None:
    return look["preferred"] / look["triples"] if look else None


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _text(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    name = name.replace("\r", " ")
    return f"'{name}" if name.lstrip()[:1] in ("=", "+", "-", "@", "|", "%") or name[:1] in "\t\n" else name


def _fitted(text: str, longest: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
