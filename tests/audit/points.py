"""Points to audit."""

import numpy as np
from numpy.typing import NDArray


def unit(n: int, d: int, seed: int) -> NDArray[np.float32]:
    """Directions [n, d], spread evenly."""
    points = np.random.default_rng(seed).normal(size=(n, d))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def kinds(n: int, sign: int, seed: int, d: int = 32, topics: int = 4, apart: float = 1.0) -> NDArray[np.float32]:
    """Unit vectors [n, d] of one of two kinds (``sign`` 1 or -1), each of ``topics`` topics of its own."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(5 + sign).normal(size=(topics, d)) * 0.7
    points = centres[np.arange(n) % topics] + 0.6 * rng.normal(size=(n, d))
    points[:, 0] += 2.5 * apart * sign
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
