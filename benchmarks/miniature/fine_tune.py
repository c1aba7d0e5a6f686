"""Fine-tuning by the product: the recipe of a defence, and the run of `sot-filter train` on it."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import datasets
import transformers
import yaml

from benchmarks.miniature.ground import Ground
from benchmarks.miniature.methods import Defence
from benchmarks.miniature.pieces import Found
from benchmarks.miniature.selecting import select

#: Epochs that no run reaches: the steps end it.
_MANY_EPOCHS = 1000


def recipe(ground: Ground, name: str, defence: Defence, seed: int, folder: Path) -> dict[str, Any]:
    """The training file of a defence on a set, all settings being those of every other."""
    scale, chosen = ground.scale, select(ground, name, defence, seed)
    return {
        "name": folder.name,
        "seed": seed,
        "model": {"model": str(ground.aligned)},
        "rows": {
            "files": chosen["files"],
            "weight": chosen["weight"] if defence.weights else None,
            "keep": chosen["keep"],
        },
        "max_length": scale.longest,
        "method": _method(ground, defence),
        "lora": {"rank": scale.lora_rank, "alpha": 2 * scale.lora_rank},
        "optimiser": {
            "learning_rate": scale.tune_rate,
            "epochs": _MANY_EPOCHS,
            "max_steps": scale.tune_steps,
            "batch_rows": scale.tune_rows,
            "device_rows": scale.tune_rows,
        },
        "precision": "float32",
        "checkpoints": scale.tune_steps,
        "output": str(folder / "adapter"),
    }


def fine_tune(ground: Ground, name: str, defence: Defence, seed: int, folder: Path) -> Found:
    """Train, and leave the adapter.

    Returns:
        Seconds of the training, the memory it is counted to take, and its loss.
    """
    # Here, since a filter alone needs neither TRL nor PEFT.
    from sot_filter.training.config import Recipe
    from sot_filter.training.run import run

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning)
    settings = recipe(ground, name, defence, seed, folder)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    record = run(Recipe.model_validate(settings), lambda what: None, lambda step, steps, logs: None)
    shutil.rmtree(folder / "adapter" / "checkpoints", ignore_errors=True)
    return {
        "seconds": record["seconds"],
        "memory": record["memory_bytes"]["total"],
        "method_memory": record["memory_bytes"]["method"],
        "loss": record["loss"],
    }


def _method(ground: Ground, defence: Defence) -> dict[str, Any]:
    kind, *options = defence.method.split(":")
    strong = dict(zip(("strength", "projector"), (float(options[0]), *options[1:]), strict=False)) if options else {}
    if kind == "spf":
        return {"kind": "spf", "safety": {"files": str(ground.parts / "spf.jsonl")}, **strong}
    if kind == "asft":
        return {"kind": "asft", "base": {"model": str(ground.base)}, **strong}
    return {"kind": "plain"}
