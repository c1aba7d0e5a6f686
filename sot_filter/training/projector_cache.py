"""Projectors onto an alignment direction: computed once, kept as safetensors, and used again only if they fit.

The file tells the digests of the weights it came from, the settings, and a digest of each tensor. Checking reads the
models' weights but computes nothing with them; what is saved is the products and singular vectors.
"""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file

from sot_filter.errors import ArtifactError, ConfigError
from sot_filter.training.checkpoint import Checkpoint, opened, tensor_digest, weights_digest
from sot_filter.training.direction import IDEMPOTENT, PROJECTORS, PUBLISHED, RANK, Projector, compare, directions

_VERSION: Final = "1"
#: What published projectors are kept in, by what the weights are stored in; else in single precision.
_KEPT: Final = {"F64": torch.float64, "BF16": torch.bfloat16, "F16": torch.bfloat16}


def find_projectors(
    aligned: Path,
    base: Path,
    modules: Collection[str],
    transposed: Collection[str] = (),
    projector: str = PUBLISHED,
    rank: int = RANK,
    cache: Path | None = None,
) -> dict[str, Projector]:
    """Projectors of all modules: from the cache if it is of these weights, else computed and cached.

    The published ones are as large as the weights and are kept in their precision; the idempotent ones are small and
    kept in single, in which they stay idempotent.

    Args:
        aligned: folder of the model that is to be fine-tuned.
        base: folder of the model it was aligned from.
        modules: names of linear modules, as in the checkpoints without ``.weight``.
        transposed: those of them that keep their weight as [n, m].
        projector: a name of `PROJECTORS`.
        rank: directions that the idempotent projector keeps.
        cache: a safetensors file to read, or to write if it is not there.

    Raises:
        ConfigError: no such projector, or a rank that leaves nothing.
        ModelError: the models do not belong together, or lack a module.
        ArtifactError: a cache that is damaged, or of other weights or settings.
    """
    if projector not in PROJECTORS:
        raise ConfigError(f"a projector among {', '.join(PROJECTORS)}", repr(projector), "Choose one of these.")
    ours, theirs = Checkpoint(aligned), Checkpoint(base)
    compare(ours, theirs, modules)
    about = {"version": _VERSION, "projector": projector, "rank": str(rank if projector == IDEMPOTENT else 0)}
    if cache is not None:
        about |= {"aligned": weights_digest(ours, modules), "base": weights_digest(theirs, modules)}
        if cache.is_file():
            return load_projectors(cache, about)
    found = {}
    for name, direction in directions(ours, theirs, modules, transposed):
        made = PROJECTORS[projector](direction, rank)
        if projector == PUBLISHED:
            kept = _KEPT.get(ours.stored_as(f"{name}.weight"), torch.float32)
            made = replace(made, factor=made.factor.to(kept))
        found[name] = made
    if cache is not None:
        save_projectors(found, cache, about)
    return found


def save_projectors(projectors: Mapping[str, Projector], path: Path, about: Mapping[str, str]) -> None:
    """Write projectors with what they are about and a digest of each; the file appears when it is whole."""
    tensors = {name: p.factor.contiguous().cpu() for name, p in projectors.items()}
    each = {
        name: {"squared": p.squared, "divisor": p.divisor, "digest": tensor_digest(tensors[name])}
        for name, p in projectors.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file(tensors, part, {**about, "modules": json.dumps(each)})
    part.replace(path)


def load_projectors(path: Path, about: Mapping[str, str]) -> dict[str, Projector]:
    """Read projectors back. Raises `ArtifactError` where they are damaged or about something else."""
    with opened(path, ArtifactError) as file:
        told: dict[str, str] = file.metadata() or {}
        other = [key for key, value in about.items() if told.get(key) != value]
        if other:
            raise ArtifactError(
                f"an alignment direction of this run's {' and '.join(other)} in {path}",
                ", ".join(str(told.get(key, "nothing"))[:16] for key in other),
                "Remove the file, or name another.",
            )
        found = {}
        for name, each in json.loads(told["modules"]).items():
            factor = file.get_tensor(name)
            if tensor_digest(factor) != each["digest"]:
                raise ArtifactError(f"{name} as it was written to {path}", "other bytes", "Remove the file.")
            found[name] = Projector(factor, each["squared"], each["divisor"])
    return found
