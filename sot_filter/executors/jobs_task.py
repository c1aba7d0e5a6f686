"""One task of a stage in a job of the Hub's: the steps are read from the run's work folder, and run."""

import importlib
import inspect
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from sot_filter.artifacts import read_bytes, read_json, write_bytes, write_json
from sot_filter.errors import ArtifactError, SotFilterError
from sot_filter.executors.local import own_error_first

#: The file that the first task of a launch leaves in the folder of its logs.
STARTED: Final = "started.json"
_STEPS: Final = "sot_filter.steps."


def write_steps(logs: str, steps: Sequence[PipelineStep], tasks: int) -> None:
    """Set down the steps of a stage: their classes, which are of `sot_filter.steps`, and their arguments as JSON."""
    told = [{"step": _name(type(step)), "arguments": _arguments(step)} for step in steps]
    write_bytes(f"{logs}/steps.json", json.dumps({"tasks": tasks, "steps": told}, indent=1).encode())


def read_steps(logs: str) -> tuple[list[PipelineStep], int]:
    """The steps that `write_steps` set down, and the number of tasks.

    Raises:
        ArtifactError: there are none, or others than those of this package.
    """
    try:
        told = json.loads(read_bytes(f"{logs}/steps.json") or b"")
        return [_class(one["step"])(**one["arguments"]) for one in told["steps"]], int(told["tasks"])
    except (ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise ArtifactError(
            f"steps of this version in {logs}/steps.json",
            f"something else ({type(error).__name__}: {error})",
            "Use the same version of sot-filter in the jobs, and run again.",
        ) from None


def _name(step: type) -> str:
    return f"{step.__module__.removeprefix(_STEPS)}:{step.__qualname__}"


def _arguments(step: PipelineStep) -> dict[str, Any]:
    """What a step was made of, which it keeps under the same names."""
    return {name: getattr(step, name) for name in inspect.signature(type(step)).parameters}


def _class(name: str) -> type[PipelineStep]:
    module, _, found = name.partition(":")
    step = getattr(importlib.import_module(_STEPS + module), found)
    if not (isinstance(step, type) and issubclass(step, PipelineStep)):
        raise TypeError(f"{name} is no step")
    return step


def error_url(logs: str, rank: int) -> str:
    """Where a task leaves its error, for the launcher to say."""
    return f"{logs}/errors/{rank:05d}.json"


def main(logs: str, rank: int) -> None:
    """Run a task. Which work is done is for the manifests to say, so it may be started again at any time.

    Args:
        logs: folder of the stage's logs of this launch, with the steps in it.
        rank: the task's number.
    """
    try:
        with own_error_first(logs):
            if read_json(f"{logs}/{STARTED}") is None:
                write_json(f"{logs}/{STARTED}", {"when": time.time()})
            steps, tasks = read_steps(logs)
            LocalPipelineExecutor(steps, tasks=tasks, logging_dir=logs, skip_completed=False)._run_for_rank(rank)
    except SotFilterError as error:
        told = {"kind": type(error).__name__, "expected": error.expected, "got": error.got, "do": error.do}
        write_json(error_url(logs, rank), told)
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
