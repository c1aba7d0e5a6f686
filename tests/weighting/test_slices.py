"""Slices: alarms against simulation and a published interval, minimum cuts against brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.weighting import judge_slices, length_bucket, rows_to_keep, select_rows
from sot_filter.weighting.slices import FEWEST_ROWS, MARGIN, loses_more


@pytest.mark.parametrize(
    ("characters", "bucket"),
    [
        (0, "0 to 99 characters"),
        (99, "0 to 99 characters"),
        (100, "100 to 499 characters"),
        (1_999, "500 to 1,999 characters"),
        (2_000, "2,000 to 9,999 characters"),
        (10_000, "10,000 characters or more"),
        (10**9, "10,000 characters or more"),
    ],
)
def test_buckets_of_length(characters: int, bucket: str) -> None:
    assert length_bucket(characters) == bucket


def test_the_interval_is_newcombes() -> None:
    # Newcombe 1998, table II, method 10, contrast (a): 56/70 - 48/80 is in (0.0524, 0.3339) at 95 %.
    z = 1.959964
    assert not loses_more(48, 80, 56, 70, z), "the interval begins at 0.05, short of the margin"
    # The same contrast with the rows of eight such samples: (0.1490, 0.2498).
    assert loses_more(384, 640, 448, 560, z)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_false_alarm_is_rare_and_a_real_loss_is_found(share: float) -> None:
    rng, alarms, found = np.random.default_rng(0), 0, 0
    for _ in range(300):
        rows = rng.multinomial(2000, [0.6, 0.2, 0.1, 0.05, 0.05])
        fair = rng.binomial(rows, share)
        alarms += any(one.alarm for one in judged(rows, fair))
        unfair = fair.copy()
        unfair[3] = rng.binomial(rows[3], share - 0.29)
        found += next(one.alarm for one in judged(rows, unfair) if one.value == "3")
    assert alarms <= 0.05 * 300
    assert found > 0.3 * 300


def judged(rows: np.ndarray, kept: np.ndarray) -> list:
    return judge_slices({"f": {str(i): (int(n), int(k)) for i, (n, k) in enumerate(zip(rows, kept, strict=True))}})


def test_a_slice_that_is_most_of_the_rows_can_be_the_one_that_loses() -> None:
    alarms = {one.value: one.alarm for one in judge_slices({"f": {"big": (900, 450), "small": (100, 99)}})}
    assert alarms == {"big": True, "small": False}


def test_small_and_only_slices_raise_no_alarm() -> None:
    assert not any(one.alarm for one in judge_slices({"f": {"a": (1000, 900), "b": (FEWEST_ROWS - 1, 0)}}))
    assert not any(one.alarm for one in judge_slices({"f": {"a": (1000, 1)}, "g": {}}))
    assert judge_slices({"f": {"a": (1000, 900), "b": (FEWEST_ROWS, 0)}})[1].alarm


def test_a_loss_within_the_margin_is_no_alarm_however_many_rows_there_are() -> None:
    n = 10**7
    below = math.floor(n * (0.8 - MARGIN * 0.98))
    assert not any(one.alarm for one in judge_slices({"f": {"a": (n, below), "b": (n, int(0.8 * n))}}))
    below = math.floor(n * (0.8 - MARGIN * 1.02))
    assert [one.alarm for one in judge_slices({"f": {"a": (n, below), "b": (n, int(0.8 * n))}})] == [True, False]


def test_slices_come_largest_first_whatever_their_order() -> None:
    counts = {"a": (50, 5), "b": (70, 60), "c": (50, 40)}
    forth, back = judge_slices({"f": counts}), judge_slices({"f": dict(reversed(counts.items()))})
    assert forth == back
    assert [one.value for one in forth] == ["b", "a", "c"]


@given(
    st.integers(FEWEST_ROWS, 120),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    st.integers(1, 20),
)
def test_every_slice_keeps_its_best_rows_and_no_more_than_it_must(
    n: int, seed: int, minimum: float, kept: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, n).astype(np.float32)
    values, positions = rng.choice(["a", "b"], n, p=[0.8, 0.2]).astype(object), np.arange(n)
    cut = select_rows(scores, positions, top_k=kept)
    for value in "ab":
        mine = values == value
        above = after = cut.keeps(scores[mine], positions[mine])
        own = rows_to_keep(int(mine.sum()), int(above.sum()), minimum)
        if own is not None:
            after = above | select_rows(scores[mine], positions[mine], top_k=own).keeps(scores[mine], positions[mine])
        wanted = math.ceil(minimum * mine.sum() - 1e-9) if mine.sum() >= FEWEST_ROWS else 0
        assert after.sum() == max(above.sum(), wanted)
        best = np.lexsort((positions[mine], -scores[mine]))[: after.sum()]
        assert set(np.flatnonzero(after)) == set(best)


def test_a_slice_that_keeps_enough_has_no_cut_of_its_own() -> None:
    assert rows_to_keep(100, 50, 0.5) is None
    assert rows_to_keep(100, 49, 0.5) == 50


def test_a_slice_of_few_rows_has_no_minimum() -> None:
    assert rows_to_keep(FEWEST_ROWS, 0, 0.1) == 3
    assert rows_to_keep(FEWEST_ROWS - 1, 0, 0.1) is None
