"""The simple score a run is held against: judged on held-out rows, by scikit-learn's own measure."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score
from torch.nn.functional import normalize

from sot_filter.baselines import BASELINES
from sot_filter.steps.simple import SIMPLE, Simple, best_simple
from sot_filter.transport import Choice, choose, score_rows


def draw(seed: int, m: int = 90, d: int = 10, by: float = 0.5) -> Choice:
    """References whose means lie ``by`` apart."""
    generator = torch.Generator().manual_seed(seed)
    points = [torch.randn(k, d, generator=generator) / d**0.5 for k in (m, m + 30)]
    points[0][:, 0] += by
    safe, harmful = ({"pair": normalize(part)} for part in points)
    return choose(safe, harmful, epsilon=0.05, push_strength=0.5, rho_safe=0, rho_harmful=0, seed=seed)


@pytest.fixture(scope="module")
def choice() -> Choice:
    return draw(0)


def by_formula(name: str, z: np.ndarray, safe: np.ndarray, harmful: np.ndarray) -> np.ndarray:
    """The contrast of two references by the definition of the score."""
    similar = [z @ y.T for y in (safe, harmful)]
    if name == "knn":
        one, other = (np.sort(s, 1)[:, -10:].mean(1) for s in similar)
    elif name == "mean_cosine":
        one, other = (s.mean(1) for s in similar)
    else:
        one, other = (logsumexp(s / 0.05, axis=1) - np.log(s.shape[1]) for s in similar)
    return one - other


@pytest.mark.parametrize("name", ["knn", "mean_cosine", "kernel_density"])
def test_a_score_is_judged_on_rows_that_it_has_not_seen(choice: Choice, name: str) -> None:
    safe, harmful, fold = choice.safe.points.numpy(), choice.harmful.points.numpy(), choice.folds.numpy()
    rows, is_safe = np.concatenate([safe, harmful]).astype(np.float64), np.arange(len(fold)) < len(safe)
    scores = np.empty(len(rows))
    for k in range(5):
        rest = fold != k
        scores[~rest] = by_formula(name, rows[~rest], rows[rest & is_safe], rows[rest & ~is_safe])
    assert best_simple(choice)["aurocs"][name] == pytest.approx(roc_auc_score(is_safe, scores), abs=1e-4)


def test_the_best_is_named_beside_the_solves_own() -> None:
    seen = set()
    for seed in range(8):
        choice = draw(seed)
        found = best_simple(choice)
        assert tuple(found["aurocs"]) == SIMPLE
        assert found["auroc"] == max(found["aurocs"].values()) == found["aurocs"][found["score"]]
        is_safe = np.arange(len(choice.held_out)) < len(choice.safe)
        assert found["sot_auroc"] == pytest.approx(roc_auc_score(is_safe, choice.held_out.numpy()), abs=1e-6)
        seen.add(found["score"])
    assert len(seen) > 1, "which one is best depends on the references"


def test_no_score_looks_good_where_there_is_nothing_to_tell() -> None:
    # Each row on either side: any score that had seen it would be right of it too often.
    choice = draw(1, by=0.0)
    found = best_simple(choice)
    assert all(0.35 < auroc < 0.65 for auroc in found["aurocs"].values())


def test_it_works_with_the_fewest_rows_that_a_choice_takes() -> None:
    generator = torch.Generator().manual_seed(2)
    safe, harmful = ({"pair": normalize(torch.randn(5, 6, generator=generator))} for _ in range(2))
    found = best_simple(choose(safe, harmful))
    assert all(0 <= auroc <= 1 for auroc in found["aurocs"].values())


@pytest.mark.parametrize("name", SIMPLE)
def test_read_off_the_pass_over_the_references_it_is_the_score_of_that_name(choice: Choice, name: str) -> None:
    safe, harmful = choice.safe, choice.harmful
    rows = normalize(torch.randn(200, safe.points.shape[1], generator=torch.Generator().manual_seed(3)))
    simple = Simple.prepare(name, safe.points, harmful.points)

    def scored(points: torch.Tensor) -> torch.Tensor:
        psi = torch.zeros(len(safe)), torch.zeros(len(harmful))
        found = score_rows(points, safe, psi[0], harmful, psi[1], 0.1, 0.5, read=simple.read, tile=90)
        return simple.score(points, found.contrast)

    whole = scored(rows)
    wanted = BASELINES[name](rows.numpy(), safe.points.numpy(), harmful.points.numpy())
    np.testing.assert_allclose(whole.numpy(), wanted, atol=1e-5 * max(1, float(np.abs(wanted).max())))
    for size in (1, 7, 130):
        assert torch.equal(torch.cat([scored(rows[i : i + size]) for i in range(0, len(rows), size)]), whole)
    assert scored(rows[:0]).shape == (0,)
