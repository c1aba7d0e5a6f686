"""What a training leaves in its output folder: adapter, log, curves, card, and a record of all of it."""

import contextlib
import json
from pathlib import Path
from typing import Any, Final

from sot_filter.errors import ConfigError
from sot_filter.training import output
from sot_filter.training.card import card
from sot_filter.training.curves import picture, table
from sot_filter.training.history import SAFETY, TRAINING, UTILITY, read_history
from sot_filter.training.preparation import Ready

#: Counts that begin anew where a run continues, and times.
_UNTOLD: Final = ("num_tokens", "_runtime", "_per_second")


def write_results(ready: Ready, folder: Path, record: dict[str, Any], trainer: Any, weights: Any) -> dict[str, Any]:
    """Write adapter, log, curves and card, and at last ``run.json``.

    Args:
        ready: the run.
        folder: the output folder.
        record: what ``run.json`` says so far.
        trainer: when it has trained.
        weights: the model's, whole.

    Returns:
        What ``run.json`` says.
    """
    part = folder / ".part"
    model = trainer.accelerator.unwrap_model(trainer.model)
    for config in getattr(model, "peft_config", {}).values():
        # PEFT has put the folder there from which the model was loaded.
        config.base_model_name_or_path, config.revision = ready.recipe.model.model, ready.recipe.model.revision
    model.save_pretrained(part, state_dict=weights)
    if ready.recipe.lora is None:
        ready.tokenizer.save_pretrained(part)
    names = sorted(path.name for path in part.iterdir() if path.name != output.CARD)
    for name in names:
        (part / name).replace(folder / name)
    for path in part.iterdir():
        path.unlink()
    part.rmdir()
    history = [
        {key: value for key, value in entry.items() if not key.endswith(_UNTOLD)}
        for entry in trainer.state.log_history
        if "train_runtime" not in entry
    ]
    output.write_text(folder / output.LOG, "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in history))
    steps = [entry for entry in history if "weight_sum" in entry]
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    record |= {
        "status": output.FINISHED,
        "steps_done": trainer.state.global_step,
        "weight_felt": sum(entry["weight_sum"] for entry in steps),
        "loss": {"first": steps[0]["loss"], "last": steps[-1]["loss"]},
        "evaluation_loss": {"first": losses[0], "last": losses[-1]} if losses else None,
    }
    record["curves"], looks = _draw(ready, folder, history)
    if looks:
        record["safety_seen"] = {"first": looks[0], "last": looks[-1]}
        names.append(output.HISTORY)
    names += record["curves"]
    output.write_text(folder / output.CARD, card(record))
    names += [output.LOG, output.RECIPE, output.CARD]
    record["files"] = {name: output.file_facts(folder / name) for name in names}
    output.write_json(folder / output.RUN, record)
    return record


def _draw(ready: Ready, folder: Path, history: list[dict[str, Any]]) -> tuple[list[str], list[dict[str, Any]]]:
    """Write the curves, as a table only where matplotlib is not installed; the files' names, and the probe's looks."""
    if ready.triples is not None:
        records = read_history(folder / output.HISTORY)
    else:
        kinds = (("loss", TRAINING), ("eval_loss", UTILITY))
        records = [
            {"step": entry["step"], "epoch": entry["epoch"], kind: entry[key]}
            for entry in history
            for key, kind in kinds
            if key in entry
        ]
    runs, data = ready.rows.report, {"curves.csv": table({ready.recipe.name: records}).encode()}
    note = f"{runs.used:,} rows, sum of weights {runs.weight:.6g}; method: {ready.recipe.method.kind}"
    with contextlib.suppress(ConfigError):
        drawn = picture({ready.recipe.name: records}, ready.recipe.name, note)
        data |= {f"curves.{ending}": content for ending, content in drawn.items()}
    for name, content in data.items():
        output.write_bytes(folder / name, content)
    return sorted(data), [record[SAFETY] for record in records if SAFETY in record]
