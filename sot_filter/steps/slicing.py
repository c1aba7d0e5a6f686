"""The slices of a part's rows: built-in facets, and columns of the user's own."""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from sot_filter.sources import Part, Source
from sot_filter.weighting import length_bucket

#: What rows are sorted by without being asked; a column of the same name under `input.slices` takes its place.
FACETS: Final = ("file", "language", "length", "format", "code")
_LONGEST_VALUE: Final = 80


def add_slices(table: pa.Table, embedded: pa.Table, source: Source, part: Part, columns: Sequence[str]) -> pa.Table:
    """A part's table with a column `slice:<facet>` for each facet and each of the source's ``columns``.

    Args:
        table: n rows of the part.
        embedded: the same rows' table of the embed stage.
        source: the part's source.
        part: which rows of it.
        columns: columns of the source whose values are slices as well.
    """
    characters = embedded["characters"].to_pylist()
    buckets = {length: length_bucket(length) for length in set(characters)}
    slices = {
        "file": [part.file.name] * len(table),
        "language": embedded["language"].to_pylist(),
        "length": [buckets[length] for length in characters],
        "format": embedded["format"].to_pylist(),
        "code": ["code" if code else "no code" for code in embedded["code"].to_pylist()],
    }
    if columns:
        rows = list(source.read_raw(part.file, part.start, part.stop, list(columns)))
        for name in columns:
            slices[name] = [_value(row.get(name)) if isinstance(row, dict) else _value(None) for row in rows]
    for name, values in slices.items():
        table = table.append_column(f"slice:{name}", pa.array(values, pa.string()))
    return table


def slice_names(columns: Sequence[str]) -> list[str]:
    """All facets of a run whose user named ``columns``."""
    return list(dict.fromkeys([*FACETS, *columns]))


def _value(value: Any) -> str:
    return "none" if value is None else str(value)[:_LONGEST_VALUE]
