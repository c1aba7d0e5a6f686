"""Following what was submitted: how far, how fast, what failed and with what last words; and stopping it."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from sot_filter.artifacts import read_json
from sot_filter.errors import ArtifactError, ExecutorError
from sot_filter.executors.jobs import cancel_jobs, jobs_states, jobs_tail
from sot_filter.executors.slurm import cancel_slurm, slurm_states, slurm_tail
from sot_filter.executors.slurm_task import STARTED
from sot_filter.executors.submission import ACTIVE, CANCELLED, DONE, Submission, read_submission
from sot_filter.executors.watching import rows_done
from sot_filter.plan import Plan, Stage

_LAST_LINES: Final = 5
_MOST_FAILURES: Final = 5


class Scheduler(NamedTuple):
    """How an executor that only submits is asked afterwards.

    Attributes:
        states: the state of every job, or of every task of a job array as ``<job id>_<task>``.
        cancel: ends every job that is not over.
        tail: the last so many lines of a job's, or a task's, log.
    """

    states: Callable[[Submission], dict[str, str]]
    cancel: Callable[[Submission], None]
    tail: Callable[[Submission, str, int], list[str]]


#: Executors that only submit, by `executor.kind`.
SCHEDULERS: Final[dict[str, Scheduler]] = {
    "slurm": Scheduler(slurm_states, cancel_slurm, slurm_tail),
    "jobs": Scheduler(jobs_states, cancel_jobs, jobs_tail),
}


def active_submission(plan: Plan, stages: Sequence[Stage]) -> Submission | None:
    """What was submitted for the work folder and is not over; None where all is done, or nobody works on it.

    Raises:
        ExecutorError: the scheduler that it was submitted to cannot be asked.
    """
    submission = read_submission(plan.layout)
    if submission is None or all(rows_done(stage) == stage.rows for stage in stages):
        return None
    try:
        states = SCHEDULERS[submission.kind].states(submission)
    except ExecutorError as error:
        raise ExecutorError(
            f"{error.expected}, about jobs that were submitted for this run",
            error.got,
            f"{error.do} If they are over, remove {plan.layout.jobs}.",
        ) from None
    return submission if ACTIVE & set(states.values()) else None


def require_idle(plan: Plan, stages: Sequence[Stage]) -> None:
    """Raises `ArtifactError` while submitted jobs work in the run's folder."""
    if (submission := active_submission(plan, stages)) is not None:
        raise ArtifactError(
            f"a work_dir that nobody is working in at {plan.layout.root}",
            f"active {submission.kind} jobs {', '.join(submission.ids)}",
            "Wait for them, or stop them with `sot-filter cancel`.",
        )


def progress(plan: Plan, stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """For each stage its rows, and of what was submitted the jobs by state, the rate, the time left and the failures.

    Returns:
        For each stage plain values: ``stage``, ``rows``, ``done``; where it was submitted also ``jobs`` (how many in
        which state), ``rows_per_second`` and ``seconds_left`` (None while nothing is known), and ``failed``: of the
        first few jobs that ended badly ``job``, ``rank``, ``state`` and the last ``lines`` of the log.
    """
    submission, states = read_submission(plan.layout), dict[str, str]()
    if submission is not None and any(rows_done(stage) < stage.rows for stage in stages):
        states = SCHEDULERS[submission.kind].states(submission)
    return [_of_stage(stage, submission, states) for stage in stages]


def _of_stage(stage: Stage, submission: Submission | None, states: dict[str, str]) -> dict[str, Any]:
    done = rows_done(stage)
    told: dict[str, Any] = {"stage": stage.name, "rows": stage.rows, "done": done}
    if submission is None or stage.name not in submission.jobs or not states:
        return told
    own = {job: state for job, state in states.items() if submission.stage_of(job) == stage.name}
    counts: dict[str, int] = {}
    for state in own.values():
        counts[state] = counts.get(state, 0) + 1
    rate = _rate(submission, stage, done) if ACTIVE & set(own.values()) else None
    left = (stage.rows - done) / rate if rate else None
    return {**told, "jobs": counts, "rows_per_second": rate, "seconds_left": left, "failed": _failed(submission, own)}


def _rate(submission: Submission, stage: Stage, done: int) -> float | None:
    logs = submission.logs.get(stage.name)
    started = read_json(f"{logs}/{STARTED}") if logs else None
    rows = done - submission.before.get(stage.name, 0)
    return rows / max(time.time() - started["when"], 1e-9) if started and rows > 0 else None


def _failed(submission: Submission, states: dict[str, str]) -> list[dict[str, Any]]:
    tail = SCHEDULERS[submission.kind].tail
    found = []
    for job, state in states.items():
        if state in ACTIVE or state == DONE:
            continue
        lines = tail(submission, job, _LAST_LINES)
        # A job that was cancelled before it began has nothing to tell.
        if state != CANCELLED or lines:
            found.append({"job": job, "rank": _rank(submission, job), "state": state, "lines": lines})
        if len(found) == _MOST_FAILURES:
            break
    return found


def _rank(submission: Submission, job: str) -> int:
    array, _, task = job.partition("_")
    stage = submission.stage_of(job)
    if stage is None or not task.isdecimal():
        return 0
    return submission.jobs[stage].index(array) * submission.array + int(task)


def cancel(plan: Plan) -> list[str]:
    """End the submitted jobs of a run that are not over. Returns their ids."""
    submission = read_submission(plan.layout)
    if submission is None:
        return []
    scheduler = SCHEDULERS[submission.kind]
    states = scheduler.states(submission)
    scheduler.cancel(submission)
    active = {job for job, state in states.items() if state in ACTIVE}
    return [job for job in submission.ids if any(one.partition("_")[0] == job or one == job for one in active)]
