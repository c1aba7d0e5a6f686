import numpy as np
import pytest

from sot_filter.report.retention_curve import COLUMNS, Curve, HeldOut, retention_curve
from tests.report.test_pictures import rows_of

KEPT = np.arange(1, 101) / 100
SHARE = {"estimate": 0.1, "low": 0.07, "high": 0.14, "found": True}
FULL = Curve(1 - 2 * KEPT, KEPT, -0.6, 0.8, HeldOut(KEPT**3, (1 - KEPT) ** 2), HeldOut(0.512, 0.04), SHARE)


def test_the_data_are_the_runs_own_cut_and_then_the_curve() -> None:
    own, *along = rows_of(retention_curve(FULL, title="run", rows=100))
    assert tuple(own) == COLUMNS
    assert [float(value) for value in own.values()] == [1, -0.6, 0.8, 0.512, 0.04, 0.1, 0.07, 0.14]
    assert [float(row["rows_kept"]) for row in along] == KEPT.tolist()
    assert [float(row["held_out_safe_lost"]) for row in along] == ((1 - KEPT) ** 2).tolist()
    assert {row["chosen"] for row in along} == {"0"}
    assert {row["harmful_share"] for row in along} == {""}


@pytest.mark.parametrize(
    "change",
    [
        {"held_out": None, "held_out_at_cut": None},
        {"harmful_share": None},
        {"harmful_share": {**SHARE, "found": False}},
        {"harmful_share": {**SHARE, "estimate": 0.2}},
        {"cut": 0.3},
        {"kept_at_cut": 0.5},
        {"held_out_at_cut": HeldOut(0.79, 0.81)},
    ],
)
def test_everything_known_is_seen(change: dict[str, object]) -> None:
    assert (
        retention_curve(FULL._replace(**change), title="run", rows=100).png
        != retention_curve(FULL, title="run", rows=100).png
    )


@pytest.mark.parametrize("cut", [-1e30, -1.0, 0.0, 1.0, 1e30])
@pytest.mark.parametrize("at", [0.0, 1.0])
def test_any_cut(cut: float, at: float) -> None:
    assert retention_curve(FULL._replace(cut=cut, kept_at_cut=at, held_out_at_cut=HeldOut(at, at)), title="r", rows=9)


@pytest.mark.parametrize("score", [0.0, -2.0, 0.1])
def test_scores_all_equal(score: float) -> None:
    assert retention_curve(FULL._replace(cuts=np.full(100, score), cut=score), title="run", rows=1)


def test_single_scores_far_away_do_not_squeeze_the_rest() -> None:
    kept = np.arange(1, 1001) / 1000
    near = FULL._replace(cuts=1 - 2 * kept, kept=kept, held_out=None, held_out_at_cut=None)
    far = near._replace(cuts=np.concatenate([[1e9], near.cuts[1:-1], [-1e9]]))
    draw = [retention_curve(one, title="run", rows=1000).csv != b"" and _limits(one) for one in (near, far)]
    assert draw[0] == draw[1]


def _limits(curve: Curve) -> tuple[float, float]:
    from sot_filter.report.retention_curve import _ends

    return _ends(curve)
