"""The stages on HF Jobs: one job per task, stage after stage, followed from here.

The Hub's jobs know no dependencies, and a job that is to start others would need a token that may; so the launcher
stays, and starts a stage when the one before has ended well. If it is killed, the jobs go on, `sot-filter status` and
`cancel` know of them, and the same command continues. datatrove's executor for it is of the same shape, but takes a
failed job for a warning, hides its error, and has jobs of an earlier launch read the newer one's files.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

import sot_filter.errors
from sot_filter import __version__
from sot_filter.artifacts import read_json
from sot_filter.config import Jobs
from sot_filter.errors import ConfigError, ExecutorError, HubError, SotFilterError
from sot_filter.executors.jobs_task import error_url, write_steps
from sot_filter.executors.submission import (
    ACTIVE,
    CANCELLED,
    DONE,
    PENDING,
    RUNNING,
    Submission,
    write_submission,
)
from sot_filter.executors.watching import Watch, rows_done
from sot_filter.plan import Plan, Stage

#: The Hub's words for a job's state; one that is not here is passed on.
_WORDS: Final = {"SCHEDULING": PENDING, "RUNNING": RUNNING, "COMPLETED": DONE, "CANCELED": CANCELLED}
_IMAGE: Final = "ghcr.io/astral-sh/uv:python3.12-bookworm"
#: A log is not to show the values of variables, which hold rows.
_ENVIRONMENT: Final = {"LOGURU_DIAGNOSE": "NO", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONUNBUFFERED": "1"}
#: The label by which a launch finds its jobs again.
_LABEL: Final = "sot-filter-launch"
_LOOK_EVERY: Final = 10.0
#: How many looks in a row may stay without an answer: a network that is away for five minutes ends nothing.
_PATIENCE: Final = 30
_DO: Final = {
    401: "Log in again, or set HF_TOKEN anew.",
    402: "Add credit to the account that pays, or name another under executor.namespace.",
    403: "Use a token that may start jobs, and a namespace that you may use.",
    404: "Check executor.namespace and the flavor; `hf jobs hardware` lists flavors.",
    429: "Wait some minutes, and run again with fewer tasks.",
}


def run_jobs(plan: Plan, stages: Sequence[Stage], watch: Watch) -> Submission | None:
    """Run the stages that are not done as jobs on the Hub, one stage after the other, and wait.

    Raises:
        ConfigError: there is no token, or a variable named under ``secrets`` is not set.
        HubError: the Hub refuses a job, or does not answer.
        ExecutorError: a job ended badly, without an error of ours.
        SotFilterError: a task's own error. The other jobs are cancelled then; the parts that they finished stay.
    """
    config = plan.config.executor
    assert isinstance(config, Jobs)
    launch: _Launch | None = None
    for stage in stages:
        with watch(stage):
            if (before := rows_done(stage)) < stage.rows:
                launch = launch or _Launch(plan, config)
                launch.run(stage, before)
    return None


class _Launch:
    """The jobs of one launch, of which `jobs.json` in the work folder always tells.

    Args:
        plan: the run.
        config: the executor's settings.
    """

    def __init__(self, plan: Plan, config: Jobs) -> None:
        self.plan, self.config = plan, config
        self.token = _token()
        self.secrets = {"HF_TOKEN": self.token, **_secrets(config.secrets)}
        with _answering("who you are"):
            self.namespace = config.namespace or str(_api().whoami(self.token)["name"])
        self.submission = Submission("jobs", {}, float(round(time.time())))

    def run(self, stage: Stage, before: int) -> None:
        """Run a stage. At the first job that ends badly the others are cancelled."""
        logs = f"{self.plan.layout.logs(stage.name)}/jobs-{self.submission.when:.0f}"
        write_steps(logs, stage.steps, stage.tasks)
        jobs = self.submission.jobs[stage.name] = []
        self.submission.before[stage.name] = before
        self.submission.tasks[stage.name] = stage.tasks
        self.submission.logs[stage.name] = logs
        waiting = deque(range(stage.tasks))
        running: dict[str, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < (self.config.workers or stage.tasks):
                    rank = waiting.popleft()
                    job = self._submit(stage, logs, rank)
                    jobs.append(job)
                    running[job] = rank
                    write_submission(self.plan.layout, self.submission)
                states = self._look()
                for job in [job for job in running if states.get(job, PENDING) not in ACTIVE]:
                    rank = running.pop(job)
                    if states[job] != DONE:
                        raise _bad_end(stage, logs, rank, job, states[job])
        except BaseException:
            for job in running:
                with contextlib.suppress(SotFilterError):
                    _cancel(job)
            raise
        if rows_done(stage) < stage.rows:
            raise ExecutorError(
                f"all of stage {stage.name} in {self.plan.layout.root} after its jobs ended well",
                f"{rows_done(stage):,} of {stage.rows:,} rows",
                "Run again to continue; the jobs must see the same work_dir.",
            )

    def _submit(self, stage: Stage, logs: str, rank: int) -> str:
        """Start a job. Returns its id, with the namespace that it is found under."""
        asked = self.config.of(stage.name)
        name = f"{self.plan.config.name}-{stage.name}-{rank}".replace(".", "-")
        with _answering(f"a job of flavor {asked.flavor or 'cpu-basic'} in {self.namespace}"):
            job = _api().run_job(
                image=self.config.image or _IMAGE,
                command=[*self._python(), "-m", "sot_filter.executors.jobs_task", logs, str(rank)],
                env={**_ENVIRONMENT, **self.config.env},
                secrets=self.secrets,
                flavor=asked.flavor,
                timeout=asked.timeout,
                attempts=self.config.attempts,
                name=name,
                labels={_LABEL: f"{self.submission.when:.0f}", "sot-filter-stage": stage.name},
                namespace=self.namespace,
                token=self.token,
            )
        return f"{self.namespace}/{job.id}"

    def _python(self) -> list[str]:
        """The command that starts Python in a job, with this package at hand."""
        given = self.config.requirements
        ours = () if self.config.image else (f"sot-filter[cpu,offline]=={__version__}",)
        wanted = ours if given is None else given
        return ["uv", "run", "--no-project", *(f"--with={one}" for one in wanted), "python"] if wanted else ["python"]

    def _look(self) -> dict[str, str]:
        """The states after a while; a Hub that is away for some minutes is waited for."""
        for missed in range(_PATIENCE):
            time.sleep(_LOOK_EVERY)
            try:
                return jobs_states(self.submission)
            except HubError:
                if missed == _PATIENCE - 1:
                    raise
        return {}


def jobs_states(submission: Submission) -> dict[str, str]:
    """The state of every job; `deleted` where the Hub knows it no more."""
    found: dict[str, str] = {}
    for namespace in {job.partition("/")[0] for job in submission.ids}:
        with _answering(f"the jobs of {namespace}"):
            # One question for all of them: the Hub answers only so many in five minutes.
            label = {_LABEL: f"{submission.when:.0f}"}
            jobs = _api().list_jobs(labels=label, namespace=namespace, timeout=60, token=_token())
            found |= {f"{namespace}/{job.id}": str(job.status.stage) for job in jobs}
    states = {job: found.get(job) or _state(job) for job in submission.ids}
    return {job: _WORDS.get(state, state.lower()) for job, state in states.items()}


def _state(job: str) -> str:
    """The state of a job that the list does not have, as one that was started this moment."""
    from huggingface_hub import errors

    namespace, _, name = job.partition("/")
    with _answering(f"the state of job {job}"):
        try:
            return str(_api().inspect_job(job_id=name, namespace=namespace, token=_token()).status.stage)
        except errors.HfHubHTTPError as error:
            if error.response.status_code != 404:
                raise
    return "DELETED"


def cancel_jobs(submission: Submission) -> None:
    """Cancel all jobs that are not over."""
    states = jobs_states(submission)
    for job in submission.ids:
        if states[job] in ACTIVE:
            _cancel(job)


def jobs_tail(submission: Submission, job: str, lines: int) -> list[str]:
    """The last lines that a job has written."""
    namespace, _, name = job.partition("/")
    with contextlib.suppress(SotFilterError), _answering(f"the log of {job}"):
        told = _api().fetch_job_logs(job_id=name, namespace=namespace, tail=lines, token=_token())
        return [line.rstrip() for line in told if line.strip()][-lines:]
    return []


def _cancel(job: str) -> None:
    namespace, _, name = job.partition("/")
    with _answering(f"the end of job {job}"):
        _api().cancel_job(job_id=name, namespace=namespace, token=_token())


def _bad_end(stage: Stage, logs: str, rank: int, job: str, state: str) -> SotFilterError:
    """A task's own error, where it left one."""
    told = read_json(error_url(logs, rank))
    if isinstance(told, dict):
        kind = getattr(sot_filter.errors, told["kind"], ExecutorError)
        error: SotFilterError = kind(told["expected"], told["got"], told["do"])
        return error
    return ExecutorError(
        f"a good end of every job of stage {stage.name}",
        f"{state} for task {rank}, job {job}",
        f"Read its log with `hf jobs logs {job}`; run again to continue.",
    )


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi()


def _token() -> str:
    from huggingface_hub import get_token

    token = get_token()
    if token is None:
        raise ConfigError("a Hub token for HF Jobs", "none", "Log in with `hf auth login`, or set HF_TOKEN.")
    return str(token)


def _secrets(names: Sequence[str]) -> dict[str, str]:
    if missing := [name for name in names if name not in os.environ]:
        raise ConfigError(
            "environment variables of the names under executor.secrets", f"no {', '.join(missing)}", "Set them."
        )
    return {name: os.environ[name] for name in names}


@contextlib.contextmanager
def _answering(what: str) -> Iterator[None]:
    """Say in one error what the Hub refused, and why; no token is in what it says."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not to type checkers

    try:
        yield
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        said = " ".join((error.server_message or str(error)).split())[:160]
        do = _DO.get(status, "Correct the executor's settings." if status < 500 else "Try again later.")
        raise HubError(f"{what} from the Hub", f"status {status}: {said}", do) from None
    except (httpx.HTTPError, OSError) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise HubError(f"{what} from the Hub", said, "Check the network and try again.") from None
