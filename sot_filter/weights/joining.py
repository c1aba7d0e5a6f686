"""Columns put beside those of a dataset, stored or streamed, once each of its rows is found among the weighed ones."""

from collections.abc import Sequence
from typing import Any, Final

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets.fingerprint import Hasher

from sot_filter import __version__
from sot_filter.errors import SourceError
from sot_filter.weights.matching import MISSING, OTHER_TEXT, Join

_BATCH_ROWS: Final = 1000
_COMPARED_ROWS: Final = 10_000


def join_stored(
    dataset: datasets.Dataset, join: Join, digest: str, *, drop: bool, num_proc: int | None
) -> datasets.Dataset:
    """The new columns in a table of their own, on disk, put beside the old ones, which are not written again.

    Args:
        dataset: the rows.
        join: finds their weights.
        digest: of the weights.
        drop: leave out rows that were not weighed.
        num_proc: processes to find them in.

    Raises:
        SourceError: as `sot_filter.weights.attach_weights`.
    """
    features, present = _features(join), join.columns.present
    if len(dataset) == 0:
        return _without_rows(dataset, features)
    if dataset._indices is not None:
        # Or columns could not be put beside its own.
        dataset = dataset.flatten_indices()
    names = join.columns.names
    read = unformatted(dataset).select_columns(names)
    # What `datasets` caches is found again by this; hashing the weights themselves would copy all of them.
    facts = __version__, dataset._fingerprint, digest, features, join.columns
    found = read.map(
        join.as_table,
        batched=True,
        batch_size=_BATCH_ROWS,
        remove_columns=names,
        features=features,
        num_proc=num_proc,
        new_fingerprint=Hasher.hash(facts),
        desc="Attaching weights",
    )
    status = found.with_format("arrow")[join.status][:]

    def named(row: int) -> str:
        return f"row {row:,}" + (f" ({read[row][join.columns.row_id]})" if join.columns.row_id else "")

    _refuse(status, OTHER_TEXT, named)
    weighed = pc.not_equal(status, MISSING)
    if not drop:
        _refuse(status, MISSING, named)
    elif not pc.all(weighed).as_py():
        rows = np.flatnonzero(weighed.to_numpy())
        dataset, found = (one.select(rows).flatten_indices() for one in (dataset, found))
        if not len(rows):
            return _without_rows(dataset, features)
    old, new = (one.with_format("arrow").select_columns(list(present)) for one in (dataset, found))
    for theirs, ours in zip(old.iter(_COMPARED_ROWS), new.iter(_COMPARED_ROWS), strict=True) if present else ():
        _check_same(theirs, ours, present)
    found = found.remove_columns(list(present))
    return _beside(dataset, found) if found.column_names else dataset


def join_streamed(dataset: datasets.IterableDataset, join: Join, *, drop: bool) -> datasets.IterableDataset:
    """The same of rows that are found as they are read.

    Args:
        dataset: the rows.
        join: finds their weights.
        drop: leave out rows that were not weighed.
    """
    features, shown = None, dataset._formatting
    if dataset.features is not None:
        features = datasets.Features({**dataset.features, **_features(join)})
    joined = unformatted(dataset).map(
        _Streamed(join, drop), with_indices=True, batched=True, batch_size=_BATCH_ROWS, features=features
    )
    if drop:
        joined = joined.filter(_is_weighed, input_columns=[join.status])
    return joined.with_format(shown.format_type) if shown else joined


def unformatted(dataset: Any) -> Any:
    """A dataset whose rows are Python values."""
    formatted = dataset.format["type"] if isinstance(dataset, datasets.Dataset) else dataset._formatting
    restricted = isinstance(dataset, datasets.Dataset) and dataset.format["columns"] != dataset.column_names
    return dataset.with_format(None) if formatted or restricted else dataset


class _Streamed:
    """As `Join.as_table`, of rows that come in batches: each batch is checked as it comes."""

    def __init__(self, join: Join, drop: bool) -> None:
        self._join, self._drop = join, drop

    def __call__(self, batch: dict[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        new, ids = self._join.as_table(batch), self._join.columns.row_id
        status = new[self._join.status]

        def named(row: int) -> str:
            return f"row {indices[row]:,}" + (f" ({batch[ids][row]})" if ids else "")

        _refuse(status, OTHER_TEXT, named)
        if not self._drop:
            _refuse(status, MISSING, named)
        if present := [name for name in self._join.columns.present if name in batch]:
            weighed = pc.not_equal(status, MISSING)
            theirs = pa.table({name: pa.array(batch[name]) for name in present})
            _check_same(theirs.filter(weighed), new.filter(weighed), present)
        columns: dict[str, list[Any]] = new.to_pydict()
        return columns


def _is_weighed(status: str) -> bool:
    return status != MISSING


def _features(join: Join) -> datasets.Features:
    names = {pa.large_string(): "string", pa.float32(): "float32", pa.bool_(): "bool"}
    return datasets.Features({field.name: datasets.Value(names[field.type]) for field in join.table.schema})


def _without_rows(dataset: datasets.Dataset, features: datasets.Features) -> datasets.Dataset:
    for name in [name for name in features if name not in dataset.column_names]:
        dataset = dataset.add_column(name, [], feature=features[name])
    return dataset


def _beside(dataset: datasets.Dataset, new: datasets.Dataset) -> datasets.Dataset:
    """Both, shown as the dataset is."""
    shown = dataset.format
    joined = datasets.concatenate_datasets([unformatted(dataset), unformatted(new)], split=dataset.split, axis=1)
    if shown["type"] is None and shown["columns"] == dataset.column_names:
        return joined
    columns = None if shown["columns"] == dataset.column_names else [*shown["columns"], *new.column_names]
    return joined.with_format(shown["type"], columns, shown["output_all_columns"], **shown["format_kwargs"])


def _check_same(theirs: pa.Table, ours: pa.Table, present: Sequence[str]) -> None:
    """Find that weight columns that are there already are the same."""
    for name in present:
        kind, column = ours[name].type, theirs[name]
        # CSV knows no empty text, and JSON no float32.
        if kind == pa.string() and column.null_count:
            column = pc.fill_null(column.cast(pa.string()), "")
        try:
            same = column.cast(kind).combine_chunks().equals(ours[name].combine_chunks())
        except pa.ArrowInvalid:
            same = False
        if not same:
            raise SourceError(
                f"no column {name} in the dataset, or the same values in it",
                "others",
                "Remove it first (`dataset.remove_columns`), or publish the weights with another prefix.",
            )


def _refuse(status: pa.ChunkedArray, what: str, named: Any) -> None:
    """Say how many rows have no weights, and which is the first of them; its text is nobody's business."""
    marked = pc.equal(status, what)
    count = int(pc.sum(marked).as_py() or 0)
    if not count:
        return
    got = f"{count:,} of {len(status):,} rows that were not, as {named(pc.index(marked, True).as_py())}"
    if what == MISSING:
        do = "Load the dataset and revision that was weighed, or leave them out with `missing='drop'`."
        raise SourceError("rows that were weighed", got, do)
    do = "Load the revision that was weighed; if texts were changed on purpose, join with `on='row_id'`."
    raise SourceError(
        "rows with the texts that were weighed under their ids", got.replace("were not", "have others"), do
    )
