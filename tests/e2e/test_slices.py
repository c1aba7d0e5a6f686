"""Slices of a run: counted in the summary, warned of, and kept at a minimum that outlives a new cut."""

import random

import pytest

from sot_filter.verification import verify_run
from tests.e2e.cases import KITCHEN, NUMBERS, Case, as_format, sentence
from tests.e2e.conftest import Cli, MakeCase


@pytest.fixture
def case(make_case: MakeCase) -> Case:
    """Two hundred rows, those of one topic nearly all of the harmful kind, with a text that both topics share."""
    rng = random.Random(5)
    rows = []
    for i in range(200):
        topic = "numbers" if i % 4 == 0 else "kitchen"
        words = NUMBERS if topic == "numbers" else KITCHEN
        rows.append({**as_format("prompt_completion", sentence(words, rng), sentence(words, rng)), "topic": topic})
    worst = as_format("prompt_completion", "one two three four", "five six seven eight nine")
    rows += [{**worst, "topic": "kitchen"}, {**worst, "topic": "numbers"}]
    made = make_case(a__jsonl=rows[:150], b__jsonl=rows[150:])
    made.settings["input"]["slices"] = ["topic"]
    made.settings["select"] = {"retention": 0.7}
    return made


def kept_of(case: Case, topic: str) -> float:
    kept = [row["sot_keep"] for row in case.rows() if row["topic"] == topic]
    return sum(kept) / len(kept)


def test_every_facet_is_counted_and_a_loss_is_said(case: Case) -> None:
    case.run()
    found = case.summary()["slices"]
    assert {one["facet"] for one in found} == {"file", "language", "length", "format", "code", "topic"}
    for facet in ("file", "language", "length", "format", "code", "topic"):
        mine = [one for one in found if one["facet"] == facet]
        assert sum(one["rows"] for one in mine) == 202
        assert sum(one["kept"] for one in mine) == case.summary()["kept"]["rows"]
    topics = {one["value"]: one for one in found if one["facet"] == "topic"}
    assert {value: one["retention"] for value, one in topics.items()} == {
        value: kept_of(case, value) for value in ("numbers", "kitchen")
    }
    assert [topics[value]["alarm"] for value in ("numbers", "kitchen")] == [True, False]
    (said,) = (warning for warning in case.summary()["warnings"] if "slice" in warning)
    assert said.startswith("Of the 51 rows of the slice topic numbers ")


def test_a_minimum_is_kept_and_said_and_verified(case: Case) -> None:
    case.run()
    before = case.rows()
    assert kept_of(case, "numbers") < 0.3
    plan = case.run("select.minimum_retention={topic: 0.6}", redo=True)
    after = case.rows()
    assert 0.6 <= kept_of(case, "numbers") < 0.66
    assert all(b["sot_keep"] <= a["sot_keep"] for b, a in zip(before, after, strict=True))
    rescued = [a for b, a in zip(before, after, strict=True) if a["sot_keep"] and not b["sot_keep"]]
    assert len(rescued) == case.summary()["selection"]["kept_for_slices"]
    assert all("but the slice topic numbers would keep less" in row["sot_reason"] for row in rescued)
    kept = [row["sot_weight"] for row in after if row["sot_keep"]]
    assert sum(kept) / len(kept) == pytest.approx(1, abs=1e-5)
    assert [check.name for check in verify_run(plan) if not check.passed] == []


def test_rows_of_one_text_share_their_fate_across_slices(case: Case) -> None:
    for minimum in ("0.6", "1.0"):
        case.run(f"select.minimum_retention={{topic: {minimum}}}", redo=True)
        copies = case.rows()[-2:]
        assert [row["topic"] for row in copies] == ["kitchen", "numbers"]
        assert len({(row["sot_keep"], row["sot_score"], row["sot_weight"]) for row in copies}) == 1
    assert copies[0]["sot_keep"]


def test_a_new_cut_leaves_minimum_and_policy_as_they_are(case: Case, cli: Cli) -> None:
    case.settings["select"] = {"retention": 0.9, "minimum_retention": {"topic": 0.5}, "unknown": "down_weight"}
    case.run()
    assert cli("select", case.pipeline, "--top-k", "60").code == 0
    selection = case.summary()["selection"]
    assert selection["rule"] == {"top_k": 60}
    assert selection["unknown"] == "down_weight"
    assert kept_of(case, "numbers") >= 0.5


def test_unknown_facets_and_columns_are_refused(case: Case, cli: Cli) -> None:
    ended = cli("validate", case.pipeline, "--set", "select.minimum_retention={lanugage: 0.5}")
    assert ended.code == 2
    assert "got lanugage. Add the column to input.slices." in ended.err
    ended = cli("validate", case.pipeline, "--set", "input.slices=[topics]")
    assert ended.code == 2
    assert "got no topics. Correct input.slices." in ended.err
