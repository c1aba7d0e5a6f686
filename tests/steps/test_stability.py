"""Stability columns: what is made of the scores in replicates, and how the selection reads them."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from sot_filter.steps.select import columns_read, file_starts, may_be_kept, places
from sot_filter.steps.stability import RESEEDED, replicate_columns, replicates_of, stability_columns
from tests.steps.test_select import SOLVE, fate_of, selection, settings, source
from tests.steps.test_select import scored as scored_rows

REPLICATES = 8


def test_the_range_holds_the_score_and_columns_are_named_by_what_they_are() -> None:
    score, replicates = torch.tensor([0.0, 5.0, 1.0]), torch.tensor([[-1.0, 1.0], [-1.0, 1.0], [2.0, 2.0]])
    columns = stability_columns(score, replicates, torch.tensor([3.0, 2.0, 1.0]))
    assert list(columns) == ["score_low", "score_high", RESEEDED, "replicate:0", "replicate:1"]
    low, high = columns["score_low"], columns["score_high"]
    # Student's factor for one degree of freedom, expanded; of 2 draws, √(3/2) deviations of √2.
    reach = float(high[0])
    assert low[0] == -reach < -1
    assert (low[1], high[1]) == (-reach, max(reach, 5.0))
    assert (low[2], high[2]) == (1.0, 2.0)
    assert columns[RESEEDED].tolist() == [3.0, 2.0, 1.0]
    assert columns["replicate:1"].tolist() == [1.0, 1.0, 2.0]


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
