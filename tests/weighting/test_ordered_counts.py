"""Ranks in passes: the same rows as one sort of them all, in parts of any size, with ties, copies and groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.weighting import ordered_counts
from sot_filter.weighting.ordered_counts import OrderedCounts, Ranked


def found(
    scores: np.ndarray,
    places: np.ndarray,
    ranks: np.ndarray,
    parts: int = 1,
    groups: np.ndarray | None = None,
    of: np.ndarray | None = None,
    marked: np.ndarray | None = None,
) -> Ranked:
    made = OrderedCounts(int(places.max()) + 1, 1 if groups is None else int(groups.max()) + 1)
    cuts = np.array_split(np.arange(len(scores)), parts)

    def go() -> None:
        for rows in cuts:
            made.add(
                scores[rows],
                places[rows],
                None if groups is None else groups[rows],
                None if marked is None else marked[rows],
            )

    go()
    made.want(ranks, of)
    while made.open:
        go()
        made.turn()
    return made.found


def by_sorting(scores: np.ndarray, places: np.ndarray, ranks: np.ndarray, marked: np.ndarray) -> Ranked:
    order = np.lexsort((places, -scores))
    ends = order[ranks - 1]
    upto = [(scores > scores[i]) | ((scores == scores[i]) & (places <= places[i])) for i in ends]
    return Ranked(
        scores[ends], places[ends], np.asarray([u.sum() for u in upto]), np.asarray([u[marked].sum() for u in upto])
    )


def same(one: Ranked, other: Ranked) -> None:
    for mine, wanted in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, wanted)


@pytest.mark.parametrize("most_sorted", [0, 10, 1 << 18])
@pytest.mark.parametrize("parts", [1, 3, 50])
def test_the_rows_are_those_of_one_sort(monkeypatch: pytest.MonkeyPatch, most_sorted: int, parts: int) -> None:
    monkeypatch.setattr(ordered_counts, "_SORTED", most_sorted)
    rng = np.random.default_rng(parts)
    for draw in (
        rng.normal(size=900),
        rng.integers(-3, 3, 900) / 2,
        np.full(900, -99.0),
        rng.normal(size=900) * 1e-38,
    ):
        scores = draw.astype(np.float32)
        places = np.where(rng.random(900) < 0.4, rng.integers(0, 40, 900), np.arange(900))
        marked = rng.random(900) < 0.3
        ranks = rng.integers(1, 901, 30)
        same(found(scores, places, ranks, parts, marked=marked), by_sorting(scores, places, ranks, marked))


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30).map(np.float32),
    st.data(),
)
def test_any_float32_has_its_rank(scores: np.ndarray, data: st.DataObject) -> None:
    places = np.asarray(data.draw(st.lists(st.integers(0, 9), min_size=len(scores), max_size=len(scores))))
    ranks = np.arange(1, len(scores) + 1)
    same(found(scores, places, ranks), by_sorting(scores, places, ranks, np.zeros(len(scores), bool)))


def test_infinite_scores_are_the_ends() -> None:
    scores = np.float32([0, -np.inf, np.inf, 3e38])
    assert found(scores, np.arange(4), np.arange(1, 5)).score.tolist() == [np.inf, np.float32(3e38), 0, -np.inf]


@pytest.mark.parametrize("most_sorted", [0, 1 << 18])
@pytest.mark.parametrize("cells", [1 << 21, 1 << 8])
def test_groups_are_ranked_each_by_itself(monkeypatch: pytest.MonkeyPatch, most_sorted: int, cells: int) -> None:
    monkeypatch.setattr(ordered_counts, "_SORTED", most_sorted)
    monkeypatch.setattr(ordered_counts, "_CELLS", cells)
    rng = np.random.default_rng(0)
    scores, places = rng.integers(-40, 40, 2000).astype(np.float32) / 8, np.arange(2000)
    groups, marked = rng.integers(0, 90, 2000), rng.random(2000) < 0.5
    of = np.asarray([3, 88, 3, 0, 41])
    ranks = np.asarray([1, 2, 7, 5, (groups == 41).sum()])
    every = found(scores, places, ranks, 4, groups, of, marked)
    for i, group in enumerate(of):
        mine = groups == group
        wanted = by_sorting(scores[mine], places[mine], ranks[[i]], marked[mine])
        same(Ranked(*(field[[i]] for field in every)), wanted)


def test_rows_are_counted_before_ranks_are_wanted() -> None:
    made = OrderedCounts(10, 3)
    made.add(np.float32([1, 2, 3]), np.arange(3), np.asarray([0, 2, 2]))
    made.add(np.float32([1]), np.arange(1), np.asarray([2]))
    assert made.rows.tolist() == [1, 0, 3]


def test_two_passes_do_for_scores_that_differ() -> None:
    scores, passes = np.random.default_rng(0).normal(size=200_000).astype(np.float32), 1
    made = OrderedCounts(len(scores))
    made.add(scores, np.arange(len(scores)))
    made.want(np.asarray([1, 1000, 150_000]))
    while made.open:
        made.add(scores, np.arange(len(scores)))
        made.turn()
        passes += 1
    assert passes == 2
    assert made.found.score.tolist() == np.sort(scores)[::-1][[0, 999, 149_999]].tolist()
