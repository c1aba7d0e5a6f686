"""AsFT, anchoring safety in fine-tuning: what LoRA changes outside the alignment direction costs something.

After Yang et al., *AsFT: Anchoring Safety During LLM Fine-Tuning Within Narrow Safety Basin* (arXiv 2506.08473). With
C the projector onto a module's alignment direction (`sot_filter.training.direction`) and dW = scaling * B A what LoRA
adds to the module's weight, the penalty, added to the loss once for each optimiser step, is

    strength * sum over modules of ||(I - C) dW||_F^2
        = strength * sum over modules of scaling^2 * sum_ij (X^T X o A A^T)_ij    with X = B - C B

which is exact and never forms dW [m, n]. With H = I - C symmetric its gradients, also closed, are

    dB = 2 strength scaling^2  H X (A A^T)            dA = 2 strength scaling^2  (X^T X) A

The published code takes B A without LoRA's scaling, so that its lambda is strength * scaling^2: with the default
scaling of 2, strength 0.25 is its lambda of 1. It adds the penalty to every micro-batch, and pairs projectors with
modules by their order. Here it is added once for a step, and modules are paired by name; one that has no partner is an
error.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from sot_filter.errors import ConfigError, ModelError
from sot_filter.training.checkpoint import named
from sot_filter.training.direction import Projector

Find = Callable[[Collection[str], Collection[str]], Mapping[str, Projector]]
_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class LoraModule:
    """The factors of a LoRA module: A [r, n], B [m, r], and the factor on their product.

    `transposed` says that the base weight is kept as [n, m] (GPT-2's Conv1D).
    """

    a: Tensor
    b: Tensor
    scaling: float
    transposed: bool


class Asft:
    """The method as the trainer calls it.

    Args:
        find: gives modules' projectors by name, from all their names in the checkpoint and the names of those whose
            weight is kept as [n, m]; `sot_filter.training.projector_cache.find_projectors` with the models filled in.
        strength: lambda, the weight of the penalty; 0 is plain fine-tuning, to the bit.
    """

    def __init__(self, find: Find, strength: float = 0.25) -> None:
        if not strength >= 0 or strength == float("inf"):
            raise ConfigError("a strength of 0 or more", str(strength), "Correct `method`.")
        self.find, self.strength = find, strength
        self.projectors: dict[str, Projector] = {}
        self._modules: dict[str, LoraModule] = {}

    def start(self, model: nn.Module, safety_loss: Callable[[], Tensor] | None = None) -> None:
        """Find the projectors of the model's LoRA modules, pair them by name and move them beside the modules.

        Args:
            model: the bare PEFT model, not DDP's wrapper.
            safety_loss: not used; AsFT needs no rows.

        Raises:
            ConfigError: no LoRA, or a kind of it that is no product B A.
            ModelError: LoRA modules without a projector of their shape; as `find`.
        """
        self._modules = lora_modules(model)
        if self.strength == 0:
            return
        found = self.find(list(self._modules), [name for name, module in self._modules.items() if module.transposed])
        if missing := self._modules.keys() - found.keys():
            raise ModelError(
                f"an alignment direction for each of {len(self._modules)} LoRA modules",
                f"none for {named(missing)}",
                "Compute it for the modules that LoRA targets.",
            )
        wrong = {n for n, module in self._modules.items() if found[n].rows != len(module.b)}
        if wrong:
            raise ModelError(
                "alignment directions as high as the modules", f"others for {named(wrong)}", "Use this model's own."
            )
        self.projectors = {n: found[n].to(module.b.device) for n, module in self._modules.items()}

    @torch.no_grad()
    def adjust(self, step: int, scale: float = 1.0) -> dict[str, float]:
        """Add the penalty's gradient to the accumulated ones.

        Args:
            step: optimiser steps done before this one; not used.
            scale: factor by which mixed precision has scaled the gradients.

        Returns:
            What to log: the penalty as it enters the loss, and seconds spent.
        """
        if self.strength == 0:
            return {}
        began = time.perf_counter()
        total = []
        for name, module in self._modules.items():
            weight = self.strength * module.scaling**2
            value, to_a, to_b = penalty_and_gradients(module.a, module.b, self.projectors[name])
            total.append(weight * value)
            for parameter, gradient in ((module.a, to_a), (module.b, to_b)):
                if parameter.requires_grad:
                    added = (weight * scale * gradient).to(parameter.dtype)
                    parameter.grad = added if parameter.grad is None else parameter.grad.add_(added)
        penalty = float(torch.stack(total).sum())
        return {"asft_penalty": penalty, "asft_seconds": time.perf_counter() - began}

    def save(self, folder: Path) -> None:
        """Nothing: a step needs only the weights."""

    def load(self, folder: Path) -> None:
        """Nothing: a step needs only the weights."""


def penalty_and_gradients(a: Tensor, b: Tensor, projector: Projector) -> tuple[Tensor, Tensor, Tensor]:
    """||(I - C) B A||_F^2 of factors A [r, n] and B [m, r], and its gradients by A and by B."""
    precision = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    a, b = a.to(precision), b.to(precision)
    outside = projector.outside(b)
    inner, outer = outside.T @ outside, a @ a.T
    return (inner * outer).sum(), 2 * inner @ a, 2 * projector.outside(outside) @ outer


def lora_modules(model: nn.Module) -> dict[str, LoraModule]:
    """The LoRA modules of a PEFT model by the names their weights have in a checkpoint (without ``.weight``).

    Raises:
        ConfigError: there are none, or one is no plain product B A (DoRA, embeddings, convolutions).
    """
    from peft.tuners.lora import Linear, LoraLayer

    found = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        if not isinstance(layer, Linear) or any(layer.use_dora.values()):
            raise ConfigError(
                "LoRA on linear layers only, without DoRA", f"{type(layer).__name__} at {name}", "Change the targets."
            )
        for adapter in layer.active_adapters:
            found[name.removeprefix(_PREFIX)] = LoraModule(
                cast(Tensor, layer.lora_A[adapter].weight),
                cast(Tensor, layer.lora_B[adapter].weight),
                float(layer.scaling[adapter]),
                bool(layer.fan_in_fan_out),
            )
    if not found:
        raise ConfigError("LoRA modules for AsFT", "none in the model", "Give LoRA targets that match its layers.")
    return found
