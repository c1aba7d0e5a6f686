"""One stage on Slurm: datatrove's executor as it is pickled, read again on a node, and run there for one task."""

import math
import os
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any, Final

from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.utils.stats import PipelineStats

from sot_filter.artifacts import write_json
from sot_filter.errors import SotFilterError
from sot_filter.executors.local import own_error_first
from sot_filter.plan import Stage

#: How often a task may go back into the queue without having finished a part in the meantime.
MAX_RESTARTS: Final = 3
#: The file that the first task of a launch leaves in the folder of its logs.
STARTED: Final = "started.json"


class SlurmTasks(SlurmPipelineExecutor):
    """The tasks of a stage, as many per job array as the cluster allows.

    Which work is done is for the manifests to say, so no task is skipped for a marker of an earlier launch; and every
    launch has a folder of its own for its logs, so that their number of tasks may differ.

    Args:
        stage: the stage.
        logs: folder or URL for the logs of this launch.
        slurm_logs: local folder for what Slurm itself writes.
        array: tasks per job array.
    """

    def __init__(self, stage: Stage, logs: str, slurm_logs: str, array: int) -> None:
        # What is asked of Slurm goes to sbatch directly: what stands here too is dumped to executor.json.
        super().__init__(
            list(stage.steps),
            tasks=stage.tasks,
            time="",
            partition="",
            job_name=stage.name,
            qos="",
            max_array_size=array,
            logging_dir=logs,
            slurm_logs_folder=slurm_logs,
            skip_completed=False,
            requeue_signals=None,
        )

    @property
    def arrays(self) -> list[int]:
        """Tasks of each job array."""
        count = math.ceil(self.tasks / self.max_array_size)
        return [min(self.max_array_size, self.tasks - i * self.max_array_size) for i in range(count)]

    def run(self) -> None:
        """Run the task that Slurm's variables name. Ends the process with one line for an error of ours."""
        signal.signal(signal.SIGUSR1, self._requeue)
        try:
            super().run()
        except SotFilterError as error:
            sys.exit(f"{type(error).__name__}: {error}")

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        with own_error_first(self.logging_dir.path):
            if not self.logging_dir.isfile(STARTED):
                write_json(self.logging_dir.resolve_paths(STARTED), {"when": time.time()})
            return super()._run_for_rank(rank, local_rank, node_rank)

    def _requeue(self, number: int, frame: FrameType | None) -> Any:
        """Back into the queue, as the time is nearly up or the node is wanted; finished parts stay."""
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        if restarts >= MAX_RESTARTS and not any("rows" in step.stats.stats for step in self.pipeline):
            sys.exit(
                f"expected a finished part by the end of a task's time; got none, after {restarts} restarts. "
                f"Give the stage more: executor.stages.{self.job_name}.time."
            )
        job = os.environ["SLURM_JOB_ID"]
        asked = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        sys.exit(f"going back into the queue {asked.stderr.strip()}".strip())
