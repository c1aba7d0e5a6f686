"""What a run will take before it is started: optimiser steps, and memory on each device.

Memory is counted, not measured:

- weights as they lie on a device;
- gradients and AdamW's two moments in single precision, 12 bytes for each trained weight (adapters are themselves in
  single precision; full training keeps the weights so);
- activations: with checkpoints of activations, which are always on, the input of each layer, once what one layer makes
  (10 hidden + 4 intermediate numbers a token, without an attention matrix), and two tiles of logits;
- what a method adds: SPF a second set of gradients and its bases, AsFT its projectors.

A CUDA context, fragments and the optimiser's scratch come on top; about a fifth more is a sensible allowance.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from sot_filter.errors import ConfigError

_SINGLE: Final = 4
#: Tokens and vocabulary of the tiles in which TRL's fused head makes logits.
_TILE: Final = (4096, 32768)


@dataclass(frozen=True, slots=True)
class Steps:
    """How rows become optimiser steps.

    Attributes:
        accumulate: forward passes of a step on each device.
        per_epoch: steps of an epoch.
        total: steps of the run.
    """

    accumulate: int
    per_epoch: int
    total: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each device."""

    weights: int
    optimiser: int
    activations: int
    method: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.optimiser + self.activations + self.method

    def as_dict(self) -> dict[str, int]:
        """As plain JSON."""
        return asdict(self) | {"total": self.total}


def count_steps(
    rows: int, batch_rows: int, device_rows: int, devices: int, epochs: float, max_steps: int | None = None
) -> Steps:
    """Steps as transformers counts them: a step at the end of an epoch may see fewer rows, but there is one.

    Raises:
        ConfigError: a step's rows are not a multiple of what all devices take at once.
    """
    at_once = device_rows * devices
    if batch_rows % at_once:
        raise ConfigError(
            f"optimiser.batch_rows a multiple of {device_rows} device_rows on {devices} devices",
            str(batch_rows),
            f"Set it to {max(1, round(batch_rows / at_once)) * at_once}.",
        )
    accumulate = batch_rows // at_once
    batches = math.ceil(math.ceil(rows / device_rows) / devices)
    per_epoch = math.ceil(batches / accumulate)
    total = math.ceil(epochs * per_epoch)
    return Steps(accumulate, per_epoch, min(total, max_steps) if max_steps else total)


def estimate_memory(outline: Any, weight_bytes: int, tokens: int, compute_bytes: int, method: str) -> Memory:
    """Memory of training on one device.

    Args:
        outline: the model with its adapters, no weights needed.
        weight_bytes: bytes of a weight that is not trained; trained ones are in single precision.
        tokens: tokens of the largest forward pass, its padding included.
        compute_bytes: bytes of a number in the forward pass.
        method: ``plain``, ``spf`` or ``asft``.
    """
    trained = sum(p.numel() for p in outline.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in outline.parameters() if not p.requires_grad)
    config = outline.config.get_text_config()
    hidden, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    kept = tokens * layers * hidden * compute_bytes
    layer = tokens * (10 * hidden + 4 * inner) * compute_bytes
    logits = 2 * min(tokens, _TILE[0]) * min(config.vocab_size, _TILE[1]) * _SINGLE
    added = {"plain": 0, "spf": trained * _SINGLE * 2, "asft": _projectors(outline) * weight_bytes}
    return Memory(
        frozen * weight_bytes + trained * _SINGLE, trained * 3 * _SINGLE, kept + layer + logits, added[method]
    )


def trained_weights(outline: Any) -> int:
    """How many weights are trained."""
    return sum(p.numel() for p in outline.parameters() if p.requires_grad)


def _projectors(outline: Any) -> int:
    """Numbers in the published projectors of all adapted modules [m, n]: the smaller of direction and product."""
    shapes = [
        (module.out_features, module.in_features)
        for module in outline.modules()
        if hasattr(module, "lora_A") and hasattr(module, "out_features")
    ]
    return sum(m * min(m, n) for m, n in shapes)
