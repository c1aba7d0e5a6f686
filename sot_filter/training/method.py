"""What training does beside the weighted loss: nothing, SPF or AsFT. Each composes with any weights.

A method acts on a step's gradients once they are accumulated and, under DDP, averaged, and before they are clipped.
They hold to one contract: with strength 0 the run is plain fine-tuning, to the bit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from torch import Tensor, nn

from sot_filter.training.asft import Asft
from sot_filter.training.spf import Spf


class Method(Protocol):
    """How the trainer calls a method."""

    def start(self, model: nn.Module, safety_loss: Callable[[], Tensor] | None) -> None:
        """Take hold of the bare model before the first step; refuse here what cannot work."""

    def adjust(self, step: int, scale: float = 1.0) -> dict[str, float]:
        """Change the accumulated gradients in place; return what to log of it.

        ``scale`` is the factor by which mixed precision has scaled the gradients.
        """

    def save(self, folder: Path) -> None:
        """Put into a checkpoint what a resumed run needs."""

    def load(self, folder: Path) -> None:
        """Take it from there."""


class Plain:
    """The weighted loss and nothing else."""

    def start(self, model: nn.Module, safety_loss: Callable[[], Tensor] | None = None) -> None:
        """Nothing to take hold of."""

    def adjust(self, step: int, scale: float = 1.0) -> dict[str, float]:
        """Leave the gradients as they are."""
        return {}

    def save(self, folder: Path) -> None:
        """Nothing."""

    def load(self, folder: Path) -> None:
        """Nothing."""


METHODS: Final[dict[str, Callable[..., Method]]] = {"plain": Plain, "spf": Spf, "asft": Asft}
