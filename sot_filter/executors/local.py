"""The stages on this machine, a few tasks at a time."""

import contextlib
import io
from collections.abc import Iterator, Sequence

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.utils.logging import setup_default_logger
from datatrove.utils.stats import PipelineStats

from sot_filter.artifacts.files import write_error
from sot_filter.errors import SotFilterError
from sot_filter.executors.submission import Submission
from sot_filter.executors.watching import Watch, rows_done
from sot_filter.plan import Plan, Stage


class _QuietLocal(LocalPipelineExecutor):
    """The local executor with its log in files only: the terminal belongs to the progress display."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        with contextlib.redirect_stderr(io.StringIO()), own_error_first(self.logging_dir.path):
            return super()._run_for_rank(rank, local_rank, node_rank)


def run_local(plan: Plan, stages: Sequence[Stage], watch: Watch) -> Submission | None:
    """Run the stages that are not done, one after the other, ``executor.workers`` tasks at a time, and wait.

    Which work is done is for the manifests to say, so no task is skipped for a marker of an earlier launch.
    """
    for stage in stages:
        with watch(stage):
            if rows_done(stage) < stage.rows:
                _run(stage, plan.layout.logs(stage.name), plan.config.executor.workers or 1)
    return None


def _run(stage: Stage, logs: str, workers: int) -> None:
    with contextlib.redirect_stderr(io.StringIO()), own_error_first(logs):
        # The log's default handler writes to the real stderr, which it took hold of when it was imported.
        setup_default_logger()
        _QuietLocal(
            list(stage.steps),
            tasks=stage.tasks,
            workers=min(workers, stage.tasks),
            logging_dir=logs,
            skip_completed=False,
        ).run()


@contextlib.contextmanager
def own_error_first(logs: str) -> Iterator[None]:
    """On a full disk the executor cannot close its log either, and that error would hide ours."""
    try:
        yield
    except OSError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, SotFilterError):
            cause = cause.__context__
        if cause is None and (isinstance(error, FileNotFoundError | ConnectionError) or error.errno is None):
            raise
        raise cause or write_error(error, logs) from None
