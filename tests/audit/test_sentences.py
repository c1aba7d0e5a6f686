"""Each warning comes when its limit is passed, and not before."""

import copy
from typing import Any

import pytest

from sot_filter.audit.sentences import sentences


def quiet() -> dict[str, Any]:
    """Findings on two references of 100 rows, for an input of 1,000, that nothing is wrong with."""
    role: dict[str, Any] = {"safe": None, "harmful": None}
    noise = {"share": 0.01, "low": 0.0, "high": 0.03, "rows": 1, "suspects": [{"id": "s#1", "evidence": -1.0}]}
    repeats = {
        "near_duplicates": 10,
        "distinct": 90,
        "largest_group": {"id": "s#2", "rows": 5},
        "clusters": 10,
        "largest_cluster": {"id": "s#3", "share": 0.5},
    }
    entry = {"id": "s#4", "rows": 9, "mass": 0.2, "spearman": 0.9, "kept_changed": 0.01}
    facets = {"language": {"total_variation": 0.3, "lacking": {}}}
    return {
        "rows": {"input": 1000, "safe": 100, "harmful": 100},
        "fewest_rows": 40,
        "contamination": {name: copy.deepcopy(noise) for name in role},
        "duplicates": {name: copy.deepcopy(repeats) for name in role},
        "overlap": {"input_safe": 10, "input_harmful": 10, "safe_harmful": 0},
        "coverage": {"miss": 0.05, "neither": 110, **{name: {"facets": copy.deepcopy(facets)} for name in role}},
        "leverage": {name: {kind: [dict(entry)] for kind in ("clusters", "rows")} for name in role},
    }


def test_nothing_is_said_of_quiet_findings() -> None:
    assert sentences(quiet()) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("contamination.safe.low", 0.011, "of the safe reference (1% to 3%) look harmful: check the 1 row that"),
        ("contamination.harmful.low", 0.02, "of the harmful reference (2% to 3%) look safe"),
        ("contamination.safe", None, "The safe reference has 100 rows; label noise is estimated from 40"),
        ("duplicates.safe.near_duplicates", 11, "11% of the safe reference say nearly what another row says"),
        ("duplicates.harmful.largest_group.rows", 6, "6% of the harmful reference say nearly the same, as s#2"),
        ("duplicates.safe.largest_cluster.share", 0.51, "One of 10 clusters holds 51% of the safe reference"),
        ("overlap.safe_harmful", 1, "1 row of the safe reference can be found, nearly the same"),
        ("overlap.input_harmful", 11, "11 rows of the input are nearly the same as rows of the harmful reference"),
        ("coverage.neither", 130, "13% of the input are near neither reference, where 5% are to be expected"),
        ("coverage.safe.facets.language.lacking", {"fi": 0.2}, "lacks, or nearly lacks, rows of a language"),
        ("leverage.safe.clusters.0.kept_changed", 0.06, "Without the 9 rows of the cluster of s#4 in the safe"),
        ("leverage.harmful.rows.0.kept_changed", 0.011, "Without the row s#4 in the harmful reference, 1% of"),
    ],
)
def test_one_thing_wrong_is_one_sentence(path: str, value: Any, said: str) -> None:
    found = quiet()
    place: Any = found
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if step.isdecimal() else step]
    place[last] = value
    (sentence,) = sentences(found)
    assert said in sentence


def test_what_the_harmful_reference_lacks_is_nothing_to_mend() -> None:
    found = quiet()
    found["coverage"]["harmful"]["facets"]["language"]["lacking"] = {"fi": 0.2}
    assert sentences(found) == []
