"""Values as CSV that no spreadsheet takes for formulas (OWASP, "CSV injection"): numbers stay numbers."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

#: What a cell that is computed begins with, and what is skipped before it.
_FORMULA: Final = ("=", "+", "-", "@", "|", "%", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")
_BLANK: Final = ("\t", "\r", "\n")


def spreadsheet(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """The rows as CSV in UTF-8, below a line with the columns' names.

    Args:
        columns: their names.
        rows: each row's values: text, numbers of Python or NumPy, truth values (as 1 and 0), or None (left empty, and
            so are numbers that are not finite). A float32 is written with as few digits as tell it from others.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_ | int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        # The text of a float32 is shorter than that of the same value in double precision.
        return str(value) if np.isfinite(value) else ""
    said = str(value).replace("\0", "\N{REPLACEMENT CHARACTER}")
    said = f"'{said}" if said.lstrip().startswith(_FORMULA) or said.startswith(_BLANK) else said
    # The writer quotes a line feed but not a lone carriage return, behind which a reader would begin a new cell.
    return said.replace("\r\n", "\n").replace("\r", "\n")
