import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from sot_filter.transport.calibration import Calibration, calibrate


def draw(safe: int = 150, harmful: int = 90, apart: float = 1.5) -> tuple[Tensor, Tensor]:
    """Scores of the size of a cost and margins in nats, safe rows first; they go together a little."""
    side = torch.cat([torch.ones(safe), -torch.ones(harmful)]).double()
    common, *noise = torch.randn(3, safe + harmful).double()
    return 0.02 * (apart * side + common + noise[0]) + 0.1, 2 * (side + common + noise[1]) - 1


def weights(safe: int, harmful: int, counts: np.ndarray | None = None) -> np.ndarray:
    """Each reference is worth one half."""
    counts = np.ones(safe + harmful) if counts is None else counts
    return np.concatenate([part / part.sum() / 2 for part in (counts[:safe], counts[safe:])])


@pytest.mark.parametrize(("safe", "harmful"), [(150, 90), (5, 300), (40, 5)])
@pytest.mark.parametrize("counted", [False, True])
def test_the_fit_is_the_least_of_its_objective(safe: int, harmful: int, counted: bool) -> None:
    """Written down in the features' own units, and minimised by scipy."""
    score, margin = draw(safe, harmful)
    counts = torch.randint(1, 4, (safe + harmful,)) if counted else None
    found, losses = calibrate(score, margin, safe, counts)
    x, side = torch.stack([score, margin], 1).numpy(), np.repeat([1, -1], [safe, harmful])
    mass = weights(safe, harmful, None if counts is None else counts.numpy().astype(float))
    deviation = np.sqrt(mass @ (x - mass @ x) ** 2)

    def objective(at: np.ndarray) -> float:
        loss = np.logaddexp(0, -side * (x / deviation @ at[:2] + at[2]))
        return float(mass @ loss + (at[:2] ** 2).sum() / len(x) / 2)

    best = minimize(objective, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    assert min(best.x[:2]) > 0
    np.testing.assert_allclose([found.transport, found.direction], best.x[:2] / deviation, rtol=1e-5)
    assert found.offset == pytest.approx(best.x[2], abs=1e-5)
    expected = np.logaddexp(0, -side * found.log_odds(score, margin).numpy())
    np.testing.assert_allclose(losses.numpy(), expected, atol=1e-12)
    assert found.log_loss == pytest.approx(mass @ expected, abs=1e-12)
    assert found.standard_error == pytest.approx(math.sqrt(mass**2 @ (expected - mass @ expected) ** 2), abs=1e-12)
    assert found.tau == 1 / found.transport


def test_scikit_learn_finds_the_same_log_odds() -> None:
    score, margin = draw()
    found, _ = calibrate(score, margin, 150)
    x, mass = torch.stack([score, margin], 1).numpy(), weights(150, 90)
    x = (x - mass @ x) / np.sqrt(mass @ (x - mass @ x) ** 2)
    model = LogisticRegression(C=len(x), tol=1e-10, max_iter=1000)
    model.fit(x, np.repeat([1, -1], [150, 90]), sample_weight=mass)
    np.testing.assert_allclose(found.log_odds(score, margin).numpy(), model.decision_function(x), atol=1e-5)


def test_log_odds_of_two_normal_populations_are_those_of_bayes() -> None:
    """Scores N(±m, s²) have log-odds 2 m x / s², whatever the share of the two among the rows."""
    side = torch.cat([torch.ones(60_000), -torch.ones(20_000)]).double()
    score = 0.03 * side + 0.05 * torch.randn(80_000).double() + 0.2
    found, _ = calibrate(score, torch.zeros_like(score), 60_000)
    assert found.transport == pytest.approx(2 * 0.03 / 0.05**2, rel=0.03)
    assert found.offset == pytest.approx(-0.2 * 2 * 0.03 / 0.05**2, rel=0.03)


def test_units_and_origins_of_the_features_do_not_matter() -> None:
    score, margin = draw()
    found, losses = calibrate(score, margin, 150)
    other, same = calibrate(30 * score - 4, margin + 7, 150)
    assert other.transport == pytest.approx(found.transport / 30)
    assert other.direction == pytest.approx(found.direction)
    torch.testing.assert_close(same, losses)
    torch.testing.assert_close(other.log_odds(30 * score - 4, margin + 7), found.log_odds(score, margin))


def test_only_the_ratios_of_counts_within_a_reference_matter() -> None:
    score, margin = draw()
    counts = torch.randint(1, 4, (240,))
    found, losses = calibrate(score, margin, 150, counts)
    other, same = calibrate(score, margin, 150, torch.cat([7 * counts[:150], 3 * counts[150:]]))
    assert other.transport == pytest.approx(found.transport)
    torch.testing.assert_close(same, losses)
    once, _ = calibrate(score, margin, 150)
    assert calibrate(score, margin, 150, torch.full((240,), 2))[0] == once


def test_margins_of_zero_leave_the_direction_out() -> None:
    score, _ = draw()
    found, _ = calibrate(score, torch.zeros_like(score), 150)
    assert found.direction == 0
    mass = weights(150, 90)
    deviation = math.sqrt(mass @ (score.numpy() - mass @ score.numpy()) ** 2)
    model = LogisticRegression(C=240, tol=1e-10).fit(
        score.numpy()[:, None] / deviation, np.repeat([1, -1], [150, 90]), sample_weight=mass
    )
    assert found.transport == pytest.approx(model.coef_[0, 0] / deviation, rel=1e-5)


def test_a_feature_that_speaks_against_itself_is_left_out() -> None:
    score, margin = draw()
    nothing = torch.zeros_like(margin)
    against, _ = calibrate(score, -margin, 150)
    alone, _ = calibrate(score, nothing, 150)
    assert against.direction == 0
    assert against.transport == pytest.approx(alone.transport)
    reversed_, _ = calibrate(-score, margin, 150)
    assert reversed_.transport == pytest.approx(1e-3), "τ stays finite"
    assert reversed_.direction > 0
    both, losses = calibrate(-score, -margin, 150)
    assert (both.transport, both.direction) == (pytest.approx(1e-3), 0)
    assert both.log_loss == pytest.approx(math.log(2), abs=1e-3)
    assert losses.isfinite().all()


def test_a_feature_that_is_good_only_beside_one_left_out_goes_with_it() -> None:
    """The score points the wrong way but for what the margin, itself pointing the wrong way, explains of it."""
    side = torch.cat([torch.ones(200), -torch.ones(200)]).double()
    common, noise = torch.rand(400).double().log().neg(), torch.randn(400).double()
    margin = 3 * common - 2 * side
    score = 3 * common - side + 0.3 * noise
    found, losses = calibrate(score, margin, 200)
    assert found.direction == 0
    assert found.transport == pytest.approx(1e-3)
    expected = torch.nn.functional.softplus(-side * found.log_odds(score, margin))
    torch.testing.assert_close(losses, expected)
    assert found.log_loss == pytest.approx(math.log(2), abs=1e-2), "no worse than knowing nothing"
    assert weights(200, 200) @ found.log_odds(score, margin).numpy() == pytest.approx(0, abs=1e-6), "nor lopsided"


@pytest.mark.parametrize("rows", [5, 500])
def test_separable_references_stay_finite_and_more_rows_say_more(rows: int) -> None:
    side = torch.cat([torch.ones(rows), -torch.ones(rows)]).double()
    found, losses = calibrate(0.1 * side + 0.01 * torch.randn(2 * rows), 5 * side, rows)
    reach = float(found.log_odds(torch.tensor(0.1), torch.tensor(5.0)))
    assert (2 if rows == 5 else 5) < reach < 20
    assert losses.isfinite().all()
    assert 0 < found.log_loss < 0.2


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-8])
def test_scores_of_the_size_of_their_rounding_leave_chance(size: float) -> None:
    """Even where they happen to separate the references."""
    side = torch.cat([torch.ones(500), -torch.ones(500)]).double()
    for score in (torch.full((1000,), 0.3), 0.3 + size * torch.randn(1000).double(), 0.3 + size * side):
        found, losses = calibrate(score, torch.zeros(1000), 500)
        assert 1e-6 < found.tau < 1e6, "what a problem takes"
        assert found.log_odds(score, torch.zeros(1000)).abs().max() < 0.01
        torch.testing.assert_close(losses, torch.full_like(losses, math.log(2)), atol=0.01, rtol=0)


def test_extreme_margins_do_not_overflow() -> None:
    score, margin = draw()
    found, losses = calibrate(score, 1e3 * margin, 150)
    assert isinstance(found, Calibration)
    assert losses.isfinite().all()
    assert found.direction == pytest.approx(calibrate(score, margin, 150)[0].direction / 1e3)
