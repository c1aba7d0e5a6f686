"""Stability tables: joined by text, whatever the order of rows, and read by the selection."""

import numpy as np
import pyarrow as pa
import pytest

from sot_filter.steps.select import columns_read, file_starts, may_be_kept, places, selection
from sot_filter.steps.stability import RESEEDED, add_stability, replicate_columns, replicates_of
from tests.steps.test_select import SOLVE, fate_of, settings, source
from tests.steps.test_select import scored as scored_rows

REPLICATES = 8


def digests(numbers: list[int]) -> pa.Array:
    return pa.array([number.to_bytes(16, "big") for number in numbers], pa.binary(16))


def stability(numbers: list[int]) -> pa.Table:
    """Every value of a text is made of its number."""
    values = np.asarray(numbers, np.float32)
    names = ["score_low", "score_high", RESEEDED, *replicate_columns(REPLICATES)]
    return pa.table({"digest": digests(numbers), **{name: values + 1000 * k for k, name in enumerate(names)}})


def test_rows_find_their_text_in_any_order_and_rows_without_one_have_zeros() -> None:
    texts = [70_000, 3, 12, 900, 44]
    embedded = pa.table({"digest": digests([44, 3, 5, 44, 70_000, 99_999_999])})
    table = add_stability(pa.table({"score": np.zeros(6, np.float32)}), embedded, stability(texts))
    assert table["score_low"].to_pylist() == [44, 3, 0, 44, 70_000, 0]
    assert table["replicate:2"].to_pylist() == [5044, 5003, 0, 5044, 75_000, 0]
    assert all(column.type == pa.float32() for column in table.columns)


def with_replicates(noise: float, other: float) -> pa.Table:
    """Scored rows, and replicates that differ from their score by noise; rows of one text by the same."""
    table, rng = scored_rows(), np.random.default_rng(1)
    score, first = table["score"].to_numpy(), np.arange(len(table))
    first[[110, 120]] = 10
    for name in [RESEEDED, *replicate_columns(REPLICATES)]:
        scale = other if name == RESEEDED else noise
        moved = (score + scale * rng.normal(size=len(table))[first]).astype(np.float32)
        table = table.append_column(name, pa.array(moved))
    return table


@pytest.mark.parametrize("unknown", ["keep", "drop"])
def test_selection_counts_the_rows_on_the_edge_as_publish_finds_them(unknown: str) -> None:
    table, wanted = with_replicates(0.1, 0.5), settings(unknown=unknown, replicates=REPLICATES)
    facts = selection(table.select(columns_read(wanted)), source(), SOLVE, wanted)
    kept, _, _ = fate_of(table, facts, 1)
    found = []
    for rows in np.array_split(np.arange(len(table)), 3):
        part = table.slice(rows[0], len(rows))
        place = places(part["duplicate_of"].to_numpy(), int(rows[0]), file_starts(source()))
        found.append(replicates_of(part, may_be_kept(part, unknown), place, facts))
    times, edge = (np.concatenate(values) for values in zip(*found, strict=True))
    assert 0 < edge.sum() < 100
    assert facts["stability"]["on_edge"] == edge.sum()
    assert facts["stability"]["kept_on_edge"] == (edge & kept).sum()
    assert (times[kept & ~edge] == REPLICATES).all()
    assert (times[edge & kept] < REPLICATES).all()
    assert len(set(times[[10, 110, 120]])) == 1, "rows of one text"
    assert 0.5 < facts["stability"]["seeds_agree"] < 1


def test_replicates_that_say_the_same_agree() -> None:
    table, wanted = with_replicates(0.0, 0.0), settings(replicates=REPLICATES)
    facts = selection(table.select(columns_read(wanted)), source(), SOLVE, wanted)
    assert facts["stability"] == {"on_edge": 0, "kept_on_edge": 0, "seeds_agree": 1.0}


def test_without_replicates_there_is_nothing_to_tell() -> None:
    table, wanted = scored_rows(), settings()
    facts = selection(table.select(columns_read(wanted)), source(), SOLVE, wanted)
    assert facts["stability"] is None
    assert not replicates_of(table, may_be_kept(table, "keep"), np.arange(len(table)), facts)[1].any()
