"""TRL's trainer with a weight for each row, and with a method (plain, SPF, AsFT) between gradient and clipping.

It goes TRL 1.16's way, per-token log-probabilities from the fused head, and changes four things: the batch carries the
weights; the loss is `sot_filter.training.loss`; its denominator is that of the whole step, over micro-batches and
ranks; and the method adjusts the accumulated gradients before they are clipped. Evaluation averages the batches'
weighted losses, as TRL does; rows to evaluate on need the weight column too.
"""

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from datasets import Dataset, IterableDataset
from torch import Tensor, nn
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from sot_filter.errors import ConfigError, SourceError
from sot_filter.training.batches import IGNORED, WEIGHT, Prepared, WeightedCollator, refuse
from sot_filter.training.loss import SAMPLE_MEAN, check_weights, mass, weighted_loss
from sot_filter.training.method import Method, Plain

TRAIN: Final = "train"


class WeightedTrainer(SFTTrainer):
    """Supervised fine-tuning by weighted rows.

    Args:
        model: as TRL takes it.
        args: TRL's configuration. Packing, padding-free batches and what else has no per-row weight is refused.
        train_dataset: rows in a format of TRL's, with the weight column; evaluation rows alike.
        reduction: a name of `sot_filter.training.loss.REDUCTIONS`.
        weight_column: the rows' weights.
        method: what acts on the gradients; nothing if left out.
        safety_dataset: for SPF, a few rows of harmful prompts and refusals in a format of TRL's, without weights.
        rest: TRL's other arguments.

    Attributes:
        prepared: for each dataset, what became of its rows.

    Raises:
        ConfigError: a setting that would lose the weights or that TRL or PEFT refuses (as LoRA targets that match
            nothing), or a method without what it needs.
        SourceError: no rows; weights that are missing, negative, not finite or all zero; no row with a token to learn.
    """

    # The loss is normalised over the whole accumulated batch; the trainer must not divide it again.
    loss_is_scaled_for_ga: bool | None = True  # type: ignore[assignment]
    # TRL narrows what the base class says of these.
    args: Any
    model: Any
    data_collator: Any
    _signature_columns: Any

    def __init__(
        self,
        model: Any,
        args: SFTConfig,
        train_dataset: Dataset,
        *,
        reduction: str = SAMPLE_MEAN,
        weight_column: str = "sot_weight",
        method: Method | None = None,
        safety_dataset: Dataset | None = None,
        **rest: Any,
    ) -> None:
        refuse(args, reduction, rest)
        self.reduction, self.weight_column, self.method = reduction, weight_column, method or Plain()
        self.prepared: dict[str, Prepared] = {}
        self._weight = torch.zeros(())
        if not len(train_dataset):
            raise SourceError("rows to train on", "none", "Look at what was selected.")
        try:
            super().__init__(model=model, args=args, train_dataset=train_dataset, **rest)
        except ValueError as problem:
            # Their own refusals: targets that match no module, an adapter on the head, a template that cannot mask.
            said = " ".join(str(problem).split()).rstrip(".")
            raise ConfigError("settings that TRL and PEFT accept", said, "Correct the setting they name.") from problem
        if self._is_vision_dataset:
            raise ConfigError("rows of text", "rows with images", "Leave the images out.")
        if self.aux_loss_enabled:
            raise ConfigError(
                "a model without a router loss", "a mixture of experts", "Set router_aux_loss_coef to 0."
            )
        parallel = self.accelerator.parallelism_config
        if parallel is not None and (parallel.cp_enabled or parallel.sp_enabled or parallel.tp_enabled):
            raise ConfigError("whole rows on each rank", "context, sequence or tensor parallelism", "Use DDP.")
        if (self.is_fsdp_enabled or self.is_deepspeed_enabled) and not isinstance(self.method, Plain):
            raise ConfigError("whole gradients for SPF and AsFT", "FSDP or DeepSpeed", "Use DDP or one device.")
        self.data_collator = WeightedCollator(
            self.data_collator.pad_token_id, weight_column, self.args.pad_to_multiple_of
        )
        safety = None if safety_dataset is None else self._safety_loss(safety_dataset)
        self.method.start(self.accelerator.unwrap_model(self.model), safety)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The batch's part of the step's loss.

        Args:
            model: the model, wrapped for training.
            inputs: tokens, labels, and the rows' weights [B].
            return_outputs: whether to return the model's outputs too; they hold no logits.
            num_items_in_batch: the step's mass over all micro-batches and ranks; the batch's own if left out.

        Raises:
            SourceError: the batch has no weights.
        """
        if WEIGHT not in inputs:
            raise SourceError("a batch with its rows' weights", ", ".join(inputs), "Use this trainer's collator.")
        weights = inputs.pop(WEIGHT)
        inputs["use_cache"] = False
        outputs = model(**inputs, fused_lm_head=True)
        loss = weighted_loss(outputs.log_probs, outputs.label_mask, weights, self.reduction, num_items_in_batch)
        if num_items_in_batch is not None:
            # The mass is that of all ranks, and DDP divides the sum of their gradients by their number.
            loss = loss * self.accelerator.num_processes
        self._count(outputs, inputs)
        return (loss, outputs) if return_outputs else loss

    def _prepare_dataset(
        self,
        dataset: Any,
        processing_class: Any,
        args: SFTConfig,
        packing: bool,
        formatting_func: Callable[..., str] | None,
        dataset_name: str,
    ) -> Any:
        """Make rows into tokens as TRL does, having checked their weights, and count what is cut or lost."""
        if isinstance(dataset, IterableDataset):
            raise ConfigError("rows that can be counted", "a streamed dataset", "Load it whole.")
        if self.weight_column not in dataset.column_names:
            raise SourceError(
                f"a weight column {self.weight_column!r} in the {dataset_name} rows",
                ", ".join(dataset.column_names) or "no columns",
                "Name the column that holds the weights.",
            )
        weight = check_weights(dataset[self.weight_column], self.weight_column)
        whole, rows = self._tokenized(dataset, processing_class, args, formatting_func, dataset_name), len(dataset)
        limit = args.max_length or math.inf
        truncated = sum(len(ids) > limit for ids in whole["input_ids"])
        cut = super()._prepare_dataset(whole, processing_class, args, packing, None, dataset_name)
        # A first token is never predicted: a row whose only label it is teaches nothing, though TRL keeps it.
        cut = cut.filter(lambda row: any(label != IGNORED for label in row["labels"][1:]))
        left = math.fsum(cut[self.weight_column])
        self.prepared[dataset_name] = Prepared(rows, weight, truncated, rows - len(cut), weight - left)
        if not left > 0:
            raise SourceError(
                f"{dataset_name} rows with weight and a token to learn",
                f"none of {rows}: {truncated} are longer than {args.max_length} tokens",
                "Raise max_length, or look at the rows' format.",
            )
        return cut

    def _tokenized(
        self, dataset: Any, processing_class: Any, args: SFTConfig, formatting_func: Any, dataset_name: str
    ) -> Any:
        """Rows as tokens and labels, none cut, none dropped, in their order."""
        uncut = copy.copy(args)
        uncut.max_length, uncut.shuffle_dataset = None, False
        return super()._prepare_dataset(dataset, processing_class, uncut, False, formatting_func, dataset_name)

    def _safety_loss(self, dataset: Dataset) -> Callable[[], Tensor]:
        """The mean loss over the safety rows as a function of the current weights, the same on every rank.

        Raises:
            ConfigError: no rows, or none with a token to learn.
        """
        rows: Any = []
        if len(dataset):
            # TRL goes by the first training row whether prompts are learned; those of the safety rows never are.
            theirs, self.completion_only_loss = self.completion_only_loss, True
            tokens = self._tokenized(dataset, self.processing_class, self.args, None, "safety")
            self.completion_only_loss = theirs
            limit = self.args.max_length
            cut = [{key: row[key][:limit] for key in ("input_ids", "labels")} for row in tokens]
            rows = [{**row, self.weight_column: 1.0} for row in cut if any(i != IGNORED for i in row["labels"][1:])]
        if not rows:
            raise ConfigError(
                "safety rows with a refusal to learn",
                f"none of {len(dataset)}",
                "Give a harmful prompt and a refusal.",
            )
        return partial(self._loss_of, self.data_collator(rows))

    def _loss_of(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean loss of a batch by the bare model, without dropout, so that no random state is drawn from."""
        model = self.accelerator.unwrap_model(self.model)
        inputs = {key: value.to(self.args.device) for key, value in batch.items()}
        weights, training = inputs.pop(WEIGHT), model.training
        model.eval()
        try:
            with self.compute_loss_context_manager():
                outputs = model(**inputs, use_cache=False, fused_lm_head=True)
            return weighted_loss(outputs.log_probs, outputs.label_mask, weights)
        finally:
            model.train(training)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self.weight_column not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, self.weight_column]

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> Tensor:
        """The step's mass, over its micro-batches and over all ranks; the sum of weights is noted beside it."""
        totals = torch.zeros(2, device=device)
        for batch in batch_samples:
            of_batch = mass(batch["labels"][:, 1:] != IGNORED, batch[WEIGHT], self.reduction)
            totals += torch.stack((of_batch, batch[WEIGHT].sum())).to(device)
        if self.args.world_size > 1:
            totals = self.accelerator.gather(totals[None]).sum(0)
        self._weight = totals[1]
        return totals[0]

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        self._adjust()
        return super()._clip_grad_norm(model)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        # Called at each step, but after clipping where there is any.
        if grad_norm is None:
            self._adjust()
        return super()._get_grad_norm(model, grad_norm=grad_norm)

    def _adjust(self) -> None:
        """Let the method act on the step's gradients; note what it did and the sum of weights that the step felt."""
        scaler = self.accelerator.scaler
        told = self.method.adjust(self.state.global_step, 1.0 if scaler is None else scaler.get_scale())
        for key, value in {"weight_sum": float(self._weight), **told}.items():
            self._metrics[TRAIN][key].append(value)

    def _count(self, outputs: Any, inputs: Mapping[str, Tensor]) -> None:
        """TRL's own metrics of a batch: entropy, share of tokens that are the likeliest, tokens seen."""
        gather, metrics = self.accelerator.gather_for_metrics, self._metrics[TRAIN if self.model.training else "eval"]
        counted = (outputs.label_mask.sum(), outputs.entropy.detach().sum(), outputs.is_top1.sum())
        tokens, entropy, likeliest = (float(gather(value).sum()) for value in counted)
        metrics["entropy"].append(entropy / max(tokens, 1))
        metrics["mean_token_accuracy"].append(likeliest / max(tokens, 1))
        if self.model.training:
            self._total_train_tokens += int(gather(inputs["attention_mask"].sum()).sum())
        metrics["num_tokens"] = [self._total_train_tokens]

    def create_model_card(self, *given: Any, **named: Any) -> None:
        """None beside the checkpoints: TRL's would know neither the data nor the weights."""

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            self.method.save(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.method.load(Path(resume_from_checkpoint))
