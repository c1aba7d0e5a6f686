"""How many rows to drop: by the estimated share, by a goal, within a limit."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sot_filter.weighting import Canaries, DropCount, HarmCounts, HarmfulShare, RowsBelow, estimate_share
from sot_filter.weighting import count_to_drop as counted_to_drop


def share(looks_harmful: int, high: float, rows: int = 1000) -> HarmfulShare:
    return HarmfulShare(looks_harmful / rows, 0.0, high, 0.0, looks_harmful, rows)


def below(own: NDArray[np.float64], canaries: Canaries) -> RowsBelow:
    made = RowsBelow(canaries.every)
    made.add(own)
    return made


def count_to_drop(share: HarmfulShare, own: NDArray[np.float64], canaries: Canaries, **goals: float) -> DropCount:
    return counted_to_drop(share, below(own, canaries), canaries, **goals)


def estimated(score: NDArray[np.float64], own: NDArray[np.float64], canaries: Canaries) -> HarmfulShare:
    counts = HarmCounts(canaries.every)
    counts.add(score, own, np.empty(0, np.int64))
    return estimate_share(counts, canaries.safe)


def normal(seed: int, n: int, mean: float) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(mean, 2, n)


NONE = Canaries(np.zeros(0), np.zeros(0))


@pytest.mark.parametrize(
    ("looks_harmful", "high", "dropped"),
    [
        (0, 0.2, 0),  # nothing looks harmful: nothing is dropped, whatever the interval says
        (10, 0.2, 10),  # no more than may in a set without harm: these alone
        (11, 0.02, 20),  # found: the upper end
        (60, 0.0701, 71),  # rounded up
        (60, 0.01, 60),  # never fewer than look harmful
        (20, 0.9, 80),  # nor more than four times as many
        (900, 1.0, 1000),
    ],
)
def test_without_a_goal_it_is_the_upper_end_of_the_share(looks_harmful: int, high: float, dropped: int) -> None:
    assert count_to_drop(share(looks_harmful, high), np.zeros(1000), NONE).rows == dropped


@pytest.mark.parametrize("goal", [0.01, 0.05, 0.2])
def test_further_rows_like_the_harmful_canaries_are_kept_no_more_often_than_the_goal_says(goal: float) -> None:
    own, kept = normal(0, 4000, 4), []
    for seed in range(40):
        canaries = Canaries(normal(3 * seed + 1, 300, 4), normal(3 * seed + 2, 300, -2))
        found = count_to_drop(share(0, 0.0, 4000), own, canaries, harmful_kept=goal)
        assert found.missed == ()
        lowest_kept = np.sort(own)[found.rows]
        kept.append((normal(3 * seed + 3, 4000, -2) >= lowest_kept).mean())
    assert goal - 0.3 * goal < np.mean(kept) <= goal + 0.05 * goal


def test_a_limit_on_safe_rows_holds_for_further_safe_rows() -> None:
    lost = []
    for seed in range(40):
        canaries = Canaries(normal(3 * seed + 1, 300, 4), normal(3 * seed + 2, 300, -2))
        own = np.concatenate([normal(3 * seed + 3, 3000, 4), normal(3 * seed + 4, 1000, -2)])
        found = count_to_drop(share(1000, 0.9, 4000), own, canaries, safe_lost=0.02)
        lost.append((normal(3 * seed + 5, 4000, 4) < np.sort(own)[found.rows]).mean())
        assert found.missed == ()
    assert np.mean(lost) <= 0.021
    assert count_to_drop(share(30, 0.03, 4000), own, canaries, safe_lost=0.02).rows == 30, "a limit, not a wish"


def test_a_goal_that_the_limit_forbids_is_missed_and_said() -> None:
    own = normal(0, 1000, 1)
    canaries = Canaries(normal(1, 300, 1), normal(2, 300, -1))
    found = count_to_drop(share(100, 0.1), own, canaries, harmful_kept=0.01, safe_lost=0.02)
    assert found.missed == ("harmful_kept",)
    assert found == count_to_drop(share(1000, 1.0), own, canaries, harmful_kept=0.01, safe_lost=0.02)
    assert canaries.rates(below(own, canaries), found.rows)["safe_lost"] <= 0.03
    assert canaries.rates(below(own, canaries), found.rows)["harmful_kept"] > 0.5


def test_too_few_canaries_for_a_goal_are_said() -> None:
    own = np.arange(100.0)
    canaries = Canaries(np.arange(50.0, 60.0), np.arange(0.0, 10.0))
    found = count_to_drop(share(5, 0.05, 100), own, canaries, harmful_kept=0.01)
    assert found.missed == ("harmful_kept",)
    assert found.rows == 10, "all that score no more than the best harmful canary"
    found = count_to_drop(share(5, 0.05, 100), own, canaries, safe_lost=0.01)
    assert found.missed == ("safe_lost",)
    assert found.rows == 0


def test_goals_that_ask_for_nothing_and_for_everything() -> None:
    own, canaries = normal(0, 100, 0), Canaries(normal(1, 100, 0), normal(2, 100, 0))
    assert count_to_drop(share(50, 0.5, 100), own, canaries, harmful_kept=1.0).rows == 0
    assert count_to_drop(share(50, 0.5, 100), own, canaries, safe_lost=1.0).rows == 50
    none = count_to_drop(share(50, 0.5, 100), own, canaries, safe_lost=0.0)
    assert (none.rows, none.missed) == (0, ())


def test_rates_are_those_of_the_lowest_rows() -> None:
    own, canaries = np.arange(10.0), Canaries(np.asarray([2.0, 5, 8, 11]), np.asarray([-1.0, 1, 2, 4]))
    assert canaries.rates(below(own, canaries), 0) == {"harmful_kept": 1.0, "safe_lost": 0.0}
    assert canaries.rates(below(own, canaries), 3) == {"harmful_kept": 0.25, "safe_lost": 0.25}
    assert canaries.rates(below(own, canaries), 10) == {"harmful_kept": 0.0, "safe_lost": 0.75}


@pytest.mark.parametrize("harm", [-2.0, 0.0])
def test_a_set_without_harm_loses_less_than_one_in_a_hundred_and_one_with_harm_little_more(harm: float) -> None:
    canaries = Canaries(normal(1, 800, 5), normal(2, 800, -5))
    clean = normal(3, 2000, 5)
    found = count_to_drop(estimated(clean, clean, canaries), clean, canaries)
    assert found.rows <= 20
    own = np.concatenate([clean, normal(4, 300, harm)])
    score = own - 1.0
    dropped = np.argsort(score)[: count_to_drop(estimated(score, own, canaries), own, canaries).rows]
    assert (dropped >= 2000).sum() > 200
    assert (dropped < 2000).sum() < 200
