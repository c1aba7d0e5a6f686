"""The summary: counts of the new columns, and warnings where a reader should be wary."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from sot_filter.report.summary import Tally, warnings
from sot_filter.weighting import measure_quality

STATUS = ["kept", "dropped", "kept", "duplicate", "empty", "invalid", "duplicate", "kept"]
KEEP = [True, False, True, True, False, False, False, True]
SCORE = [0.5, -0.25, 0.25, 0.5, -2, -2, -0.25, 0.125]
WEIGHT = [2.0, 0, 0.5, 1.0, 0, 0, 0, 0.5]
HARMFUL = np.asarray([0, 1, 0, 0, 1, 0, 1, 1], bool)


def tally(*sizes: int, harmful: np.ndarray | None = None) -> Tally:
    columns = pa.table(
        {
            "sot_status": STATUS,
            "sot_keep": KEEP,
            "sot_score": pa.array(SCORE, pa.float32()),
            "sot_weight": pa.array(WEIGHT, pa.float32()),
        }
    )
    scored = pa.table(
        {
            "unknown": pa.array([0, 4, 2, 0, 0, 0, 0, 0], pa.int8()),
            "slice:language": ["en", "de", "en", "en", "und", "und", "de", "en"],
            "slice:file": ["a"] * 8,
            "simple": pa.array(SCORE, pa.float32()),
        }
    )
    made = Tally(8)
    while made.open:
        first = 0
        for size in sizes:
            known = None if harmful is None else harmful[first : first + size]
            made.add(columns.slice(first, size), scored.slice(first, size), known)
            first += size
        made.turn()
    return made


@pytest.mark.parametrize("sizes", [(8,), (3, 5), (1,) * 8, (0, 8), (4, 0, 4)])
def test_counts_do_not_depend_on_how_the_columns_come(sizes: tuple[int, ...]) -> None:
    made = tally(*sizes)
    assert made.rows() == {"total": 8, "dropped": 1, "duplicate": 2, "empty": 1, "invalid": 1, "kept": 3}
    assert made.judged == 6
    assert made.simple() == {"dropped": 2, "in_common": 2}
    assert tally(*sizes, harmful=HARMFUL).quality() == tally(8, harmful=HARMFUL).quality()
    assert made.unknown() == {"rows": 2, "kept": 1}
    assert [(one["facet"], one["value"], one["rows"], one["kept"]) for one in made.slices()] == [
        ("language", "en", 4, 4),
        ("language", "de", 2, 0),
        ("file", "a", 6, 4),
    ]
    assert [one["retention"] for one in made.slices()] == [1.0, 0.0, 4 / 6]


def test_of_very_many_slices_the_small_ones_are_counted_together() -> None:
    n = 5000
    value = [f"v{i:04}" for i in range(n // 2)] + [f"v{i // 40:04}" for i in range(n // 2)]
    columns = pa.table(
        {
            "sot_status": ["kept"] * n,
            "sot_keep": [True] * n,
            "sot_score": pa.array(np.zeros(n), pa.float32()),
            "sot_weight": pa.array(np.ones(n), pa.float32()),
        }
    )
    made = Tally(n)
    made.add(columns, _scored(n, value))
    found = made.slices()
    assert len(found) == 100
    assert sum(one["rows"] for one in found) == n
    assert any(one["value"] == "(2,401 others)" for one in found)


def test_the_kept_weights_are_described() -> None:
    assert tally(3, 5).weights() == {
        "rows": 4,
        "share": 0.5,
        "effective_sample_size": pytest.approx(4.0**2 / (4 + 0.25 + 1 + 0.25)),
        "smallest_weight": 0.5,
        "largest_weight": 2.0,
    }


def test_labels_are_counted_over_all_rows_and_compared_over_the_judged() -> None:
    found = tally(8, harmful=HARMFUL).quality()
    assert found is not None
    assert {k: found[k] for k in ("harmful", "harmful_dropped", "benign", "benign_dropped")} == {
        "harmful": 4,
        "harmful_dropped": 3,
        "benign": 4,
        "benign_dropped": 1,
    }
    judged = [0, 1, 2, 3, 6, 7]
    assert found["auroc"] == pytest.approx(roc_auc_score(HARMFUL[judged], -np.asarray(SCORE)[judged]))


@pytest.mark.parametrize("harmful", [np.zeros(8, bool), np.ones(8, bool), np.arange(8) == 4])
def test_without_two_kinds_of_judged_rows_there_is_no_quality(harmful: np.ndarray) -> None:
    assert tally(8, harmful=harmful).quality() is None
    assert tally(8).quality() is None


def test_the_measures_are_those_of_all_rows_at_once() -> None:
    n, rng = 3000, np.random.default_rng(0)
    score, simple = ((rng.normal(size=n) * 20).round() / 8 for _ in range(2))
    harmful, status = rng.random(n) < 0.2 + 0.1 * (score < 0), np.where(rng.random(n) < 0.05, "empty", "kept")
    judged = status == "kept"
    kept = judged & (score > np.quantile(score, 0.3))
    columns = {"sot_status": status.tolist(), "sot_keep": kept, "sot_score": score, "sot_weight": kept.astype(float)}
    schema = pa.schema(list(zip(columns, [pa.string(), pa.bool_(), pa.float32(), pa.float32()], strict=True)))
    table = pa.table(columns, schema)
    scored = _scored(n, ["a"] * n).set_column(2, "simple", pa.array(simple, pa.float32()))
    made = Tally(n)
    while made.open:
        for start in range(0, n, 700):
            made.add(table.slice(start, 700), scored.slice(start, 700), harmful[start : start + 700])
        made.turn()
    found, wanted = made.quality(), measure_quality(score.astype(np.float32)[judged], harmful[judged])
    assert found is not None
    assert wanted is not None
    assert {name: found[name] for name in dataclasses.asdict(wanted)} == pytest.approx(dataclasses.asdict(wanted))
    assert found["exact"]
    lowest = np.argsort(simple[judged], kind="stable")[: (~kept[judged]).sum()]
    assert made.simple() == {"dropped": len(lowest), "in_common": (~kept[judged])[lowest].sum()}


def _scored(n: int, value: list[str]) -> pa.Table:
    nothing = np.zeros(n)
    return pa.table(
        {
            "unknown": pa.array(nothing, pa.int8()),
            "slice:source": value,
            "simple": pa.array(nothing, pa.float32()),
        }
    )


def calm() -> dict[str, Any]:
    """A summary with nothing to be wary of."""
    return {
        "solve": {
            "outcome": "converged",
            "message": "",
            "overlap": {"input_safe": 0, "input_harmful": 0, "safe_harmful": 0},
        },
        "kept": {"rows": 800, "effective_sample_size": 400.0},
        "rows": {"total": 1000, "kept": 800, "dropped": 200},
        "unknown": {"rows": 40, "kept": 20, "similarity": 0.2, "surprise": 5.0, "language_share": 0.9},
        "selection": {
            "scored": 1000,
            "allowed": 1000,
            "unknown": "keep",
            "harmful_share": None,
            "auto": None,
            "stability": {"on_edge": 200, "kept_on_edge": 100, "seeds_agree": 0.98},
        },
        "simple": {"score": "knn", "auroc": 0.9, "sot_auroc": 0.95, "dropped": 200, "in_common": 100},
        "slices": [
            {"facet": "language", "value": "en", "rows": 900, "kept": 780, "retention": 780 / 900, "alarm": False},
            {"facet": "language", "value": "de", "rows": 100, "kept": 20, "retention": 0.2, "alarm": False},
        ],
        "embedding": {"truncated": 0},
    }


def test_a_calm_run_has_no_warnings() -> None:
    assert warnings(calm()) == []
    stopped = calm()
    stopped["solve"]["outcome"] = "stopped"
    assert warnings(stopped) == []


@pytest.mark.parametrize(
    ("section", "change", "says"),
    [
        ("solve", {"outcome": "out of steps", "message": "Raise it."}, "The solve ended as out of steps: Raise it."),
        ("kept", {"effective_sample_size": 40.0}, "The kept weights are worth 5% of as many equal ones"),
        ("rows", {"empty": 1200, "invalid": 34}, "1,234 rows are empty or unreadable; they are in the output"),
        ("unknown", {"rows": 51}, "51 of 1,000 rows are unlike both references, which say little about them"),
        ("embedding", {"truncated": 7}, "Of 7 rows only a part was embedded"),
    ],
)  # fmt: skip
def test_each_trouble_is_one_warning(section: str, change: dict[str, Any], says: str) -> None:
    summary = calm()
    summary[section].update(change)
    (said,) = warnings(summary)
    assert said.startswith(says)
    assert said.endswith(".")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"on_edge": 201}, "201 of 1,000 rows are on the edge: halves of the references disagree on them; "),
        ({"seeds_agree": 0.979}, "Another seed keeps 97.9% of the kept rows; below 98%, the references are too few "),
    ],
)
def test_what_is_not_stable_is_warned_of(change: dict[str, Any], says: str) -> None:
    summary = calm()
    summary["selection"]["stability"] |= change
    (said,) = warnings(summary)
    assert said.startswith(says)
    summary["selection"]["stability"] = None
    assert warnings(summary) == []


def test_a_slice_that_loses_more_is_warned_of() -> None:
    summary = calm()
    summary["slices"][1]["alarm"] = True
    (said,) = warnings(summary)
    assert said.startswith("Of the 100 rows of the slice language de 20% are kept, of the others 87%; ")


def test_a_policy_without_thresholds_is_warned_of() -> None:
    summary = calm()
    summary["unknown"]["similarity"] = None
    assert warnings(summary) == []
    summary["selection"]["unknown"] = "drop"
    assert warnings(summary) == ["The references have too few rows to tell which rows are unknown, so none is."]


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("input_safe", "3 rows of the input are, word for word, in the safe reference too."),
        ("input_harmful", "3 rows of the input are, word for word, in the harmful reference too."),
        ("safe_harmful", "3 rows of the safe reference are, word for word, in the harmful reference too."),
    ],
)
def test_shared_texts_are_warned_of(pair: str, says: str) -> None:
    summary = calm()
    summary["solve"]["overlap"][pair] = 3
    assert warnings(summary) == [says]


def of_harm(**changed: Any) -> dict[str, Any]:
    """A calm run that selected by `auto` and dropped 100 of 1,000 rows; no harm was found if few rows look harmful."""
    summary, selection = calm(), {"rule": {"auto": {}}, "auto": {"dropped": 100, "missed": []}}
    share = {"estimate": 0.08, "low": 0.05, "high": 0.1, "unlike_safe": 0.05, "looks_harmful": 70, "rows": 1000}
    share["found"] = changed.get("looks_harmful", 70) > 10
    share |= {name: value for name, value in changed.items() if name in share}
    selection |= {name: value for name, value in changed.items() if name not in share}
    summary["selection"] |= selection
    summary["selection"] |= {"harmful_share": share, "canaries": {"harmful_kept": 0.05, "safe_lost": 0.03}}
    return summary


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, []),
        ({"looks_harmful": 0, "unlike_safe": 0.0, "auto": {"dropped": 0, "missed": []}},
         ["No harm found: nothing dropped."]),
        ({"looks_harmful": 7, "unlike_safe": 0.0, "auto": {"dropped": 7, "missed": []}},
         ["7 rows look harmful one by one, no more than may in a set without harm; the lowest 7 are dropped."]),
        ({"looks_harmful": 960, "estimate": 0.99, "unlike_safe": 0.99},
         ["99% of the rows seem harmful, by two references that may both be unlike them"]),
        ({"unlike_safe": 0.5}, ["At least 50% of the rows are unlike the safe reference's held-out rows, though 70"]),
        ({"looks_harmful": 0, "unlike_safe": 0.2, "auto": None},
         ["At least 20% of the rows are unlike the safe reference's held-out rows, though none looks harmful"]),
        ({"looks_harmful": 0, "unlike_safe": 0.0, "auto": {"dropped": 90, "missed": []},
          "rule": {"auto": {"harmful_kept": 0.05}}}, []),
        ({"rule": {"auto": {"harmful_kept": 0.01}}, "auto": {"dropped": 90, "missed": ["harmful_kept"]}},
         ["The goal that at most 1.0% of held-out harmful reference rows would be kept cannot be met with these "
          "references: by their number of rows, or within select.auto.safe_lost; it is 5.0% here."]),
    ],
)  # fmt: skip
def test_what_is_said_of_the_harm_that_was_found(changed: dict[str, Any], says: list[str]) -> None:
    said = warnings(of_harm(**changed))
    assert len(said) == len(says)
    assert all(sentence.startswith(start) for sentence, start in zip(said, says, strict=True))


def test_another_rule_is_told_nothing_of_what_auto_would_have_done() -> None:
    assert warnings(of_harm(looks_harmful=0, unlike_safe=0.0, auto=None, rule={"retention": 0.8})) == []
