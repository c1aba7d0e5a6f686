"""Label noise where it is known: two normal distributions, some of either in the place of the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sot_filter.audit import FEWEST_ROWS, label_noise


def evidence(n: int, wrong: float, sign: int, rng: np.random.Generator) -> np.ndarray:
    """Evidence [n] of a reference of which a share is of the other kind; kinds are four spreads apart."""
    return sign * np.where(np.arange(n) < round(wrong * n), -2.0, 2.0) + rng.normal(size=n)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0.05, 0), (0, 0.1), (0.2, 0), (0.3, 0.1), (0.3, 0.3), (0.1, 0.4)])
def test_known_noise_is_found(a: float, b: float) -> None:
    inside, estimates = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = label_noise(evidence(800, a, 1, rng), evidence(600, b, -1, rng))
        for noise, share in zip(found, (a, b), strict=True):
            assert noise is not None
            assert 0 <= noise.low <= noise.share <= noise.high <= 1
            inside += noise.low <= share <= noise.high
        estimates.append([noise.share for noise in found if noise])
    np.testing.assert_allclose(np.mean(estimates, axis=0), (a, b), atol=0.03)
    assert inside / 80 > 0.85


def test_hard_rows_with_right_labels_are_no_noise() -> None:
    # A quarter of the safe rows lie half-way, as refusals do, and overlap with a tenth of the harmful ones.
    rng = np.random.default_rng(0)
    safe = np.concatenate([evidence(600, 0, 1, rng), 0.5 * rng.normal(size=200) - 0.3])
    harmful = np.concatenate([evidence(720, 0, -1, rng), 0.5 * rng.normal(size=80) - 0.3])
    for noise in label_noise(safe, harmful):
        assert noise is not None
        assert noise.low < 0.01
        assert noise.share < 0.02


@given(st.integers(0, 999), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([0.0, 0.2]))
@settings(max_examples=20, deadline=None)
def test_the_references_are_treated_alike(seed: int, a: float, b: float) -> None:
    rng = np.random.default_rng(seed)
    safe, harmful = evidence(100, a, 1, rng), evidence(150, b, -1, rng)
    in_safe, in_harmful = label_noise(safe, harmful)
    # Turned over, safe is harmful; and a change of the scale is none of the evidence.
    assert label_noise(-3 * harmful + 1, -3 * safe + 1) == (in_harmful, in_safe)


def test_references_that_nothing_tells_apart_are_half_and_half() -> None:
    for noise in label_noise(np.zeros(50), np.zeros(50)):
        assert noise is not None
        assert noise.share == 0.5
        assert noise.rows(50) == 25


def test_too_few_rows_say_nothing() -> None:
    assert label_noise(np.ones(FEWEST_ROWS - 1), -np.ones(900)) == (None, None)
