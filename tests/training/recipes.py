"""Recipes for the tiny chat model, and runs of them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from sot_filter.training.config import Recipe
from sot_filter.training.run import run
from tests.training.tiny_runs import MIXED, TARGETS, some_rows, weighed


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def settings(chat: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """A recipe of eight steps over rows that are written into a folder; ``changes`` take the place of its keys."""
    rows = folder / "rows.jsonl"
    if not rows.is_file():
        write_lines(rows, weighed(some_rows(20), MIXED))
    plain: dict[str, Any] = {
        "name": "tiny",
        "model": {"model": str(chat)},
        "rows": {"files": str(rows)},
        "lora": {"rank": 4, "alpha": 8, "targets": TARGETS},
        "optimiser": {"batch_rows": 4, "device_rows": 2, "epochs": 2, "learning_rate": 1e-2},
        "max_length": 64,
        "output": str(folder / "out"),
    }
    return plain | changes


def recipe(chat: Path, folder: Path, **changes: Any) -> Recipe:
    """`settings` as a recipe."""
    return Recipe.model_validate(settings(chat, folder, **changes))


def trained(recipe: Recipe) -> dict[str, Any]:
    """What a run's run.json says."""
    return run(recipe, lambda what: None, lambda step, steps, logs: None)


def adapter(folder: Path | str) -> dict[str, Tensor]:
    """The adapter in an output folder."""
    return load_file(Path(folder) / "adapter_model.safetensors")
