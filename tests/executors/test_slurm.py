"""The Slurm executor as far as no Slurm is needed; what it does on one is tested in tests/slurm."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sot_filter.artifacts import Layout
from sot_filter.config import Slurm, SlurmTask, load_pipeline
from sot_filter.config.executors import StageName
from sot_filter.errors import ConfigError, ExecutorError
from sot_filter.executors import following
from sot_filter.executors.slurm import _arguments, _ask, _from_logs, _script, _word, slurm_tail
from sot_filter.executors.submission import ACTIVE, DONE, Submission, read_submission, write_submission
from sot_filter.plan import build_stages
from tests.planned import PIPELINE, Toy


def submission(logs: Path) -> Submission:
    return Submission(
        kind="slurm",
        jobs={"embed": ["7", "8"], "solve": ["9"]},
        when=0.0,
        tasks={"embed": 6, "solve": 1},
        logs={"embed": str(logs / "embed"), "solve": str(logs / "solve")},
        array=4,
    )


def test_a_stage_asks_for_what_it_names_and_else_for_what_all_do() -> None:
    stages = {"embed": SlurmTask(gpus=1, time="08:00:00", sbatch={"constraint": "a100"})}
    config = Slurm(kind="slurm", tasks=16, time="01:00:00", sbatch={"exclusive": True}, stages=stages)
    embed = config.of("embed")
    assert (embed.tasks, embed.gpus, embed.time) == (16, 1, "08:00:00")
    assert embed.sbatch == {"exclusive": True, "constraint": "a100"}
    assert config.of("weigh") == SlurmTask(tasks=16, time="01:00:00", sbatch={"exclusive": True})
    assert (config.tasks_of("embed"), Slurm(kind="slurm").tasks_of("weigh")) == (16, 8)


def test_options_are_given_as_sbatch_wants_them() -> None:
    options: dict[str, Any] = {"exclusive": True, "hold": False, "qos": None, "comment": "two words"}
    assert _arguments(options) == ["--exclusive", "--comment=two words"]


def test_the_script_finds_its_file_whatever_its_name_is(tmp_path: Path) -> None:
    folder = tmp_path / "it's $HOME; two words"
    folder.mkdir()
    python = folder / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$5" "$RUN_OFFSET" "$OMP_NUM_THREADS"\n')
    python.chmod(0o755)
    script = _script(f"export PATH={shlex.quote(str(folder))}:$PATH", SlurmTask(cpus=3), f"{folder}/executor.pik", 2)
    ran = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-2:] == ["2", "3"]
    assert f"{folder}/executor.pik" in _shown(script)


def _shown(script: str) -> list[str]:
    return shlex.split(script.splitlines()[-1])


def test_states_are_told_in_few_words() -> None:
    assert {_word(state) for state in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED")} == ACTIVE
    assert _word("COMPLETED") == DONE
    assert [_word(state) for state in ("CANCELLED+", "OUT_OF_MEMORY", "TIMEOUT")] == [
        "cancelled",
        "out of memory",
        "timeout",
    ]


def test_what_slurm_has_forgotten_is_told_from_the_logs(tmp_path: Path) -> None:
    told = submission(tmp_path)
    for name in ("completions/00000", "completions/00005", "logs/task_00000.log", "logs/task_00004.log"):
        file = tmp_path / "embed" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    gone = _from_logs(told, "embed", 0, "7") | _from_logs(told, "embed", 1, "8") | _from_logs(told, "solve", 0, "9")
    ended = {"7_0": DONE, "7_1": "cancelled", "7_2": "cancelled", "7_3": "cancelled"}
    assert gone == {**ended, "8_0": "failed", "8_1": DONE, "9_0": "cancelled"}


def test_the_last_lines_of_a_task(tmp_path: Path) -> None:
    (tmp_path / "embed" / "tasks").mkdir(parents=True)
    (tmp_path / "embed" / "tasks" / "8_1.out").write_text("x" * 50_000 + "\none\n\ntwo\n  three\n")
    told = submission(tmp_path)
    assert slurm_tail(told, "8_1", 3) == ["one", "two", "  three"]
    assert slurm_tail(told, "8_0", 3) == slurm_tail(told, "404_0", 3) == []


def test_a_rank_counts_through_all_arrays(tmp_path: Path) -> None:
    told = submission(tmp_path)
    assert [following._rank(told, job) for job in ("7_0", "7_3", "8_0", "8_1", "9_0")] == [0, 3, 4, 5, 0]
    assert [told.stage_of(job) for job in ("7", "8_1", "9_0", "70_1")] == ["embed", "embed", "solve", None]


def test_a_submission_is_read_back(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    assert read_submission(layout) is None
    write_submission(layout, submission(tmp_path))
    assert read_submission(layout) == submission(tmp_path)


def test_without_slurm_it_says_where_to_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutorError, match="login node"):
        _ask("sbatch", "--parsable")


def test_a_refusal_is_told_in_slurms_own_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = tmp_path / "sbatch"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for words, kind in (("sbatch: error: Invalid qos", ConfigError), ("Unable to contact slurm", ExecutorError)):
        command.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        command.chmod(0o755)
        with pytest.raises(kind, match=words):
            _ask("sbatch")


def test_the_executor_is_not_part_of_what_a_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    toy = Toy.make(tmp_path)
    (tmp_path / "toy.yaml").write_text(PIPELINE + "profiles: {big: {kind: slurm, tasks: 3}}\n")
    here = toy.plan()
    from sot_filter.planning import make_plan

    there = make_plan(load_pipeline(str(tmp_path / "toy.yaml"), ["executor.tasks=5"], "big"))
    assert there.config.executor == Slurm(kind="slurm", tasks=5)
    assert here.keys == there.keys
    assert [stage.artifacts for stage in build_stages(here)] == [stage.artifacts for stage in build_stages(there)]


def test_every_stage_can_be_given_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {stage.name for stage in build_stages(Toy.make(tmp_path).plan())}
    assert names <= set(StageName.__args__)


@pytest.mark.parametrize(
    ("profiles", "said"),
    [
        ("", "Add one"),
        ("profiles: {big: {kind: slurm}}", "Did you mean big"),
        ("profiles: {other: {kind: slurm}}", "one of the profiles other"),
    ],
)
def test_an_unknown_profile(tmp_path: Path, profiles: str, said: str) -> None:
    (tmp_path / "toy.yaml").write_text(PIPELINE + profiles)
    with pytest.raises(ConfigError, match=said):
        load_pipeline(str(tmp_path / "toy.yaml"), profile="bg")


def test_jobs_that_cannot_be_asked_for_stop_a_launch_and_it_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = Toy.make(tmp_path).plan()
    write_submission(plan.layout, submission(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutorError, match=r"login node.*remove .*work/jobs\.json"):
        following.active_submission(plan, build_stages(plan))
