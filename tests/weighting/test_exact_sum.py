"""Exact sums: those of `math.fsum`, in any order and in parts of any size."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.weighting.exact_sum import ExactSum


def total(values: np.ndarray, parts: int = 1) -> float:
    made = ExactSum()
    for part in np.array_split(values, parts):
        made.add(part)
    return made.value


@given(st.lists(st.floats(-1e300, 1e300), max_size=50).map(np.float64), st.integers(1, 9))
def test_it_is_the_correctly_rounded_sum(values: np.ndarray, parts: int) -> None:
    assert total(values, parts) == math.fsum(values)
    assert total(values[::-1]) == math.fsum(values)


def test_small_numbers_beside_large_ones_and_the_smallest_of_all_count() -> None:
    assert total(np.asarray([1e16, 1.0, -1e16, 5e-324]), 4) == 1.0
    assert total(np.asarray([5e-324, 5e-324]), 2) == 1e-323
    assert total(np.asarray([2.5, 1e308, -1e308])) == 2.5


def test_single_precision_is_taken_as_it_is() -> None:
    values = np.random.default_rng(0).random(10_000).astype(np.float32)
    assert total(values, 7) == math.fsum(values.tolist())
