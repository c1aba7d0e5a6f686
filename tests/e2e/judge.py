"""The push-pull problem solved a second time, in a few lines of float64 that share nothing with the package."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

Array = NDArray[np.float64]


def stored(folder: Path, role: str) -> dict[str, Array]:
    """The stored vectors of a role, view by view."""
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / "embed").glob(f"{role}-*/**/*.arrow"))]
    table = pa.concat_tables(tables)
    return {
        name.removeprefix("view:"): np.asarray(table[name].to_pylist(), np.float64)
        for name in table.column_names
        if name.startswith("view:")
    }


def costs(folder: Path, centre: bool = True) -> tuple[Array, Array]:
    """Costs of every row to every safe and every harmful reference row: mean over views of one minus the cosine."""
    rows, safe, harmful = points(folder, centre)
    return 1 - rows @ safe.T, 1 - rows @ harmful.T


def points(folder: Path, centre: bool = True) -> tuple[Array, Array, Array]:
    """Rows, safe and harmful reference: the views' unit vectors, scaled by the shares that the solve says it used."""
    told = json.loads((folder / "solve" / "solution.safetensors.json").read_text())["facts"]
    sources = [stored(folder, role) for role in ("input", "safe", "harmful")]
    placed: list[list[Array]] = [[], [], []]
    for view, share in told["view_weights"].items():
        middle = centre * (sources[1][view].mean(0) + sources[2][view].mean(0)) / 2
        for blocks, source in zip(placed, sources, strict=True):
            blocks.append(share**0.5 * _unit(source[view] - middle))
    rows, safe, harmful = (np.concatenate(blocks, 1) for blocks in placed)
    return rows, safe, harmful


def _unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def potential(cost: Array, w: Array, epsilon: float, rho: float, iterations: int) -> Array:
    """The row potential of entropic transport from ``w`` to the uniform reference, its marginal relaxed by rho."""
    psi, damping = np.zeros(cost.shape[1]), 1.0 if rho == np.inf else rho / (rho + epsilon)
    f = -epsilon * np.log(np.exp((psi - cost) / epsilon).mean(1))
    for _ in range(iterations if rho else 0):
        psi = -damping * epsilon * np.log(w @ np.exp((f[:, None] - cost) / epsilon))
        if rho == np.inf:
            psi -= psi.mean()  # any constant is as good; this one is the package's
        f = -epsilon * np.log(np.exp((psi - cost) / epsilon).mean(1))
    return f


def learned(safe: Array, harmful: Array, fold: NDArray[np.int64], strengths: tuple[float, ...]) -> tuple[Array, Array]:
    """Ridge logistic regression by scikit-learn: its coefficients, the intercept last, and the held-out margins.

    Of the strengths the one with the least held-out loss; each reference weighs one half.
    """
    y, side = np.concatenate([safe, harmful]), np.repeat([1.0, -1.0], [len(safe), len(harmful)])
    weight = np.where(side > 0, 0.5 / len(safe), 0.5 / len(harmful))
    found = []
    for strength in strengths:
        margin = np.empty(len(y))
        for k in range(fold.max() + 1):
            fit = _logistic(y[fold != k], side[fold != k], weight[fold != k], strength)
            margin[fold == k] = y[fold == k] @ fit[:-1] + fit[-1]
        found.append((weight @ np.logaddexp(0, -side * margin), _logistic(y, side, weight, strength), margin))
    _, fit, margin = min(found, key=lambda one: one[0])
    return fit, margin


def calibrated(score: Array, margin: Array, n_safe: int) -> Array:
    """Nats per unit of score and of margin, and the offset, by scikit-learn; a ridge worth one row on either."""
    side = np.where(np.arange(len(score)) < n_safe, 1.0, -1.0)
    weight = np.where(side > 0, 0.5 / n_safe, 0.5 / (len(score) - n_safe))
    x = np.stack([score, margin], 1)
    centre = weight @ x
    scale = (weight @ (x - centre) ** 2) ** 0.5
    fit = _logistic((x - centre) / scale, side, weight, 1 / len(x))
    slopes = fit[:2] / scale
    return np.asarray([*slopes, fit[2] - slopes @ centre])


def _logistic(x: Array, side: Array, weight: Array, strength: float) -> Array:
    model = LogisticRegression(C=1 / strength, tol=1e-8, max_iter=10_000)
    model.fit(x, side, sample_weight=weight / weight.sum())
    return np.asarray([*model.coef_[0], *model.intercept_])


def neighbourhoods(z: Array, k: int, ramp: float = 0.015, least: float = 1e-5) -> Array:
    """The plan of rows of equal mass to their neighbourhoods, dense: symmetric, rows that sum to one."""
    similarity = z @ z.T
    reach = np.sort(similarity, 1)[:, -k]
    far = np.minimum(reach[:, None], reach)
    kernel = np.clip(1 + (similarity - far) / np.maximum(ramp * (1 - far), least), 0, 1)
    d = np.ones(len(z))
    for _ in range(10_000):
        d = np.sqrt(d / (kernel @ d))
    return kernel * d[:, None] * d


def shared(own: Array, plan: Array, population: float = 0.03) -> Array:
    """The fixed point of logit r = own + A logit(A r), a share of A the whole population."""
    a = (1 - population) * plan + population / len(own)
    odds = own
    for _ in range(5000):
        odds = own + a @ logit(a @ expit(odds))
    return odds
