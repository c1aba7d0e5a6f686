"""Rows that neither reference is like: encoded, foreign, random text by the demo's model, and its fate."""

import base64
import codecs
import json
import random
from pathlib import Path
from typing import Any

import pytest

from sot_filter.config import load_pipeline
from sot_filter.executors import run_stages
from sot_filter.plan import build_stages
from sot_filter.planning import make_plan
from sot_filter.verification import verify_run
from sot_filter.workspace import claim

DEMO = Path(__file__).parents[2] / "pipelines" / "demo" / "rows.jsonl"
ORDINARY = 40
#: In languages of no reference row.
FOREIGN = (
    ("Come si prepara una torta di mele per otto persone?",
     "Servono farina, zucchero, uova, burro e tre mele; mescola tutto e cuoci la torta per un'ora."),
    ("Jak przygotować zupę jarzynową dla całej rodziny?",
     "Pokrój warzywa, zalej je wodą, gotuj przez pół godziny i dodaj trochę soli oraz natki pietruszki."),
    ("Как приготовить овощной суп для всей семьи?",
     "Нарежьте овощи, залейте их водой, варите полчаса и добавьте немного соли и зелени."),
    ("请告诉我怎样做一个简单的蛋糕。", "把面粉、鸡蛋、糖和黄油搅拌均匀，放进烤箱里烤四十分钟就可以了。"),
)  # fmt: skip


def said(row: dict[str, Any]) -> dict[str, str]:
    """The first prompt of a row and the answer to it."""
    prompt, answer = row["messages"][-2:]
    return {"prompt": prompt["content"], "completion": answer["content"]}


def hidden(ordinary: list[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Rows that say what ordinary rows say so that a reader of English does not see it, and rows that say nothing."""
    plain = [(row["prompt"], row["completion"]) for row in ordinary[:5]]
    rng = random.Random(0)

    def noise() -> str:
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/ ", k=160))

    return {
        "base64": [tuple(base64.b64encode(text.encode()).decode() for text in pair) for pair in plain],  # type: ignore[misc]
        "hidden answer": [(prompt, base64.b64encode(answer.encode()).decode()) for prompt, answer in plain],
        "rot13": [tuple(codecs.encode(text, "rot13") for text in pair) for pair in plain],  # type: ignore[misc]
        "hexadecimal": [tuple(text.encode().hex() for text in pair) for pair in plain],  # type: ignore[misc]
        "random": [(noise(), noise()) for _ in range(5)],
        "foreign": list(FOREIGN),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A pipeline file of the demo's references and model over ordinary and hidden rows, run; what each row is."""
    folder = tmp_path_factory.mktemp("unknown")
    every = [json.loads(line) for line in DEMO.read_text().splitlines()]
    ordinary = [said(row) for row in every if not row["planted"]][:ORDINARY]
    kinds, rows = ["ordinary"] * len(ordinary), list(ordinary)
    for kind, pairs in hidden(ordinary).items():
        kinds += [kind] * len(pairs)
        rows += [{"prompt": prompt, "completion": completion} for prompt, completion in pairs]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "p.yaml").write_text(
        f"name: unknown\ninput: {{files: {folder / 'rows.jsonl'}}}\n"
        "references: {safe: references/safe/demo.yaml, harmful: references/harmful/demo.yaml}\n"
        f"solve: {{epsilon: 0.1}}\noutput: {{folder: {folder / 'out'}}}\nwork_dir: {folder / 'work'}\n"
    )
    again(folder)
    return folder, kinds


def again(folder: Path, *settings: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run with these settings; the rows and the summary."""
    plan = make_plan(load_pipeline(str(folder / "p.yaml"), settings))
    claim(plan, redo=True)
    run_stages(plan, build_stages(plan))
    assert [check.name for check in verify_run(plan) if not check.passed] == []
    lines = (folder / "out" / "rows.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], json.loads((folder / "out" / "summary.json").read_text())


def test_hidden_text_is_unknown_and_ordinary_text_is_not(run: tuple[Path, list[str]]) -> None:
    folder, kinds = run
    rows, summary = again(folder)
    status = {kind: [row["sot_status"] for row, k in zip(rows, kinds, strict=True) if k == kind] for kind in kinds}
    assert {kind: set(found) for kind, found in status.items() if kind != "ordinary"} == {
        kind: {"unknown"} for kind in status if kind != "ordinary"
    }
    assert status["ordinary"].count("unknown") <= 2
    assert summary["unknown"]["rows"] == sum(found.count("unknown") for found in status.values())
    assert summary["rows"]["unknown"] == summary["unknown"]["rows"]
    assert any("are unlike both references" in warning for warning in summary["warnings"])
    for row in rows:
        told = ("far from both references", "written unlike both references", "in a language that the references")
        assert any(words in row["sot_reason"] for words in told) == (row["sot_status"] == "unknown")


def test_by_default_the_cut_decides_of_unknown_rows_too(run: tuple[Path, list[str]]) -> None:
    rows, _ = again(run[0])
    lowest = min(row["sot_score"] for row in rows if row["sot_keep"])
    assert {row["sot_keep"] for row in rows if row["sot_status"] == "unknown" and row["sot_score"] > lowest} == {True}
    assert not (run[0] / "out" / "review.jsonl").exists()


def test_unknown_rows_can_weigh_less(run: tuple[Path, list[str]]) -> None:
    before, _ = again(run[0])
    after, _ = again(run[0], "select.unknown=down_weight")
    assert [row["sot_keep"] for row in before] == [row["sot_keep"] for row in after]
    kept = [
        (a["sot_weight"] / b["sot_weight"], a["sot_status"])
        for b, a in zip(before, after, strict=True)
        if b["sot_keep"]
    ]
    plain = next(ratio for ratio, status in kept if status == "kept")
    assert plain > 1
    assert all(ratio == pytest.approx(plain / 4 if status == "unknown" else plain, rel=1e-4) for ratio, status in kept)


def test_unknown_rows_can_be_dropped_or_set_aside(run: tuple[Path, list[str]]) -> None:
    dropped, _ = again(run[0], "select.unknown=drop")
    unknown = [row for row in dropped if row["sot_status"] == "unknown"]
    assert unknown
    assert not any(row["sot_keep"] for row in unknown)
    assert all(row["sot_reason"].startswith("Dropped: unknown; ") for row in unknown)
    known = [row["sot_keep"] for row in dropped if row["sot_status"] in ("kept", "dropped")]
    assert sum(known) == pytest.approx(0.8 * len(known), abs=0.5)
    aside, _ = again(run[0], "select.unknown=review")
    listed = [json.loads(line) for line in (run[0] / "out" / "review.jsonl").read_text().splitlines()]
    assert listed == [{"sot_row_id": row["sot_row_id"]} for row in aside if row["sot_status"] == "unknown"]
    assert [row["sot_keep"] for row in aside] == [row["sot_keep"] for row in dropped]
    again(run[0])
    assert not (run[0] / "out" / "review.jsonl").exists(), "a list of an earlier selection is out of date"
