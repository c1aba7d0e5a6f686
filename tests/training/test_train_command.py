"""`sot-filter train` as users meet it: result, plan, verification, errors of one line, and two ranks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.training.recipes import adapter, settings
from tests.training.test_ranks import ROUNDING
from tests.training.two_ranks import free_port

ROOT = Path(__file__).resolve().parents[2]
ONE = "from sot_filter.cli import main; main()"
WITHOUT_TRL = "import sys; sys.modules['trl'] = None; " + ONE


def sot_filter(*arguments: str, code: str = ONE, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "119"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        said, told = process.communicate(timeout=200)
    finally:
        process.kill()
    return process.returncode, said, told


@pytest.fixture(scope="module")
def recipe(tiny_chat: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training file."""
    folder = tmp_path_factory.mktemp("command")
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(settings(tiny_chat, folder)), encoding="utf-8")
    return path


def test_plan_train_and_verify(recipe: Path) -> None:
    code, said, told = ended(sot_filter("train", str(recipe), "--plan"))
    assert code == 0, told
    assert "4 to an epoch" in said
    assert "memory" in said
    assert not (recipe.parent / "out").exists()

    code, said, told = ended(sot_filter("train", str(recipe)))
    assert code == 0, told
    assert said.count("\n") <= 20
    assert "16  of 20; left out: 4 zero weight" in said
    assert "weight felt" in said
    lines = told.splitlines()
    assert lines[-1].startswith("tiny: step 8 of 8, loss ")
    assert all(line.startswith("tiny: ") for line in lines), "only our own progress"

    code, said, told = ended(sot_filter("train", str(recipe), "--json"))
    assert code == 0, told
    assert json.loads(said)["steps_done"] == 8

    resolved = str(recipe.parent / "out/recipe.yaml")
    code, said, told = ended(sot_filter("train", resolved, "--verify"))
    assert code == 0, told
    assert "each of 8 steps felt the weights of its rows" in said

    weights = recipe.parent / "out/adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    code, said, _ = ended(sot_filter("train", resolved, "--verify"))
    weights.write_bytes(kept)
    assert code == 1
    assert "adapter_model.safetensors missing or changed" in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--plan", "--verify"], ONE, "expected one of --plan and --verify"),
        (["--set", "lora.targets=[nope]", "--set", "output={new}"], ONE, "nope, which match none"),
        (["--set", "rows.weight=mine", "--set", "output={new}"], ONE, "a column 'mine'"),
        (["--set", "epochs=3"], ONE, "unknown key epochs"),
        ([], WITHOUT_TRL, "pip install sot-filter[train]"),
    ],
)
def test_an_error_is_one_line(recipe: Path, tmp_path: Path, arguments: list[str], code: str, said: str) -> None:
    given = [argument.replace("{new}", str(tmp_path / "new")) for argument in arguments]
    status, _, told = ended(sot_filter("train", str(recipe), *given, code=code))
    lines = [line for line in told.splitlines() if not line.startswith("tiny: ")]
    assert status == 2, told
    assert len(lines) == 1, told
    assert said in lines[0]


def test_two_ranks_write_one_adapter(recipe: Path, tmp_path: Path) -> None:
    ends = {}
    for ranks in (1, 2):
        output = tmp_path / str(ranks)
        shared = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        given = ["train", str(recipe), "--set", f"output={output}"]
        started = [
            sot_filter(*given, **({**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {}))
            for rank in range(ranks)
        ]
        told = [ended(process) for process in started]
        assert [code for code, _, _ in told] == [0] * ranks, told
        assert all(said == "" for _, said, _ in told[1:])
        ends[ranks] = adapter(output)
    code, said, told_ = ended(sot_filter("train", str(recipe), "--set", f"output={tmp_path / '2'}", "--verify"))
    assert code == 0, said + told_
    assert ends[1].keys() == ends[2].keys()
    assert max(float((ends[1][key] - ends[2][key]).abs().max()) for key in ends[1]) < ROUNDING
