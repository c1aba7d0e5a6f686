"""Safety while training: on triples of a prompt, a safe and an unsafe answer, which answer the model finds likelier.

The safe answer is preferred where the margin of `sot_filter.training.margins`, summed over tokens, is above 0. The
share of triples where it is comes with Wilson's interval (95 %).
"""

import logging
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sot_filter.errors import ArtifactError
from sot_filter.training.history import SAFETY, TRAINING, UTILITY, History
from sot_filter.training.margins import from_first_rank, margins
from sot_filter.training.triples import Triples

#: Standard deviations of a normal distribution on either side of 95 % of it.
_Z: Final = 1.959963984540054
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen at one step.

    Attributes:
        triples: how many there are.
        preferred: how many have a margin above 0.
        low: lower end of Wilson's interval of their share.
        high: its upper end.
        margin: mean of the margins, in nats; NaN where one of them is not finite.
        margin_per_token: mean of the margins by token.
        not_finite: triples whose margin is no finite number; they do not count as preferred.
        digest: the triples' (`Triples.digest`).
        stop: why training stops here, if it does.
    """

    triples: int
    preferred: int
    low: float
    high: float
    margin: float
    margin_per_token: float
    not_finite: int
    digest: str
    stop: str | None = None

    @property
    def share(self) -> float:
        """The share of triples whose safe answer is preferred."""
        return self.preferred / self.triples


class SafetyProbe(TrainerCallback):
    """Looks at the start, while training, and at the end, and writes what it sees, with the utility loss, to a file.

    Between start and end it looks each `every` steps; where that is left out, at each evaluation and at the end of
    each epoch. A run that goes on from a checkpoint keeps what it saw up to there, and its start is the first one.

    Args:
        triples: what to look at.
        history: the file (`sot_filter.training.history`), which the process of rank 0 writes.
        every: optimiser steps between looks.
        stop_below: stop once the share preferred is lower than at the start by more than this, from 0 to 1. A
            checkpoint is written at that step.
        batch_rows: answers in a forward pass of one device.

    Attributes:
        first: the look at the start.
        last: the latest look.
        stopped: why the training was stopped, if it was. Where a run goes on from the step that it was stopped at, it
            is still: the trainer heeds that after one more step.
    """

    def __init__(
        self,
        triples: Triples,
        history: Path,
        every: int | None = None,
        stop_below: float | None = None,
        batch_rows: int = 8,
    ) -> None:
        self.triples, self.every, self.stop_below, self.batch_rows = triples, every, stop_below, batch_rows
        self.history = History(history)
        self.first: Look | None = None
        self.last: Look | None = None
        self.stopped: str | None = None
        self._seen: int | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Take up what was seen before; look, where that is due here and not yet done."""
        step = state.global_step
        looks = from_first_rank(lambda: self._begun(step), args.device)
        self.first, self.last = (looks[0][1], looks[-1][1]) if looks else (None, None)
        self.stopped = self.last.stop if self.last else None
        self._seen = looks[-1][0] if looks else -1
        if not step or (self.every is None and _ends_epoch(state)):
            self._look(args, state, control, given["model"])
        if self.stopped:
            control.should_training_stop = True

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Look each `every` steps."""
        if self.every and state.global_step % self.every == 0:
            self._look(args, state, control, given["model"])
            self._evaluate_where_it_stops(args, state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Look, where there is no `every`."""
        if self.every is None and self._seen != state.global_step:
            self._look(args, state, control, given["model"])
            self._evaluate_where_it_stops(args, state, control)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **given: Any,
    ) -> None:
        """Note the utility loss; look, where there is no `every`."""
        if self._seen is None:
            return
        if metrics and "eval_loss" in metrics:
            self._note(state, UTILITY, float(metrics["eval_loss"]))
        if self.every is None:
            self._look(args, state, control, given["model"])

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **given: Any,
    ) -> None:
        """Note the training loss."""
        if self._seen is not None and logs and "loss" in logs:
            self._note(state, TRAINING, float(logs["loss"]))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Look, unless that was done at this step."""
        self._look(args, state, control, given["model"])

    def _begun(self, step: int) -> list[tuple[int, Look]]:
        """Steps and looks that the file holds of this run.

        Raises:
            ArtifactError: it has none although the run has begun, or looks at other triples, or none that are ours.
        """
        self.history.begin(step)
        path = self.history.path
        try:
            looks = [(r["step"], Look(**_numbers(r[SAFETY]))) for r in self.history.records if SAFETY in r]
        except (AttributeError, TypeError):
            raise ArtifactError("looks of this version", f"others in {path}", "Start it anew.") from None
        if step and not (looks and looks[0][0] == 0):
            raise ArtifactError(
                f"what the run saw before step {step}", f"no look at its start in {path}", "Start it anew."
            )
        if any(look.digest != self.triples.digest for _, look in looks):
            raise ArtifactError(
                "the triples that the run began with", "others", f"Put them back, or start it anew: {path} has looks."
            )
        return looks

    def _look(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module) -> None:
        if self._seen == state.global_step:
            return
        look = seen(margins(model, self.triples, self.batch_rows, args.device), self.triples.digest)
        fall = 0 if self.first is None else self.first.preferred - look.preferred
        # Counts, since a difference of two rounded shares may lie on the wrong side.
        if self.first and self.stop_below is not None and fall > self.stop_below * look.triples + 1e-9:
            why = (
                f"safe answers are preferred in {look.share:.1%} of {look.triples} triples, "
                f"{fall / look.triples:.1%} fewer than the {self.first.share:.1%} at the start; "
                f"at most {self.stop_below:.1%} fewer was asked for"
            )
            look = replace(look, stop=why)
            self.stopped = why
            control.should_training_stop = control.should_save = True
        self.first, self.last, self._seen = self.first or look, look, state.global_step
        self._note(state, SAFETY, asdict(look))
        if state.is_world_process_zero:
            _log.info(
                "step %d: safe answers preferred in %d of %d triples (%.0f-%.0f%%), margin %+.3g",
                *(state.global_step, look.preferred, look.triples, 100 * look.low, 100 * look.high, look.margin),
            )
            if look.stop:
                _log.warning("training stops at step %d: %s", state.global_step, look.stop)

    def _evaluate_where_it_stops(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        """Have the utility loss beside the look that stops the training."""
        if self.stopped and args.eval_strategy != "no":
            control.should_evaluate = True

    def _note(self, state: TrainerState, kind: str, value: Any) -> None:
        if state.is_world_process_zero:
            self.history.add(kind, state.global_step, float(state.epoch or 0), value)


def seen(found: NDArray[np.float64], digest: str = "") -> Look:
    """Sum up margins [n, 2], in total and by token, n at least 1."""
    total, count = found[:, 0], len(found)
    finite, preferred = np.isfinite(found).all(1), int((total > 0).sum())
    if not finite.all():
        preferred = int((total[finite] > 0).sum())
    means = found.mean(0) if finite.all() else np.full(2, math.nan)
    low, high = wilson(preferred, count)
    return Look(count, preferred, low, high, float(means[0]), float(means[1]), int((~finite).sum()), digest)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, z2 = hits / count, _Z**2 / count
    middle, half = share + z2 / 2, _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return max((middle - half) / (1 + z2), 0.0), min((middle + half) / (1 + z2), 1.0)


def _ends_epoch(state: TrainerState) -> bool:
    return float(state.epoch or 0).is_integer()


def _numbers(record: dict[str, Any]) -> dict[str, Any]:
    """A look as it was before JSON, which knows no NaN."""
    return {key: math.nan if value is None and key != "stop" else value for key, value in record.items()}
