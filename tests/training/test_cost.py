"""What a method adds to a step: SPF at most 15 %, AsFT at most 10 %, on a model wide enough that arithmetic counts."""

import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from sot_filter.training.asft import Asft
from sot_filter.training.method import Method
from sot_filter.training.projector_cache import find_projectors
from sot_filter.training.spf import Spf
from tests.training.tiny_runs import a_method, a_trainer, beside, logged, some_rows

pytestmark = pytest.mark.slow
STEPS = 15
CEILING = {"spf": 1.15, "asft": 1.10}


@pytest.fixture(scope="module")
def wide(tiny_chat: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers and 256 dimensions."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_chat)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            pad_token_id=0,
        )
    )
    folder = tmp_path_factory.mktemp("models") / "wide"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def other(wide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wide model would have been aligned from."""
    return beside(wide, tmp_path_factory.mktemp("models") / "other")


@pytest.mark.parametrize(("name", "adapter"), [("spf", True), ("spf", False), ("asft", True)])
def test_a_step_costs_little_more_than_plain_training(
    wide: Path, other: Path, tmp_path: Path, name: str, adapter: bool
) -> None:
    method: Method = Spf() if name == "spf" else Asft(partial(find_projectors, wide, other))
    given: dict[str, Any] = {"method": method}
    if name == "spf":
        given["safety_dataset"] = a_method("spf", wide, wide)["safety_dataset"]
    trainer = a_trainer(
        wide,
        some_rows(64, words=(40, 50)),
        tmp_path,
        given=given,
        peft_config=LoraConfig(target_modules="all-linear", r=8) if adapter else None,
        per_device_train_batch_size=8,
        max_length=128,
        max_steps=STEPS,
        max_grad_norm=1.0,
    )
    steps: list[float] = []
    step = trainer.training_step

    def timed(*arguments: Any) -> torch.Tensor:
        began = time.perf_counter()
        loss: torch.Tensor = step(*arguments)
        steps.append(time.perf_counter() - began)
        return loss

    trainer.training_step = timed
    trainer.train()
    added = logged(trainer, f"{name}_seconds")
    assert len(added) == len(steps) == STEPS
    # The first five warm up; the ten after them hold one of SPF's looks at safety, as any ten do.
    ratio = 1 + statistics.fmean(added[5:]) / statistics.fmean(steps[5:])
    assert ratio < CEILING[name], f"{ratio:.3f}"
