"""The weighted loss of supervised fine-tuning, as a function of per-token log-probabilities.

With rows i, weights w_i, and the n_i completion tokens of a row that are predicted (their labels are not masked):

- ``sample_mean``: sum_i w_i L_i / sum_i w_i with L_i = mean over the row's tokens of -log p. The weighted risk of the
  Safety Optimal Transport paper: a row counts by its weight, however long its completion.
- ``token``: sum_i w_i sum_t -log p / sum_i w_i n_i. The weighted form of TRL's loss, and that loss
  to the bit where all weights are 1.

Both are invariant to a common factor of the weights; a weight of 0 is the row's absence, a weight of 2 the row twice.
A row without a predicted token has no L_i and stands in neither sum.

**The denominator is that of a whole optimiser step**: the sum over all micro-batches that are accumulated and over all
ranks, computed by `mass` before the first backward pass. A loss that each micro-batch or rank normalised by its own
rows would depend on how the rows fall into them. DDP averages gradients over ranks, so a rank multiplies its part by
their number; the trainer does that, not this module.
"""

from collections.abc import Callable, Iterable
from typing import Final

import torch
from torch import Tensor

from sot_filter.errors import ConfigError, SourceError

SAMPLE_MEAN: Final = "sample_mean"
TOKEN: Final = "token"


def weighted_loss(
    log_probs: Tensor, mask: Tensor, weights: Tensor, reduction: str = SAMPLE_MEAN, denominator: Tensor | None = None
) -> Tensor:
    """The loss of a (micro-)batch: its part of the numerator over the denominator of the whole step.

    Args:
        log_probs: log-probability of each next token [B, T-1], in nats.
        mask: which of them are predicted [B, T-1]; what lies outside is not read, be it infinite.
        weights: the rows' weights [B], none negative.
        reduction: a name of `REDUCTIONS`.
        denominator: `mass` summed over the step's micro-batches and ranks; this batch's own if left out.

    Returns:
        A scalar in nats, at least in float32. Zero, with zero gradients, where nothing has weight.

    Raises:
        ConfigError: no such reduction.
        SourceError: not one weight for each row.
    """
    per_token, mask, weights = _checked(log_probs, mask, weights)
    share, counted = _reduction(reduction)(mask.sum(1), weights)
    if denominator is None:
        denominator = counted.sum()
    loss = (per_token * share[:, None]).sum()
    # No tokens and no weight is a step without rows: its numerator is zero, and a zero it shall stay.
    return loss / torch.where(denominator > 0, denominator, torch.ones_like(denominator))


def mass(mask: Tensor, weights: Tensor, reduction: str = SAMPLE_MEAN) -> Tensor:
    """What a batch adds to the denominator: sum of w_i over rows with tokens, or of w_i n_i. Raises `weighted_loss`'s.

    Args:
        mask: which tokens are predicted [B, T-1].
        weights: the rows' weights [B].
        reduction: a name of `REDUCTIONS`.

    Returns:
        A scalar in the weights' precision.
    """
    if len(weights) != len(mask):
        raise SourceError(f"a weight for each of {len(mask)} rows", f"{len(weights)}", _CARRY)
    _, counted = _reduction(reduction)(mask.sum(1), weights)
    return counted.sum()


def check_weights(weights: Iterable[float | None], column: str) -> float:
    """Refuse weights that no loss can be taken with, and say which row it is.

    Args:
        weights: one for each row, in the rows' order.
        column: what the rows call them.

    Returns:
        Their sum.

    Raises:
        SourceError: no rows, a weight that is missing, negative, infinite or not a number, or all of them zero.
    """
    total, rows = 0.0, 0
    for row, weight in enumerate(weights):
        rows += 1
        if weight is None or isinstance(weight, (str, bytes)) or not 0 <= float(weight) < float("inf"):
            raise SourceError(f"a weight of 0 or more in {column!r}", f"{weight!r} in row {row}", _MEND)
        total += float(weight)
    if not total > 0:
        raise SourceError(f"a row with a weight above 0 in {column!r}", f"none of {rows} rows has one", _MEND)
    return total


def _per_sample(tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The row's weight shared among its tokens; it counts once. A row without tokens has none."""
    counted = torch.where(tokens > 0, weights, torch.zeros_like(weights))
    return counted / tokens.clamp(min=1), counted


def _per_token(tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The row's weight on each of its tokens; it counts as often as there are tokens."""
    return weights, weights * tokens


#: From the rows' token counts and weights: the weight of each of a row's tokens, and what the row adds to the mass.
REDUCTIONS: Final[dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]] = {
    SAMPLE_MEAN: _per_sample,
    TOKEN: _per_token,
}
_CARRY: Final = "Let the collator carry the weights."
_MEND: Final = "Mend the column, or name another one."


def _reduction(name: str) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    if name not in REDUCTIONS:
        raise ConfigError(f"a reduction among {', '.join(REDUCTIONS)}", repr(name), "Choose one of these.")
    return REDUCTIONS[name]


def _checked(log_probs: Tensor, mask: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Losses by token, zero outside the mask, in at least single precision; the weights in the same."""
    if len(weights) != len(log_probs):
        raise SourceError(f"a weight for each of {len(log_probs)} rows", f"{len(weights)}", _CARRY)
    precision = torch.promote_types(log_probs.dtype, torch.float32)
    return (-log_probs.to(precision)).masked_fill(~mask, 0.0), mask, weights.to(log_probs.device, precision)
