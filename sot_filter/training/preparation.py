"""Everything a run needs before a step is spent: model, rows, checks, and what it will take."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from sot_filter.errors import ConfigError
from sot_filter.training.adapters import check_targets, lora_config, with_adapters
from sot_filter.training.asft import lora_modules
from sot_filter.training.checkpoint import Checkpoint
from sot_filter.training.config import Asft, Recipe, Rows, Spf
from sot_filter.training.data import Loaded, load_rows
from sot_filter.training.direction import compare
from sot_filter.training.estimate import Memory, Steps, count_steps, estimate_memory, trained_weights
from sot_filter.training.models import Fetched, fetch_model, load_outline, load_tokenizer
from sot_filter.training.triples import Triples, read_triples

#: Told what is being done.
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ready:
    """A run that may start.

    Attributes:
        recipe: with commits for branches and tags.
        tokenizer: the model's.
        model: the model's files.
        base: those of the model before alignment, for AsFT.
        rows: what is trained on.
        evaluation: what the loss is looked at on.
        safety: SPF's rows.
        triples: those of the safety probe.
        precision: ``float32`` or ``bfloat16``, of the arithmetic.
        steps: optimiser steps.
        memory: on each device, counted.
        trained: weights that are trained.
        weights: all weights.
    """

    recipe: Recipe
    tokenizer: Any
    model: Fetched
    base: Fetched | None
    rows: Loaded
    evaluation: Loaded | None
    safety: Loaded | None
    triples: Triples | None
    precision: str
    steps: Steps
    memory: Memory
    trained: int
    weights: int

    def facts(self) -> dict[str, Any]:
        """What was found out, as plain JSON."""
        reports = {"data": self.rows, "evaluation": self.evaluation, "safety": self.safety}
        steps = {"total": self.steps.total, "per_epoch": self.steps.per_epoch, "accumulate": self.steps.accumulate}
        models = {"model": self.model, "base": self.base}
        return {
            **{
                key: None if one is None else {"name": one.name, "revision": one.revision, "digest": one.digest}
                for key, one in models.items()
            },
            **{key: None if one is None else one.report.as_dict() for key, one in reports.items()},
            "probe": None if self.triples is None else {"triples": len(self.triples), "digest": self.triples.digest},
            "precision": self.precision,
            "weights": self.weights,
            "trained_weights": self.trained,
            "steps": steps,
            "memory_bytes": self.memory.as_dict(),
        }


def prepare(recipe: Recipe, state: PartialState, say: Say, weights: bool = True) -> Ready:
    """Fetch, read and check all that a run needs.

    Args:
        recipe: with commits for branches and tags.
        state: this process among its ranks.
        say: told what is being done.
        weights: whether to fetch the model's weights, or plan only.

    Raises:
        ConfigError: settings that do not go together, or LoRA targets that match nothing.
        ModelError: a model that cannot be used.
        SourceError: rows that cannot be used.
        HubError: the Hub did not answer.
    """
    say("fetching the model")
    model = fetch_model(recipe.model.model, recipe.model.revision, weights)
    base = None
    if isinstance(recipe.method, Asft) and weights:
        base = fetch_model(recipe.method.base.model, recipe.method.base.revision)
    outline = load_outline(model.folder)
    everything = sum(p.numel() for p in outline.parameters())
    if recipe.lora is not None:
        check_targets(outline, recipe.lora.targets)
        outline = with_adapters(outline, adapters_of(recipe))
        if base is not None:
            _check_base(outline, model, base)
    tokenizer = load_tokenizer(model.folder)
    with state.main_process_first():
        say("reading rows")
        rows = _load(tokenizer, recipe, recipe.rows)
        evaluation = _load(tokenizer, recipe, recipe.evaluation.rows) if recipe.evaluation else None
        safety = None
        if isinstance(recipe.method, Spf):
            safety = _load(tokenizer, recipe, recipe.method.safety, completion_only=True)
    triples = None
    if recipe.probe is not None:
        triples = read_triples(Path(recipe.probe.file), tokenizer, recipe.max_length)
    longest = _longest(rows, outline)
    optimiser, precision = recipe.optimiser, _precision(recipe.precision)
    return Ready(
        recipe=recipe,
        tokenizer=tokenizer,
        model=model,
        base=base,
        rows=rows,
        evaluation=evaluation,
        safety=safety,
        triples=triples,
        precision=precision,
        steps=count_steps(
            len(rows.rows),
            optimiser.batch_rows,
            optimiser.device_rows,
            state.num_processes,
            optimiser.epochs,
            optimiser.max_steps,
        ),
        memory=estimate_memory(
            outline,
            weight_type(recipe, precision).itemsize,
            longest * optimiser.device_rows,
            getattr(torch, precision).itemsize,
            recipe.method.kind,
        ),
        trained=trained_weights(outline),
        weights=everything,
    )


def adapters_of(recipe: Recipe) -> Any:
    """PEFT's settings for the recipe's adapters; None where all weights are trained."""
    if recipe.lora is None:
        return None
    return lora_config(**recipe.lora.model_dump(), name=recipe.model.model, revision=recipe.model.revision)


def weight_type(recipe: Recipe, precision: str) -> torch.dtype:
    """What the model's weights lie in: those that are trained themselves need single precision."""
    return torch.bfloat16 if precision == "bfloat16" and recipe.lora is not None else torch.float32


def check_settings(recipe: Recipe) -> None:
    """Refuse settings that do not go together, before anything is asked for. Raises `ConfigError`."""
    if isinstance(recipe.method, Asft) and recipe.lora is None:
        raise ConfigError("LoRA for AsFT", "lora: null", "Give `lora`, or another method.")


def _check_base(outline: Any, model: Fetched, base: Fetched) -> None:
    compare(Checkpoint(model.folder), Checkpoint(base.folder), list(lora_modules(outline)))


def _load(tokenizer: Any, recipe: Recipe, rows: Rows, completion_only: bool | None = None) -> Loaded:
    return load_rows(
        tokenizer,
        **rows.model_dump(),
        max_length=recipe.max_length,
        completion_only=recipe.completion_only if completion_only is None else completion_only,
    )


def _longest(rows: Loaded, outline: Any) -> int:
    """Tokens of the longest row. Raises `ConfigError` where the model has no position for its last."""
    longest = int(np.max([len(ids) for ids in rows.rows["input_ids"]]))
    positions = getattr(outline.config.get_text_config(), "max_position_embeddings", None)
    if positions and longest > positions:
        raise ConfigError(
            f"rows of at most {positions} tokens, the model's own limit",
            f"one of {longest}",
            f"Set max_length to {positions}.",
        )
    return longest


def _precision(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def as_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain JSON, equal after a trip through a file."""
    data: dict[str, Any] = json.loads(recipe.model_dump_json())
    return data
