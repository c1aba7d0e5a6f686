"""What would have kept a row, against trying it out."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sot_filter.weighting import (
    keeping_push_strengths,
    least_retention,
    nearest_flip,
    rank_of,
    retention_ranks,
    select_rows,
)

#: Few values, so that ties are common; a multiple of 1/8 is exact in float32.
VALUES = st.lists(st.integers(-8, 8).map(lambda i: i / 8), min_size=1, max_size=30)


def positions_of(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Places in row order, some rows standing where the row before stands since they share its text."""
    places = np.arange(len(scores)) * 3
    for i in range(1, len(scores)):
        if scores[i] == scores[i - 1] and i % 3:
            places[i] = places[i - 1]
    return places


def retention_cuts(scores: NDArray[np.float32], positions: NDArray[np.int64]) -> dict[str, list[float] | list[int]]:
    """By one sort."""
    ends = np.lexsort((positions, -scores))[retention_ranks(len(scores)) - 1]
    return {"score": scores[ends].tolist(), "last": positions[ends].tolist()}


@given(VALUES)
def test_cuts_are_those_that_the_rule_finds(values: list[float]) -> None:
    scores = np.asarray(values, np.float32)
    positions = positions_of(scores)
    cuts = retention_cuts(scores, positions)
    assert json.loads(json.dumps(cuts)) == cuts
    for step in (1, 7, 100, 333, 500, 875, 999, 1000):
        cut = select_rows(scores, positions, retention=step / 1000)
        assert (cuts["score"][step - 1], cuts["last"][step - 1]) == (cut.score, cut.last)


@given(VALUES)
def test_a_row_is_kept_from_its_least_retention_on_and_not_before(values: list[float]) -> None:
    scores = np.asarray(values, np.float32)
    positions = positions_of(scores)
    least = least_retention(scores, positions, retention_cuts(scores, positions))
    assert (least > 0).all()
    assert (least <= 1).all()
    for row, share in enumerate(least):
        assert select_rows(scores, positions, retention=share).keeps(scores, positions)[row]
        if share > 0.0015:
            assert not select_rows(scores, positions, retention=share - 0.001).keeps(scores, positions)[row]


@given(VALUES)
def test_a_row_is_kept_exactly_by_as_many_rows_as_its_rank(values: list[float]) -> None:
    scores = np.asarray(values, np.float32)
    positions = positions_of(scores)
    for row in range(len(scores)):
        rank = rank_of(scores, positions, float(scores[row]), int(positions[row]))
        assert select_rows(scores, positions, top_k=rank).keeps(scores, positions)[row]
        if rank > 1:
            assert not select_rows(scores, positions, top_k=rank - 1).keeps(scores, positions)[row]


@pytest.mark.parametrize("seed", range(5))
def test_push_strengths_that_keep_a_row_against_trying_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, kept = 40, 12
    pull, push = rng.normal(size=(2, n)).astype(np.float32)
    pull[20:24], push[20:24] = pull[10:14], push[10:14]  # rows that are alike, and rows of one text
    positions = np.arange(n)
    positions[22:24] = positions[12:14]
    for row in range(n):
        intervals = keeping_push_strengths(pull, push, positions, row, kept)
        assert all(low < high for low, high in intervals)
        assert all(before[1] < after[0] for before, after in itertools.pairwise(intervals))
        for balance in np.linspace(0.0005, 0.9995, 500):
            score = balance * push.astype(float) - (1 - balance) * pull.astype(float)
            before = (score > score[row] + 1e-12) | (
                (np.abs(score - score[row]) <= 1e-12) & (positions < positions[row])
            )
            said = any(low <= balance <= high for low, high in intervals)
            assert said == (before.sum() < kept)


def test_push_strengths_of_a_row_that_is_always_or_never_kept() -> None:
    pull, push, positions = np.asarray([0.0, 1.0, 2.0]), np.asarray([2.0, 1.0, 0.0]), np.arange(3)
    assert keeping_push_strengths(pull, push, positions, 0, 1) == [(0.0, 1.0)]
    assert keeping_push_strengths(pull, push, positions, 2, 1) == []
    assert nearest_flip([(0.0, 1.0)], 0.5) is None
    assert nearest_flip([], 0.5) is None


def test_a_flip_by_hand() -> None:
    # Scores 3 λ - 1 and 1 - λ, equal at λ = 1/2.
    pull, push = np.asarray([1.0, -1.0]), np.asarray([2.0, 0.0])
    assert keeping_push_strengths(pull, push, np.arange(2), 0, 1) == [(0.5, 1.0)]
    assert keeping_push_strengths(pull, push, np.arange(2), 1, 1) == [(0.0, 0.5)]
    assert nearest_flip([(0.0, 0.2), (0.9, 1.0)], 0.5) == 0.2
