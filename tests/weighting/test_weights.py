"""Weights: mean one over the kept rows, zero elsewhere; of scores with a temperature, or of log-odds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from sot_filter.weighting import WeightSums, log_weights, weights

scores = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40).map(np.float32)
temperatures = st.floats(0.005, 10)


def sums(logs: np.ndarray, parts: int = 1) -> WeightSums:
    made = WeightSums(float(logs.max()))
    for part in np.array_split(logs, parts):
        made.add(part)
    return made


def log_normaliser(logs: np.ndarray) -> float:
    return sums(logs).log_normaliser


def effective_sample_size(logs: np.ndarray) -> float:
    return sums(logs).effective_sample_size


def weighed(values: np.ndarray, keep: np.ndarray, temperature: float | None) -> np.ndarray:
    logs = log_weights(values, temperature)
    return weights(logs, keep, log_normaliser(logs[keep]))


@given(values=st.lists(st.floats(-99, 99, width=32), min_size=1, max_size=40).map(np.float32), data=st.data())
def test_weights_of_log_odds_are_the_odds_of_being_kept(values: np.ndarray, data: st.DataObject) -> None:
    keep = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    keep[data.draw(st.integers(0, len(values) - 1))] = True
    found, share = weighed(values, keep, None), expit(values.astype(np.float64))
    assert found.dtype == np.float32
    assert not found[~keep].any()
    np.testing.assert_allclose(found[keep], share[keep] / share[keep].mean(), rtol=1e-6, atol=1e-30)


def test_no_row_counts_more_than_one_that_is_certain_to_be_kept() -> None:
    found = weighed(np.float32([99, 20, 3, 0, -3]), np.ones(5, bool), None)
    assert found[0] == pytest.approx(found[1])
    assert found[2:] / found[0] == pytest.approx(expit([3, 0, -3]))
    np.testing.assert_allclose(weighed(np.float32([40, 60, 99]), np.ones(3, bool), None), 1)


def test_far_below_even_odds_are_exponentials() -> None:
    values = np.float32([-60, -61, -63])
    np.testing.assert_allclose(
        weighed(values, np.ones(3, bool), None), weighed(values, np.ones(3, bool), 1.0), rtol=1e-6
    )


@given(values=scores, temperature=temperatures, data=st.data())
def test_weights_are_a_softmax_over_the_kept_rows_with_mean_one(
    values: np.ndarray, temperature: float, data: st.DataObject
) -> None:
    keep = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    keep[data.draw(st.integers(0, len(values) - 1))] = True
    found = weighed(values, keep, temperature)
    assert found.dtype == np.float32
    assert not found[~keep].any()
    np.testing.assert_allclose(found[keep].mean(), 1, rtol=1e-5)
    expected = softmax(values[keep].astype(np.float64) / temperature) * keep.sum()
    np.testing.assert_allclose(found[keep], expected, rtol=1e-6, atol=1e-30)


@given(values=scores, shift=st.sampled_from([-64.0, -0.5, 1.0, 256.0]), temperature=st.floats(0.05, 10))
def test_a_shift_of_all_scores_changes_no_weight(values: np.ndarray, shift: float, temperature: float) -> None:
    keep = np.ones(len(values), bool)
    values = (values * 64).round() / 64  # exact under the shift in float32
    np.testing.assert_allclose(
        weighed(values + np.float32(shift), keep, temperature), weighed(values, keep, temperature), rtol=1e-5
    )


def test_weights_rise_with_the_score_and_flatten_with_the_temperature() -> None:
    values, keep = np.float32([0.3, -0.1, 0.2]), np.ones(3, bool)
    sharp, flat = weighed(values, keep, 0.02), weighed(values, keep, 100.0)
    assert np.array_equal(np.argsort(sharp), np.argsort(values))
    np.testing.assert_allclose(flat, 1, atol=0.01)
    assert sharp.max() > 2.9


def test_weights_of_a_part_need_nothing_but_the_normaliser() -> None:
    values, keep = np.float32(np.linspace(-1, 1, 20)), np.arange(20) > 4
    for temperature in (0.1, None):
        logs = log_weights(values, temperature)
        number = log_normaliser(logs[keep])
        parts = [
            weights(log_weights(values[i : i + 7], temperature), keep[i : i + 7], number) for i in range(0, 20, 7)
        ]
        assert np.array_equal(np.concatenate(parts), weighed(values, keep, temperature))


def test_extreme_scores_do_not_overflow() -> None:
    values = np.float32([-2e4, 0, 2e4])
    found = weighed(values, np.ones(3, bool), 0.01)
    np.testing.assert_allclose(found, [0, 0, 3], rtol=1e-6)
    np.testing.assert_allclose(weighed(values, np.ones(3, bool), None), [0, 1, 2], rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 17])
def test_equal_scores_are_worth_their_number(n: int) -> None:
    assert effective_sample_size(np.full(n, 0.3 / 0.02)) == pytest.approx(n)


def test_the_effective_size_in_closed_form() -> None:
    # Weights e^a and 1: (1 + e^a)² / (1 + e^2a).
    for a in (0.0, 0.5, 3.0):
        expected = (1 + math.exp(a)) ** 2 / (1 + math.exp(2 * a))
        assert effective_sample_size(np.asarray([a, 0])) == pytest.approx(expected, rel=1e-6)
    # A geometric series with ratio q: (1 - q^n)(1 + q) / ((1 + q^n)(1 - q)).
    q, n = 0.8, 12
    geometric = np.arange(n) * math.log(q)
    expected = (1 - q**n) * (1 + q) / ((1 + q**n) * (1 - q))
    assert effective_sample_size(geometric) == pytest.approx(expected, rel=1e-6)


@given(values=scores, temperature=temperatures)
def test_the_effective_size_is_between_one_and_the_number_of_rows(values: np.ndarray, temperature: float) -> None:
    size = effective_sample_size(log_weights(values, temperature))
    assert 1 - 1e-9 <= size <= len(values) + 1e-9
    w = weighed(values, np.ones(len(values), bool), temperature).astype(np.float64)
    assert size == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-4)


@given(values=scores, temperature=temperatures, parts=st.integers(1, 9))
def test_sums_do_not_depend_on_the_parts_nor_much_on_where_they_start(
    values: np.ndarray, temperature: float, parts: int
) -> None:
    logs = log_weights(values, temperature)
    one, many = sums(logs), sums(logs[::-1], parts)
    assert (one.log_normaliser, one.effective_sample_size) == (many.log_normaliser, many.effective_sample_size)
    higher = WeightSums(float(logs.max()) + 2)
    higher.add(logs)
    assert higher.log_normaliser == pytest.approx(one.log_normaliser, rel=1e-12, abs=1e-12)
    assert higher.effective_sample_size == pytest.approx(one.effective_sample_size, rel=1e-12)
