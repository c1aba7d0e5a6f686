"""The weighted loss against sums written out in float64, and the equalities that make it a weighted loss."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.errors import ConfigError, SourceError
from sot_filter.training.loss import REDUCTIONS, check_weights, mass, weighted_loss

each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def a_batch(seed: int = 0, rows: int = 5, tokens: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probabilities, mask and weights; the last row has no token to predict."""
    random = torch.Generator().manual_seed(seed)
    log_probs = -torch.rand(rows, tokens, generator=random, dtype=torch.float64) * 5
    mask = torch.rand(rows, tokens, generator=random) < 0.6
    mask[:, 0], mask[-1] = True, False
    return log_probs, mask, torch.rand(rows, generator=random, dtype=torch.float64) * 3


def written_out(log_probs: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor, reduction: str) -> float:
    above = below = 0.0
    for row, predicted, weight in zip(log_probs.tolist(), mask.tolist(), weights.tolist(), strict=True):
        losses = [-value for value, counts in zip(row, predicted, strict=True) if counts]
        if losses and reduction == "sample_mean":
            above, below = above + weight * sum(losses) / len(losses), below + weight
        elif losses:
            above, below = above + weight * sum(losses), below + weight * len(losses)
    return above / below


@each_reduction
@given(seed=st.integers(0, 10_000))
def test_it_is_the_sum_written_out(reduction: str, seed: int) -> None:
    batch = a_batch(seed)
    assert float(weighted_loss(*batch, reduction)) == pytest.approx(written_out(*batch, reduction), rel=1e-12)


@each_reduction
def test_the_gradient_is_the_derivative(reduction: str) -> None:
    log_probs, mask, weights = a_batch()
    assert torch.autograd.gradcheck(lambda x: weighted_loss(x, mask, weights, reduction), log_probs.requires_grad_())


@each_reduction
def test_a_common_factor_of_the_weights_changes_nothing(reduction: str) -> None:
    log_probs, mask, weights = a_batch()
    once, twice = (weighted_loss(log_probs, mask, factor * weights, reduction) for factor in (1.0, 1024.0))
    assert float(once) == float(twice)


@each_reduction
def test_a_weight_of_zero_is_the_row_left_out(reduction: str) -> None:
    log_probs, mask, weights = a_batch()
    weights[1] = 0
    kept = torch.arange(5) != 1
    without = weighted_loss(log_probs[kept], mask[kept], weights[kept], reduction)
    assert float(weighted_loss(log_probs, mask, weights, reduction)) == pytest.approx(float(without), rel=1e-14)


@each_reduction
def test_a_weight_of_two_is_the_row_twice(reduction: str) -> None:
    log_probs, mask, weights = a_batch()
    weights[:] = 1
    twice = torch.tensor([0, 1, 1, 2, 3, 4])
    doubled = weights.clone()
    doubled[1] = 2
    repeated = weighted_loss(log_probs[twice], mask[twice], weights[twice], reduction)
    assert float(weighted_loss(log_probs, mask, doubled, reduction)) == pytest.approx(float(repeated), rel=1e-14)


@each_reduction
def test_micro_batches_over_the_step_s_mass_add_up_to_the_whole(reduction: str) -> None:
    log_probs, mask, weights = a_batch(rows=6)
    parts = [slice(0, 1), slice(1, 4), slice(4, 6)]
    whole = sum(mass(mask[part], weights[part], reduction) for part in parts)
    assert isinstance(whole, torch.Tensor)
    summed = sum(float(weighted_loss(log_probs[p], mask[p], weights[p], reduction, whole)) for p in parts)
    assert summed == pytest.approx(float(weighted_loss(log_probs, mask, weights, reduction)), rel=1e-14)
    apart = sum(float(weighted_loss(log_probs[p], mask[p], weights[p], reduction)) for p in parts) / len(parts)
    assert abs(apart - summed) > 1e-3  # what normalising each micro-batch by itself would give


def test_long_rows_outweigh_short_ones_by_token_only() -> None:
    log_probs = torch.tensor([[-1.0, 0, 0, 0], [-3.0, -3, -3, -3]])
    mask = torch.tensor([[True, False, False, False], [True] * 4])
    assert float(weighted_loss(log_probs, mask, torch.ones(2), "sample_mean")) == 2
    assert float(weighted_loss(log_probs, mask, torch.ones(2), "token")) == pytest.approx(13 / 5)


@each_reduction
def test_a_step_without_weight_is_zero_and_so_are_its_gradients(reduction: str) -> None:
    log_probs, mask, weights = a_batch()
    loss = weighted_loss(log_probs.requires_grad_(), mask, 0 * weights, reduction)
    loss.backward()
    assert float(loss.detach()) == 0
    assert log_probs.grad is not None
    assert not log_probs.grad.any()


@each_reduction
def test_what_is_masked_is_not_read(reduction: str) -> None:
    log_probs, mask, weights = a_batch()
    spoilt = log_probs.masked_fill(~mask, -math.inf)
    assert float(weighted_loss(spoilt, mask, weights, reduction)) == float(
        weighted_loss(log_probs, mask, weights, reduction)
    )


@each_reduction
def test_half_precision_is_summed_in_single(reduction: str) -> None:
    log_probs, mask, weights = a_batch(rows=64, tokens=300)
    single = weighted_loss(log_probs.bfloat16(), mask, weights, reduction)
    assert single.dtype == torch.float32
    exact = weighted_loss(log_probs.bfloat16().double(), mask, weights, reduction)
    assert float(single) == pytest.approx(float(exact), rel=1e-6)


def test_rows_without_their_weights_are_refused() -> None:
    log_probs, mask, weights = a_batch()
    with pytest.raises(SourceError, match="a weight for each of 5 rows"):
        weighted_loss(log_probs, mask, weights[:1])
    with pytest.raises(SourceError, match="a weight for each of 5 rows"):
        mass(mask, weights[:1])


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ConfigError, match="sample_mean, token"):
        weighted_loss(*a_batch(), "mean")


@pytest.mark.parametrize("bad", [None, -0.5, math.nan, math.inf, "heavy"])
def test_a_bad_weight_is_named_with_its_row(bad: float | None) -> None:
    with pytest.raises(SourceError, match=r"'w'.* in row 2"):
        check_weights([1.0, 0.0, bad], "w")


@pytest.mark.parametrize("weights", [[], [0.0, 0.0]])
def test_weights_that_leave_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(SourceError, match="above 0"):
        check_weights(weights, "w")


def test_good_weights_are_summed() -> None:
    assert check_weights([0.5, 0.0, 2], "w") == 2.5
