"""Counts by score: the measures of all rows at once, in any order and parts; ties of neighbours beyond a limit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sot_filter.weighting import ScoreCounts, measure_quality, score_counts


def counted(scores: np.ndarray, harmful: np.ndarray, parts: int = 1) -> ScoreCounts:
    made = ScoreCounts()
    for rows in np.array_split(np.arange(len(scores)), parts):
        made.add(scores[rows], harmful[rows])
    return made


@given(
    st.lists(
        st.tuples(st.integers(-12, 12).map(lambda i: i / 4) | st.floats(-(2.0**90), 2.0**90, width=32), st.booleans()),
        min_size=2,
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_measures_are_those_of_all_rows(rows: list[tuple[float, bool]], parts: int) -> None:
    scores, harmful = np.float32([score for score, _ in rows]), np.asarray([known for _, known in rows])
    found, wanted = counted(scores, harmful, parts), measure_quality(scores, harmful)
    assert (found.harmful, found.benign) == (harmful.sum(), (~harmful).sum())
    assert found.exact
    if wanted is not None:
        assert found.auroc == pytest.approx(wanted.auroc, abs=1e-12)
        assert found.average_precision == pytest.approx(wanted.average_precision, abs=1e-12)


@pytest.mark.parametrize("gathered", [1, 1000])
def test_beyond_the_limit_neighbours_are_ties_whatever_the_order(
    monkeypatch: pytest.MonkeyPatch, gathered: int
) -> None:
    monkeypatch.setattr(score_counts, "_DIFFERENT", 256)
    monkeypatch.setattr(score_counts, "_GATHERED", gathered)
    rng = np.random.default_rng(0)
    harmful = rng.random(20_000) < 0.2
    scores = (rng.normal(size=20_000) - 1.5 * harmful).astype(np.float32)
    wanted = measure_quality(scores, harmful)
    assert wanted is not None
    measures = set()
    for parts in (1, 7, 40):
        order = rng.permutation(20_000)
        found = counted(scores[order], harmful[order], parts)
        assert not found.exact
        assert found.auroc == pytest.approx(wanted.auroc, abs=1e-3)
        assert found.average_precision == pytest.approx(wanted.average_precision, abs=0.03)
        measures.add((found.auroc, found.average_precision))
    assert len(measures) == 1
