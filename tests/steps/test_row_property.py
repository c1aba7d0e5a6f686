"""Not one weight on a wrong row: rows shuffled, dropped, doubled, blanked, over other files, parts, tasks and workers.

What a row should have is found by another run, of the same rows sorted, in one file and by one task: a text has the
same score there. Texts are all different and so are nearly all scores, so that a misplaced one is seen.
"""

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sot_filter.executors import run_stages
from sot_filter.pinned import Plan
from sot_filter.plan import build_stages
from sot_filter.rows import EMPTY, RowKey, named
from sot_filter.workspace import claim
from tests.e2e.cases import Case, Row, read_rows
from tests.steps.published_run import check, marked, output_of

#: How far a score may be from that of the sorted rows: sums of float32 are taken in another order.
TOLERANCE = 2e-3
ENDINGS = (".parquet", ".jsonl", ".csv", ".arrow", ".json", ".jsonl.zst")
SEEDS = range(9)


def disturbed(rng: random.Random) -> list[Row]:
    """Rows shuffled, some dropped, some doubled, some blanked, each marked anew."""
    rows = marked(60, rng.randrange(1000))
    rng.shuffle(rows)
    rows = rows[: len(rows) - rng.randrange(15)]
    rows += [dict(row) for row in rng.sample(rows, rng.randrange(8))]
    for row in rng.sample(rows, rng.randrange(6)):
        row.update(prompt=" ", completion="")
    rng.shuffle(rows)
    return [{**row, "mark": f"m{i}"} for i, row in enumerate(rows)]


def cut(rows: list[Row], rng: random.Random, ending: str) -> dict[str, list[Row]]:
    """The rows over some files of any length, one may be a single row."""
    ends = sorted(rng.sample(range(1, len(rows)), rng.randrange(4)))
    pieces = [rows[a:b] for a, b in zip([0, *ends], [*ends, len(rows)], strict=True)]
    names = rng.sample(["a", "b", "c/d", "e f", "g#1"], len(pieces))
    return {name + ending: piece for name, piece in zip(names, pieces, strict=True)}


def by_hand(plan: Plan, tasks: int, rng: random.Random) -> None:
    """Every stage up to the publishing one, its tasks one after another in any order."""
    claim(plan)
    for stage in build_stages(plan)[: list(plan.keys).index("publish") + 1]:
        ranks = list(range(1 if stage.tasks == 1 else tasks))
        rng.shuffle(ranks)
        for rank in ranks:
            data: Any = None
            for step in stage.steps:
                data = step.run(data, rank, len(ranks))
            list(data)


def by_workers(plan: Plan) -> None:
    """The same stages, by the executor that the pipeline says."""
    claim(plan)
    run_stages(plan, build_stages(plan)[: list(plan.keys).index("publish") + 1])


def text_of(row: Row) -> str:
    return f"{row['prompt']}\n{row['completion']}".strip()


def outputs(plan: Plan) -> dict[str, list[Row]]:
    return {file.name: read_rows(output_of(plan, file)) for file in plan.sources["input"].files}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_row_has_its_own_weight(
    tmp_path: Path, encoder: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    rows = disturbed(rng)
    alone = Case(tmp_path / "sorted", encoder, {"all.jsonl": sorted(rows, key=text_of)})
    reference = alone.plan()
    by_hand(reference, 1, rng)
    scores: dict[str, float] = {}
    weights: dict[str, list[float]] = defaultdict(list)
    for row in outputs(reference)["all.jsonl"]:
        scores[text_of(row)] = row["sot_score"]
        weights[text_of(row)].append(row["sot_weight"])
    found = np.sort([score for text, score in scores.items() if text])
    assert np.mean(np.diff(found) > 2 * TOLERANCE) > 0.8

    ending, mode = ENDINGS[seed % len(ENDINGS)], ("columns", "sidecar")[seed % 4 == 3]
    prefix = ("sot_", "w_")[seed % 2]
    files = cut(rows, rng, ending)
    case = Case(tmp_path / "disturbed", encoder, files)
    case.settings["output"].update(mode=mode, prefix=prefix)
    monkeypatch.setattr(Plan, "part_rows", rng.choice([3, 7, 64]))
    if seed % 3 == 2:
        case.settings["executor"] = {"workers": 3 if seed % 2 else 1}
        monkeypatch.undo()
        plan = case.plan()
        by_workers(plan)
    else:
        plan = case.plan()
        by_hand(plan, rng.choice([1, 2, 5, 16]), rng)

    seen: dict[str, list[float]] = defaultdict(list)
    ids = set()
    for name, published in outputs(plan).items():
        assert len(published) == len(files[name])
        for i, (before, after) in enumerate(zip(files[name], published, strict=True)):
            row_id = after[named("sot_row_id", prefix)]
            assert RowKey.parse(row_id) == RowKey("default", "train", name, i)
            ids.add(row_id)
            if mode == "columns":
                assert {column: after[column] for column in before} == before
            text = text_of(before)
            assert float(after[named("sot_score", prefix)]) == pytest.approx(scores[text], abs=TOLERANCE)
            assert (after[named("sot_status", prefix)] == EMPTY) == (not text)
            seen[text].append(float(after[named("sot_weight", prefix)]))
    assert len(ids) == len(rows)
    assert seen.keys() == weights.keys()
    for text, some in seen.items():
        assert sorted(some) == pytest.approx(sorted(weights[text]), abs=TOLERANCE)
    for file in plan.sources["input"].files:
        check(plan, file)
