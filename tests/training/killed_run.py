"""A training that is killed after a step: ``python -m tests.training.killed_run RECIPE.json STEP``."""

import os
import signal
import sys
from pathlib import Path

from sot_filter.training.config import Recipe
from sot_filter.training.run import run


def main(path: str, step: str) -> None:
    """Train until the step is told, and no further."""

    def told(at: int, steps: int, logs: dict[str, float]) -> None:
        if at == int(step):
            os.kill(os.getpid(), signal.SIGKILL)

    run(Recipe.model_validate_json(Path(path).read_text(encoding="utf-8")), lambda what: None, told)


if __name__ == "__main__":
    main(*sys.argv[1:])
