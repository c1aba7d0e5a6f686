"""One rank of a training run under gloo: ``python -m tests.training.ddp_rank ALIGNED BASE OUTPUT``."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from safetensors.torch import save_file

from tests.training.tiny_runs import MIXED, a_method, a_trainer, lora, some_rows, trained, weighed, weights_of

ROWS = weighed(some_rows(24), MIXED)


def cases(aligned: Path, base: Path) -> dict[str, dict[str, Any]]:
    """What is trained in one process and in two."""
    adapter = {"peft_config": lora(), "max_grad_norm": 1.0}
    return {
        "sample_mean": {},
        "token": {"given": {"reduction": "token"}},
        "spf": {**adapter, "given": a_method("spf", aligned, base, refresh=100)},
        "asft": {**adapter, "given": a_method("asft", aligned, base)},
    }


def run(case: dict[str, Any], aligned: Path, output: Path, ranks: int) -> torch.Tensor:
    """The weights after three steps of eight rows each, in micro-batches of two."""
    return trained(
        aligned, ROWS, output, per_device_train_batch_size=2, gradient_accumulation_steps=4 // ranks, **case
    )


def resumed(aligned: Path, base: Path, output: Path) -> torch.Tensor:
    """SPF's weights where the run went on from its second step, whose bases are of the second."""
    settings: dict[str, Any] = {
        "peft_config": lora(),
        "max_grad_norm": 1.0,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "save_strategy": "steps",
        "save_steps": 2,
    }
    given = [a_method("spf", aligned, base, refresh=100) for _ in range(2)]
    trained(aligned, ROWS, output / "stopped", given=given[0], **settings)
    trainer = a_trainer(aligned, ROWS, output / "stopped", given=given[1], **settings)
    trainer.train(resume_from_checkpoint=str(output / "stopped" / "checkpoint-2"))
    assert given[1]["method"].bases.keys() == given[0]["method"].bases.keys()
    return weights_of(trainer)


def main(aligned: Path, base: Path, output: Path) -> None:
    """Train every case and keep this rank's weights."""
    ends = {name: run(case, aligned, output / "runs", ranks=2) for name, case in cases(aligned, base).items()}
    assert torch.distributed.get_world_size() == 2
    ends["spf_resumed"] = resumed(aligned, base, output)
    save_file(ends, output / f"{torch.distributed.get_rank()}.safetensors")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
