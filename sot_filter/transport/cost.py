"""The cosine cost 1 - <z, y>, a tile of rows at a time, and how much memory that takes."""

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

#: Memory of one tile. On a CPU it should stay in the cache between its two uses; a GPU wants few, large launches.
_TILE_BYTES = {"cpu": 8 << 20, "cuda": 128 << 20}
#: Smaller matrices are multiplied by other routines, where a row's sum may be taken in another order than its
#: neighbour's (measured with MKL: below 4 rows; 1, 5 to 7 and 9 columns).
LEAST: Final = 16


def product(rows: Tensor, columns: Tensor) -> Tensor:
    """``rows`` [t, d] times ``columns`` [d, r], so that what comes out for a row does not hang on the other rows."""
    (t, _), r = rows.shape, columns.shape[1]
    if r < LEAST:
        columns = pad(columns, (0, LEAST - r))
    if t < LEAST:
        rows = pad(rows, (0, 0, 0, LEAST - t))
    return (rows @ columns)[:t, :r]


def similarity(points: Tensor, reference: Tensor) -> Tensor:
    """The block <z_i, y_j> [t, m], which is 1 minus the cost, of ``points`` [t, d] in the dtype of ``reference``."""
    return product(points.to(reference.dtype), reference.T)


def soft_minimum(block: Tensor, offset: Tensor, epsilon: float) -> Tensor:
    """-ε log sum_j exp(offset_j - c_ij / ε) [t], with c = 1 - block; ``block`` [t, m] is overwritten."""
    return 1 - epsilon * torch.logsumexp(block.div_(epsilon).add_(offset), dim=1)


def tiles(n: int, rows: int) -> Iterator[slice]:
    """Cut ``range(n)`` into slices of at most ``rows``."""
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def rows_per_tile(m: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many rows of ``m`` costs each make one tile."""
    return max(1, _TILE_BYTES.get(device.type, _TILE_BYTES["cuda"]) // (m * dtype.itemsize))


def kernel_bytes(n: int, m: int, dtype: torch.dtype) -> int:
    """Memory of a cached kernel of ``n`` rows and ``m`` reference points."""
    return n * m * dtype.itemsize
