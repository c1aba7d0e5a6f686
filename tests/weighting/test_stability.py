"""Rows in replicates against a sort of each replicate by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.weighting import on_edge, replicate_cuts, select_rows, times_kept


def draw(rows: int, replicates: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A score, rounded so that ties are frequent, and noisy replicates of it."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=rows)
    noisy = score[:, None] + noise * rng.normal(size=(rows, replicates))
    return score.round(1).astype(np.float32), noisy.round(1).astype(np.float32)


@given(rows=st.integers(1, 40), kept=st.integers(0, 40), seed=st.integers(0, 9))
def test_a_replicate_keeps_the_first_of_its_best(rows: int, kept: int, seed: int) -> None:
    kept = max(min(kept, rows), 1)
    _, scores = draw(rows, 5, 1.0, seed)
    places = np.arange(rows)
    wanted = np.zeros(rows, int)
    for r in range(5):
        wanted[sorted(range(rows), key=lambda i, r=r: (-scores[i, r], i))[:kept]] += 1
    assert times_kept(scores, places, replicate_cuts(scores, places, kept)).tolist() == wanted.tolist()


def test_rows_of_one_text_share_the_number() -> None:
    _, scores = draw(30, 16, 1.0)
    places = np.arange(30)
    places[20:25] = 3
    scores[20:25] = scores[3]
    order = np.argsort(places, kind="stable")
    cuts = replicate_cuts(scores[order], places[order], 15)
    times = times_kept(scores, places, cuts)
    assert set(times[20:25]) == {times[3]}


def test_replicates_that_agree_leave_no_row_on_the_edge() -> None:
    score, _ = draw(100, 1, 0.0)
    scores, places = np.repeat(score[:, None], 16, 1), np.arange(100)
    kept = select_rows(score, places, top_k=70).keeps(score, places)
    times = times_kept(scores, places, replicate_cuts(scores, places, 70))
    assert times[kept].tolist() == [16] * 70
    assert times[~kept].tolist() == [0] * 30
    assert not on_edge(times, 16, kept).any()


def test_rows_near_the_cut_are_on_the_edge() -> None:
    score, scores = draw(400, 16, 0.2)
    places = np.arange(400)
    kept = select_rows(score, places, top_k=300).keeps(score, places)
    edge = on_edge(times_kept(scores, places, replicate_cuts(scores, places, 300)), 16, kept)
    distance = np.abs(score - score[kept].min())
    assert edge[distance < 0.1].mean() > 0.8
    assert edge[distance > 0.9].mean() == 0


@pytest.mark.parametrize(
    ("times", "kept", "edge"),
    [(16, True, False), (15, True, True), (0, True, True), (0, False, False), (1, False, True)],
)
def test_one_of_sixteen_is_enough_to_disagree(times: int, kept: bool, edge: bool) -> None:
    assert on_edge(np.asarray([times]), 16, np.asarray([kept])).tolist() == [edge]


def test_without_replicates_nothing_is_counted() -> None:
    assert times_kept(np.empty((3, 0), np.float32), np.arange(3), []).tolist() == [0, 0, 0]
