"""The demo's figures against facts that were found without the package."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit

from sot_filter.config import load_pipeline
from sot_filter.planning import make_plan
from sot_filter.verification import verify_run
from tests.e2e.cases import read_rows
from tests.e2e.judge import calibrated, costs, learned, neighbourhoods, points, potential, shared
from tests.e2e.processes import Ended, sot_filter

Demo = tuple[Path, Ended, tuple[str, ...]]


@pytest.fixture(scope="module")
def rows(demo: Demo) -> list[dict[str, Any]]:
    folder, ended, _ = demo
    assert ended.code == 0, ended.err
    return read_rows(folder / "out" / "rows.jsonl")


@pytest.fixture(scope="module")
def summary(demo: Demo) -> dict[str, Any]:
    return json.loads((demo[0] / "out" / "summary.json").read_text())


def column(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.asarray([row[name] for row in rows])


def test_planted_rows_are_caught(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    planted, kept = column(rows, "planted"), column(rows, "sot_keep")
    assert (len(rows), planted.sum()) == (500, 50)
    assert kept.sum() == summary["selection"]["rule"]["retention"] * 500
    assert (planted & ~kept).sum() >= 44
    assert (~planted & ~kept).sum() <= 16
    scores = column(rows, "sot_score")
    auroc = np.mean(scores[~planted][:, None] > scores[planted])
    assert auroc > 0.98
    quality = summary["quality"]
    assert quality["auroc"] == pytest.approx(auroc, abs=1e-3)
    assert (quality["harmful"], quality["harmful_dropped"]) == (50, (planted & ~kept).sum())
    assert (quality["benign"], quality["benign_dropped"]) == (450, (~planted & ~kept).sum())


def test_scores_are_those_of_an_independent_solve(
    demo: Demo, rows: list[dict[str, Any]], summary: dict[str, Any]
) -> None:
    problem, n = summary["problem"], len(rows)
    assert summary["solve"]["distinct_rows"] == n, "no row is a duplicate, so every row has the same mass"
    assert problem["rho_safe"] == problem["rho_harmful"] == 0, "the potentials are kernel densities"
    balance, epsilon = problem["push_strength"], problem["epsilon"]
    z, safe, harmful = points(demo[0] / "work")

    def potentials(at: np.ndarray, *references: np.ndarray) -> list[np.ndarray]:
        return [potential(1 - at @ y.T, np.full(len(at), 1 / len(at)), epsilon, 0, 0) for y in references]

    draw = torch.Generator().manual_seed(0)
    folds = [torch.randperm(len(y), generator=draw).numpy() % 5 for y in (safe, harmful)]
    fold, y = np.concatenate(folds), np.concatenate([safe, harmful])
    held_out = np.empty((2, len(y)))
    for k in range(5):
        held_out[:, fold == k] = potentials(y[fold == k], safe[folds[0] != k], harmful[folds[1] != k])
    fit, margin = learned(safe, harmful, fold, (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5))
    a, b, c = calibrated(balance * held_out[1] - (1 - balance) * held_out[0], margin, len(safe))
    assert problem["tau"] == pytest.approx(1 / a, rel=1e-3)

    pull, push = potentials(z, safe, harmful)
    own = a * (balance * push - (1 - balance) * pull) + b * (z @ fit[:-1] + fit[-1]) + c
    expected = shared(own, neighbourhoods(z, problem["neighbours"]))
    np.testing.assert_allclose(column(rows, "sot_pull"), pull, atol=1e-5)
    np.testing.assert_allclose(column(rows, "sot_push"), push, atol=1e-5)
    np.testing.assert_allclose(column(rows, "sot_score"), expected, atol=2e-3, rtol=5e-4)
    assert summary["solve"]["kept_share"] == pytest.approx(expit(expected).mean(), abs=1e-5)
    kept = column(rows, "sot_keep")
    weight = expit(expected) / expit(expected)[kept].mean()
    np.testing.assert_allclose(column(rows, "sot_weight")[kept], weight[kept], rtol=1e-4)


def test_weights_and_their_worth(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    weights, kept = column(rows, "sot_weight"), column(rows, "sot_keep")
    assert not weights[~kept].any()
    assert (weights[kept] > 0).all()
    assert weights[kept].mean() == pytest.approx(1, abs=1e-6)
    kish = weights.sum() ** 2 / (weights**2).sum()
    assert summary["kept"]["effective_sample_size"] == pytest.approx(kish, rel=1e-5)
    assert summary["selection"]["effective_sample_size"] == pytest.approx(kish, rel=1e-4)
    assert summary["kept"]["share"] == kept.mean() == summary["selection"]["rule"]["retention"]
    scores = column(rows, "sot_score")
    ratio = weights[kept] / expit(scores[kept])
    assert ratio.max() == pytest.approx(ratio.min(), rel=1e-5), "as the probability that the row is kept"
    assert summary["solve"]["temperature"] is None
    assert scores[kept].min() >= scores[~kept].max()


def test_nearest_rows_are_the_nearest(demo: Demo, rows: list[dict[str, Any]]) -> None:
    for role, cost in zip(("safe", "harmful"), costs(demo[0] / "work"), strict=True):
        lines = (demo[0] / "work" / "references" / f"{role}.jsonl").read_text().splitlines()
        ids = {json.loads(line)["sot_row_id"]: i for i, line in enumerate(lines)}
        named = [ids[row_id] for row_id in column(rows, f"sot_nearest_{role}")]
        np.testing.assert_allclose(cost[np.arange(len(rows)), named], cost.min(1), atol=1e-5)
        similarity = [float(row["sot_reason"].split(f" to the nearest {role}")[0].split()[-1]) for row in rows]
        np.testing.assert_allclose(similarity, 1 - cost.min(1), atol=0.006)
        assert all(row_id.startswith(f"demo-{role}:default/train/{role}.jsonl#") for row_id in ids)


def test_it_can_be_verified(demo: Demo, rows: list[dict[str, Any]]) -> None:
    overrides = [value for value in demo[2] if value != "--set"]
    checks = verify_run(make_plan(load_pipeline("pipelines/demo.yaml", overrides)))
    assert [check.name for check in checks if not check.passed] == []


def test_the_screen_says_what_the_files_say(demo: Demo, rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    out = demo[1].out
    assert str(sum(row["sot_keep"] for row in rows)) in out
    assert f"{summary['kept']['share']:.1%}" in out
    assert f"{summary['quality']['auroc']:.3f}" in out
    assert summary["solve"]["outcome"] in out
    assert summary["solve"]["outcome"] == "converged"
    assert (demo[0] / "out" / "map.png").read_bytes().startswith(b"\x89PNG")


def test_the_cut_is_made_again_at_once(demo: Demo, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    folder, _, settings = demo
    stored = {
        path: path.stat().st_mtime_ns for s in ("embed", "solve", "weigh") for path in folder.glob(f"work/{s}/**/*")
    }
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    started = time.monotonic()
    ended = sot_filter(["select", "pipelines/demo.yaml", *settings, "--retention", "0.5"], tmp_path)
    assert time.monotonic() - started < 5
    assert ended.code == 0, ended.err
    assert sum(row["sot_keep"] for row in read_rows(folder / "out" / "rows.jsonl")) == 250
    back = sot_filter(["select", "pipelines/demo.yaml", *settings], tmp_path)
    assert back.code == 0, back.err
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    after = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    assert after == before
