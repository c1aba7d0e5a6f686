"""A training from its recipe to its adapter: prepared and checked, trained or continued, written, and told.

The same call continues from the last whole checkpoint, and does nothing where the run is finished. Under torchrun each
rank makes this call; rank 0 writes.
"""

import datetime
import json
import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from accelerate import PartialState
from transformers import PrinterCallback
from trl.trainer.sft_config import SFTConfig

import sot_filter
from sot_filter.errors import ArtifactError, ModelError
from sot_filter.training import output
from sot_filter.training.callbacks import Follow, MarkWhole, Told
from sot_filter.training.config import Asft, Recipe
from sot_filter.training.direction import Projector
from sot_filter.training.examples import WEIGHT
from sot_filter.training.method import METHODS, Method
from sot_filter.training.models import load_model
from sot_filter.training.pins import folder_of, resolve
from sot_filter.training.preparation import Ready, Say, adapters_of, as_json, check_settings, prepare, weight_type
from sot_filter.training.probe import SafetyProbe
from sot_filter.training.projector_cache import find_projectors
from sot_filter.training.ranks import agreed, join
from sot_filter.training.results import write_results
from sot_filter.training.trainer import WeightedTrainer

#: Libraries whose versions may change what comes out.
LIBRARIES: Final = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
_DIRECTION: Final = "direction.safetensors"
_KEPT_CHECKPOINTS: Final = 2
_SCHEDULES: Final = {True: "constant_with_warmup", False: "constant"}


def plan(recipe: Recipe, say: Say) -> dict[str, Any]:
    """What a run would do and take, without the model's weights and without a step.

    Raises `ArtifactError` where the folder is another's, and as `prepare` does.
    """
    check_settings(recipe)
    state = join()
    output.refuse_foreign(Path(folder_of(recipe)))
    ready = prepare(resolve(recipe), state, say, weights=False)
    return {
        "name": recipe.name,
        "method": recipe.method.kind,
        "folder": folder_of(recipe),
        "devices": state.num_processes,
        **ready.facts(),
    }


def run(recipe: Recipe, say: Say, told: Told) -> dict[str, Any]:
    """Train, or go on training, and leave adapter, card, curves and ``run.json`` in the output folder.

    Args:
        recipe: the recipe as given.
        say: told what is being done before training.
        told: told each step.

    Returns:
        What ``run.json`` says.

    Raises:
        ArtifactError: the folder is another's, or rows or model are others than the run began with.
        SotFilterError: as `prepare`, and what goes wrong in training.
    """
    check_settings(recipe)
    state, folder = join(), Path(folder_of(recipe))
    if not state.is_main_process:
        return _run(recipe, folder, state, say, told)
    with output.held(folder), output.writing(folder):
        return _run(recipe, folder, state, say, told)


def _run(recipe: Recipe, folder: Path, state: PartialState, say: Say, told: Told) -> dict[str, Any]:
    given = as_json(recipe)
    before: dict[str, Any] | None = json.loads(agreed(state, lambda: json.dumps(output.check_folder(folder, given))))
    if before is not None and before["status"] == output.FINISHED:
        return before
    pinned = agreed(state, lambda: json.dumps(before["recipe"] if before else as_json(resolve(recipe))))
    ready = prepare(Recipe.model_validate_json(pinned), state, say)
    facts = ready.facts()
    checkpoint = output.last_whole(folder / output.CHECKPOINTS) if before else None
    if before is not None and checkpoint is not None:
        _check_same(before, facts)
    record = {
        "version": 1,
        "status": output.STARTED,
        "name": recipe.name,
        "given": before["given"] if before else given,
        "recipe": as_json(ready.recipe),
        "versions": _versions(),
        "device": {"kind": _device(), "count": state.num_processes},
        **facts,
    }
    resumed = [*(before or {}).get("resumed", ()), int(checkpoint.name.rpartition("-")[2])] if checkpoint else []
    if state.is_main_process:
        output.write_json(folder / output.RUN, record | {"resumed": resumed})
        output.write_text(folder / output.RECIPE, yaml.safe_dump(as_json(ready.recipe), sort_keys=False, width=119))
        output.remove_broken(folder / output.CHECKPOINTS)
    state.wait_for_everyone()
    say(f"continuing after step {resumed[-1]}" if resumed else "loading the model")
    trainer, probe = _trainer(ready, folder, state, told, checkpoint is not None)
    started = datetime.datetime.now(datetime.UTC)
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except torch.OutOfMemoryError as error:
        raise ModelError(
            "room for a forward pass in the device's memory",
            " ".join(str(error).split())[:160],
            "Lower optimiser.device_rows or max_length; `--plan` shows what is counted.",
        ) from None
    seconds = (datetime.datetime.now(datetime.UTC) - started).total_seconds()
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if state.is_main_process:
        record |= {"resumed": resumed, "seconds": round(seconds, 1), "stopped": probe.stopped if probe else None}
        record = write_results(ready, folder, record, trainer, weights)
    state.wait_for_everyone()
    return record


def _trainer(
    ready: Ready, folder: Path, state: PartialState, told: Told, continues: bool
) -> tuple[WeightedTrainer, SafetyProbe | None]:
    recipe, probe = ready.recipe, None
    callbacks: list[Any] = [Follow(told), MarkWhole()]
    if recipe.probe is not None and ready.triples is not None:
        probe = SafetyProbe(
            ready.triples,
            folder / output.HISTORY,
            recipe.probe.every,
            recipe.probe.stop_below,
            recipe.optimiser.device_rows,
        )
        # Before the marks, since what it sees at a step belongs to the checkpoint of the step.
        callbacks.insert(0, probe)
    trainer = WeightedTrainer(
        model=load_model(ready.model.folder, weight_type(recipe, ready.precision)),
        args=_arguments(ready, folder / output.CHECKPOINTS, continues),
        train_dataset=ready.rows.rows,
        eval_dataset=ready.evaluation.rows if ready.evaluation else None,
        processing_class=ready.tokenizer,
        peft_config=adapters_of(recipe),
        reduction=recipe.loss,
        weight_column=WEIGHT,
        method=_method(ready, folder / output.CHECKPOINTS, state),
        safety_dataset=ready.safety.rows if ready.safety else None,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, probe


def _arguments(ready: Ready, checkpoints: Path, continues: bool) -> SFTConfig:
    recipe, optimiser = ready.recipe, ready.recipe.optimiser
    warmup = -(-ready.steps.total * optimiser.warmup // 1)
    # The rate begins at 0: a warm-up of one step would be nothing but a step in which its rows teach nothing.
    warmup = warmup if warmup > 1 else 0
    schedule = _SCHEDULES[warmup > 0] if optimiser.schedule == "constant" else optimiser.schedule
    looks = recipe.evaluation
    return SFTConfig(
        output_dir=str(checkpoints),
        per_device_train_batch_size=optimiser.device_rows,
        per_device_eval_batch_size=optimiser.device_rows,
        gradient_accumulation_steps=ready.steps.accumulate,
        learning_rate=optimiser.learning_rate,
        weight_decay=optimiser.weight_decay,
        lr_scheduler_type=schedule,
        warmup_steps=warmup,
        num_train_epochs=optimiser.epochs,
        max_steps=ready.steps.total,
        max_grad_norm=optimiser.clip,
        max_length=recipe.max_length,
        optim="adamw_torch",
        bf16=ready.precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=recipe.seed,
        data_seed=recipe.seed,
        save_strategy="steps" if recipe.checkpoints else "epoch",
        save_steps=recipe.checkpoints or 500,
        save_total_limit=_KEPT_CHECKPOINTS,
        eval_strategy="no" if looks is None else "steps" if looks.every else "epoch",
        eval_steps=looks.every if looks else None,
        # A run that continues has looked there.
        eval_on_start=looks is not None and not continues,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=[],
    )


def _method(ready: Ready, checkpoints: Path, state: PartialState) -> Method:
    method = ready.recipe.method
    options = method.model_dump(exclude={"kind", "safety"})
    if isinstance(method, Asft) and ready.base is not None:
        options = {"strength": method.strength}
        find = partial(
            find_projectors,
            ready.model.folder,
            ready.base.folder,
            projector=method.projector,
            rank=method.rank,
            cache=checkpoints / _DIRECTION,
        )
        options["find"] = partial(_one_after_the_other, state, find)
    return METHODS[method.kind](**options)


def _one_after_the_other(state: PartialState, find: Callable[..., dict[str, Projector]], *given: Any) -> Any:
    """Rank 0 computes the directions, the others read them."""
    with state.main_process_first():
        return find(*given)


def _check_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to continue on other rows, models or triples than the run began with."""
    for key in ("model", "base", "data", "evaluation", "safety", "probe"):
        one, other = before.get(key), now[key]
        if (one or {}).get("digest") != (other or {}).get("digest"):
            raise ArtifactError(
                f"the {key} that the run began with", "another digest", "Put it back, or give another `output`."
            )


def _versions() -> dict[str, str]:
    own = {"sot_filter": sot_filter.__version__, "python": platform.python_version()}
    return own | {name: version(name) for name in LIBRARIES}


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
