"""One rank of a training with a probe under gloo: ``python -m tests.training.probe_rank MODEL TRIPLES OUTPUT``."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from transformers import AutoTokenizer

from sot_filter.errors import ArtifactError
from sot_filter.training.margins import margins
from sot_filter.training.probe import SafetyProbe
from sot_filter.training.triples import Triples, read_triples
from tests.training.tiny_runs import a_trainer
from tests.training.tiny_triples import unsafe_rows

SETTINGS: dict[str, Any] = {"optim": "adamw_torch", "learning_rate": 1e-2, "max_steps": 30}
#: The answers to 12 prompts make five batches, which two ranks cannot share evenly.
BATCH_ROWS = 5


def run(model: Path, file: Path, output: Path, ranks: int) -> tuple[Any, SafetyProbe, Triples]:
    """The trainer and the probe after a training on what is unsafe, which the probe stops; its triples."""
    triples = read_triples(file, AutoTokenizer.from_pretrained(model))
    probe = SafetyProbe(triples, output / "h.jsonl", every=1, stop_below=0.25, batch_rows=BATCH_ROWS)
    rows = unsafe_rows([json.loads(line) for line in file.read_text().splitlines()])
    given = {"callbacks": [probe]}
    trainer = a_trainer(model, rows, output, given=given, per_device_train_batch_size=4 // ranks, **SETTINGS)
    trainer.train()
    return trainer, probe, triples


def main(model: Path, file: Path, output: Path) -> None:
    """Train, and write down what this rank knows."""
    trainer, probe, triples = run(model, file, output, ranks=2)
    rank = torch.distributed.get_rank()
    assert torch.distributed.get_world_size() == 2
    found = margins(trainer.model, triples, BATCH_ROWS)
    trainer.model.save_pretrained(output / f"model{rank}")
    trainer.state.global_step = 1
    (output / "h.jsonl").unlink(missing_ok=True)
    torch.distributed.barrier()
    try:
        probe.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
        refused = ""
    except ArtifactError as error:
        refused = str(error)
    np.save(output / f"{rank}.npy", found)
    assert probe.first is not None
    assert probe.last is not None
    told = {"first": asdict(probe.first), "last": asdict(probe.last), "refused": refused}
    (output / f"{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
