"""What the commands show on a terminal."""

from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_SHOWN_APART = ("total", "kept", "dropped", "unknown")
#: Slices of a facet on a terminal; the summary has them all.
_SLICES_SHOWN = 4
_SYMBOL = {True: Text("ok", "green"), False: Text("FAILED", "bold red")}


def result(summary: dict[str, Any]) -> RenderableType:
    """The end of a run: rows kept and dropped, labels if there are any, the solve, warnings, where to look."""
    rows, kept, solve = summary["rows"], summary["kept"], summary["solve"]
    table = Table(title=summary["name"], title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("rows", f"{rows['total']:,}", "")
    table.add_row("kept", f"{kept['rows']:,}", f"{kept['share']:.1%}")
    table.add_row("dropped", f"{rows['total'] - kept['rows']:,}", _statuses(rows))
    if unknown := summary["unknown"]["rows"]:
        table.add_row(
            "unknown", f"{unknown:,}", f"unlike both references; {summary['unknown']['kept']:,} of them kept"
        )
    if share := summary["selection"]["harmful_share"]:
        interval = f"{share['low']:.1%} to {share['high']:.1%}"
        if not share["found"]:
            interval = (
                f"not told from none, at most {share['high']:.1%}" if share["looks_harmful"] else "no harm found"
            )
        table.add_row(
            "harmful share", f"{share['estimate']:.1%}", f"{interval}; {share['looks_harmful']:,} rows look harmful"
        )
        rates = summary["selection"]["canaries"]
        table.add_row(
            "held out",
            "",
            f"{rates['harmful_kept']:.1%} of harmful references kept, {rates['safe_lost']:.1%} of safe lost",
        )
    if stability := summary["selection"]["stability"]:
        table.add_row(
            "on the edge",
            f"{stability['on_edge']:,}",
            f"halves of the references disagree; {stability['kept_on_edge']:,} of them kept; another seed keeps "
            f"{stability['seeds_agree']:.1%} of the kept rows",
        )
    table.add_row(
        "worth",
        f"{kept['effective_sample_size']:,.0f}",
        f"equal rows; weights {kept['smallest_weight']:.2f} to {kept['largest_weight']:.2f}",
    )
    if quality := summary["quality"]:
        table.add_row("harmful rows caught", f"{quality['harmful_dropped']:,}", f"of {quality['harmful']:,} labelled")
        table.add_row("ordinary rows lost", f"{quality['benign_dropped']:,}", f"of {quality['benign']:,}")
        table.add_row("AUROC", f"{quality['auroc']:.3f}", "of the score against the labels")
    table.add_row(
        "solve", solve["outcome"], f"{solve['iterations']} iterations, certificate {solve['certificate']:.1e}"
    )
    simple = summary["simple"]
    table.add_row(
        f"simple {simple['score']}",
        f"{simple['in_common']:,}",
        f"of these drops are its too; held-out AUROC {simple['auroc']:.3f}, the solve {simple['sot_auroc']:.3f}",
    )
    for facet, shares in _slices(summary["slices"]).items():
        table.add_row(Text(f"kept by {facet}"), "", Text(shares))
    folder = summary["folder"]
    paths = Text(
        f"\ndataset  {folder}\npicture  {folder}/map.png\nsummary  {folder}/summary.json",
        no_wrap=True,
        overflow="ignore",
    )
    if hub := summary.get("hub"):
        paths.append(f"\nHub      {hub['pull_request'] or hub['url']}")
    return Group(table, *(Text(f"! {warning}", "yellow") for warning in summary["warnings"]), paths)


def _statuses(rows: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {status}" for status, n in rows.items() if status not in _SHOWN_APART)


def _slices(slices: list[dict[str, Any]]) -> dict[str, str]:
    """For each facet that divides the rows, the retention of its largest slices and of those that raise an alarm."""
    said = {}
    for facet in dict.fromkeys(one["facet"] for one in slices):
        mine = [one for one in slices if one["facet"] == facet]
        shown = [one for i, one in enumerate(mine) if i < _SLICES_SHOWN or one["alarm"]]
        parts = [f"{one['value']} {one['retention']:.0%} of {one['rows']:,}{' !' * one['alarm']}" for one in shown]
        if len(mine) > len(shown):
            parts.append(f"{len(mine) - len(shown):,} more in summary.json")
        if len(mine) > 1:
            said[_printable(facet)] = _printable("; ".join(parts))
    return said


def plan_table(stages: list[dict[str, Any]]) -> RenderableType:
    """Stages in a row each."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name, justify in (
        ("stage", "left"),
        ("does", "left"),
        ("rows", "right"),
        ("files", "right"),
        ("tasks", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("cost")
    table.add_column("done", justify="right")
    for s in stages:
        done = f"{s['done'] / s['rows']:.0%}"
        cells = [f"{s['rows']:,}", f"{s['files']:,}", f"{s['tasks']:,}", s["cost"], done]
        table.add_row(Text(s["stage"], "bold"), *(Text(cell) for cell in (s["does"], *cells)))
    return table


def status_table(stages: list[dict[str, Any]]) -> RenderableType:
    """Rows done, stage by stage; of submitted jobs their states, the rate, the time left, and what failed."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("stage", "done", "rows", "", "jobs", "rate", "left"):
        table.add_column(name, justify="left" if name in ("stage", "jobs") else "right")
    failures = []
    for s in stages:
        jobs = ", ".join(f"{count:,} {state}" for state, count in s.get("jobs", {}).items())
        rate, left = s.get("rows_per_second"), s.get("seconds_left")
        table.add_row(
            Text(s["stage"], "bold"),
            f"{s['done']:,}",
            f"{s['rows']:,}",
            f"{s['done'] / s['rows']:.0%}",
            jobs,
            f"{rate:,.3g} rows/s" if rate else "",
            "" if left is None else f"{left / 60:,.0f} min" if left >= 120 else f"{left:,.0f} s",
        )
        for failed in s.get("failed", ()):
            failures.append(Text(f"{s['stage']}, rank {failed['rank']} ({failed['job']}): {failed['state']}", "red"))
            failures.extend(Text(f"  {_printable(line)}", overflow="fold") for line in failed["lines"])
    return Group(table, *failures)


def inspection(rows: list[dict[str, Any]]) -> RenderableType:
    """Rows as they are embedded."""
    return Group(*(_row_panel(row) for row in rows))


def _row_panel(row: dict[str, Any]) -> Panel:
    lines = Text()
    for view in row["views"]:
        cut = ", cut" if view["truncated"] else ""
        lines.append(f"{view['view']}: {view['tokens']:,} tokens{cut}\n", "bold")
        lines.append(_printable(view["text"]) + "\n")
        if view["truncated"]:
            lines.append("embedded only: " + _printable(view["kept_text"]) + "\n", "yellow")
    return Panel(lines, title=Text(f"{row['role']} {row['id']} ({row['form']})"), title_align="left")


def _printable(text: str) -> str:
    """Text without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def verification(checks: list[dict[str, Any]]) -> RenderableType:
    """One check in a row each."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for check in checks:
        table.add_row(_SYMBOL[check["passed"]], Text(check["check"]), Text(check["found"], "dim"))
    return table


def comparison(found: dict[str, Any]) -> RenderableType:
    """A score in each row, its measures with their intervals, and the sentence they come to."""
    labels = found["harmful"] is not None
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("score")
    for name in (*(("AUROC", "recall at 1.5x") if labels else ()), "Spearman", "drops"):
        table.add_column(name, justify="right")
    for entry in found["scores"]:
        if labels:
            cells = [_interval(entry["auroc"]), _interval(entry["recall_1_5x"]), _value(entry["spearman"])]
        else:
            cells = [_interval(entry["spearman"])]
        share = entry["dropped_in_common"]
        cells.append("-" if share is None else f"{share:.0%}")
        table.add_row(Text(entry["score"], "bold"), *(Text(cell) for cell in cells))
    counted = f"{found['rows']:,} rows" + (f", {found['harmful']:,} of them harmful" if labels else "")
    about = (
        f"{counted}; 95 % intervals from {found['draws']:,} draws of the rows. Spearman: of the ranking with that of "
        f"sot. Drops: how many of the {found['dropped']:,} rows that sot drops a score would drop too."
    )
    return Group(table, Text(about, "dim"), Text(found["verdict"]))


def _interval(measure: dict[str, float] | None) -> str:
    return "{value:.3f} [{low:.3f}, {high:.3f}]".format(**measure) if measure else "-"


def _value(measure: dict[str, float] | None) -> str:
    return f"{measure['value']:.3f}" if measure else "-"
