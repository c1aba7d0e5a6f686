"""The sample of rows to draw: the same in parts of any size, spread over all rows, another one by another seed."""

import numpy as np
import pytest

from sot_filter.report.sample import KeyedSample


def drawn(rows: int, most: int, parts: int, seed: int = 0) -> np.ndarray:
    made, positions = KeyedSample(seed, most), np.arange(rows)
    for part in np.array_split(positions, parts):
        made.add(part, part * 10.0, np.stack([part, part], 1))
    tens, pairs = made.rows
    assert (tens == 10 * pairs[:, 0]).all()
    return pairs[:, 0]


@pytest.mark.parametrize("parts", [1, 3, 500])
def test_it_does_not_depend_on_the_parts(parts: int) -> None:
    found = drawn(5000, 300, parts)
    assert found.tolist() == sorted(set(found.tolist()))
    assert len(found) == 300
    assert found.tolist() == drawn(5000, 300, 7).tolist()


def test_all_rows_are_drawn_where_there_are_few() -> None:
    assert drawn(20, 300, 3).tolist() == list(range(20))
    assert drawn(300, 300, 4).tolist() == list(range(300))


def test_every_stretch_of_rows_has_its_share_and_seeds_differ() -> None:
    found, other = drawn(100_000, 10_000, 10), drawn(100_000, 10_000, 10, seed=1)
    sizes = np.histogram(found, 20, (0, 100_000))[0]
    assert np.abs(sizes - 500).max() < 5 * np.sqrt(500)
    assert len(np.intersect1d(found, other)) == pytest.approx(1000, abs=150)
    gaps = np.diff(found)
    assert gaps.max() < 200
