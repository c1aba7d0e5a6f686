"""What `sot-filter refs audit` shows on a terminal; ids of rows are in it, never their texts."""

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_ROLES: Final = ("safe", "harmful")
_MOST_SUSPECTS: Final = 5
_MOST_CLUSTERS: Final = 2
_MOST_REGIONS: Final = 5


def audit_table(found: dict[str, Any]) -> RenderableType:
    """The two references side by side, suspects, leverage, the input's gaps, and the warnings."""
    warnings = [Text(f"! {warning}", "yellow") for warning in found["warnings"]]
    return Group(
        _references(found),
        _suspects(found),
        _leverage(found),
        _regions(found),
        *(warnings or [Text("No warnings.", "green")]),
    )


def _references(found: dict[str, Any]) -> Table:
    n = found["rows"]["input"]
    table = _table(f"{found['name']}: references for {n:,} distinct rows", "", *_ROLES)

    def row(name: str, cells: list[str]) -> None:
        table.add_row(Text(name, "bold"), *(Text(cell) for cell in cells))

    row("rows", [f"{found['rows'][role]:,}" for role in _ROLES])
    row("wrong labels", [_noise(found["contamination"][role]) for role in _ROLES])
    repeats = [found["duplicates"][role] for role in _ROLES]
    row("exact duplicates left out", [f"{r['folded']:,}" for r in repeats])
    row(f"near duplicates (similarity {found['alike']:g})", [f"{r['near_duplicates']:,}" for r in repeats])
    row("clusters, as if of equal size", [f"{r['clusters']} worth {r['effective_clusters']:.1f}" for r in repeats])
    overlap = found["overlap"]
    row("rows of the input nearly the same", [f"{overlap[f'input_{role}']:,}" for role in _ROLES])
    coverage = found["coverage"]
    row("rows of the input not covered", [f"{coverage[role]['not_covered'] / n:.1%}" for role in _ROLES])
    for facet in coverage["safe"]["facets"]:
        row(
            f"{facet}: differs from the input by",
            [f"{coverage[role]['facets'][facet]['total_variation']:.0%}" for role in _ROLES],
        )
    neither, nearer = coverage["neither"] / n, coverage["nearer_harmful"] / n
    table.caption = (
        f"{neither:.1%} of the input are far from both references; of rows like a reference's own, "
        f"{coverage['miss']:.0%} would be. {nearer:.1%} are nearer to a harmful row than to a safe one. "
        f"{overlap['safe_harmful']:,} rows are nearly the same in both references."
    )
    table.caption_justify, table.caption_style = "left", "dim"
    return table


def _suspects(found: dict[str, Any]) -> RenderableType:
    table = _table(
        "looking most like the other reference: rows with their evidence, and clusters judged without their own rows",
        "reference",
        "row",
        "evidence",
    )
    for role in _ROLES:
        named = found["contamination"][role] or {"suspects": [], "clusters": []}
        for suspect in named["suspects"][:_MOST_SUSPECTS]:
            table.add_row(role, Text(suspect["id"]), f"{suspect['evidence']:+.2f}")
        for cluster in named["clusters"][:_MOST_CLUSTERS]:
            rows = f"{cluster['astray']:.0%} of {cluster['rows']:,}"
            table.add_row(role, Text(f"cluster of {cluster['id']}"), rows)
    return table


def _leverage(found: dict[str, Any]) -> RenderableType:
    columns = ("left out", "its rows", "mass", "Spearman", "kept")
    table = _table(
        "leverage: the ranking without a cluster, or a row, of a reference, and the kept rows that change",
        "reference",
        *columns,
    )
    for role in _ROLES:
        for kind, what in (("clusters", "cluster of "), ("rows", "")):
            for entry in found["leverage"][role][kind][:2]:
                cells = f"{entry['rows']:,}", f"{entry['mass']:.1%}", f"{entry['spearman']:.4f}"
                table.add_row(role, Text(what + entry["id"]), *cells, f"{entry['kept_changed']:.1%}")
    return table


def _regions(found: dict[str, Any]) -> RenderableType:
    columns = ("rows", "harmful nearer", "safe far", "both far")
    table = _table(
        "clusters of the input that the safe reference covers least, and the share of their rows", "around", *columns
    )
    for region in found["regions"][:_MOST_REGIONS]:
        counts = (region[name] / region["rows"] for name in ("nearer_harmful", "not_covered_by_safe", "neither"))
        table.add_row(Text(region["medoid"]), f"{region['rows']:,}", *(f"{share:.0%}" for share in counts))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        text = i == 0 or name in ("row", "left out")
        table.add_column(name, justify="left" if text else "right", overflow="fold")
    return table


def _noise(noise: dict[str, Any] | None) -> str:
    return "{share:.1%} [{low:.1%}, {high:.1%}]".format(**noise) if noise else "too few rows to tell"
