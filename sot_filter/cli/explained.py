"""How `sot-filter explain` shows a row; texts only where they were asked for."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sot_filter.cli.tables import _printable


def explanation(told: dict[str, Any]) -> RenderableType:
    """A row's fate, what it is made of, and what would change it.

    Args:
        told: from `sot_filter.explanation.explain_row`.
    """
    figures = _table("", "")
    for name, value in _figures(told):
        figures.add_row(Text(name, "bold"), Text(_printable(value)))
    title = Text.assemble((_printable(told["id"]), "bold"), f"  {told['status']}")
    parts: list[RenderableType] = [title, Text(_printable(told["reason"]) + "\n"), figures]
    for role, rows in told["nearest"].items():
        table = _table("similarity", f"nearest {role} rows")
        for row in rows:
            table.add_row(f"{row['similarity']:.3f}", Text(_printable(row["id"])))
        parts += ["", table]
    if told["claimed_by"]:
        table = _table("share", "rows", f"of its mass goes to the cluster of (of {told['clusters']} clusters)")
        for row in told["claimed_by"]:
            table.add_row(f"{row['share']:.0%}", f"{row['rows']:,}", Text(_printable(row["id"])))
        parts += ["", table]
    if told["views"]:
        table = _table("safe", "harmful", "direction", "adds to score", "view")
        for view in told["views"]:
            cells = (*(f"{view[name]:+.3f}" for name in ("safe", "harmful", "direction")), f"{view['leaning']:+.4f}")
            table.add_row(*cells, Text(view["view"]))
        parts += ["", table]
    return Group(*parts, *_texts(told))


def _figures(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of what there is one of."""
    if told["score"] is not None:
        yield "score", f"{told['score']:+.4f}, the cut is {told['cut']:+.4f}"
        if told["unit"] == "nats":
            parts = ", ".join(f"{value:+.4f} from {name}" for name, value in told["parts"].items())
            yield "made of", f"{parts} (log-odds, 0 is undecided)"
        yield "pull, push", f"{told['pull']:.4f} from the safe reference, {told['push']:.4f} from the harmful one"
        yield "weight", f"{told['weight']:.3f}"
    if flips := told["flips"]:
        yield "rank", f"{told['rank']:,} of {told['of']:,}"
        yield "above the cut", f"from retention {flips['retention']:.3f} on"
        if (push := flips["push_strength"]) is not None:
            yield "", f"at {_ranges(push['above_cut'])} (now {push['now']:g}), with these potentials and as many rows"
        else:
            yield "", "at which push_strength cannot be told: the score is not made of pull and push alone"
    if stability := told["stability"]:
        edge = ", on the edge" if stability["on_edge"] else ""
        kept = f"kept in {stability['kept_in']} of {stability['replicates']}"
        yield (
            "with halves",
            f"of the references {kept}, score {stability['low']:+.2f} to {stability['high']:+.2f}{edge}",
        )
    if told["views"]:
        pick = max if told["kept"] else min
        driving = pick(told["views"], key=lambda view: view["leaning"])
        yield "driven by", f"its {driving['view']}"
    if same := told["same_text"]["rows"]:
        more = ", ..." if same > len(told["same_text"]["ids"]) else ""
        yield "same text", f"{same:,} other rows: {', '.join(told['same_text']['ids'])}{more}"
    if told["truncated"]:
        yield "truncated", "only a part of its text fits the model"
    if told["slices"]:
        yield "slices", "; ".join(f"{name} {value}" for name, value in told["slices"].items())


def _ranges(intervals: list[list[float]]) -> str:
    if intervals in ([], [[0.0, 1.0]]):
        return "any push_strength" if intervals else "no push_strength"
    return "push_strength " + " or ".join(f"{low:.3f} to {high:.3f}" for low, high in intervals)


def _texts(told: dict[str, Any]) -> Iterator[RenderableType]:
    """One panel for each text that is there."""
    named = [(f"{role} row", row) for role, rows in told["nearest"].items() for row in rows]
    named += [("harmful cluster of", row) for row in told["claimed_by"]]
    for what, row in [("row", told), *named]:
        if "text" in row:
            lines = Text()
            for view, text in row["text"].items():
                lines.append(f"{view}: ", "bold").append(_printable(text) + "\n")
            yield Panel(lines, title=Text(f"{what} {_printable(row['id'])}"), title_align="left")


def _table(*names: str) -> Table:
    """A table without lines; numbers first, the last column what they are of."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=any(names))
    for name in names[:-1]:
        table.add_column(name, justify="right" if name else "left")
    table.add_column(names[-1])
    return table
