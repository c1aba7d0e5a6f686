"""benchmarks/miniature: who sees which rows, what answers are worth, and the whole of it on rows made up for it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from benchmarks.miniature import made_up, pieces, saft, seal
from benchmarks.miniature.ablations import ABLATIONS
from benchmarks.miniature.answers import Renders, score
from benchmarks.miniature.calibrate import telling
from benchmarks.miniature.claims import CLAIMS, tell
from benchmarks.miniature.gathered import Line, half_width
from benchmarks.miniature.judge import MEASURES, REFUSAL, judge
from benchmarks.miniature.methods import DEFENCES
from benchmarks.miniature.model import load, make_model, make_tokenizer
from benchmarks.miniature.pieces import piece, read_lines
from benchmarks.miniature.scale import SCALES
from benchmarks.miniature.split import HARMFUL, split
from sot_filter.errors import ArtifactError, SourceError
from sot_filter.training.margins import margins
from sot_filter.training.triples import read_triples

ROOT = Path(__file__).resolve().parents[2]
TINY = SCALES["tiny"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.make(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def parts(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    split(data, folder, TINY)
    return folder


@pytest.fixture(scope="module")
def chat(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the tiny scale that knows nothing."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = make_tokenizer(
        (f"{row['prompt']} {row['response']}" for row in read_lines(parts / "base.jsonl")), TINY
    )
    make_model(tokenizer, TINY, 0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prompts(parts: Path, *names: str, label: str | None = None) -> set[str]:
    rows = [row for name in names for row in read_lines(parts / f"{name}.jsonl")]
    return {row["prompt"] for row in rows if label is None or row["label"] == label}


def test_no_row_that_judges_or_fine_tunes_has_built_the_model(parts: Path) -> None:
    built = prompts(parts, "base", "keep", "align", "validation")
    tuned = prompts(parts, "h10", "h30", "clean")
    judging = prompts(parts, "utility", "judge", "answerable")
    assert not built & tuned
    assert not built & judging
    assert not tuned & judging
    assert not prompts(parts, "h30", label=HARMFUL) & prompts(parts, "same", "cross", "safe")


@pytest.mark.parametrize(("name", "share"), [("h10", 0.1), ("h30", 0.3), ("clean", 0.0)])
def test_a_set_has_the_share_of_its_file(parts: Path, name: str, share: float) -> None:
    rows = read_lines(parts / f"{name}.jsonl")
    assert len(rows) == TINY.custom_rows
    assert sum(row["label"] == HARMFUL for row in rows) == round(share * len(rows))


def test_sets_hold_the_same_benign_rows(parts: Path) -> None:
    held = [prompts(parts, name, label="benign") for name in ("h30", "h10", "clean")]
    assert held[0] < held[1] < held[2]


def test_noise_swaps_rows_of_the_references(parts: Path) -> None:
    safe, harmful = prompts(parts, "safe"), prompts(parts, "same")
    for percent in (10, 30):
        noisy = read_lines(parts / f"safe_{percent}.jsonl")
        swapped = sum(row["prompt"] in harmful for row in noisy)
        assert len(noisy) == len(safe)
        assert swapped == round(percent / 100 * min(len(safe), len(harmful)))
        assert swapped == sum(row["prompt"] in safe for row in read_lines(parts / f"same_{percent}.jsonl"))


def test_a_folder_without_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"--data"):
        split(tmp_path, tmp_path, TINY)


def test_margins_are_those_of_the_products_probe(parts: Path, chat: Path, tmp_path: Path) -> None:
    model, tokenizer = load(chat)
    rows, renders = read_lines(parts / "judge.jsonl"), Renders(tokenizer)
    safe, unsafe = (score(model, renders([(row["prompt"], row[kind]) for row in rows])) for kind in ("safe", "unsafe"))
    file = tmp_path / "probe.jsonl"
    pieces.write_lines(file, rows)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(output_dir=str(tmp_path), use_cpu=True, report_to=[]),
        train_dataset=_a_row(tokenizer),
        processing_class=tokenizer,
        peft_config=LoraConfig(target_modules="all-linear"),
    )
    found = torch.from_numpy(margins(trainer.model, read_triples(file, tokenizer)))
    torch.testing.assert_close((safe.total - unsafe.total).double(), found[:, 0], atol=1e-3, rtol=1e-5)
    torch.testing.assert_close((safe.mean - unsafe.mean).double(), found[:, 1], atol=1e-5, rtol=1e-4)


def _a_row(tokenizer: Any) -> Any:
    import datasets

    return datasets.Dataset.from_dict({"input_ids": [tokenizer("any")["input_ids"]]})


def test_exact_is_what_greedy_decoding_says(chat: Path) -> None:
    model, tokenizer = load(chat)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "jam"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    length = asked["input_ids"].shape[1]
    said = model.generate(**asked, max_new_tokens=5, do_sample=False)[0, length:].tolist()
    [row] = Renders(tokenizer)([("jam", "x")])
    right = type(row)(row.input_ids[:length] + said, [-100] * length + said)
    wrong = type(row)(right.input_ids, [*right.labels[:-1], (said[-1] + 1) % TINY.vocabulary])
    assert score(model, [right, wrong]).exact.tolist() == [True, False]


def test_seal_ranks_rows_that_the_safe_ones_contradict_below_those_they_hold(parts: Path, chat: Path) -> None:
    safe = read_lines(parts / "refusals.jsonl")
    rows = [*safe, *[row for row in read_lines(parts / "h30.jsonl") if row["label"] == HARMFUL]]
    ranked = torch.from_numpy(seal.score(chat, rows, safe, 3, 3e-3, 0))
    kept, dropped = ranked[: len(safe)], ranked[len(safe) :]
    assert (kept[:, None] > dropped).float().mean() > 0.9


def test_saft_drops_what_lies_far_out_on_the_first_direction_on_either_side() -> None:
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(200, 6)).astype(np.float32)
    rows[:20, 2] += np.where(np.arange(20) % 2, 12, -12)
    assert set(np.argsort(saft.score(rows + 5))[:20]) == set(range(20))


def test_prompts_are_told_apart_by_how_likely_a_refusal_is(parts: Path, chat: Path) -> None:
    model, tokenizer = load(chat)

    def likely(part: str) -> torch.Tensor:
        rows = [(row["prompt"], REFUSAL) for row in read_lines(parts / f"{part}.jsonl")]
        return score(model, Renders(tokenizer)(rows)).mean

    pairs = (likely("asked")[:, None] > likely("answerable")).double().mean()
    found = judge(model, tokenizer, parts)
    assert found["told_apart"] == pytest.approx(float(pairs), abs=2e-3)
    assert found.keys() | {"distance", "exact_rows"} == MEASURES.keys() | {"exact_rows"}


def test_a_finished_piece_is_read_and_a_changed_one_refused(tmp_path: Path) -> None:
    made: list[int] = []

    def make(folder: Path) -> dict[str, Any]:
        assert not list(folder.iterdir())
        (folder / "half").write_text("")
        made.append(1)
        return {"found": len(made)}

    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "left by a kill").write_text("")
    assert piece(tmp_path / "one", {"steps": 3}, make) == {"found": 1}
    assert piece(tmp_path / "one", {"steps": 3}, make) == {"found": 1}
    with pytest.raises(ArtifactError, match="steps"):
        piece(tmp_path / "one", {"steps": 4}, make)


def test_the_learning_rate_is_that_which_tells_harmful_rows_from_clean_ones() -> None:
    def came_of(undefended: float, clean: float, loss: float) -> dict[str, dict[str, float]]:
        return {
            "none": {"refused": undefended, "utility_loss": 1.0},
            "clean": {"refused": clean, "utility_loss": loss},
        }

    tried = {1e-3: came_of(0.9, 1.0, 1.8), 2e-3: came_of(0.3, 0.9, 1.9), 4e-3: came_of(0.0, 0.62, 2.1)}
    assert telling(tried, {"utility_loss": 3.0}, 10_000) == 4e-3
    assert telling(tried, {"utility_loss": 3.0}, 200) == 2e-3, "within the error of the largest"
    assert telling(tried, {"utility_loss": 2.0}, 200) == 2e-3
    assert telling(tried, {"utility_loss": 1.85}, 200) == 1e-3
    assert telling(tried, {"utility_loss": 1.0}, 200) == 1e-3


def test_claims_name_lines_that_there_are() -> None:
    known = {"aligned", *DEFENCES, *ABLATIONS}
    assert {name for claim in CLAIMS for name in (claim.better, claim.worse)} <= known
    assert not DEFENCES.keys() & ABLATIONS.keys()


@pytest.mark.parametrize(
    ("better", "verdict"),
    [([0.5, 0.6, 0.55], "shows"), ([-0.5, -0.6, -0.55], "shows the opposite"), ([0.5, -0.5, 0.1], "does not show")],
)
def test_verdicts(better: list[float], verdict: str) -> None:
    lines = [
        Line("h30", name, name, "", (0, 1, 2), dict.fromkeys(MEASURES, values))
        for name, values in (("random", [0.0, 0.0, 0.0]), ("paper", better))
    ]
    opposite = {"shows": "shows the opposite", "shows the opposite": "shows"}.get(verdict, verdict)
    told = {measure: found for _, measure, _, found in tell(lines, "h30")}
    assert told == {measure: verdict if MEASURES[measure] else opposite for measure in told}
    assert {"refused", "over_refused"} <= told.keys()


def test_half_width_is_students() -> None:
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / 3**0.5, rel=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_of_it_in_minutes(tmp_path: Path) -> None:
    command = [*(sys.executable, "-m", "benchmarks.miniature", "--data", "made-up", "--scale", "tiny"), "--seeds", "1"]
    command += ["--out", str(tmp_path), "--sets", "h30", "--methods", "none", "sot_weights", "sot_instr"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    first = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    out = tmp_path / "tiny"
    judged = {
        name: json.loads((out / "judged" / name / "piece.json").read_text())["found"]
        for name in ("aligned", "h30/none-0", "h30/sot_weights-0")
    }
    assert judged["aligned"]["preferred"] > 0.9
    assert judged["aligned"]["refused"] > 0.8
    margin = {name: found["margin"] for name, found in judged.items()}
    assert margin["aligned"] > margin["h30/sot_weights-0"] > margin["h30/none-0"]
    assert "no defence" in (out / "table.md").read_text()
    assert (out / "safety_utility_h30.png").stat().st_size > 10_000
    manifests = {path: path.stat().st_mtime_ns for path in out.rglob("piece.json")}
    again = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert manifests == {path: path.stat().st_mtime_ns for path in out.rglob("piece.json")}
