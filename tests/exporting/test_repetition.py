"""Repetition: the expected number of copies is the weight exactly, whatever the order, and a draw is repeatable."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.exporting.repetition import copies, uniform

ids = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())
amounts = st.floats(0, 50, allow_nan=False)


@given(ids, amounts, st.integers(-(10**30), 10**30))
def test_copies_are_the_whole_numbers_next_to_the_weight(row_id: str, weight: float, seed: int) -> None:
    assert copies(row_id, weight, seed=seed) in (math.floor(weight), math.floor(weight) + 1)
    assert copies(row_id, weight, seed=seed) == copies(row_id, weight, seed=seed)
    assert 0 <= uniform(row_id, seed) < 1


@given(ids, st.integers(0, 9), st.integers(0, 9))
def test_a_whole_weight_is_no_draw(row_id: str, weight: int, seed: int) -> None:
    assert copies(row_id, float(weight), seed=seed) == weight
    assert copies(row_id, weight / 4, times=4, seed=seed) == weight


@given(ids, amounts, amounts, st.integers(0, 99))
def test_a_larger_weight_never_has_fewer_copies(row_id: str, low: float, more: float, seed: int) -> None:
    assert copies(row_id, low, seed=seed) <= copies(row_id, low + more, seed=seed)


@pytest.mark.parametrize("weight", [0.03, 0.5, 1.25, 7.9])
@pytest.mark.parametrize("times", [1.0, 0.3])
def test_the_mean_over_seeds_is_the_weight(weight: float, times: float) -> None:
    seeds = 20_000
    drawn = np.asarray([copies("default/train/rows.jsonl#7", weight, times, seed) for seed in range(seeds)])
    rest = (times * weight) % 1
    # Five standard errors of a coin: with fixed seeds this either holds or the draw is not fair.
    assert abs(drawn.mean() - times * weight) < 5 * math.sqrt(rest * (1 - rest) / seeds)


def test_rows_and_seeds_are_drawn_independently() -> None:
    draws = np.asarray([[uniform(f"default/train/a#{row}", seed) for seed in range(40)] for row in range(500)])
    assert abs(draws.mean() - 0.5) < 5 / math.sqrt(12 * draws.size)
    assert np.histogram(draws, 10, (0, 1))[0].min() > 0.9 * draws.size / 10
    between_rows = np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]
    assert abs(between_rows) < 5 / math.sqrt(len(draws))
    assert len(np.unique(draws)) == draws.size
