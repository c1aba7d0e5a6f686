"""The harmful share: near the truth for mixtures of known scores, none found where there is none."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from sot_filter.weighting import HarmCounts, HarmfulShare
from sot_filter.weighting import estimate_share as estimated

SAFE, HARMFUL = (5.0, 2.0), (-5.0, 2.0)


def estimate_share(
    score: NDArray[np.float64],
    own: NDArray[np.float64],
    safe: NDArray[np.float64],
    texts: NDArray[np.int64] | None = None,
    parts: int = 1,
) -> HarmfulShare:
    """Of rows at hand, counted in so many parts."""
    counts = HarmCounts(safe)
    sizes = np.empty(0, np.int64) if texts is None else np.unique(texts, return_counts=True)[1]
    for rows, known in zip(*(np.array_split(values, parts) for values in (np.arange(len(score)), sizes)), strict=True):
        counts.add(score[rows], own[rows], known)
    return estimated(counts, safe)


def draw(seed: int, n: int, where: tuple[float, float]) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(*where, n)


def exact(own: NDArray[np.float64], share: float, harm: tuple[float, float] = HARMFUL) -> NDArray[np.float64]:
    """Log-odds of safe, by Bayes, of rows from a mixture with this share of such harm."""
    ratio = norm.logpdf(own, *SAFE) - norm.logpdf(own, *harm)
    return ratio + np.log((1 - share) / share) if share else np.full_like(own, 9.0)


def mixture(
    seed: int, n: int, share: float, harm: tuple[float, float] = HARMFUL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of rows, by Bayes and the harmful reference at `HARMFUL`; and their own log-odds, of harm elsewhere."""
    harmful = round(share * n)
    own = np.concatenate([draw(seed, n - harmful, SAFE), draw(seed + 1, harmful, harm)])
    return exact(own, share), own


@pytest.mark.parametrize("share", [0.0, 0.005, 0.05, 0.1, 0.3, 0.6])
def test_it_is_near_where_the_references_are_like_the_rows(share: float) -> None:
    estimates, covered = [], 0
    for seed in range(0, 60, 3):
        score, own = mixture(seed, 3000, share)
        found = estimate_share(score, own, draw(seed + 2, 1000, SAFE))
        estimates.append(found.estimate)
        covered += found.low <= share <= found.high
        assert found.found == (share > 0.01)
        assert found.rows == 3000
    assert np.mean(estimates) == pytest.approx(share, abs=0.02)
    assert np.abs(np.asarray(estimates) - share).max() < 0.08
    assert covered >= 18


def test_harm_that_the_harmful_reference_does_not_know_is_counted_all_the_same() -> None:
    score, own = mixture(0, 3000, 0.2, (-0.5, 1.0))
    by_score = float((1 / (1 + np.exp(score))).mean())
    found = estimate_share(score, own, draw(2, 1000, SAFE))
    assert by_score < 0.14
    assert found.found
    assert found.estimate == pytest.approx(0.2, abs=0.03)


def test_no_harm_is_found_where_few_rows_look_harmful_however_unlike_the_safe_reference_they_are() -> None:
    own = draw(0, 2000, (2.0, 2.0))
    found = estimate_share(np.full(2000, 6.0), own, draw(1, 1000, SAFE))
    assert not found.found
    assert found.estimate < 0.01
    assert found.low == 0
    assert found.unlike_safe > 0.3


@pytest.mark.parametrize(("looks_harmful", "found"), [(0, False), (20, False), (21, True)])
def test_found_means_more_than_one_row_in_a_hundred(looks_harmful: int, found: bool) -> None:
    score = np.full(2000, 6.0)
    score[:looks_harmful] = -6.0
    share = estimate_share(score, draw(0, 2000, SAFE), draw(1, 500, SAFE))
    assert share.looks_harmful == looks_harmful
    assert share.found is found


def test_harmful_rows_in_the_safe_reference_make_it_too_low_but_not_lower_than_the_scores_say() -> None:
    score, own = mixture(0, 3000, 0.1)
    polluted = np.concatenate([draw(2, 900, SAFE), draw(3, 100, HARMFUL)])
    found = estimate_share(score, own, polluted)
    assert found.low == 0
    assert found.estimate == pytest.approx(0.1, abs=0.015)


def test_the_interval_covers_the_share_as_often_as_it_says() -> None:
    """Harm apart from all safe rows, and scores that tell but half of it."""
    missed = 0
    for seed in range(200):
        own = np.concatenate([draw(3 * seed, 900, SAFE), np.full(100, -50.0)])
        score = np.where(own < -40, -1e-3, 9.0)
        found = estimate_share(score, own, draw(3 * seed + 1, 400, SAFE))
        assert found.found
        missed += not found.low <= 0.1 <= found.high
    assert missed <= 10


def test_in_sets_without_harm_the_lower_end_is_seldom_above_zero() -> None:
    above = 0
    for seed in range(200):
        found = estimate_share(np.ones(1000), draw(2 * seed, 1000, SAFE), draw(2 * seed + 1, 400, SAFE))
        above += found.unlike_safe > 0
    assert above <= 10


@pytest.mark.parametrize("m", [1, 2, 5, 20])
def test_few_held_out_rows_widen_the_interval_and_break_nothing(m: int) -> None:
    score, own = mixture(0, 500, 0.2)
    found = estimate_share(score, own, draw(2, m, SAFE))
    many = estimate_share(score, own, draw(2, 2000, SAFE))
    assert found.low <= many.low
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_repeated_texts_are_less_evidence() -> None:
    score, own = mixture(0, 400, 0.2)
    safe = draw(2, 300, SAFE)
    once = estimate_share(score, own, safe, np.arange(400))
    again = estimate_share(*(np.repeat(x, 5) for x in (score, own)), safe, np.repeat(np.arange(400), 5))
    apart = estimate_share(*(np.repeat(x, 5) for x in (score, own)), safe)
    assert again.estimate == pytest.approx(once.estimate)
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    assert apart.low > once.low


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 60))
def test_order_says_nothing_and_ends_are_in_order(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    score, own, safe = rng.normal(size=n) * 5, rng.normal(size=n) * 5, rng.normal(size=m) * 5
    found = estimate_share(score, own, safe)
    order = rng.permutation(n)
    shuffled = estimate_share(score[order], own[order], rng.permutation(safe))
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(shuffled))
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert isinstance(found, HarmfulShare)
    # A strictly increasing change of the log-odds leaves the second estimate alone.
    assert estimate_share(score, np.arctan(own), np.arctan(safe)) == found


@pytest.mark.parametrize("parts", [2, 7, 400])
def test_it_is_the_same_however_the_rows_are_cut_into_parts(parts: int) -> None:
    score, own = mixture(0, 400, 0.2)
    safe, texts = draw(2, 300, SAFE), np.random.default_rng(0).integers(0, 90, 400)
    assert estimate_share(score, own, safe, texts, parts) == estimate_share(score, own, safe, texts)
