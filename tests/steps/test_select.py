"""Selection over scored tables: what its facts say of a row is what the row gets, one part or many."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sot_filter.errors import ConfigError
from sot_filter.rows import UNSCORED
from sot_filter.sources import Source, SourceFile
from sot_filter.steps.select import columns_read, decide, file_starts, places, resolve_rule
from sot_filter.steps.selecting import selection as selected
from sot_filter.weighting import UNKNOWN_WEIGHT, Canaries, weights

N = 200
SOLVE = {"temperature": 0.2, "unlike": {"similarity": 0.2, "surprise": 5.0, "language_share": 0.9}}


def settings(**changed: Any) -> dict[str, Any]:
    return {"rule": {"retention": 0.5}, "unknown": "keep", "minimum_retention": {}, "replicates": 0, **changed}


def source() -> Source:
    files = tuple(SourceFile(name, f"file:///{name}", ".jsonl", N // 2, 1, "sha256:0") for name in ("a", "b"))
    return Source("c", "s", "text", {"text": "text"}, files)


def selection(
    table: pa.Table, source: Source, solve: dict[str, Any], settings: dict[str, Any], canaries: Canaries | None = None
) -> dict[str, Any]:
    """Of one table; three of its rows share a text."""
    return selected([table], source, solve, settings, canaries, pa.chunked_array([[3]]))


def scored(seed: int = 0) -> pa.Table:
    """Rows of two languages, German ones with low scores; one in ten unknown, some without text, some of one text."""
    rng = np.random.default_rng(seed)
    language = np.where(rng.random(N) < 0.25, "de", "en").astype(object)
    score = (rng.normal(size=N) - 2.0 * (language == "de")).astype(np.float32)
    status = np.full(N, "embedded", object)
    status[[3, 150]] = "empty", "invalid"
    score[[3, 150]] = UNSCORED
    duplicate_of, unknown = np.full(N, "", object), (rng.random(N) < 0.1).astype(np.int8) * 2
    unknown[[3, 150]] = 0
    # A text in both files and both languages, as a user's own column may have it.
    score[[10, 110, 120]], unknown[[10, 110, 120]] = -3.0, 0
    language[[10, 110, 120]] = "en", "en", "de"
    duplicate_of[[10, 110, 120]] = "c/s/a#10"
    return pa.table(
        {
            "status": status.tolist(),
            "score": score,
            "duplicate_of": duplicate_of.tolist(),
            "unknown": unknown,
            "slice:language": language.tolist(),
            "slice:file": ["a"] * (N // 2) + ["b"] * (N // 2),
            "own": score,
        }
    )


def fate_of(table: pa.Table, facts: dict[str, Any], parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    starts, found = file_starts(source()), []
    for rows in np.array_split(np.arange(N), parts):
        part = table.slice(rows[0], len(rows))
        found.append(decide(part, places(part["duplicate_of"].to_numpy(), int(rows[0]), starts), facts))
    return tuple(np.concatenate(values) for values in zip(*found, strict=True))


@pytest.mark.parametrize("unknown", ["keep", "down_weight", "drop", "review"])
@pytest.mark.parametrize("minimum", [{}, {"language": 0.4}, {"language": 1.0, "file": 0.6}])
def test_each_row_is_decided_by_the_facts_alone(unknown: str, minimum: dict[str, float]) -> None:
    table, wanted = scored(), settings(unknown=unknown, minimum_retention=minimum)
    facts = selection(table.select(columns_read(wanted)), source(), SOLVE, wanted)
    kept, kept_for, weighing = fate_of(table, facts, 1)
    for parts in (2, 7, N):
        again = fate_of(table, facts, parts)
        assert (kept == again[0]).all()
        assert (kept_for == again[1]).all()
    assert facts["kept"] == kept.sum()
    assert facts["kept_for_slices"] == (kept_for != "").sum()
    given = weights(weighing, kept, facts["log_normaliser"])
    assert given[kept].mean() == pytest.approx(1, abs=1e-6)
    assert (given[~kept] == 0).all()
    assert len(set(kept[[10, 110, 120]])) == 1, "rows of one text share their fate"
    assert not kept[[3, 150]].any()


@pytest.mark.parametrize("unknown", ["keep", "drop"])
def test_every_slice_has_its_minimum(unknown: str) -> None:
    table, wanted = scored(), settings(unknown=unknown, minimum_retention={"language": 0.45, "file": 0.2})
    facts = selection(table, source(), SOLVE, wanted)
    kept, kept_for, _ = fate_of(table, facts, 1)
    plain, _, _ = fate_of(table, selection(table, source(), SOLVE, settings(unknown=unknown)), 1)
    may = (table["status"].to_numpy() == "embedded") & ((table["unknown"].to_numpy() == 0) | (unknown == "keep"))
    german = may & (table["slice:language"].to_numpy() == "de")
    assert plain[german].mean() < 0.2
    assert 0.45 <= kept[german].mean() < 0.45 + 3 / german.sum()
    assert (kept == (plain | (kept_for != ""))).all()
    assert set(kept_for[~plain & kept]) == {"language de"}
    score = table["score"].to_numpy()
    alone = german & (table["duplicate_of"].to_numpy() == "")
    assert score[alone & kept].min() >= score[alone & ~kept].max()


def test_a_text_kept_for_one_of_its_rows_is_kept_for_all() -> None:
    table, wanted = scored(), settings(minimum_retention={"language": 1.0})
    table = table.set_column(4, "slice:language", [["de" if i % 4 == 0 else f"x{i}" for i in range(N)]])
    facts = selection(table, source(), SOLVE, wanted)
    kept, kept_for, _ = fate_of(table, facts, 4)
    assert kept[[10, 110, 120]].all()
    assert set(kept_for[[10, 110, 120]]) == {"language de"}
    assert set(facts["kept_texts"]) == {"10"}


@pytest.mark.parametrize("unknown", ["drop", "review"])
def test_unknown_rows_are_not_selected_from_where_they_are_never_kept(unknown: str) -> None:
    table = scored()
    facts = selection(table, source(), SOLVE, settings(unknown=unknown))
    kept, _, _ = fate_of(table, facts, 1)
    strange = table["unknown"].to_numpy() != 0
    assert not kept[strange].any()
    assert facts["allowed"] == facts["scored"] - strange.sum()
    assert facts["kept"] == pytest.approx(0.5 * facts["allowed"], abs=0.5)


def test_unknown_rows_weigh_a_quarter_where_they_are_weighted_down() -> None:
    table = scored()
    found = {}
    for policy in ("keep", "down_weight"):
        facts = selection(table, source(), SOLVE, settings(unknown=policy))
        kept, _, weighing = fate_of(table, facts, 1)
        found[policy] = weights(weighing, kept, facts["log_normaliser"])[kept]
    ratio, strange = found["down_weight"] / found["keep"], table["unknown"].to_numpy()[kept] != 0
    assert ratio[strange] == pytest.approx(UNKNOWN_WEIGHT * ratio[~strange][0], rel=1e-5)
    assert ratio[~strange] == pytest.approx(ratio[~strange][0], rel=1e-6)


def test_where_every_row_is_unknown_and_none_may_be_kept_the_reason_is_given() -> None:
    table = scored()
    every = table.set_column(3, "unknown", [np.ones(N, np.int8)])
    with pytest.raises(ConfigError, match=r"got none: all 198 are unknown"):
        selection(every, source(), SOLVE, settings(unknown="drop"))


def log_odds(harmful: int) -> tuple[pa.Table, Canaries]:
    """Rows whose scores are log-odds, some of them harmful; and canaries alike."""
    rng, table = np.random.default_rng(3), scored()
    own = rng.normal(6, 1.5, N)
    own[rng.choice(np.arange(20, 100), harmful, replace=False)] -= 12
    own = own.astype(np.float32)
    own[[3, 150]], own[[110, 120]] = UNSCORED, own[10]
    for name in ("score", "own"):
        table = table.set_column(table.column_names.index(name), name, [own])
    return table, Canaries(rng.normal(6, 1.5, 400), rng.normal(-6, 1.5, 400))


@pytest.mark.parametrize("harmful", [0, 20, 60])
def test_auto_drops_the_harmful_rows_and_nothing_where_there_are_none(harmful: int) -> None:
    table, canaries = log_odds(harmful)
    solve = {**SOLVE, "temperature": None}
    facts = selection(table, source(), solve, settings(rule={"auto": {}}), canaries)
    kept, _, _ = fate_of(table, facts, 7)
    low = (table["own"].to_numpy() < 0) & (table["status"].to_numpy() == "embedded")
    assert not kept[low].any()
    assert facts["auto"] == {"dropped": 198 - facts["kept"], "missed": []}
    assert facts["harmful_share"]["found"] == (harmful > 0)
    assert facts["harmful_share"]["estimate"] == pytest.approx(harmful / 198, abs=0.05)
    assert harmful <= facts["auto"]["dropped"] <= 2 * harmful
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize("rule", [{"retention": 0.8}, {"top_k": 50}, {"threshold": 0.0}])
def test_other_rules_cut_as_ever_and_report_the_share_all_the_same(rule: dict[str, float]) -> None:
    table, canaries = log_odds(20)
    solve = {**SOLVE, "temperature": None}
    without = selection(table, source(), solve, settings(rule=rule))
    facts = selection(table, source(), solve, settings(rule=rule), canaries)
    assert facts["harmful_share"]["estimate"] == pytest.approx(20 / 198, abs=0.05)
    assert facts["auto"] is None
    assert 0 <= facts["canaries"]["harmful_kept"] <= 1
    named = ("harmful_share", "canaries")
    assert {k: v for k, v in facts.items() if k not in named} == {k: v for k, v in without.items() if k not in named}
    assert without["harmful_share"] is None


def test_the_share_is_of_the_rows_that_may_be_kept() -> None:
    table, canaries = log_odds(20)
    facts = selection(table, source(), {**SOLVE, "temperature": None}, settings(unknown="drop"), canaries)
    known = (table["unknown"].to_numpy() == 0) & (table["status"].to_numpy() == "embedded")
    own = table["own"].to_numpy()[known]
    assert facts["harmful_share"]["rows"] == known.sum() == facts["allowed"]
    assert facts["harmful_share"]["looks_harmful"] == (own < 0).sum()
    place = np.where(np.isin(np.arange(N), [110, 120]), 10, np.arange(N))[known]
    _, likewise = resolve_rule({"retention": 0.5}, own, own, place, canaries)
    assert facts["harmful_share"] == likewise["harmful_share"]


def test_auto_needs_log_odds_and_keeps_at_least_one_row() -> None:
    own, place = np.full(5, -9.0, np.float32), np.arange(5)
    with pytest.raises(ConfigError, match=r"log-odds as scores"):
        resolve_rule({"auto": {}}, own, own, place, None)
    canaries = Canaries(np.full(50, 9.0), np.full(50, -9.0))
    assert resolve_rule({"auto": {}}, own, own, place, canaries).rule == {"top_k": 1}
    assert resolve_rule({"retention": 0.5}, own, own, place, None).rule == {"retention": 0.5}
