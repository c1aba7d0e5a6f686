"""Attaching weight columns to a dataset's rows: by row id or by text, never by position."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeVar, cast

import datasets

from sot_filter.errors import ConfigError, SourceError
from sot_filter.rows import DIGEST, named
from sot_filter.weights.joining import join_stored, join_streamed, unformatted
from sot_filter.weights.matching import Columns, Join
from sot_filter.weights.reading import TYPES
from sot_filter.weights.table import Weights
from sot_filter.weights.texts import READABLE, find_reading

Rows = TypeVar("Rows", datasets.Dataset, datasets.IterableDataset, datasets.DatasetDict, datasets.IterableDatasetDict)
_SAMPLE_ROWS: Final = 16


def attach_weights(
    dataset: Rows,
    weights: Weights | Mapping[str, Weights],
    *,
    on: Literal["auto", "row_id", "content"] = "auto",
    missing: Literal["error", "drop"] = "error",
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    num_proc: int | None = None,
) -> Rows:
    """Give each row of a dataset its weight columns, whatever order the rows are in and however often they are there.

    Rows of one text share score, weight and verdict in a run, so a row may be found by its text. It then gets the id,
    status and reason of the first row with that text. A row without text has weight zero and no id.

    Args:
        dataset: the rows, as `datasets` loads them. Of a dictionary of splits, the split that the weights are of
            gains the columns; with weights by split, each of these.
        weights: from `load_weights`.
        on: ``row_id`` finds rows by their ids, ``content`` by their texts. ``auto`` finds them by their ids where they
            have some, and then, if the digests of the weighed texts are known, holds the texts against these.
        missing: what is done with a row that was not weighed: ``error``, or ``drop`` to leave it out.
        format: the format of the rows, by default the run's, or what the columns' names suggest.
        columns: which column holds which field of the format, if it is called otherwise.
        num_proc: processes to do it in, for a dataset that is not streamed.

    Returns:
        The dataset with the columns behind its own, typed float32, bool and string where its features are known.
        A streamed dataset is looked at row by row as it is read, so its errors come then.

    Raises:
        SourceError: rows that were not weighed, or with another text; other values in columns of these names; no
            column to find rows by.
        ConfigError: an argument that is not one of those above.
    """
    if on not in ("auto", "row_id", "content") or missing not in ("error", "drop"):
        raise ConfigError(
            "on as auto, row_id or content, and missing as error or drop", f"{on} and {missing}", "Correct them."
        )
    attach = partial(_attach, on=on, missing=missing, format=format, columns=columns, num_proc=num_proc)
    if isinstance(dataset, datasets.DatasetDict | datasets.IterableDatasetDict):
        by_split = {weights.origin.split or "train": weights} if isinstance(weights, Weights) else weights
        if absent := [split for split in by_split if split not in dataset]:
            raise SourceError(
                f"splits {', '.join(absent)}, which the weights are of",
                f"splits {', '.join(map(str, dataset))}",
                "Load the weights of a split that is there.",
            )
        return type(dataset)(
            {split: attach(rows, by_split[split]) if split in by_split else rows for split, rows in dataset.items()}
        )
    if not isinstance(weights, Weights):
        raise ConfigError("one split's weights for one split's rows", "weights by split", "Give those of its split.")
    return cast(Rows, attach(dataset, weights))


def _attach(
    dataset: datasets.Dataset | datasets.IterableDataset,
    weights: Weights,
    *,
    on: str,
    missing: str,
    format: str | None,
    columns: Mapping[str, str] | None,
    num_proc: int | None,
) -> datasets.Dataset | datasets.IterableDataset:
    found, weights = _columns(dataset, weights, on, format, columns)
    join = Join.prepare(weights, found)
    if isinstance(dataset, datasets.IterableDataset):
        return join_streamed(dataset, join, drop=missing == "drop")
    return join_stored(dataset, join, weights.digest, drop=missing == "drop", num_proc=num_proc)


def _columns(
    dataset: datasets.Dataset | datasets.IterableDataset,
    weights: Weights,
    on: str,
    format: str | None,
    renamed: Mapping[str, str] | None,
) -> tuple[Columns, Weights]:
    """By which columns rows are found, and the weights with what that needs."""
    names = dataset.column_names
    if names is None:
        names = list(next(iter(dataset), {}))
    prefix = weights.origin.prefix
    ours = [named(column, prefix) for column in weights.table.column_names if column != DIGEST]
    present = tuple(name for name in ours if name in names)
    others = [name for name in names if name not in [named(column, prefix) for column in TYPES]]
    row_id = named("sot_row_id", prefix) if on != "content" and named("sot_row_id", prefix) in names else None
    if row_id is None and on == "row_id":
        raise SourceError(
            f"a column {named('sot_row_id', prefix)} in the dataset",
            f"columns {', '.join(names)}",
            "Find rows by their texts (`on='content'`), or load the dataset that the run wrote.",
        )
    if on == "row_id" or (row_id and DIGEST not in weights.table.column_names):
        return Columns(row_id, None, present), weights
    readable = [name for name in others if name in READABLE or name in (renamed or {}).values()]
    if weights.origin.reading:
        readable += [name for name in weights.origin.reading.names if name in others and name not in readable]
    sample = _sample(dataset, readable)
    try:
        reading = find_reading(others, sample, format, renamed, weights.origin.reading)
    except SourceError:
        # The ids alone say which row is which.
        if row_id is not None and format is None and not renamed:
            return Columns(row_id, None, present), weights
        raise
    return Columns(row_id, reading, present), weights.with_digests()


def _sample(dataset: datasets.Dataset | datasets.IterableDataset, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A few rows, read when they are asked for."""
    if isinstance(dataset, datasets.IterableDataset):
        yield from itertools.islice(unformatted(dataset), _SAMPLE_ROWS)
    elif names:
        rows = unformatted(dataset).select_columns(list(names))
        yield from (rows[i] for i in range(min(_SAMPLE_ROWS, len(rows))))
