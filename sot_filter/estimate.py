"""What a run will cost, before it is run: tokens, arithmetic, disk, memory. Rough, and it says on what it rests."""

import itertools
import time
from typing import Any

import numpy as np

from sot_filter.conversation import Conversation
from sot_filter.executors import rows_done
from sot_filter.plan import Plan, Stage

#: Characters per token, of English text and the usual vocabularies.
_CHARACTERS = 4
_SAMPLE_ROWS = 64


def estimate(plan: Plan, stages: list[Stage]) -> list[dict[str, Any]]:
    """For each stage its rows, files, tasks, what is done, and a sentence on its cost."""
    costs = {"embed": _embedding(plan), **_solving(plan), "publish": _publish(plan), "upload": _upload(plan)}
    return [
        {
            "stage": stage.name,
            "does": stage.does,
            "rows": stage.rows,
            "files": len(stage.artifacts),
            "tasks": stage.tasks,
            "cost": costs.get(stage.name, ""),
            "done": rows_done(stage),
        }
        for stage in stages
    ]


def _embedding(plan: Plan) -> str:
    rows = sum(source.rows for source in plan.sources.values())
    views, length = plan.config.embed.views, plan.config.embed.max_length or 1024
    lengths = [
        min(len(row.text(view)) // _CHARACTERS + 2, length)
        for row in itertools.islice(_sample(plan), _SAMPLE_ROWS)
        for view in views
    ]
    tokens = sum(lengths) / max(len(lengths), 1) * len(views) * rows
    shape = _model_shape(plan)
    if shape is None:
        return f"~{_si(tokens)} tokens"
    parameters, dimension = shape
    seconds = 2 * parameters * tokens / _flops_per_second()
    disk = rows * len(views) * dimension * 2
    # Weights in float32, and some ten activations of the model's width for each token of a batch.
    memory = 4 * parameters + 40 * plan.config.embed.batch_tokens * dimension
    return (
        f"~{_si(tokens)} tokens, ~{_duration(seconds)} on this CPU at full speed, "
        f"~{_si(memory)}B of memory per task, {_si(disk)}B on disk"
    )


def _sample(plan: Plan) -> Any:
    source = plan.sources["input"]
    file = next(file for file in source.files if file.rows)
    rows = source.read(file, 0, min(_SAMPLE_ROWS, file.rows))
    return (row for row in rows if isinstance(row, Conversation))


def _model_shape(plan: Plan) -> tuple[float, int] | None:
    """Parameters in the layers that run, and the dimension, from the model's config where it tells."""
    from sot_filter.embedding import read_config, resolve_model

    config = read_config(resolve_model(plan.config.embed.model, plan.config.embed.revision))
    hidden, layers = config.get("hidden_size"), config.get("num_hidden_layers")
    if not hidden or not layers:
        return None
    wide = config.get("intermediate_size", 4 * hidden)
    gated = 3 if config.get("hidden_act") == "silu" else 2
    return layers * (4 * hidden**2 + gated * hidden * wide), hidden


def _flops_per_second() -> float:
    """Multiply-adds of this machine, counted twice as is the custom, from one matrix product."""
    matrix = np.ones((1024, 1024), np.float32)
    matrix @ matrix
    started = time.perf_counter()
    matrix @ matrix
    return 2 * 1024**3 / (time.perf_counter() - started)


def _solving(plan: Plan) -> dict[str, str]:
    """The stages between embeddings and scores; what they do beside matrix products about doubles the time."""
    cost, speed = plan.cost, _flops_per_second()
    words = {
        stage: f"~{_si(flops)}FLOP, ~{_duration(2 * flops / speed)} on this CPU" for stage, flops in cost.flops.items()
    }
    words["solve"] += f", ~{_si(cost.memory)}B of memory, one task"
    words |= {f"polish-{number}": "about as weigh" for number in range(1, plan.polish + 1)}
    return words


def _publish(plan: Plan) -> str:
    return f"{_si(_bytes(plan))}B read" + ("" if plan.config.output.mode == "sidecar" else " and written")


def _upload(plan: Plan) -> str:
    sidecar = plan.config.output.mode == "sidecar"
    return "the new columns, sent" if sidecar else f"{_si(_bytes(plan))}B and the new columns, sent at most"


def _bytes(plan: Plan) -> int:
    return sum(file.bytes for file in plan.sources["input"].files)


def _si(value: float) -> str:
    for unit in ("", "k", "M", "G", "T"):
        if value < 1000:
            return f"{value:.3g} {unit}".rstrip() if unit == "" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} P"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )
