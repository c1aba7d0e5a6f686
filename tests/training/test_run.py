"""From a recipe to an adapter: what is written, what is refused before a step is spent, and what a kill leaves."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from sot_filter.errors import ArtifactError, ConfigError, ModelError, SourceError
from sot_filter.training import output
from sot_filter.training.config import Recipe
from sot_filter.training.run import plan, run
from sot_filter.training.verify import verify
from tests.training.recipes import adapter, recipe, settings, trained, write_lines
from tests.training.tiny_runs import MIXED, safety_rows, some_rows, weighed

ROOT = Path(__file__).resolve().parents[2]


def passed(recipe: Recipe) -> dict[str, bool]:
    return {check.name: check.passed for check in verify(recipe, lambda what: None)}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def logged(folder: Path) -> list[dict[str, float]]:
    """What was logged of each step, without the times."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith("_seconds")} for line in lines]


@pytest.fixture(scope="module")
def done(tiny_chat: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, dict[str, Any], Path]:
    """A finished run with evaluation and probe: its recipe, its run.json, its folder."""
    folder = tmp_path_factory.mktemp("done")
    triples = [{"prompt": f"how to {word}", "safe": "sorry", "unsafe": "first mix"} for word in ("bake", "heat")]
    given = recipe(
        tiny_chat,
        folder,
        evaluation={"rows": {"files": str(write_lines(folder / "held.jsonl", some_rows(6, seed=5)))}},
        probe={"file": str(write_lines(folder / "probe.jsonl", triples))},
    )
    return given, trained(given), folder / "out"


def test_the_folder_holds_adapter_card_curves_and_a_record(done: tuple[Recipe, dict[str, Any], Path]) -> None:
    given, record, folder = done
    assert record == json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "finished"
    assert record["steps_done"] == 8
    assert record["data"]["weight"] == pytest.approx(sum(MIXED) * 4, rel=1e-15)
    assert record["weight_felt"] == pytest.approx(2 * sum(MIXED) * 4)
    assert record["safety_seen"]["first"]["triples"] == 2
    assert record["evaluation_loss"]["first"] != record["evaluation_loss"]["last"]
    assert set(record["files"]) >= {"adapter_model.safetensors", "log.jsonl", "history.jsonl", "curves.png"}
    assert {path.name for path in folder.iterdir()} == {*record["files"], "run.json", "checkpoints", ".lock"}
    assert not [path for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth")]
    assert not (folder / "checkpoints/README.md").exists()
    again = Recipe.model_validate(yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8")))
    assert again == given
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "`sot_weight`" in card
    assert record["data"]["digest"] in card
    assert str(folder.parent) not in card


def test_the_adapter_loads_as_the_card_says(done: tuple[Recipe, dict[str, Any], Path]) -> None:
    given, _, folder = done
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        assert len(file.keys()) == 2 * 2 * 2
    base = AutoModelForCausalLM.from_pretrained(given.model.model)
    ids = torch.arange(10, 20)[None]
    before = base(ids).logits
    after = PeftModel.from_pretrained(base, folder)(ids).logits
    assert not torch.allclose(before, after)


def test_a_finished_run_is_told_and_not_repeated(done: tuple[Recipe, dict[str, Any], Path]) -> None:
    given, record, folder = done
    before = (folder / "adapter_model.safetensors").stat().st_mtime_ns
    assert trained(given) == record
    assert (folder / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_verify_finds_that_each_step_felt_its_weights(done: tuple[Recipe, dict[str, Any], Path]) -> None:
    checks = passed(done[0])
    assert len(checks) == 5
    assert all(checks.values())


def test_verify_finds_other_weights_and_changed_files(
    done: tuple[Recipe, dict[str, Any], Path], tiny_chat: Path, tmp_path: Path
) -> None:
    given, record, folder = done
    shutil.copytree(folder, tmp_path / "out", ignore=shutil.ignore_patterns("checkpoints"))
    moved = record | {"given": record["given"] | {"output": str(tmp_path / "out")}}
    output.write_json(tmp_path / "out" / "run.json", moved)
    copy = given.model_copy(update={"output": str(tmp_path / "out")})
    assert all(passed(copy).values())
    log = tmp_path / "out" / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    # What a trainer would log that takes all rows alike.
    write_lines(log, [line | ({"weight_sum": 4.0} if "weight_sum" in line else {}) for line in lines])
    assert [name for name, good in passed(copy).items() if not good] == ["files", "weights felt"]
    rows = Path(str(given.rows.files))
    kept = rows.read_bytes()
    try:
        write_lines(rows, weighed(some_rows(20), [0.0, 0.3, 1.0, 2.5, 0.8]))
        assert [name for name, good in passed(copy).items() if not good] == [
            *("files", "rows", "sum of weights", "weights felt")
        ]
    finally:
        rows.write_bytes(kept)


def test_verify_needs_a_finished_run(tiny_chat: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="finished"):
        passed(recipe(tiny_chat, tmp_path))


@pytest.mark.parametrize("method", ["plain", "spf", "asft"])
def test_a_killed_run_ends_as_one_that_was_not(tiny_chat: Path, tiny_base: Path, tmp_path: Path, method: str) -> None:
    write_lines(tmp_path / "safety.jsonl", safety_rows())
    options = {
        "plain": {"kind": "plain"},
        "spf": {"kind": "spf", "rank": 2, "refresh": 3, "safety": {"files": str(tmp_path / "safety.jsonl")}},
        "asft": {"kind": "asft", "base": {"model": str(tiny_base)}},
    }[method]
    given = settings(tiny_chat, tmp_path, method=options, checkpoints=3)
    trained(Recipe.model_validate(given | {"output": str(tmp_path / "whole")}))
    (tmp_path / "recipe.json").write_text(json.dumps(given), encoding="utf-8")
    killed = subprocess.run(
        [sys.executable, "-m", "tests.training.killed_run", str(tmp_path / "recipe.json"), "5"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # As a kill within a checkpoint leaves it: newer, and with files missing.
    shutil.copytree(tmp_path / "out/checkpoints/checkpoint-3", tmp_path / "out/checkpoints/checkpoint-5")
    (tmp_path / "out/checkpoints/checkpoint-5/optimizer.pt").unlink()
    with pytest.raises(ArtifactError, match=r"another optimiser\.learning_rate"):
        trained(Recipe.model_validate(given | {"optimiser": given["optimiser"] | {"learning_rate": 1e-3}}))
    resumed = trained(Recipe.model_validate(given))
    assert resumed["resumed"] == [3]
    assert equal(adapter(tmp_path / "out"), adapter(tmp_path / "whole"))
    assert logged(tmp_path / "out") == logged(tmp_path / "whole")
    assert all(passed(Recipe.model_validate(given)).values())


def test_a_run_killed_after_its_last_step_is_only_written(tiny_chat: Path, tmp_path: Path) -> None:
    given = recipe(tiny_chat, tmp_path)
    before = trained(given)
    for name in before["files"]:
        (tmp_path / "out" / name).unlink()
    output.write_json(tmp_path / "out/run.json", before | {"status": "started"})
    steps: list[int] = []
    after = run(given, lambda what: None, lambda step, steps_, logs: steps.append(step))
    assert steps == []
    assert after["resumed"] == [8]
    assert after["files"]["adapter_model.safetensors"] == before["files"]["adapter_model.safetensors"]
    assert after["files"]["log.jsonl"] == before["files"]["log.jsonl"]


def test_rows_that_change_under_a_run_stop_it(tiny_chat: Path, tmp_path: Path) -> None:
    given = recipe(tiny_chat, tmp_path)
    record = trained(given)
    output.write_json(tmp_path / "out/run.json", record | {"status": "started"})
    write_lines(tmp_path / "rows.jsonl", weighed(some_rows(20), [1.0]))
    with pytest.raises(ArtifactError, match="the data that the run began with"):
        trained(given)


def test_a_run_that_never_got_anywhere_gives_way(tiny_chat: Path, tmp_path: Path) -> None:
    given = recipe(tiny_chat, tmp_path, checkpoints=100)

    def stop(step: int, steps: int, logs: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(given, lambda what: None, stop)
    assert json.loads((tmp_path / "out/run.json").read_text(encoding="utf-8"))["status"] == "started"
    assert trained(recipe(tiny_chat, tmp_path, seed=3))["recipe"]["seed"] == 3


def test_weights_of_one_are_no_weights(tiny_chat: Path, tmp_path: Path) -> None:
    trained(recipe(tiny_chat, tmp_path, output=str(tmp_path / "weighted")))
    rows = {"files": str(tmp_path / "rows.jsonl"), "weight": None}
    record = trained(recipe(tiny_chat, tmp_path, rows=rows, output=str(tmp_path / "alike")))
    assert record["data"]["used"] == 20
    assert record["weight_felt"] == 40
    assert not equal(adapter(tmp_path / "weighted"), adapter(tmp_path / "alike"))


def test_no_strength_is_plain_training_to_the_bit(tiny_chat: Path, tiny_base: Path, tmp_path: Path) -> None:
    safety = {"files": str(write_lines(tmp_path / "safety.jsonl", safety_rows()))}
    ends = {}
    for name, method in {
        "plain": {"kind": "plain"},
        "spf": {"kind": "spf", "strength": 0, "safety": safety},
        "asft": {"kind": "asft", "strength": 0, "base": {"model": str(tiny_base)}},
        "spf-on": {"kind": "spf", "safety": safety},
        "asft-on": {"kind": "asft", "base": {"model": str(tiny_base)}, "projector": "idempotent", "rank": 4},
    }.items():
        trained(recipe(tiny_chat, tmp_path, method=method, output=str(tmp_path / name)))
        ends[name] = adapter(tmp_path / name)
    assert equal(ends["spf"], ends["plain"])
    assert equal(ends["asft"], ends["plain"])
    assert not equal(ends["spf-on"], ends["plain"])
    assert not equal(ends["asft-on"], ends["plain"])


def test_all_weights_can_be_trained(tiny_chat: Path, tmp_path: Path) -> None:
    record = trained(recipe(tiny_chat, tmp_path, lora=None))
    assert record["trained_weights"] == record["weights"]
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert "library_name: transformers" in (tmp_path / "out/README.md").read_text(encoding="utf-8")


def test_a_fall_of_safety_stops_the_run(tiny_chat: Path, tmp_path: Path) -> None:
    # What is learned is the unsafe answer itself.
    triples = [{"prompt": f"how to {w}", "safe": "sorry", "unsafe": "sea sea sea"} for w in ("bake", "heat", "mix")]
    rows = [
        {
            "prompt": [{"role": "user", "content": t["prompt"]}],
            "completion": [{"role": "assistant", "content": t["unsafe"]}],
            "sot_weight": 1.0,
        }
        for t in triples
    ]
    given = recipe(
        tiny_chat,
        tmp_path,
        rows={"files": str(write_lines(tmp_path / "learned.jsonl", rows * 8))},
        probe={"file": str(write_lines(tmp_path / "probe.jsonl", triples)), "every": 2, "stop_below": 0.3},
        optimiser={"batch_rows": 4, "device_rows": 4, "epochs": 40, "learning_rate": 2e-2},
    )
    record = trained(given)
    assert record["stopped"]
    assert record["steps_done"] < record["steps"]["total"]
    assert all(passed(given).values())
    assert "stopped early" in (tmp_path / "out/README.md").read_text(encoding="utf-8")


def test_a_plan_needs_no_weights_and_counts_steps(tiny_chat: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_chat, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    facts = plan(recipe(bare, tmp_path), lambda what: None)
    assert facts["steps"] == {"total": 8, "per_epoch": 4, "accumulate": 2}
    assert facts["memory_bytes"]["total"] > 4 * facts["weights"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"lora": {"targets": ["q_proj", "nope"]}}, ConfigError, "nope, which match none. Choose among q_proj"),
        ({"lora": {"targets": ["lm_head"]}}, ConfigError, "without the head"),
        ({"lora": {"targets": []}}, ConfigError, r"names of modules in lora\.targets; got none"),
        ({"model": {"model": "no/where/here"}}, ModelError, "a folder or a Hub id"),
        ({"rows": {"files": "{rows}", "weight": "mine"}}, SourceError, "a column 'mine'"),
        ({"max_length": 1}, SourceError, "something to learn"),
        ({"method": {"kind": "asft", "base": {"model": "{gpt2}"}}}, ModelError, "architecture llama"),
        ({"method": {"kind": "asft", "base": {"model": "{rows}"}}}, ModelError, "a folder or a Hub id"),
        ({"method": {"kind": "asft", "base": {"model": "x/y"}}, "lora": None}, ConfigError, "LoRA for AsFT"),
        ({"method": {"kind": "spf", "safety": {"files": "{none}"}}}, SourceError, "an empty file"),
        ({"probe": {"file": "{none}"}}, SourceError, "triple"),
    ],
)
def test_what_cannot_work_is_refused_before_a_step(
    tiny_chat: Path, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], said: str
) -> None:
    other = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=32, n_positions=8))
    other.save_pretrained(tmp_path / "gpt2")
    (tmp_path / "none.jsonl").write_text("", encoding="utf-8")
    given = json.dumps(settings(tiny_chat, tmp_path) | changes)
    for name, path in {"rows": "rows.jsonl", "gpt2": "gpt2", "none": "none.jsonl"}.items():
        given = given.replace(f"{{{name}}}", str(tmp_path / path))
    with pytest.raises(kind, match=said):
        trained(Recipe.model_validate_json(given))
    assert not (tmp_path / "out" / "run.json").exists()


def test_pickled_weights_are_not_loaded(tiny_chat: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_chat, tmp_path / "pickled")
    (tmp_path / "pickled/model.safetensors").rename(tmp_path / "pickled/pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors only"):
        trained(recipe(tmp_path / "pickled", tmp_path))


def test_a_folder_of_something_else_is_left_alone(tiny_chat: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"thesis\.tex"):
        trained(recipe(tiny_chat, tmp_path))
    with pytest.raises(ArtifactError, match=r"thesis\.tex"):
        plan(recipe(tiny_chat, tmp_path), lambda what: None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_run_of_one_step_learns_something(tiny_chat: Path, tmp_path: Path) -> None:
    optimiser = {"batch_rows": 4, "device_rows": 2, "max_steps": 1, "learning_rate": 1e-2}
    trained(recipe(tiny_chat, tmp_path, optimiser=optimiser))
    assert all(factor.any() for name, factor in adapter(tmp_path / "out").items() if "lora_B" in name)


def test_two_trainings_do_not_share_a_folder(tiny_chat: Path, tmp_path: Path) -> None:
    with output.held(tmp_path / "out"), pytest.raises(ArtifactError, match="another training"):
        trained(recipe(tiny_chat, tmp_path))


def test_steps_for_other_devices_say_what_fits(tiny_chat: Path, tmp_path: Path) -> None:
    from sot_filter.training.estimate import count_steps

    assert count_steps(100, 16, 4, 2, epochs=3).total == 21
    assert count_steps(100, 16, 4, 2, epochs=0.5).total == 4
    assert count_steps(100, 16, 4, 2, epochs=3, max_steps=5).total == 5
    with pytest.raises(ConfigError, match="Set it to 24"):
        count_steps(100, 20, 4, 3, epochs=1)


def test_a_hub_model_is_pinned_where_it_is_named(
    tiny_chat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha, cached = "0123456789abcdef0123456789abcdef01234567", tmp_path / "cache/models--org--chat"
    shutil.copytree(tiny_chat, cached / "snapshots" / sha)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(sha, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    given = recipe(tiny_chat, tmp_path, model={"model": "org/chat", "revision": "main"})
    record = trained(given)
    assert record["model"] == {"name": "org/chat", "revision": sha, "digest": None}
    assert record["recipe"]["model"]["revision"] == sha
    adapter_config = json.loads((tmp_path / "out/adapter_config.json").read_text(encoding="utf-8"))
    assert (adapter_config["base_model_name_or_path"], adapter_config["revision"]) == ("org/chat", sha)
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "base_model: org/chat\nbase_model_relation: adapter" in card
    assert f'revision="{sha}"' in card
    # The branch moves on, the run does not.
    (cached / "refs/main").write_text(sha[::-1], encoding="utf-8")
    assert trained(given)["model"]["revision"] == sha
    assert all(passed(given).values())


def test_bfloat16_is_near_float32(tiny_chat: Path, tmp_path: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        record = trained(recipe(tiny_chat, tmp_path, precision=precision, output=str(tmp_path / precision)))
        assert record["precision"] == precision
        losses[precision] = record["loss"]["last"]
    # Eight bits of mantissa.
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=2**-7)
    assert losses["bfloat16"] != losses["float32"]


def test_a_loss_that_is_no_number_stops_the_run(tiny_chat: Path, tmp_path: Path) -> None:
    optimiser = {
        "batch_rows": 4,
        "device_rows": 4,
        "learning_rate": 1e30,
        "warmup": 0,
        "schedule": "constant",
        "clip": 0,
    }
    with pytest.raises(ModelError, match="a finite"):
        trained(recipe(tiny_chat, tmp_path, optimiser=optimiser))
    assert json.loads((tmp_path / "out/run.json").read_text(encoding="utf-8"))["status"] == "started"


def test_a_full_disk_is_said_and_whole_checkpoints_stay(
    tiny_chat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = recipe(tiny_chat, tmp_path)
    written = output.mark_whole

    def full(checkpoint: Path) -> None:
        if checkpoint.name == "checkpoint-8":
            raise OSError(errno.ENOSPC, "No space left on device")
        written(checkpoint)

    monkeypatch.setattr("sot_filter.training.callbacks.mark_whole", full)
    with pytest.raises(ArtifactError, match="Free some space"):
        trained(given)
    monkeypatch.undo()
    assert trained(given)["resumed"] == [4]
