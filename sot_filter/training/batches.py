"""What a batch of weighted rows is: the rows' weights beside their tokens; which settings would lose them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from sot_filter.errors import ConfigError, SourceError
from sot_filter.training.loss import REDUCTIONS

#: The batch's key for the rows' weights.
WEIGHT: Final = "weight"
#: The label of a token that is not learned.
IGNORED: Final = -100


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of the rows when they were made into tokens.

    Attributes:
        rows: rows given.
        weight: their sum of weights.
        truncated: rows that were longer than ``max_length``.
        silent: rows without a token to learn, which are dropped; most are prompts that fill ``max_length``.
        silent_weight: the sum of weights that is lost with them.
    """

    rows: int
    weight: float
    truncated: int
    silent: int
    silent_weight: float


class WeightedCollator(DataCollatorForLanguageModeling):
    """TRL's collator, with the rows' weights [B] beside their tokens.

    Args:
        pad_token_id: what short rows are filled up with.
        column: the rows' weight column.
    """

    def __init__(self, pad_token_id: int, column: str, pad_to_multiple_of: int | None = None) -> None:
        super().__init__(pad_token_id=pad_token_id, pad_to_multiple_of=pad_to_multiple_of)
        self.column = column

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate rows. Raises `SourceError` where one has no weight, or none that can be used."""
        weights = [example.get(self.column) for example in examples]
        for weight in weights:
            if weight is None or not 0 <= weight < math.inf:
                raise SourceError(
                    f"a weight of 0 or more in {self.column!r} of every row", f"{weight!r}", "Mend the column."
                )
        return {**super().torch_call(examples), WEIGHT: torch.tensor(weights, dtype=torch.float32)}


def refuse(args: Any, reduction: str, rest: Mapping[str, Any]) -> None:
    """Refuse what would lose the weights or ignore them. Raises `ConfigError`."""
    if reduction not in REDUCTIONS:
        raise ConfigError(f"a reduction among {', '.join(REDUCTIONS)}", repr(reduction), "Choose one of these.")
    reasons = {
        "packing": (args.packing or args.eval_packing, "it joins rows, which have a weight each"),
        "padding_free": (args.padding_free, "it joins rows, which have a weight each"),
        "loss_type": (args.loss_type != "nll", "the weights are those of the log-likelihood"),
        "label_smoothing_factor": (args.label_smoothing_factor > 0, "TRL smooths a loss without weights"),
        "data_collator": (rest.get("data_collator") is not None, "a collator of its own carries the weights"),
        "compute_loss_func": (rest.get("compute_loss_func") is not None, "the loss is the weighted one"),
        "compute_metrics": (rest.get("compute_metrics") is not None, "the fused head makes no logits"),
        "dataset_kwargs": (bool((args.dataset_kwargs or {}).get("skip_prepare_dataset")), "weights are checked there"),
    }
    for name, (given, why) in reasons.items():
        if given:
            raise ConfigError(f"{name} left alone", "a value", f"Leave it out: {why}.")
