"""Truncated singular value decomposition, the same for the same matrix, without touching the global random state.

Exact (LAPACK) where the shorter side is small. Else subspace iteration from a fixed random start (Halko, Martinsson
and Tropp 2011, algorithm 4.4): products with thin matrices only, exact to rounding where the singular values fall off.
Where they are nearly equal, the directions found are near the best ones in what they hold, not the same.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor

_OVERSAMPLED: Final = 8
_POWER_ITERATIONS: Final = 2
_SMALL: Final = 4


class LowRank(NamedTuple):
    """U [m, k], s [k] decreasing, V [n, k] with M ~ U diag(s) V^T; columns are zero beyond the matrix's rank."""

    left: Tensor
    values: Tensor
    right: Tensor


def truncated_svd(matrix: Tensor, rank: int) -> LowRank:
    """The leading `rank` singular directions of a matrix [m, n], at most min(m, n) of them, in its precision."""
    rank = min(rank, *matrix.shape)
    width = rank + _OVERSAMPLED
    if min(matrix.shape) <= _SMALL * width:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    else:
        random = torch.Generator().manual_seed(0)
        start = torch.randn(matrix.shape[1], width, generator=random, dtype=matrix.dtype).to(matrix.device)
        span = torch.linalg.qr(matrix @ start).Q
        for _ in range(_POWER_ITERATIONS):
            span = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ span).Q).Q
        left, values, right = torch.linalg.svd(span.T @ matrix, full_matrices=False)
        left = span @ left
    present = values > values[0] * max(matrix.shape) * torch.finfo(values.dtype).eps
    left, values, right = left * present, values * present, right.T * present
    return LowRank(left[:, :rank].contiguous(), values[:rank].contiguous(), right[:, :rank].contiguous())
