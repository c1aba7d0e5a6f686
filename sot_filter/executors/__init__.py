"""What runs the stages. An executor is one function and one line in the table."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from sot_filter.executors.following import active_submission, cancel, progress, require_idle
from sot_filter.executors.jobs import run_jobs
from sot_filter.executors.local import run_local
from sot_filter.executors.ray import run_ray
from sot_filter.executors.slurm import run_slurm
from sot_filter.executors.submission import ACTIVE, Submission, read_submission, write_submission
from sot_filter.executors.watching import Watch, rows_done
from sot_filter.plan import Plan, Stage
from sot_filter.workspace import sweep

__all__ = [
    "ACTIVE",
    "EXECUTORS",
    "Submission",
    "Watch",
    "active_submission",
    "cancel",
    "progress",
    "read_submission",
    "require_idle",
    "rows_done",
    "run_stages",
]

#: Executors by the name that `executor.kind` gives: each runs, or submits, every stage that is not done.
EXECUTORS: Final[dict[str, Callable[[Plan, Sequence[Stage], Watch], Submission | None]]] = {
    "local": run_local,
    "slurm": run_slurm,
    "ray": run_ray,
    "jobs": run_jobs,
}


def run_stages(plan: Plan, stages: Iterable[Stage], watch: Watch = contextlib.nullcontext) -> Submission | None:
    """Run the stages that are not done, then leave nothing half-written behind.

    Args:
        plan: the run, its folders claimed.
        stages: from `build_stages`.
        watch: a context to run each stage in, as to show its progress.

    Returns:
        None when all is done; what was submitted, and set down in the work folder, where others do the work.
    """
    submission = EXECUTORS[plan.config.executor.kind](plan, list(stages), watch)
    if submission is None:
        sweep(plan)
    else:
        write_submission(plan.layout, submission)
    return submission
