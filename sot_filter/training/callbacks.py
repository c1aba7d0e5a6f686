"""What the trainer calls between steps: progress, a stop where the loss is no number, and marks on checkpoints."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sot_filter.errors import ModelError
from sot_filter.training.output import mark_whole

#: Told the step, how many there will be, and what was logged of it.
Told = Callable[[int, int, dict[str, float]], None]


class Follow(TrainerCallback):
    """Tells each step, and stops where the loss is no number any more. Checkpoints up to there stay."""

    def __init__(self, told: Told) -> None:
        self.told = told

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **given: Any,
    ) -> None:
        """Tell a step. Raises `ModelError` where its loss or gradient is not finite."""
        if not logs or "loss" not in logs:
            return
        for name in ("loss", "grad_norm"):
            if not math.isfinite(float(logs.get(name, 0.0))):
                raise ModelError(
                    f"a finite {name.replace('_norm', 'ient')}",
                    f"{logs[name]} at step {state.global_step}",
                    "Lower optimiser.learning_rate, or set precision to float32, and give another `output`.",
                )
        if state.is_world_process_zero:
            self.told(state.global_step, state.max_steps, logs)


class MarkWhole(TrainerCallback):
    """Marks a checkpoint once every rank has written its part."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Mark the checkpoint of this step."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            mark_whole(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")
