"""The weights in a model's folder, read one at a time from safetensors, whole or in shards; and their digests."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sot_filter.errors import ArtifactError, ModelError

_INDEX: Final = "model.safetensors.index.json"
_WHOLE: Final = "model.safetensors"
_SHOWN: Final = 5


class Checkpoint:
    """A model's folder.

    Attributes:
        folder: where it lies.
        files: for each weight, by name, the file that holds it.
        architecture: the model type its configuration names, or nothing.
        layers: how many its configuration names, or None.

    Raises:
        ModelError: no safetensors, or an index or configuration that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / _INDEX).is_file():
            self.files = {name: folder / file for name, file in _told(folder / _INDEX).get("weight_map", {}).items()}
        elif (folder / _WHOLE).is_file():
            with opened(folder / _WHOLE) as weights:
                self.files = dict.fromkeys(weights.keys(), folder / _WHOLE)
        else:
            raise ModelError(
                f"{_WHOLE} or {_INDEX} in {folder}", "neither", "Name the folder of a model saved as safetensors."
            )
        config = folder / "config.json"
        told = _told(config) if config.is_file() else {}
        self.architecture, self.layers = str(told.get("model_type", "")), told.get("num_hidden_layers")

    def read(self, name: str) -> Tensor:
        """A weight as it is stored. Raises `ModelError` where its file is missing, cut short or another one."""
        with opened(self.files[name]) as weights:
            if name not in weights.keys():  # noqa: SIM118 - the library's handle, not a dict
                raise ModelError(f"{name} in {self.files[name]}", "a file without it", "Fetch the model again.")
            tensor: Tensor = weights.get_tensor(name)
        return tensor

    def stored_as(self, name: str) -> str:
        """The type a weight is stored in, in safetensors' words (``F32``, ``BF16``), without reading it."""
        with opened(self.files[name]) as weights:
            return str(weights.get_slice(name).get_dtype())


def opened(path: Path, kind: type[ModelError] | type[ArtifactError] = ModelError) -> Any:
    """A safetensors file as a context. Raises `kind` where it is missing or cut short."""
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as problem:
        raise kind(f"weights in {path}", str(problem), "Fetch or make the file again.") from problem


def weights_digest(checkpoint: Checkpoint, modules: Iterable[str]) -> str:
    """SHA-256 over the names and weights of modules, one in memory at a time."""
    digest = hashlib.sha256()
    for name in sorted(modules):
        digest.update(f"{name} {tensor_digest(checkpoint.read(f'{name}.weight'))}\n".encode())
    return digest.hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and bytes."""
    digest = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}\n".encode())
    digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def named(modules: Iterable[str]) -> str:
    """Names for a message: the first few, and how many more."""
    names = sorted(modules)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _told(path: Path) -> dict[str, Any]:
    """What a JSON file of a model says."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ModelError(f"JSON in {path}", str(problem), "Fetch the model again.") from problem
    if not isinstance(told, dict):
        raise ModelError(f"a JSON object in {path}", type(told).__name__, "Fetch the model again.")
    return told
