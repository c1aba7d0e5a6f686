"""SAFT, a filter that asks for no labels (Choi, Du and Li 2024, arXiv 2410.10014).

A row's score is the square of its centred embedding's projection onto the first singular vector of all rows: where
harmful rows are the strongest direction of the set, they lie far out on it, on either side. Its authors choose
layer, number of vectors and threshold on labelled rows; here it is the last layer, one vector, and as many rows are
dropped as by the other filters.
"""

import numpy as np
from numpy.typing import NDArray


def score(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores [n] of embeddings [n, d], higher = rather keep."""
    centred = rows - rows.mean(axis=0)
    first = np.linalg.svd(centred, full_matrices=False)[2][0]
    return -np.square(centred @ first)
