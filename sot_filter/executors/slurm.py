"""The stages on a Slurm cluster: one job array or more per stage, each stage after all arrays of the one before."""

import contextlib
import getpass
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import dill
import fsspec
from dill import CONTENTS_FMODE
from fsspec.implementations.local import LocalFileSystem

from sot_filter.artifacts import write_bytes
from sot_filter.config import Slurm, SlurmTask
from sot_filter.errors import ConfigError, ExecutorError, SotFilterError
from sot_filter.executors.slurm_task import SlurmTasks
from sot_filter.executors.submission import ACTIVE, CANCELLED, DONE, PENDING, RUNNING, Submission
from sot_filter.executors.watching import Watch, rows_done
from sot_filter.plan import Plan, Stage

#: Slurm's words for what is not over, and for a good end; the words for other ends are passed on.
_WORDS: Final = {
    **dict.fromkeys(("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "SUSPENDED"), PENDING),
    **dict.fromkeys(
        ("RUNNING", "CONFIGURING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING"), RUNNING
    ),
    "COMPLETED": DONE,
    "CANCELLED": CANCELLED,
}
_UNREACHABLE: Final = ("Unable to contact", "Connection refused", "configuration source", "Socket timed out")
#: Arrays in the default configuration, where a cluster does not tell its limit.
_USUAL_ARRAY: Final = 1001
_TAIL_BYTES: Final = 16384


def run_slurm(plan: Plan, stages: Sequence[Stage], watch: Watch) -> Submission | None:
    """Submit every stage that is not done, and return at once.

    A stage waits for all arrays of the one before to end well, and is cancelled as soon as one of them cannot. It does
    not rest on that alone: its tasks look at what is finished before they start.

    Raises:
        ConfigError: Slurm refuses a job, as for a partition that does not exist. Nothing is left submitted then.
        ExecutorError: Slurm is not here, or does not answer.
    """
    config = plan.config.executor
    assert isinstance(config, Slurm)
    waiting = [(stage, done) for stage in stages if (done := rows_done(stage)) < stage.rows]
    if not waiting:
        for stage in stages:
            with watch(stage):
                pass
        return None
    when = time.time()
    array = min(config.max_array_size or sys.maxsize, _largest_array())
    jobs: dict[str, list[str]] = {}
    logs: dict[str, str] = {}
    after: list[str] = []
    try:
        for stage, _ in waiting:
            logs[stage.name] = f"{plan.layout.logs(stage.name)}/slurm-{when:.0f}"
            jobs[stage.name] = []
            tasks = SlurmTasks(stage, logs[stage.name], _local_logs(plan, logs[stage.name]), array)
            _submit(tasks, config, plan.config.name, after, jobs[stage.name])
            after = jobs[stage.name]
    except BaseException:
        if ids := [job for several in jobs.values() for job in several]:
            with contextlib.suppress(SotFilterError):
                _ask("scancel", *ids)
        raise
    return Submission(
        kind="slurm",
        jobs=jobs,
        when=when,
        before={stage.name: done for stage, done in waiting},
        tasks={stage.name: stage.tasks for stage, _ in waiting},
        logs=logs,
        array=array,
    )


def _submit(tasks: SlurmTasks, config: Slurm, run: str, after: list[str], ids: list[str]) -> None:
    """Submit the arrays of a stage; their ids are added to ``ids`` one by one."""
    pickled = tasks.logging_dir.resolve_paths("executor.pik")
    write_bytes(pickled, dill.dumps(tasks, fmode=CONTENTS_FMODE))
    tasks.save_executor_as_json()
    write_bytes(tasks.logging_dir.resolve_paths("ranks_to_run.json"), str(list(range(tasks.tasks))).encode())
    asked = config.of(tasks.job_name)
    for i, size in enumerate(tasks.arrays):
        script = _script(config.setup, asked, pickled, i)
        write_bytes(tasks.logging_dir.resolve_paths(f"job{i}.sh"), script.encode())
        at_once = f"%{config.workers}" if config.workers else ""
        waits = [f"afterok:{':'.join(after)}"] if after else []
        if config.workers and i:
            # Or there would be so many tasks of each array at the same time.
            waits.append(f"afterany:{ids[-1]}")
        options: dict[str, str | bool | None] = {
            "job-name": f"{run}:{tasks.job_name}",
            "array": f"0-{size - 1}{at_once}",
            "output": f"{tasks.slurm_logs_folder}/%A_%a.out",
            "open-mode": "append",
            "requeue": True,
            "signal": f"B:USR1@{config.grace_seconds}",
            "kill-on-invalid-dep": "yes",
            "dependency": ",".join(waits) or None,
            **_asked(asked),
        }
        answer = _ask("sbatch", "--parsable", *_arguments(options), script=script)
        ids.append(answer.strip().splitlines()[-1].partition(";")[0])


def _asked(task: SlurmTask) -> dict[str, str | bool | None]:
    return {
        "partition": task.partition,
        "account": task.account,
        "qos": task.qos,
        "time": task.time,
        "cpus-per-task": str(task.cpus or 1),
        "mem": f"{task.memory_gib * 1024:.0f}M" if task.memory_gib else None,
        "gpus": str(task.gpus) if task.gpus else None,
        **{name: value if isinstance(value, bool) else str(value) for name, value in task.sbatch.items()},
    }


def _arguments(options: dict[str, str | bool | None]) -> list[str]:
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]


def _script(setup: str, task: SlurmTask, pickled: str, offset: int) -> str:
    python = "python" if setup else shlex.quote(sys.executable)
    return "\n".join(
        [
            "#!/bin/bash",
            # Until Python has its own answer to the signal; and no values of variables, which hold rows, in the logs.
            "trap '' USR1",
            f"export RUN_OFFSET={offset} LOGURU_DIAGNOSE=NO PYTHONUNBUFFERED=1 OMP_NUM_THREADS={task.cpus or 1}",
            *([setup] if setup else []),
            # Python takes the place of the shell, as it is the shell that Slurm tells when the time is up.
            f"exec {python} -P -m datatrove.tools.launch_pickled_pipeline {shlex.quote(pickled)}",
            "",
        ]
    )


def _local_logs(plan: Plan, logs: str) -> str:
    """Where Slurm itself writes: local folders only, so beside the working folder where work_dir is a URL."""
    fs, path = fsspec.url_to_fs(logs)
    local = isinstance(fs, LocalFileSystem)
    launch = Path(path) if local else Path("runs", plan.config.name, *Path(path).parts[-2:]).absolute()
    # What is pickled there is run by whoever reads it, so nobody else may write there.
    launch.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = launch / "tasks"
    folder.mkdir(exist_ok=True, mode=0o700)
    return str(folder)


def slurm_states(submission: Submission) -> dict[str, str]:
    """The state of every task, as ``<job id>_<task>``; what Slurm has forgotten is told from the logs."""
    user = f"--user={getpass.getuser()}"
    told = _ask("squeue", user, "--noheader", "--array", "--states=all", "--format=%i %T")
    states = dict(line.split()[:2] for line in told.splitlines() if line.strip())
    ids = submission.ids
    found = {task: _word(state) for task, state in states.items() if task.partition("_")[0] in ids}
    known = {task.partition("_")[0] for task in found}
    if forgotten := [job for job in ids if job not in known]:
        found |= _accounted(forgotten)
        known = {task.partition("_")[0] for task in found}
    for stage, jobs in submission.jobs.items():
        for number, job in enumerate(jobs):
            if job not in known:
                found |= _from_logs(submission, stage, number, job)
    return found


def _accounted(jobs: list[str]) -> dict[str, str]:
    """What accounting knows of jobs, where the cluster has it."""
    command = [
        "sacct",
        "--noheader",
        "--allocations",
        "--parsable2",
        "--format=JobID,State",
        f"--jobs={','.join(jobs)}",
    ]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return {}
    lines = (line.split("|") for line in told.stdout.splitlines()) if told.returncode == 0 else ()
    return {fields[0]: _word(fields[1].split()[0]) for fields in lines if len(fields) == 2 and fields[1]}


def _from_logs(submission: Submission, stage: str, number: int, job: str) -> dict[str, str]:
    logs, first = submission.logs[stage], number * submission.array
    fs, path = fsspec.url_to_fs(logs)
    done = {name.rpartition("/")[2] for name in fs.find(f"{path}/completions")}
    started = {name.rpartition("/")[2] for name in fs.find(f"{path}/logs")}
    states = {}
    for task in range(min(submission.array, submission.tasks[stage] - first)):
        rank = f"{first + task:05d}"
        ended = DONE if rank in done else "failed" if f"task_{rank}.log" in started else CANCELLED
        states[f"{job}_{task}"] = ended
    return states


def _word(state: str) -> str:
    state = state.rstrip("+")
    return _WORDS.get(state, state.lower().replace("_", " "))


def cancel_slurm(submission: Submission) -> None:
    """Cancel all jobs that are not over."""
    states = slurm_states(submission)
    active = {task.partition("_")[0] for task, state in states.items() if state in ACTIVE}
    # From the last stage back, so that none starts as the one before it ends.
    if ids := [job for job in reversed(submission.ids) if job in active]:
        _ask("scancel", *ids)


def slurm_tail(submission: Submission, task: str, lines: int) -> list[str]:
    """The last lines that a task left, in Slurm's own log of it."""
    stage = submission.stage_of(task)
    fs, path = fsspec.url_to_fs(submission.logs[stage]) if stage else (None, "")
    if fs is None or not isinstance(fs, LocalFileSystem):
        return []
    file = Path(path) / "tasks" / f"{task}.out"
    if not file.is_file():
        return []
    with file.open("rb") as handle:
        handle.seek(max(0, file.stat().st_size - _TAIL_BYTES))
        text = handle.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _largest_array() -> int:
    """The cluster's limit to the tasks of an array."""
    told = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.MULTILINE)
    return max(int(told[1]), 1) if told else _USUAL_ARRAY


def _ask(command: str, *arguments: str, script: str | None = None) -> str:
    """What a command of Slurm's answers.

    Raises:
        ConfigError: it refuses what is asked.
        ExecutorError: it is not installed here, or its controller does not answer.
    """
    try:
        told = subprocess.run([command, *arguments], input=script, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ExecutorError(
            f"Slurm's {command} on this machine", "none", "Run this where jobs are submitted, as on a login node."
        ) from None
    if told.returncode == 0:
        return told.stdout
    words = (
        "; ".join(line.strip() for line in told.stderr.splitlines() if line.strip()) or f"exit code {told.returncode}"
    )
    if any(sign in words for sign in _UNREACHABLE):
        raise ExecutorError("an answer from Slurm's controller", words, "Try again when `sinfo` answers.")
    raise ConfigError(f"jobs that {command} takes", words, "Correct the executor's settings.")
