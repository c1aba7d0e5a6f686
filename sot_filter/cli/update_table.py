"""What `sot-filter refs update` shows on a terminal; ids of rows are in it, never their texts."""

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sot_filter.cli.tables import _printable

_MOST_ROWS: Final = 5
_MOST_CLUSTERS: Final = 5
_MOST_SLICES: Final = 4


def update_table(change: dict[str, Any]) -> RenderableType:
    """Rows of the references that came and went, and the rows of the run that crossed the cut for it."""
    if not change["changed"]:
        return Text(f"{change['name']}: the references are those of the finished run; nothing to do.")
    return Group(
        _overview(change),
        *(part for way in ("fell", "rose") if change[way]["rows"] for part in _crossed(way, change[way])),
        *([_slices(change)] if change["slices"] else []),
    )


def _overview(change: dict[str, Any]) -> Table:
    table = _table(change["name"], "", "before", "after", "")
    for role, facts in change["references"].items():
        embedded = change["embedded"][role]
        said = f"{len(facts['added']):,} came, {len(facts['removed']):,} went; {embedded:,} embedded"
        table.add_row(
            Text(f"{role} reference", "bold"), f"{facts['before']:,}", f"{facts['after']:,}", Text(said, "dim")
        )
    fell, rose = change["fell"]["rows"], change["rose"]["rows"]
    crossed = Text(f"{_rows(fell)} fell below the cut, {rose:,} rose above it", "dim")
    table.add_row(Text("kept", "bold"), *(f"{kept:,}" for kept in change["kept"]), crossed)
    if all(change["harmful_share"]):
        shares = [f"{share['estimate']:.1%}" for share in change["harmful_share"]]
        intervals = " and ".join(f"{share['low']:.1%} to {share['high']:.1%}" for share in change["harmful_share"])
        table.add_row(Text("harmful share", "bold"), *shares, Text(intervals, "dim"))
    old, new = change["problem"]
    for name in sorted(old):
        # τ is calibrated, so it moves a little with any change.
        if old[name] != new.get(name) and name != "tau":
            table.add_row(Text(name, "bold"), Text(_short(old[name])), Text(_short(new.get(name))), "")
    return table


def _crossed(way: str, crossed: dict[str, Any]) -> list[RenderableType]:
    fell = way == "fell"
    title = (
        "fell below the cut, by the harmful cluster that claims them now"
        if fell
        else ("rose above the cut, by the harmful cluster that claimed them before")
    )
    came = "came" if fell else "went"
    clusters = _table(
        f"{_rows(crossed['rows'])} {title}", "cluster of", "rows", "its rows", f"of these {came}", "nearest"
    )
    for one in crossed["clusters"][:_MOST_CLUSTERS]:
        counts = (one["rows"], one["members"], one["members_changed"], one["nearest_changed"])
        clusters.add_row(Text(_printable(one["id"])), *(f"{count:,}" for count in counts))
    near, other = crossed["nearest_changed"], "went" if fell else "came"
    clusters.caption = (
        f"nearest: rows whose nearest harmful row {came}, {near['harmful']:,} in all; "
        f"{near['safe']:,} had their nearest safe row among those that {other}"
    )
    clusters.caption_justify, clusters.caption_style = "left", "dim"
    rows = _table("those whose scores changed most", "row", "before", "after", "cluster of")
    for row in crossed["named"][:_MOST_ROWS]:
        scores = (f"{row['before']:+.2f}", f"{row['after']:+.2f}")
        rows.add_row(Text(_printable(row["id"])), *scores, Text(_printable(row["cluster"])))
    return [clusters, rows]


def _slices(change: dict[str, Any]) -> Table:
    table = _table("by slice", "slice", "rows", "kept before", "kept after", "fell", "rose")
    facets = dict.fromkeys(one["facet"] for one in change["slices"])
    for facet in facets:
        for one in [one for one in change["slices"] if one["facet"] == facet][:_MOST_SLICES]:
            counts = (one[kind] for kind in ("rows", "kept_before", "kept_after", "fell", "rose"))
            table.add_row(Text(_printable(f"{facet} {one['value']}")), *(f"{count:,}" for count in counts))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(_printable(title)), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in columns:
        text = name in ("", "row", "slice", "cluster of")
        table.add_column(name, justify="left" if text else "right", overflow="fold")
    return table


def _rows(n: int) -> str:
    return f"{n:,} row" + "s" * (n != 1)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
