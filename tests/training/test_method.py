"""What every method promises, by the table; and that each does its work inside the trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback

from sot_filter.errors import ConfigError
from sot_filter.training.method import METHODS
from tests.training.tiny_runs import (
    MIXED,
    a_method,
    a_trainer,
    logged,
    lora,
    safety_rows,
    some_rows,
    weighed,
    weights_of,
)

each_method = pytest.mark.parametrize("name", METHODS)
at_work = pytest.mark.parametrize("name", ["spf", "asft"])
each_clip = pytest.mark.parametrize("clip", [0.0, 0.5])
ROWS = weighed(some_rows(), MIXED)


def ran(aligned: Path, output: Path, given: dict[str, Any] | None = None, **settings: Any) -> Any:
    defaults = {"peft_config": lora(), "optim": "adamw_torch", "max_steps": 4}
    trainer = a_trainer(aligned, ROWS, output, given=given, **(defaults | settings))
    trainer.train()
    return trainer


@at_work
@each_clip
def test_strength_zero_is_plain_fine_tuning_to_the_bit(
    tiny_chat: Path, tiny_base: Path, tmp_path: Path, name: str, clip: float
) -> None:
    off = ran(tiny_chat, tmp_path / "a", a_method(name, tiny_chat, tiny_base, strength=0.0), max_grad_norm=clip)
    plain = ran(tiny_chat, tmp_path / "b", a_method("plain", tiny_chat, tiny_base), max_grad_norm=clip)
    assert torch.equal(weights_of(off), weights_of(plain))
    assert logged(off, "loss") == logged(plain, "loss")


@at_work
@each_clip
def test_it_acts_at_each_step_once_whether_gradients_are_clipped_or_not(
    tiny_chat: Path, tiny_base: Path, tmp_path: Path, name: str, clip: float
) -> None:
    given = a_method(name, tiny_chat, tiny_base)
    steps: list[int] = []
    adjust = given["method"].adjust

    def counted(step: int, scale: float = 1.0) -> dict[str, float]:
        steps.append(step)
        told: dict[str, float] = adjust(step, scale)
        return told

    given["method"].adjust = counted
    trainer = ran(tiny_chat, tmp_path / "a", given, max_grad_norm=clip, gradient_accumulation_steps=2)
    assert steps == [0, 1, 2, 3]
    assert not torch.equal(weights_of(trainer), weights_of(ran(tiny_chat, tmp_path / "b", max_grad_norm=clip)))


class NormAtTheStep(TrainerCallback):  # type: ignore[misc]
    """The norm of the gradients that the optimiser gets."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        self.norms.append(float(torch.cat(gradients).norm()))


@at_work
def test_gradients_are_clipped_after_it_acted(tiny_chat: Path, tiny_base: Path, tmp_path: Path, name: str) -> None:
    options = {"strength": 100.0} if name == "asft" else {}
    given = a_method(name, tiny_chat, tiny_base, **options)
    watch = NormAtTheStep()
    trainer = ran(tiny_chat, tmp_path, given | {"callbacks": [watch]}, max_grad_norm=0.01)
    if name == "spf":
        assert max(logged(trainer, "spf_removed_norm")) > 0.01
    assert watch.norms == [pytest.approx(0.01, rel=1e-3)] * 4


@at_work
def test_it_works_in_bfloat16(tiny_chat: Path, tiny_base: Path, tmp_path: Path, name: str) -> None:
    single, half = (
        ran(tiny_chat, tmp_path / str(bf16), a_method(name, tiny_chat, tiny_base), bf16=bf16) for bf16 in (False, True)
    )
    assert logged(half, "loss") == pytest.approx(logged(single, "loss"), rel=2e-2)
    assert logged(half, "loss") != logged(single, "loss")


@at_work
def test_what_it_did_is_logged(tiny_chat: Path, tiny_base: Path, tmp_path: Path, name: str) -> None:
    trainer = ran(tiny_chat, tmp_path, a_method(name, tiny_chat, tiny_base))
    own = {key for entry in trainer.state.log_history for key in entry if key.startswith(name)}
    assert own >= {f"{name}_seconds"}
    if name == "spf":
        assert 0 < max(logged(trainer, "spf_conflict_rate")) <= 1
        assert max(logged(trainer, "spf_removed_norm")) > 0
        assert 0 < logged(trainer, "spf_captured")[-1] <= 1 + 1e-6
    else:
        assert logged(trainer, "asft_penalty")[0] == 0  # B starts at zero
        assert logged(trainer, "asft_penalty")[-1] > 0


@each_method
def test_resuming_is_not_stopping(tiny_chat: Path, tiny_base: Path, tmp_path: Path, name: str) -> None:
    options = {"refresh": 100} if name == "spf" else {}
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 4}
    whole = ran(tiny_chat, tmp_path / "a", a_method(name, tiny_chat, tiny_base, **options), **settings)
    resumed = a_trainer(
        tiny_chat,
        ROWS,
        tmp_path / "b",
        given=a_method(name, tiny_chat, tiny_base, **options),
        peft_config=lora(),
        optim="adamw_torch",
        **settings,
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    assert torch.equal(weights_of(resumed), weights_of(whole))


@each_method
def test_accumulated_micro_batches_are_one_batch(tiny_chat: Path, tiny_base: Path, tmp_path: Path, name: str) -> None:
    ends = [
        weights_of(
            ran(
                tiny_chat,
                tmp_path / str(size),
                a_method(name, tiny_chat, tiny_base),
                optim="sgd",
                per_device_train_batch_size=size,
                gradient_accumulation_steps=8 // size,
            )
        )
        for size in (8, 2)
    ]
    assert float((ends[0] - ends[1]).abs().max()) < 1e-6


def test_a_strong_penalty_keeps_lora_s_update_small(tiny_chat: Path, tiny_base: Path, tmp_path: Path) -> None:
    penalties = []
    for strength in (1e-6, 10.0):
        trainer = ran(
            tiny_chat, tmp_path / str(strength), a_method("asft", tiny_chat, tiny_base, strength=strength), max_steps=8
        )
        penalties.append(logged(trainer, "asft_penalty")[-1] / strength)
    assert penalties[1] < 0.5 * penalties[0]


def test_spf_keeps_a_refusal_that_plain_training_unlearns(tiny_chat: Path, tiny_base: Path, tmp_path: Path) -> None:
    """The rows teach another answer to the very prompt that the model has learned to refuse."""
    refusals = [{**row, "sot_weight": 1.0} for row in safety_rows() * 4]
    answer = [{"role": "assistant", "content": "here are the steps first mix then heat until done"}]
    answers = [{**row, "completion": answer} for row in refusals]
    aligned = a_trainer(tiny_chat, refusals, tmp_path / "aligning", max_steps=40, learning_rate=0.1)
    aligned.train()
    aligned.model.save_pretrained(tmp_path / "aligned")
    aligned.processing_class.save_pretrained(tmp_path / "aligned")
    rises, losses = [], []
    for strength in (0.0, 1.0):
        given = a_method("spf", tiny_chat, tiny_base, rank=16, refresh=1, strength=strength)
        trainer: Any = a_trainer(
            tmp_path / "aligned", answers, tmp_path / str(strength), given=given, max_steps=20, learning_rate=0.01
        )
        before = trainer._loss_of(trainer.data_collator(list(trainer.train_dataset))).item()
        safe = trainer._safety_loss(given["safety_dataset"])
        start = safe().item()
        trainer.train()
        rises.append(safe().item() - start)
        losses.append(logged(trainer, "loss")[-1] / before)
    assert rises[0] > 0.3
    assert rises[1] < 0.1 * rises[0]
    assert losses[1] < 0.5


def test_looking_at_safety_rows_drops_nothing_out_and_draws_no_random_numbers(
    tiny_chat: Path, tiny_base: Path, tmp_path: Path
) -> None:
    adapter = LoraConfig(target_modules=["q_proj"], r=4, lora_dropout=0.5, init_lora_weights=False)
    given = a_method("spf", tiny_chat, tiny_base)
    trainer: Any = a_trainer(tiny_chat, ROWS, tmp_path, given=given, peft_config=adapter)
    trainer.model.train()
    safe = trainer._safety_loss(given["safety_dataset"])
    before = torch.get_rng_state()
    assert safe().item() == safe().item()
    assert torch.equal(torch.get_rng_state(), before)
    assert trainer.model.training


def test_spf_without_safety_rows_is_refused_before_any_step(tiny_chat: Path, tiny_base: Path, tmp_path: Path) -> None:
    given = a_method("spf", tiny_chat, tiny_base)
    with pytest.raises(ConfigError, match="safety rows for SPF"):
        a_trainer(tiny_chat, ROWS, tmp_path, given={"method": given["method"]})
    empty = {"method": given["method"], "safety_dataset": Dataset.from_list([])}
    with pytest.raises(ConfigError, match="a refusal to learn; got none of 0"):
        a_trainer(tiny_chat, ROWS, tmp_path, given=empty)
    long = [{"role": "user", "content": "sea " * 80}]
    cut = Dataset.from_list([{**row, "prompt": long} for row in given["safety_dataset"]])
    with pytest.raises(ConfigError, match="a refusal to learn; got none of 1"):
        a_trainer(tiny_chat, ROWS, tmp_path, given=given | {"safety_dataset": cut})
