"""SPF, safety-preserving fine-tuning: what of a step's gradient works against the model's safety is taken out.

After Zhang et al., *Understanding and Preserving Safety in Fine-Tuned LLMs* (arXiv 2601.10141), who find that safety
gradients are of low rank, often oppose those of the task, and are seen in a single example. For each trained matrix,
with U diag(s) V^T the truncated SVD of the gradient of the loss on a few safety rows (harmful prompt, refusal) and G
the gradient of the task:

    conflict:  <G, U diag(s) V^T> < 0
    then:      G <- G - strength * U (U^T G V) V^T

So a full-strength step leaves the truncated safety gradient's loss unchanged to first order under gradient descent;
Adam's scaling afterwards can turn a step again. Both sides are projected: a LoRA factor has as few rows or columns as
its rank, and U U^T alone would take out all of it. A vector (norm, bias) is a matrix with one row.

The order within a step: gradients are accumulated and, under DDP, averaged; then projected; then clipped. Every rank
projects with the bases of rank 0, so that the ranks' weights stay the same. The bases are renewed every `refresh`
steps, and at the second: LoRA's B starts at zero, and until it has moved A has no gradient to protect.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sot_filter.errors import ArtifactError, ConfigError, ModelError
from sot_filter.training.low_rank import truncated_svd

FILE: Final = "spf.safetensors"


@dataclass(frozen=True, slots=True)
class Basis:
    """The leading directions of a matrix's safety gradient.

    Attributes:
        left: U [m, k]; a column is zero where the gradient has a lower rank.
        values: s [k], decreasing.
        right: V [n, k].
    """

    left: Tensor
    values: Tensor
    right: Tensor

    def coefficients(self, gradient: Tensor) -> Tensor:
        """U^T G V [k, k] of a gradient [m, n]."""
        return self.left.T @ gradient @ self.right

    def agreement(self, coefficients: Tensor) -> Tensor:
        """<G, U diag(s) V^T>, a scalar: negative where a gradient step on G undoes safety."""
        return (self.values * coefficients.diagonal()).sum()

    def without(self, gradient: Tensor, coefficients: Tensor, strength: float) -> Tensor:
        """The gradient with a share of its part in the basis taken out [m, n]."""
        return gradient - strength * (self.left @ coefficients) @ self.right.T


class Spf:
    """The method as the trainer calls it.

    Args:
        rank: directions kept of each matrix's safety gradient.
        refresh: optimiser steps between two looks at the safety rows.
        strength: share of the conflicting part that is taken out; 0 is plain fine-tuning, to the bit.
    """

    def __init__(self, rank: int = 8, refresh: int = 10, strength: float = 1.0) -> None:
        if rank < 1 or refresh < 1 or not 0 <= strength <= 1:
            raise ConfigError(
                "rank and refresh of 1 or more, strength from 0 to 1",
                f"rank {rank}, refresh {refresh}, strength {strength}",
                "Correct `method`.",
            )
        self.rank, self.refresh, self.strength = rank, refresh, strength
        self.bases: dict[str, Basis] = {}
        self._parameters: dict[str, nn.Parameter] = {}
        self._safety_loss: Callable[[], Tensor] | None = None
        self._captured = 0.0

    def start(self, model: nn.Module, safety_loss: Callable[[], Tensor] | None) -> None:
        """Take hold of the model before the first step.

        Args:
            model: the bare model, not DDP's wrapper.
            safety_loss: the loss on the safety rows with its graph, the same on every rank.

        Raises:
            ConfigError: there are no safety rows, or nothing to train.
        """
        if safety_loss is None and self.strength > 0:
            raise ConfigError(
                "safety rows for SPF", "none", "Give a file of harmful prompts and refusals; one row does."
            )
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self._parameters:
            raise ConfigError("weights to train", "none", "Correct the LoRA targets.")
        self._safety_loss = safety_loss

    def adjust(self, step: int, scale: float = 1.0) -> dict[str, float]:
        """Take the conflicting parts out of the accumulated gradients, in place.

        Args:
            step: optimiser steps done before this one.
            scale: factor by which mixed precision has scaled the gradients.

        Returns:
            What to log: share of matrices in conflict, norm of what was removed, share of the safety gradient's energy
            that the bases hold, seconds spent.

        Raises:
            ModelError: gradients that are sharded, or a safety gradient that is not finite.
        """
        if self.strength == 0:
            return {}
        began = time.perf_counter()
        if not self.bases or step % self.refresh == 0 or step == 1:
            self._renew()
        held = {name: p.grad for name, p in self._parameters.items() if p.grad is not None and name in self.bases}
        if not held:
            return {}
        met = {name: self.bases[name].coefficients(_matrix(gradient)) for name, gradient in held.items()}
        # One transfer for all matrices: asking each on its own would wait for the device each time.
        told = torch.stack(
            [torch.stack((self.bases[name].agreement(c), c.square().sum())) for name, c in met.items()]
        ).tolist()
        removed, conflicts = 0.0, 0
        for (name, gradient), (agreement, energy) in zip(held.items(), told, strict=True):
            if agreement < 0:
                kept = self.bases[name].without(_matrix(gradient), met[name], self.strength)
                gradient.copy_(kept.view_as(gradient))
                conflicts, removed = conflicts + 1, removed + energy
        return {
            "spf_conflict_rate": conflicts / len(held),
            "spf_removed_norm": self.strength * removed**0.5 / scale,
            "spf_captured": self._captured,
            "spf_seconds": time.perf_counter() - began,
        }

    def save(self, folder: Path) -> None:
        """Put the bases into a checkpoint, so that a resumed run goes on with the same ones."""
        if self.bases:
            parts = {f"{name}:{part}": getattr(b, part) for name, b in self.bases.items() for part in Basis.__slots__}
            save_file({name: part.contiguous() for name, part in parts.items()}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Take the bases from a checkpoint; where a rank finds none, the next step looks at the safety rows.

        Raises:
            ArtifactError: they are of other matrices.
        """
        if not self._on_every_rank((folder / FILE).is_file()):
            return
        parts = load_file(folder / FILE)
        names = {name.rpartition(":")[0] for name in parts}
        if names != set(self._parameters):
            raise ArtifactError(
                f"the bases of {len(self._parameters)} matrices in {folder / FILE}",
                f"those of {len(names)} others",
                "Resume with the model and LoRA targets the run began with.",
            )
        self.bases = {
            name: Basis(*(parts[f"{name}:{part}"].to(p.device) for part in Basis.__slots__))
            for name, p in self._parameters.items()
        }

    def _on_every_rank(self, flag: bool) -> bool:
        """Whether all ranks say so: a rank with bases and one without would wait for each other for ever."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return flag
        told = torch.tensor(int(flag), device=next(iter(self._parameters.values())).device)
        torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MIN)
        return bool(told)

    def _renew(self) -> None:
        """Find the bases anew at the current weights."""
        assert self._safety_loss is not None
        gradients = safety_gradients(self._safety_loss, self._parameters)
        self.bases = {name: _shared(Basis(*truncated_svd(g, self.rank))) for name, g in gradients.items()}
        energy = sum(float(g.float().square().sum()) for g in gradients.values())
        held = sum(float(b.values.square().sum()) for b in self.bases.values())
        self._captured = held / energy if energy > 0 else 0.0


def safety_gradients(loss: Callable[[], Tensor], parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Gradients of the safety loss as matrices [m, n], without touching what is accumulated in `grad`.

    Raises:
        ModelError: a sharded or non-finite gradient.
    """
    for name, parameter in parameters.items():
        if hasattr(parameter, "full_tensor"):
            raise ModelError(
                "whole matrices for SPF", f"{name} in shards (FSDP)", "Train it with DDP or on one device."
            )
    found = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True)
    gradients = {}
    for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
        if gradient is not None and not torch.isfinite(gradient).all():
            raise ModelError(
                "a finite safety gradient", f"one that is not, of {name}", "Train in bf16 or fp32, not fp16."
            )
        gradients[name] = _matrix(torch.zeros_like(parameter) if gradient is None else gradient)
    return gradients


def _matrix(gradient: Tensor) -> Tensor:
    """A gradient as a matrix [m, n] in at least single precision; a vector is one row."""
    flat = gradient.reshape(gradient.shape[0] if gradient.ndim > 1 else 1, -1)
    return flat.to(torch.promote_types(flat.dtype, torch.float32))


def _shared(basis: Basis) -> Basis:
    """Rank 0's basis on every rank."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for part in (basis.left, basis.values, basis.right):
            torch.distributed.broadcast(part, 0)
    return basis
