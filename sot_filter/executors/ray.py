"""The stages on a Ray cluster: one Ray task for each task of a stage, run where there is room.

This goes to Ray directly. datatrove's executor for it takes the error of a rank for a warning, waits for ever where a
process is killed within its pool or no node can hold a task, and has all runs of a node log to the same files.
"""

import contextlib
import io
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from sot_filter.config import Ray, RayTask
from sot_filter.errors import ConfigError, ExecutorError, SotFilterError
from sot_filter.executors.local import own_error_first
from sot_filter.executors.submission import Submission
from sot_filter.executors.watching import Watch, rows_done
from sot_filter.plan import Plan, Stage

_LOOK_EVERY: Final = 2.0
_ANSWER_WITHIN: Final = 10.0


def run_ray(plan: Plan, stages: Sequence[Stage], watch: Watch) -> Submission | None:
    """Run the stages that are not done on a Ray cluster, one after the other, and wait.

    Raises:
        ConfigError: Ray is not installed, or no node has room for a task.
        ExecutorError: the cluster does not answer, or a task ended without an error of ours.
        SotFilterError: a task's own error. The others are stopped then; the parts that they finished stay.
    """
    config = plan.config.executor
    assert isinstance(config, Ray)
    with contextlib.ExitStack() as connection:
        connected = False
        for stage in stages:
            with watch(stage):
                if rows_done(stage) < stage.rows:
                    with _quiet():
                        if not connected:
                            connection.enter_context(_cluster(config))
                            connected = True
                        _Tasks(stage, plan.layout.logs(stage.name), config).run()
    return None


def run_rank(steps: list[PipelineStep], tasks: int, logs: str, rank: int) -> None:
    """One task of a stage, in a process of Ray's. Which work is done is for the manifests to say."""
    with _quiet(), own_error_first(logs):
        LocalPipelineExecutor(steps, tasks=tasks, logging_dir=logs, skip_completed=False)._run_for_rank(rank, 1)


class _Tasks:
    """The tasks of a stage, so many at a time.

    Args:
        stage: the stage.
        logs: folder or URL for its logs.
        config: the executor's settings.
    """

    def __init__(self, stage: Stage, logs: str, config: Ray) -> None:
        import ray

        self.stage, self.logs, self.config = stage, logs, config
        self.asked = config.of(stage.name)
        self.waiting = deque(range(stage.tasks))
        self.attempts = [0] * stage.tasks
        self.running: dict[Any, int] = {}
        # Deaths are counted here, so that one that memory caused is not repeated for ever.
        # A log is not to show the values of variables, which hold rows.
        environment = {"env_vars": {"LOGURU_DIAGNOSE": "NO"}}
        remote: Any = ray.remote(run_rank)
        self.remote = remote.options(max_retries=0, runtime_env=environment, **_resources(self.asked))

    def run(self) -> None:
        """Run them all. At the first error the others are stopped."""
        import ray

        room, until = False, time.monotonic() + (self.config.wait_seconds if self.config.address else 0)
        try:
            while self.waiting or self.running:
                self._start()
                room = room or _has_room(self.asked)
                if not room and time.monotonic() >= until:
                    raise ConfigError(
                        f"a Ray node with room for a task of stage {self.stage.name} ({_words(_wanted(self.asked))})",
                        f"a cluster whose largest have {_words(_largest())}",
                        "Ask for less in the executor's settings, or add such a node.",
                    )
                for ended in ray.wait(list(self.running), timeout=_LOOK_EVERY)[0]:
                    self._end(ended)
        finally:
            for task in self.running:
                ray.cancel(task, force=True)

    def _start(self) -> None:
        while self.waiting and len(self.running) < (self.config.workers or self.stage.tasks):
            rank = self.waiting.popleft()
            self.running[self.remote.remote(self.stage.steps, self.stage.tasks, self.logs, rank)] = rank

    def _end(self, task: Any) -> None:
        """See how a task ended; one whose process died is put back."""
        import ray

        rank = self.running.pop(task)
        try:
            ray.get(task)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, SotFilterError):
                raise error.cause from None
            got = f"{type(error.cause).__name__}: {' '.join(str(error.cause).split())[:200]} (task {rank})"
            raise self._bad_end(got, "If a package is missing, install it on every node.") from None
        except (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.NodeDiedError,
        ) as error:
            self.attempts[rank] += 1
            if self.attempts[rank] > self.config.retries:
                memory = isinstance(error, ray.exceptions.OutOfMemoryError)
                raise self._bad_end(
                    f"a process that {'used up the memory of its node' if memory else 'died'} "
                    f"(task {rank}, {self.attempts[rank]} times)",
                    "Run again to continue, perhaps with fewer workers or more memory_gib.",
                ) from None
            self.waiting.append(rank)
        except ray.exceptions.RayError as error:
            got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]} (task {rank})"
            raise self._bad_end(got, "Look at the state of the Ray cluster, and run again to continue.") from None

    def _bad_end(self, got: str, do: str) -> ExecutorError:
        return ExecutorError(
            f"a good end of every task of stage {self.stage.name}", got, f"{do} Logs: {self.logs}/logs"
        )


@contextlib.contextmanager
def _cluster(config: Ray) -> Iterator[None]:
    """A connection to the cluster at ``config.address``, or a cluster on this machine that ends with the block."""
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "the package ray for executor.kind ray", "none here", "Install it: pip install 'sot-filter[ray]'."
        ) from None
    # Ray looks for minutes; and where nobody answers, it ends the whole process.
    _require_answer(config.address)
    options: dict[str, Any] = {"address": config.address}
    if config.address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options = {"address": "local", "include_dashboard": False}
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise ExecutorError(
            f"a Ray cluster at {config.address or 'this machine'}",
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            "Run this on a node of the cluster, with its versions of Python and Ray, and with RAY_AUTH_MODE=token "
            "where it wants a token; or remove executor.address.",
        ) from None
    try:
        yield
    finally:
        with _quiet():
            ray.shutdown()


def _require_answer(address: str | None) -> None:
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if address in (None, "auto", "local"):
        return
    if not host or not port.isdecimal():
        raise ConfigError("executor.address as host:port", str(address), "Take the one that `ray start` has printed.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_WITHIN).close()
    except OSError as error:
        raise ExecutorError(
            f"a Ray cluster at {address}",
            f"no answer ({(error.strerror or str(error)).lower()})",
            "Check executor.address, and start the cluster with `ray start --head`.",
        ) from None


def _wanted(asked: RayTask) -> dict[str, float]:
    """The resources that a task reserves, in Ray's words and units (memory in bytes)."""
    wanted = {"CPU": asked.cpus or 1, "GPU": asked.gpus or 0, "memory": int((asked.memory_gib or 0) * 2**30)}
    return {name: amount for name, amount in wanted.items() if amount}


def _resources(asked: RayTask) -> dict[str, float]:
    words = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
    return {words[name]: amount for name, amount in _wanted(asked).items()}


def _has_room(asked: RayTask) -> bool:
    """Whether a node could hold a task, if it had nothing else to do."""
    return any(all(node.get(name, 0) >= wanted for name, wanted in _wanted(asked).items()) for node in _nodes())


def _largest() -> dict[str, float]:
    return {name: max((node.get(name, 0) for node in _nodes()), default=0) for name in ("CPU", "GPU", "memory")}


def _nodes() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _words(resources: dict[str, float]) -> str:
    told = {"CPU": "{:g} CPUs", "GPU": "{:g} GPUs"}
    amounts = [told[name].format(amount) for name, amount in resources.items() if name in told]
    return ", ".join([*amounts, *(f"{resources[m] / 2**30:.1f} GiB" for m in resources if m == "memory")])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's and the task log's lines off the terminal, which belongs to the progress display."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield
