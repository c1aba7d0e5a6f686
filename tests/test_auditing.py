"""The audit of references that are spoilt in a known way, and of one that is not."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sot_filter.auditing import Side, audit_sides
from tests.audit.points import kinds, unit

SETTINGS = {
    "view_weights": {"pair": 1.0},
    "epsilon": 0.07,
    "push_strength": 0.5,
    "rho_safe": 0.0,
    "rho_harmful": 0.0,
    "seed": 0,
}


def side(name: str, points: NDArray[np.float32], **facets: list[str]) -> Side:
    return Side([f"{name}#{i}" for i in range(len(points))], {"pair": torch.from_numpy(points)}, facets)


def audit(**given: Side) -> dict[str, Any]:
    """An audit of clean references of 200 rows each, but for those given."""
    sides = {
        "rows": side("rows", np.concatenate([kinds(270, 1, 1), kinds(30, -1, 2)])),
        "safe": side("safe", kinds(200, 1, 3)),
        "harmful": side("harmful", kinds(200, -1, 4)),
    }
    return audit_sides(**sides | given, settings=SETTINGS, neighbours=10, kept=0.9, folded={"safe": 2}, seed=0)


@pytest.fixture(scope="module")
def clean() -> dict[str, Any]:
    return audit()


def test_clean_references_raise_no_warning(clean: dict[str, Any]) -> None:
    assert clean["warnings"] == []
    assert clean["rows"] == {"input": 300, "safe": 200, "harmful": 200}
    assert clean["duplicates"]["safe"]["folded"] == 2
    for role in ("safe", "harmful"):
        assert clean["contamination"][role]["share"] < 0.02
        assert clean["duplicates"][role]["near_duplicates"] == 0
        assert len(clean["leverage"][role]["clusters"]) == 10
        assert all(entry["spearman"] > 0.8 for entry in clean["leverage"][role]["clusters"])
    assert clean["overlap"] == {"input_safe": 0, "input_harmful": 0, "safe_harmful": 0}
    assert sum(region["rows"] for region in clean["regions"]) == 300
    assert sum(region["nearer_harmful"] for region in clean["regions"]) == clean["coverage"]["nearer_harmful"]
    assert 27 <= clean["coverage"]["nearer_harmful"] <= 33


def test_it_is_the_same_again(clean: dict[str, Any]) -> None:
    assert audit() == clean


@pytest.mark.parametrize("role", ["safe", "harmful"])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_wrong_labels_are_counted_and_named(role: str, share: float) -> None:
    sign, wrong = 1 if role == "safe" else -1, round(200 * share)
    points = np.concatenate([kinds(200 - wrong, sign, 5), kinds(wrong, -sign, 6)])
    found = audit(**{role: side(role, points)})
    noise = found["contamination"][role]
    assert noise["low"] <= share <= noise["high"]
    assert noise["share"] == pytest.approx(share, abs=0.04)
    named = [int(suspect["id"].split("#")[1]) for suspect in noise["suspects"]]
    assert len(named) == noise["rows"]
    assert np.mean(np.asarray(named) >= 200 - wrong) > 0.85
    (said,) = (warning for warning in found["warnings"] if "look" in warning)
    assert f"of the {role} reference" in said
    assert noise["suspects"][0]["id"] in said


def test_rows_said_again_and_again_are_seen() -> None:
    again = kinds(1, -1, 8) + 0.01 * unit(60, 32, 9)
    again = (again / np.linalg.norm(again, axis=1, keepdims=True)).astype(np.float32)
    found = audit(harmful=side("harmful", np.concatenate([kinds(140, -1, 4), again])))
    assert found["duplicates"]["harmful"]["distinct"] == 141
    assert found["duplicates"]["harmful"]["largest_group"] == {"id": "harmful#140", "rows": 60}
    assert [warning for warning in found["warnings"] if "distinct" in warning]
    assert [warning for warning in found["warnings"] if "say nearly the same, as harmful#140" in warning]


def test_a_safe_reference_of_one_topic_is_too_narrow() -> None:
    one_topic = kinds(800, 1, 3)[::4]
    found = audit(safe=side("safe", one_topic))
    assert found["coverage"]["neither"] > 150
    assert [warning for warning in found["warnings"] if "too narrow" in warning]
    assert found["regions"][0]["not_covered_by_safe"] > 0


def test_kinds_that_the_safe_reference_lacks_are_said(clean: dict[str, Any]) -> None:
    found = audit(
        rows=side("rows", kinds(300, 1, 1), language=["en"] * 270 + ["fi"] * 30),
        safe=side("safe", kinds(200, 1, 3), language=["en"] * 200),
        harmful=side("harmful", kinds(200, -1, 4), language=["fi"] * 200),
    )
    assert [warning for warning in found["warnings"] if "language" in warning and "fi (10%)" in warning]
    assert found["coverage"]["harmful"]["facets"]["language"]["total_variation"] == pytest.approx(0.9)
    assert clean["coverage"]["safe"]["facets"] == {}


def test_rows_that_are_in_two_places_are_said() -> None:
    safe, rows = kinds(200, 1, 3), kinds(300, 1, 1)
    rows[:9] = safe[:9]
    harmful = kinds(200, -1, 4)
    harmful[7] = safe[50]
    found = audit(rows=side("rows", rows), harmful=side("harmful", harmful))
    assert found["overlap"] == {"input_safe": 9, "input_harmful": 0, "safe_harmful": 1}
    assert len([warning for warning in found["warnings"] if "nearly the same" in warning]) == 2


def test_a_row_that_everything_hangs_on_is_named() -> None:
    # Half of the input is like one row of the harmful reference, and like no other.
    alone = np.zeros((1, 33), np.float32)
    alone[0, 32] = 1

    def wide(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.pad(points, ((0, 0), (0, 1)))

    like = 0.6 * wide(kinds(150, 1, 7)) + 0.8 * alone
    found = audit(
        rows=side("rows", np.concatenate([wide(kinds(150, 1, 1)), like]).astype(np.float32)),
        safe=side("safe", wide(kinds(200, 1, 3))),
        harmful=side("harmful", np.concatenate([wide(kinds(199, -1, 4)), alone])),
    )
    entry = found["leverage"]["harmful"]["rows"][0]
    assert entry["id"] == "harmful#199"
    assert entry["kept_changed"] > 0.05
    assert [warning for warning in found["warnings"] if "Without the row harmful#199" in warning]


def test_few_rows_are_audited_without_an_estimate_of_noise() -> None:
    found = audit(safe=side("safe", kinds(12, 1, 3)), harmful=side("harmful", kinds(5, -1, 4)))
    assert found["contamination"] == {"safe": None, "harmful": None}
    assert len([warning for warning in found["warnings"] if "label noise is estimated from" in warning]) == 2
    assert len(found["leverage"]["harmful"]["rows"]) == 3
