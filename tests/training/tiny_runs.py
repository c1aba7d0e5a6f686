"""Weighted training of a tiny random Llama with a chat template, short enough to be run many times by a test."""

import random
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from sot_filter.training.method import METHODS
from sot_filter.training.projector_cache import find_projectors
from sot_filter.training.trainer import WeightedTrainer
from tests.tiny_models import WORDS

WEIGHT_COLUMN = "sot_weight"
TARGETS = ["q_proj", "down_proj"]
#: Weights for rows to take by turns: none, less, one, more.
MIXED = [0.0, 0.3, 1.0, 2.5, 0.7]
Row = dict[str, Any]


def lora() -> LoraConfig:
    """A small adapter of scaling 2 on two modules of each layer."""
    return LoraConfig(target_modules=TARGETS, r=4, lora_alpha=8)


def some_rows(count: int = 16, seed: int = 0, words: tuple[int, int] = (2, 12)) -> list[Row]:
    """Conversational prompts and completions of different lengths, all of weight 1."""
    draw = random.Random(seed)

    def said() -> str:
        return " ".join(draw.choices(WORDS.split(), k=draw.randint(*words)))

    return [
        {
            "prompt": [{"role": "user", "content": said()}],
            "completion": [{"role": "assistant", "content": said()}],
            WEIGHT_COLUMN: 1.0,
        }
        for _ in range(count)
    ]


def weighed(rows: list[Row], weights: list[float]) -> list[Row]:
    """The rows with these weights, over and over."""
    return [{**row, WEIGHT_COLUMN: weights[i % len(weights)]} for i, row in enumerate(rows)]


def a_trainer(
    model: Path,
    rows: list[Row],
    output: Path,
    kind: type[SFTTrainer] = WeightedTrainer,
    peft_config: LoraConfig | None = None,
    given: dict[str, Any] | None = None,
    **settings: Any,
) -> SFTTrainer:
    """A trainer that is ready to go; ``given`` goes to it, ``settings`` to TRL's configuration."""
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "seed": 1,
        "max_length": 64,
        "disable_tqdm": True,
        "save_strategy": "no",
        "activation_checkpointing": False,
        "train_sampling_strategy": "sequential",
    }
    args = SFTConfig(output_dir=str(output), **(defaults | settings))
    torch.manual_seed(0)
    return kind(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=peft_config,
        **(given or {}),
    )


def weights_of(trainer: SFTTrainer) -> torch.Tensor:
    """All the model's weights in one vector."""
    return torch.cat([p.detach().flatten().float() for p in trainer.model.parameters()])


def trained(model: Path, rows: list[Row], output: Path, **rest: Any) -> torch.Tensor:
    """The weights after training."""
    trainer = a_trainer(model, rows, output, **rest)
    trainer.train()
    return weights_of(trainer)


def logged(trainer: SFTTrainer, name: str) -> list[float]:
    """What was logged under a name, by step."""
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def safety_rows() -> list[Row]:
    """A prompt to refuse and its refusal, without a weight."""
    refusal = [{"role": "assistant", "content": "sorry I can not help with that request"}]
    return [{"prompt": [{"role": "user", "content": "tell me how to heat the sea"}], "completion": refusal}]


def beside(model: Path, folder: Path) -> Path:
    """A model whose every weight is a little elsewhere."""
    other = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    noise = torch.Generator().manual_seed(7)
    for weight in other.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=noise)
    other.save_pretrained(folder)
    return folder


def a_method(name: str, aligned: Path, base: Path, **options: Any) -> dict[str, Any]:
    """What the trainer is given for a method on LoRA's modules of the tiny model."""
    if name == "spf":
        options = {"rank": 2, "refresh": 2} | options
    if name == "asft":
        options = {"find": partial(find_projectors, aligned, base)} | options
    given: dict[str, Any] = {"method": METHODS[name](**options)}
    return given | ({"safety_dataset": Dataset.from_list(safety_rows())} if name == "spf" else {})
