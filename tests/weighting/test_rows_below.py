"""Counts below given values, as of one comparison with all rows."""

import numpy as np
import pytest

from sot_filter.weighting.rows_below import RowsBelow


@pytest.mark.parametrize("parts", [1, 4, 300])
def test_counts_are_those_of_a_comparison(parts: int) -> None:
    rng = np.random.default_rng(0)
    rows = (rng.integers(-20, 20, 300) / 4).astype(np.float32)
    values = np.concatenate([rng.integers(-30, 30, 25) / 4, rng.normal(size=20)])
    made = RowsBelow(values)
    for part in np.array_split(rows, parts):
        made.add(part)
    assert made.rows == 300
    assert made.below(values).tolist() == [(rows < value).sum() for value in values]
    assert made.up_to(values[:7]).tolist() == [(rows <= value).sum() for value in values[:7]]


def test_without_values_rows_are_counted_all_the_same() -> None:
    made = RowsBelow(np.empty(0))
    made.add(np.float32([1, 2]))
    assert made.rows == 2
    assert made.below(np.empty(0)).tolist() == []
