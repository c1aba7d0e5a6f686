"""The alignment direction of a model's weights, aligned minus base by module, and the projector onto it.

For a module with weights W_aligned and W_base [m, n], V = W_aligned - W_base. Two projectors C [m, m] are offered:

- ``published``: C = V V^T / ||V||_F, what AsFT's and Safe LoRA's code computes. It is no projector: its eigenvalues
  are s_i^2 / ||V||_F with s_i the singular values of V, so they scale with V, vanish with it and may exceed 1.
- ``idempotent``: C = U_k U_k^T with U_k the k leading left singular vectors of V. What lies along the direction costs
  nothing, what lies across it costs in full. From k = rank V on it is V (V^T V)^+ V^T, which the published
  form stands in for; a V of full rank would leave nothing to penalise, so k has to be below m.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from sot_filter.errors import ConfigError, ModelError
from sot_filter.training.checkpoint import Checkpoint, named
from sot_filter.training.low_rank import truncated_svd

PUBLISHED: Final = "published"
IDEMPOTENT: Final = "idempotent"
RANK: Final = 32


@dataclass(frozen=True, slots=True)
class Projector:
    """C [m, m], kept as the smaller of C and of F with C = F F^T.

    Attributes:
        factor: F [m, q], or C times the divisor [m, m].
        squared: whether C is F F^T / divisor.
        divisor: what the product is divided by.
    """

    factor: Tensor
    squared: bool
    divisor: float = 1.0

    @property
    def rows(self) -> int:
        """m, the module's outputs."""
        return len(self.factor)

    def outside(self, matrix: Tensor) -> Tensor:
        """(I - C) M of a matrix [m, r], in the matrix's precision."""
        factor = self.factor.to(matrix.dtype)
        along = factor @ (factor.T @ matrix) if self.squared else factor @ matrix
        return matrix - along / self.divisor

    def to(self, device: torch.device) -> "Projector":
        """The same on another device."""
        return replace(self, factor=self.factor.to(device))


def published_projector(direction: Tensor, rank: int = 0) -> Projector:
    """C = V V^T / ||V||_F of a direction [m, n]; no rank enters. Nothing at all where V is zero."""
    norm = float(torch.linalg.matrix_norm(direction))
    wide = direction.shape[1] > direction.shape[0]
    factor = direction @ direction.T if wide else direction
    return Projector(factor.contiguous(), not wide, norm or 1.0)


def idempotent_projector(direction: Tensor, rank: int) -> Projector:
    """C = U_k U_k^T of a direction [m, n], k = min(rank, rank V). Raises `ConfigError` where k could leave nothing."""
    if not 1 <= rank < len(direction):
        raise ConfigError(
            f"a rank from 1 to {len(direction) - 1} for the idempotent projector",
            str(rank),
            "A projector onto everything leaves nothing to penalise.",
        )
    return Projector(truncated_svd(direction, rank).left, True)


PROJECTORS: Final[dict[str, Callable[[Tensor, int], Projector]]] = {
    PUBLISHED: published_projector,
    IDEMPOTENT: idempotent_projector,
}


def directions(
    aligned: Checkpoint, base: Checkpoint, modules: Collection[str], transposed: Collection[str] = ()
) -> Iterator[tuple[str, Tensor]]:
    """V [m, n] of each module by name, at least in single precision; one pair of weights is in memory at a time.

    Args:
        aligned: the model that is to be fine-tuned.
        base: the model it was aligned from.
        modules: names of linear modules, as in the checkpoints without ``.weight``.
        transposed: those of them that keep their weight as [n, m].

    Raises:
        ModelError: as `compare`; modules that differ in shape; models that do not differ.
    """
    compare(aligned, base, modules)
    differ = False
    for name in sorted(modules):
        ours, theirs = aligned.read(f"{name}.weight"), base.read(f"{name}.weight")
        if ours.shape != theirs.shape or ours.ndim != 2:
            raise ModelError(
                f"{name} as one matrix of the same shape in both models",
                f"{list(ours.shape)} and {list(theirs.shape)}",
                "Name the base model that this one was aligned from.",
            )
        precision = torch.promote_types(ours.dtype, torch.float32)
        direction = ours.to(precision) - theirs.to(precision)
        differ = differ or bool(direction.any())
        yield name, direction.T.contiguous() if name in transposed else direction
    if not differ:
        raise ModelError("an aligned model and its base", "twice the same weights", "Name the base model.")


def compare(aligned: Checkpoint, base: Checkpoint, modules: Collection[str]) -> None:
    """Refuse models that are not of one kind, before any weight is read.

    Raises:
        ModelError: another architecture or depth, or modules that either model lacks, all of them named or counted.
    """
    ours, theirs = aligned.architecture, base.architecture
    if ours != theirs and ours and theirs:
        raise ModelError(
            f"a base model of the architecture {ours}", theirs, "Name the base model that this one was aligned from."
        )
    if aligned.layers != base.layers and aligned.layers and base.layers:
        raise ModelError(
            f"a base model of {aligned.layers} layers",
            str(base.layers),
            "Name the base model that this one was aligned from.",
        )
    for checkpoint in (aligned, base):
        if missing := {name for name in modules if f"{name}.weight" not in checkpoint.files}:
            raise ModelError(
                f"the {len(modules)} LoRA modules in {checkpoint.folder}",
                f"no weight of {named(missing)}",
                "Name a model whose modules are called the same.",
            )
