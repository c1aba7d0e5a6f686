"""Runs on a real Slurm: the same columns as on one machine, whatever befalls the tasks on the way."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.cases import as_format, rows_of, write_rows
from tests.slurm.cluster import MAX_ARRAY
from tests.slurm.conftest import Submitted, result, undisturbed, until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

STAGES = ["embed", "solve", "weigh", "select", "publish", "report"]
TOKEN = "hf_" + "plantedByATest" * 2


def test_all_stages_give_what_a_local_run_gives_and_leave_no_secret(submitted: Submitted) -> None:
    case = submitted.case
    write_rows(case.input / "f9.jsonl", [as_format("messages", "a persimmon please", "here is a persimmon")])
    expected = undisturbed(case)
    case.settings["profiles"]["cluster"]["stages"] = {"embed": {"gpus": 1, "tasks": 3}}

    ended = submitted.cli("run", "--profile", "cluster", "--json", HF_TOKEN=TOKEN)
    assert ended.code == 10, ended.err
    told = json.loads(ended.out)
    assert told["submitted"] is True
    assert list(told["jobs"]) == STAGES
    shown = submitted.cluster.ask("scontrol", "show", "job", told["jobs"]["embed"][0]).stdout
    assert "TresPerJob=gres:gpu:1" in shown
    for stage in STAGES[1:]:
        assert "gpu" not in submitted.cluster.ask("scontrol", "show", "job", told["jobs"][stage][0]).stdout, stage

    status = submitted.until_over()
    assert all(stage["done"] == stage["rows"] for stage in status.values()), status
    assert submitted.cli("run", "--profile", "cluster").code == 0
    assert result(case) == expected
    for launch in (case.work / "logs").glob("*/slurm-*"):
        assert launch.stat().st_mode & 0o077 == 0, launch
    logs = [path for path in (case.work / "logs").rglob("*") if path.is_file()]
    assert {"executor.json", "executor.pik", "job0.sh"} <= {path.name for path in logs}
    for path in (*logs, case.work / "jobs.json"):
        data = path.read_bytes()
        assert TOKEN.encode() not in data, path
        assert b"persimmon" not in data, path


def test_a_failing_task_in_any_array_stops_the_chain_and_another_number_of_tasks_ends_it(
    submitted: Submitted,
) -> None:
    case = submitted.case
    expected = undisturbed(case)
    # Task 1 of the first of two arrays fails; without `afterok` on all arrays, nobody would wait for it.
    fails = f'test "$SLURM_ARRAY_TASK_ID.$RUN_OFFSET" != 1.0 || exit 3\n{activated()}'
    case.settings["profiles"]["cluster"]["stages"] = {"embed": {"tasks": MAX_ARRAY + 2}}
    ended = submitted.submit(setup=fails)
    assert ended.code == 10, ended.err
    assert len(jobs(submitted)["embed"]) == 2
    status = submitted.until_over()
    assert status["embed"]["jobs"] == {"done": MAX_ARRAY + 1, "failed": 1}
    assert [(f["rank"], f["state"]) for f in status["embed"]["failed"]] == [(1, "failed")]
    assert status["embed"]["rows"] > status["embed"]["done"] > 0
    for stage in STAGES[1:]:
        assert set(status[stage]["jobs"]) == {"cancelled"}, stage
        assert status[stage]["done"] == 0
        assert status[stage]["failed"] == []
    assert submitted.submit(setup=activated(), tasks=1, stages={"embed": {"tasks": 3}}).code == 10
    status = submitted.until_over()
    assert all(stage["done"] == stage["rows"] for stage in status.values()), status
    assert submitted.cli("run").code == 0
    assert result(case) == expected


def test_an_error_of_a_task_is_told_in_its_own_words(submitted: Submitted) -> None:
    case = submitted.case
    assert submitted.submit(sbatch={"hold": True}).code == 10
    whole = (case.input / "f3.jsonl").read_bytes()
    (case.input / "f3.jsonl").write_bytes(b"")
    ids = jobs(submitted)
    for job in (job for several in ids.values() for job in several):
        submitted.cluster.ask("scontrol", "release", job)
    until(lambda: not (submitted.cluster.ask("squeue", "--noheader", f"--jobs={ids['embed'][0]}").stdout.strip()))
    # The source has changed, so it is `status` of the run as it was submitted that is asked for.
    (case.input / "f3.jsonl").write_bytes(whole)
    status = submitted.until_over()
    (failed,) = status["embed"]["failed"]
    assert "Error: expected " in failed["lines"][-1], failed
    shown = submitted.cli("status")
    assert shown.code == 0
    assert "failed" in shown.out
    assert "Error: expected " in " ".join(shown.out.split())
    logs = b"".join(path.read_bytes() for path in (case.work / "logs").rglob("*") if path.is_file())
    assert b"flour water" not in logs


@pytest.fixture
def slow(submitted: Submitted) -> Submitted:
    """A run whose embed stage has a middle: many parts, and rows embedded one by one."""
    for i in range(30):
        write_rows(submitted.case.input / f"g{i:02}.jsonl", rows_of(40, 100 + i))
    submitted.case.settings["embed"]["batch_tokens"] = 64
    return submitted


def test_told_that_its_time_is_up_a_task_goes_back_into_the_queue_and_continues(slow: Submitted) -> None:
    expected = undisturbed(slow.case)
    done = slow.counter("embed")
    assert slow.submit(grace_seconds=60, time="00:20:00").code == 10
    (job,) = jobs(slow)["embed"]
    until(lambda: done() > 300)
    # What Slurm does itself `grace_seconds` before the end of the time.
    slow.cluster.ask("scancel", "--signal=USR1", "--batch", f"{job}_1")
    until(lambda: "Restarts=1" in slow.cluster.ask("scontrol", "show", "job", f"{job}_1").stdout)
    assert done() < slow.status()["embed"]["rows"], "it was over before it was told"
    status = slow.until_over()
    assert all(stage["done"] == stage["rows"] for stage in status.values()), status
    assert slow.cli("run", "--profile", "cluster").code == 0
    assert result(slow.case) == expected


def test_killed_without_a_word_it_is_continued_by_another_number_of_tasks(slow: Submitted) -> None:
    expected = undisturbed(slow.case)
    done = slow.counter("embed")
    assert slow.submit().code == 10
    (job,) = jobs(slow)["embed"]
    until(lambda: done() > 300)
    task = slow.cluster.ask("scontrol", "show", "job", f"{job}_1").stdout.split()
    number = next(word.removeprefix("JobId=") for word in task if word.startswith("JobId="))
    pids = slow.cluster.ask("scontrol", "listpids", number).stdout.splitlines()[1:]
    for pid in {int(line.split()[0]) for line in pids} - {-1}:
        os.kill(pid, signal.SIGKILL)
    status = slow.until_over()
    assert [failed["rank"] for failed in status["embed"]["failed"]] == [1]
    assert 0 < status["embed"]["done"] < status["embed"]["rows"]
    assert status["solve"]["jobs"] == {"cancelled": 1}
    assert slow.submit(tasks=3).code == 10
    slow.until_over()
    assert slow.cli("run", "--profile", "cluster").code == 0
    assert result(slow.case) == expected


def test_status_cancel_and_going_on_without_slurm(submitted: Submitted) -> None:
    case = submitted.case
    expected = undisturbed(case)
    assert submitted.submit(sbatch={"hold": True}).code == 10
    status = submitted.status()
    assert {name: stage["jobs"] for name, stage in status.items()} == {
        name: {"pending": 2 if name in ("embed", "weigh", "publish") else 1} for name in STAGES
    }
    first = (case.work / "jobs.json").read_text()
    # A second launch, on Slurm or not, submits and runs nothing.
    for arguments in (("--profile", "cluster"), ()):
        again = submitted.cli("run", *arguments)
        assert again.code == 10
        assert "Nothing submitted" in again.out
    assert (case.work / "jobs.json").read_text() == first
    assert len(submitted.cluster.ask("squeue", "--noheader").stdout.splitlines()) == len(STAGES)
    assert submitted.cli("cancel").out.startswith("Cancelled ")
    status = submitted.until_over()
    assert all(set(stage["jobs"]) == {"cancelled"} and not stage["failed"] for stage in status.values())
    assert submitted.cli("cancel").out == "No job is active.\n"
    assert submitted.cli("run").code == 0
    assert result(case) == expected


@pytest.mark.parametrize("where", [{"partition": "nowhere"}, {"stages": {"report": {"partition": "nowhere"}}}])
def test_a_partition_that_does_not_exist(submitted: Submitted, where: dict[str, object]) -> None:
    before = submitted.cluster.ask("squeue", "--noheader").stdout
    ended = submitted.submit(**where)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "invalid partition specified: nowhere" in ended.err
    assert not (submitted.case.work / "jobs.json").exists()
    assert submitted.cluster.ask("squeue", "--noheader").stdout == before


def jobs(submitted: Submitted) -> dict[str, list[str]]:
    """Job ids by stage."""
    return json.loads((submitted.case.work / "jobs.json").read_text())["jobs"]


def activated() -> str:
    """The shell line that puts this environment's Python on a node's path."""
    return f"export PATH={Path(sys.executable).parent}:$PATH"
