"""The page beside an export: what is in it, what became of every row, what it cannot carry, and how it is loaded."""

from collections.abc import Iterator
from typing import Any


def page(name: str, writes: str, request: dict[str, Any], result: dict[str, Any]) -> str:
    """EXPORT.md as text; it quotes no row, and says nothing of when and where it was written.

    Args:
        name: of the run.
        writes: what the exporter writes.
        request: the settings of the export.
        result: from `sot_filter.exporting.export.export_output`, less the folder.
    """
    return "\n\n".join(_parts(name, writes, request, result)) + "\n"


def weights_told(result: dict[str, Any]) -> str:
    """What becomes of the weights, in one or two sentences."""
    weights, rows = result["weights"], result["rows"]
    worth = (
        f"The weights of the {weights['rows']:,} kept rows are worth {weights['effective_sample_size']:,.0f} "
        f"equal ones; the largest is {weights['largest']:.3g}."
    )
    if weights["how"] == "lost":
        return (
            f"{worth} They are lost here: all {rows['written']:,} rows count alike. With --repeat a row is written as "
            "often as its weight says."
        )
    if weights["how"] == "repetition":
        return (
            f"{worth} Each row is written as often as its weight says, in the mean exactly: {rows['written']:,} rows "
            f"make {rows['lines']:,} lines, the copies of a row next to each other, so let the trainer shuffle."
        )
    return f"{worth} They stand in {weights['how']}."


def _parts(name: str, writes: str, request: dict[str, Any], result: dict[str, Any]) -> Iterator[str]:
    rows, data = result["rows"], result["files"][0]
    yield f"# Rows of {_quoted(name)} for {result['target']}"
    yield f"{writes} Written by `sot-filter export`; `{data['name']}` has SHA-256 `{data['sha256']}`."
    counts = [f"| read | {rows['read']:,} |", f"| written | {rows['written']:,} |", f"| lines | {rows['lines']:,} |"]
    counts += [f"| left out: {reason} | {number:,} |" for reason, number in result["left_out"].items()]
    yield "\n".join(["| rows | |", "|---|---|", *counts])
    yield weights_told(result)
    if request["repeat"]:
        times, seed = request["times"], request["seed"]
        yield f"A row of weight one is written {times:g} times in the mean; the draw has seed {seed}."
    yield "It cannot carry:\n\n" + "\n".join(f"- {phrase}" for phrase in result["cannot_carry"])
    yield f"To load it, in this folder:\n\n```{result['loading']}\n```"


def _quoted(name: str) -> str:
    """A name as code, whatever signs it has."""
    plain = "".join(sign if sign.isprintable() and sign != "`" else " " for sign in name)
    return f"`{plain}`" if plain.strip() else "a run"
