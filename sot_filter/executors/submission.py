"""What was submitted: the job ids of each stage, in one file of the work folder; and the words for a job's state."""

import dataclasses
from dataclasses import dataclass, field
from typing import Final

from sot_filter.artifacts import Layout, read_json, write_json

#: States of a job that is not over. Of the words for an end, `done` is the good one and `cancelled` was wished for.
PENDING: Final = "pending"
RUNNING: Final = "running"
ACTIVE: Final = frozenset({PENDING, RUNNING})
DONE: Final = "done"
CANCELLED: Final = "cancelled"


@dataclass(frozen=True, slots=True)
class Submission:
    """Stages that were handed to a scheduler.

    Attributes:
        kind: the executor, as in `executor.kind`.
        jobs: the job ids of each submitted stage, in the order in which the stages follow each other.
        when: the time of submission, in seconds since 1970.
        before: rows of each submitted stage that were done by then.
        tasks: tasks of each submitted stage.
        logs: the folder of each submitted stage's logs of this launch, where there is one.
        array: tasks per job array, where jobs are arrays.
    """

    kind: str
    jobs: dict[str, list[str]]
    when: float
    before: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    array: int = 1

    @property
    def ids(self) -> list[str]:
        """All job ids, in order of the stages."""
        return [job for jobs in self.jobs.values() for job in jobs]

    def stage_of(self, job: str) -> str | None:
        """The stage of a job, or of a task of a job array, ``<job id>_<task>``."""
        found = (stage for stage, jobs in self.jobs.items() if job in jobs or job.partition("_")[0] in jobs)
        return next(found, None)


def write_submission(layout: Layout, submission: Submission) -> None:
    """Set down what was submitted last."""
    write_json(layout.jobs, dataclasses.asdict(submission))


def read_submission(layout: Layout) -> Submission | None:
    """What was submitted last, or None where nothing ever was."""
    data = read_json(layout.jobs)
    return Submission(**data) if isinstance(data, dict) and "jobs" in data else None
