"""One rank of a training run under gloo: ``python -m tests.training.ddp_rank ALIGNED BASE OUTPUT``."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from safetensors.torch import save_file

from tests.training.tiny_runs import MIXED, a_method, lora, some_rows, trained, weighed

ROWS = weighed(some_rows(24), MIXED)


def cases(aligned: Path, base: Path) -> dict[str, dict[str, Any]]:
    """What is trained in one process and in two."""
    adapter = {"peft_config": lora(), "max_grad_norm": 1.0}
    return {
        "sample_mean": {},
        "token": {"given": {"reduction": "token"}},
        "spf": {**adapter, "given": a_method("spf", aligned, base)},
        "asft": {**adapter, "given": a_method("asft", aligned, base)},
    }


def run(case: dict[str, Any], aligned: Path, output: Path, ranks: int) -> torch.Tensor:
    """The weights after three steps of eight rows each, in micro-batches of two."""
    return trained(
        aligned, ROWS, output, per_device_train_batch_size=2, gradient_accumulation_steps=4 // ranks, **case
    )


def main(aligned: Path, base: Path, output: Path) -> None:
    """Train every case and keep this rank's weights."""
    ends = {name: run(case, aligned, output / "runs", ranks=2) for name, case in cases(aligned, base).items()}
    assert torch.distributed.get_world_size() == 2
    save_file(ends, output / f"{torch.distributed.get_rank()}.safetensors")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
