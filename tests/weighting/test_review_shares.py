"""What labels of a stratified sample say: unbiased shares, intervals that hold, risks as scikit-learn's, kappa."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from sot_filter.weighting.agreement import cohen_kappa
from sot_filter.weighting.isotonic import fit_isotonic
from sot_filter.weighting.review_sample import STRATA, Lowest, allocate, borderline_rows, row_keys
from sot_filter.weighting.review_shares import Labelled, harmful_shares, suggest_cut, wilson


@pytest.mark.parametrize("seed", range(30))
def test_risks_are_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 60))
    scores = random.normal(size=n).round(int(random.integers(0, 4)))
    harmful, weight = random.random(n) < 1 / (1 + np.exp(2 * scores)), random.uniform(0.1, 9, n)
    judge = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(scores, harmful, weight)
    mine, asked = fit_isotonic(scores, harmful, weight), random.normal(size=200) * 2
    assert mine.at(asked) == pytest.approx(judge.predict(asked), abs=1e-9)
    assert np.all(np.diff(mine.risks) <= 0)


def test_risks_of_a_case_by_hand() -> None:
    fitted = fit_isotonic(
        np.asarray([0.0, 1, 2, 3]), np.asarray([True, False, True, False]), np.asarray([1.0, 3, 1, 2])
    )
    assert fitted.risks.tolist() == [1, 0.25, 0.25, 0]
    assert fitted.at(np.asarray([-9.0, 0.5, 9])).tolist() == [1, 0.625, 0]


def test_kappa_by_hand() -> None:
    # 20 and 15 alike, 5 and 10 apart: p_o = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    found = cohen_kappa(np.asarray([[20, 5], [10, 15]]))
    assert found.rows == 50
    assert [found.share, found.kappa] == pytest.approx([0.7, 0.4])
    # Fleiss, Cohen and Everitt: 0.4 (1 - 1.1 * 0.6)² + 0.3 (1 - 0.9 * 0.6)² = 0.10972 of the rows alike, those apart
    # with the margins crossed, and (0.4 - 0.5 * 0.6)² = 0.01.
    b = 0.36 * (0.1 * (0.6 + 0.5) ** 2 + 0.2 * (0.4 + 0.5) ** 2)
    reach = 1.959964 * ((0.10972 + b - 0.01) / (0.25 * 50)) ** 0.5
    assert [found.kappa_low, found.kappa_high] == pytest.approx([0.4 - reach, 0.4 + reach])


def test_kappa_at_its_ends() -> None:
    alike = cohen_kappa(np.diag([3, 4, 0]))
    assert (alike.share, alike.kappa, alike.kappa_high) == (1, 1, 1)
    assert cohen_kappa(np.asarray([[0, 3], [3, 0]])).kappa == -1
    assert cohen_kappa(np.asarray([[5, 0], [0, 0]])).kappa is None


def test_kappa_s_interval_covers() -> None:
    random, p = np.random.default_rng(3), np.asarray([[0.3, 0.1, 0.02], [0.05, 0.35, 0.03], [0.02, 0.03, 0.1]])
    expected = (np.trace(p) - p.sum(1) @ p.sum(0)) / (1 - p.sum(1) @ p.sum(0))
    found = [cohen_kappa(random.multinomial(150, p.ravel()).reshape(3, 3)) for _ in range(400)]
    inside = np.mean([f.kappa_low <= expected <= f.kappa_high for f in found])
    assert 0.91 < inside < 0.985


ROWS = np.asarray([400, 400, 300, 7000, 1900])
HARMFUL = np.asarray([80, 200, 100, 70, 1500])


def sampled(random: np.random.Generator, drawn: np.ndarray) -> np.ndarray:
    return random.hypergeometric(HARMFUL, ROWS - HARMFUL, drawn)


def test_shares_are_unbiased_and_their_intervals_hold() -> None:
    random, drawn = np.random.default_rng(5), np.asarray([40, 40, 40, 60, 40])
    truth = HARMFUL.sum() / ROWS.sum()
    harmful = np.stack([sampled(random, drawn) for _ in range(4000)])
    found = harmful_shares(ROWS, np.broadcast_to(drawn, harmful.shape), harmful)
    spread = found.estimate.std() / len(harmful) ** 0.5
    assert abs(found.estimate.mean() - truth) < 4 * spread
    naive = harmful.sum(1) / drawn.sum()
    assert abs(naive.mean() - truth) > 50 * spread, "or the test could not tell weights from none"
    assert 0.93 < np.mean((found.low <= truth) & (truth <= found.high)) < 0.99


def test_labels_of_any_part_of_the_sample_do() -> None:
    random, truth = np.random.default_rng(6), HARMFUL.sum() / ROWS.sum()
    estimates = [float(harmful_shares(ROWS, d := random.integers(20, 41, 5), sampled(random, d)).estimate)
                 for _ in range(3000)]  # fmt: skip
    assert abs(np.mean(estimates) - truth) < 4 * np.std(estimates) / len(estimates) ** 0.5


def test_shares_at_their_ends() -> None:
    none = harmful_shares(ROWS, np.zeros(5, np.int64), np.zeros(5, np.int64))
    assert np.isnan(none.estimate)
    assert [float(none.low), float(none.high)] == [0, 1]
    whole = harmful_shares(ROWS, ROWS, HARMFUL)
    assert whole.low == pytest.approx(whole.estimate, abs=1e-4)
    assert whole.high == pytest.approx(HARMFUL.sum() / ROWS.sum(), abs=1e-4)
    # A stratum that nobody has looked at may be harmful altogether.
    labelled = np.asarray([40, 40, 40, 0, 40])
    assert harmful_shares(ROWS, labelled, np.zeros(5, np.int64)).high > 0.7
    clean = harmful_shares(np.asarray([10**9]), np.asarray([60]), np.asarray([0]))
    assert clean.high == pytest.approx(float(wilson(0, np.asarray(60))[1]))


def population(seed: int, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    harmful = random.random(n) < 0.1
    return random.normal(np.where(harmful, -2.0, 2.0), 1.2), harmful


def labels_of(score: np.ndarray, harmful: np.ndarray, seed: int, drawn: int) -> Labelled:
    random, stratum = np.random.default_rng(seed), np.digitize(score, [-0.5, 0.5])
    chosen = np.concatenate([random.choice(np.flatnonzero(stratum == h), drawn, replace=False) for h in range(3)])
    cuts = np.unique(score[chosen])
    rows = np.stack([[int(((score >= cut) & (stratum == h)).sum()) for h in range(3)] for cut in cuts])
    return Labelled(cuts, rows, score[chosen], stratum[chosen], harmful[chosen])


def test_a_suggested_cut_keeps_its_promise() -> None:
    goal, missed, retentions = 0.03, 0, []
    for seed in range(40):
        score, harmful = population(seed)
        labelled = labels_of(score, harmful, seed, 250)
        found = suggest_cut(labelled, goal, 40, seed)
        assert found is not None
        assert found == suggest_cut(labelled, goal, 40, seed)
        assert found.low <= found.at <= found.high or found.met < 1
        kept = score >= labelled.cuts[found.at]
        missed += harmful[kept].mean() > goal
        retentions.append(kept.mean())
    assert missed <= 4
    assert np.mean(retentions) > 0.5, "a cut that keeps nothing is no feat"


def test_no_cut_where_the_labels_are_too_few() -> None:
    score, harmful = population(1)
    assert suggest_cut(labels_of(score, harmful, 1, 20), 0.001, 10, 0) is None


@pytest.mark.parametrize(
    ("wanted", "available", "expected"),
    [
        (200, [900, 900, 900, 900, 900], [40] * 5),
        (200, [900, 900, 0, 900, 900], [50, 50, 0, 50, 50]),
        (200, [10, 900, 0, 900, 900], None),
        (7, [900] * 5, None),
        (50, [3, 4, 0, 5, 6], [3, 4, 0, 5, 6]),
        (3, [0, 0, 0, 0, 0], [0] * 5),
    ],
)
def test_strata_have_the_sizes_that_they_can(wanted: int, available: list[int], expected: list[int] | None) -> None:
    given = allocate(wanted, np.asarray(available))
    assert given.sum() == min(wanted, sum(available))
    assert np.all(given <= available)
    assert len(given) == len(STRATA)
    if expected is not None:
        assert given.tolist() == expected


def test_borderline_rows_are_few() -> None:
    assert borderline_rows(200, 100_000) == 200
    assert borderline_rows(200, 1000) == 100
    assert borderline_rows(200, 60) == 40
    assert borderline_rows(200, 7) == 7


def test_keys_are_of_the_id_and_the_seed_alone() -> None:
    whole = row_keys("default/train/a.jsonl", 0, 1000, 0)
    assert np.array_equal(row_keys("default/train/a.jsonl", 300, 50, 0), whole[300:350])
    assert len(np.unique(whole)) == 1000
    for other in (row_keys("default/train/b.jsonl", 0, 1000, 0), row_keys("default/train/a.jsonl", 0, 1000, 1)):
        assert not np.intersect1d(whole, other).size
    assert abs((whole / 2**64).mean() - 0.5) < 0.04


def test_the_lowest_do_not_depend_on_the_parts() -> None:
    random = np.random.default_rng(0)
    first, second, place = random.integers(0, 5, 300), random.random(300), np.arange(300)
    expected = sorted(zip(first, second, place, strict=True))[:20]
    for size in (1, 7, 300):
        lowest = Lowest(20)
        for start in range(0, 300, size):
            lowest.add(*(key[start : start + size] for key in (first, second, place)))
        assert lowest.places().tolist() == [int(row[2]) for row in expected]
        assert lowest.places(3).tolist() == [int(row[2]) for row in expected[:3]]
    assert Lowest(3).places().tolist() == []
