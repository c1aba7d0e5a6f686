"""Coverage: the promise on rows like the references, brute force, and rows that lack a view."""

import numpy as np
import pytest
import torch

from sot_filter.weighting import Coverage, character_pairs, fit_coverage, likeness, unknown_words
from sot_filter.weighting.coverage import (
    ALPHA,
    FAR,
    OTHER_LANGUAGE,
    UNLIKE_TEXT,
    common_thresholds,
)
from sot_filter.weighting.typicality import CLASSES, PairModel

WORDS = "the bread is baked in an oven with flour and water until it rises and is done by the evening"


def rows(n: int, seed: int) -> tuple[torch.Tensor, np.ndarray, list, list[str]]:
    rng = np.random.default_rng(seed)
    points = torch.from_numpy(rng.normal(size=(n, 8)).astype(np.float32))
    points[:, 0] += 4
    points /= points.norm(dim=1, keepdim=True)
    texts = [" ".join(rng.choice(WORDS.split(), rng.integers(4, 30))) for _ in range(n)]
    digests = np.frombuffer(rng.bytes(16 * n), "V16")
    languages = rng.choice(["en", "de", "fr", "und"], n, p=[0.95, 0.04, 0.001, 0.009]).tolist()
    return points, digests, [[character_pairs(text)] for text in texts], languages


def flags(coverage: Coverage, references: torch.Tensor, new: tuple) -> np.ndarray:
    points, _, sides, languages = new
    surprise = np.asarray([coverage.pairs.surprise(side) for side in sides], np.float32)
    return coverage.judge(likeness(points, (points @ references.T).max(1).values), surprise, languages)


def test_of_rows_like_the_references_at_most_the_promised_share_is_unknown() -> None:
    shares = []
    for seed in range(15):
        references = rows(400, seed)
        shares.append((flags(fit_coverage(*references), references[0], rows(400, 1000 + seed)) != 0).mean())
    # 6,000 rows in all; the standard error of their share is 0.13 %.
    assert 0 < np.mean(shares) < ALPHA + 0.003


def test_rows_of_another_kind_are_unknown_each_for_its_reason() -> None:
    references = rows(400, 0)
    covered = fit_coverage(*references)
    points, _, sides, _ = rows(50, 1)
    opposite, english = -references[0][:50], ["en"] * 50
    odd = [[character_pairs("QxZj0" * 30)]] * 50
    far = flags(covered, references[0], (opposite, None, sides, english))
    unlike = flags(covered, references[0], (references[0][:50], None, odd, english))
    foreign = flags(covered, references[0], (references[0][:50], None, references[2][:50], ["ja"] * 50))
    assert (far & FAR).all()
    assert (unlike & UNLIKE_TEXT).all()
    assert (foreign & OTHER_LANGUAGE).all()
    assert not (foreign & FAR).any()
    assert not flags(covered, references[0], (points[:0], None, [], [])).any()


def test_the_thresholds_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(3)
    for n in (99, 250, 1000):
        measures = rng.integers(0, 50, (n, 3)).astype(float)
        found = common_thresholds(measures, 0.02)
        assert found is not None
        allowed = int(0.02 * (n + 1)) - 1
        ranks = [k for k in range(n) if (measures < np.sort(measures, 0)[k]).any(1).sum() <= allowed]
        assert found.tolist() == np.sort(measures, 0)[max(ranks)].tolist()


def test_too_few_rows_make_no_promise_and_nothing_unknown() -> None:
    assert common_thresholds(np.zeros((98, 2)), 0.01) is None
    assert common_thresholds(np.zeros((99, 2)), 0.01) is not None
    references = rows(98, 0)
    covered = fit_coverage(*references)
    assert set(covered.thresholds.values()) == {None}
    assert not flags(covered, references[0], (-references[0], None, references[2], ["ja"] * 98)).any()


def test_copies_of_a_row_do_not_vouch_for_it() -> None:
    points, digests, sides, languages = rows(200, 5)
    apart = -points[:1]

    def fitted(copies: int) -> Coverage:
        return fit_coverage(
            torch.cat([points, *[apart] * copies]),
            np.concatenate([digests, *[np.frombuffer(bytes(16), "V16")] * copies]),
            [*sides, *[sides[0]] * copies],
            [*languages, *["en"] * copies],
        )

    # With a copy as its nearest neighbour the lone row would be the most alike of all.
    lowest = (apart @ points.T).max().item()
    assert fitted(1).similarity == pytest.approx(lowest)
    assert fitted(2).similarity == pytest.approx(lowest)


def test_a_row_that_lacks_a_view_is_not_far_for_that() -> None:
    both = torch.tensor([[0.5**0.5, 0, 0.5**0.5, 0]])
    half = torch.tensor([[0.5**0.5, 0, 0, 0]])
    for row in (both, half):
        assert likeness(row, (row @ both.T).max(1).values).tolist() == pytest.approx([1.0])
    assert likeness(torch.zeros(1, 4), torch.zeros(1)).tolist() == [0.0]


def test_the_order_of_the_references_is_nothing() -> None:
    points, digests, sides, languages = rows(300, 9)
    order = np.random.default_rng(0).permutation(300)
    forth = fit_coverage(points, digests, sides, languages)
    back = fit_coverage(points[order], digests[order], [sides[i] for i in order], [languages[i] for i in order])
    assert forth.thresholds == pytest.approx(back.thresholds)
    assert forth.languages == back.languages


def test_the_words_name_what_makes_it_unknown() -> None:
    measured = {"coverage": 0.1, "surprise": 9.25, "language": "ja"}
    thresholds = {"similarity": 0.25, "surprise": 5.0, "language_share": 0.99}
    assert unknown_words(FAR, measured, thresholds) == "far from both references (nearest similarity 0.10, below 0.25)"
    every = unknown_words(FAR + UNLIKE_TEXT + OTHER_LANGUAGE, measured, thresholds)
    assert every.count(" and ") == 2
    assert "9.2 bits per character, above 5.0" in every
    assert every.endswith("in a language that the references hardly have (ja)")


def test_an_undetermined_language_proves_nothing() -> None:
    covered = Coverage(PairModel(np.zeros((CLASSES, CLASSES), np.int64)), {"en": 100}, -1.0, 99.0, 0.9)
    nothing = np.zeros(3, np.float32)
    assert covered.judge(nothing, nothing, ["en", "und", "de"]).tolist() == [0, 0, OTHER_LANGUAGE]
