"""The weighted trainer against TRL's own, and the equalities that weights must keep however the rows are batched."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM
from trl import SFTTrainer

from sot_filter.errors import ConfigError, SourceError
from sot_filter.training.loss import REDUCTIONS
from tests.training.tiny_runs import (
    MIXED,
    WEIGHT_COLUMN,
    a_trainer,
    logged,
    lora,
    some_rows,
    trained,
    weighed,
    weights_of,
)

each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
#: Two units in the last place of a weight near 1, in single precision.
ROUNDING = 2.4e-7


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


def by(reduction: str) -> dict[str, Any]:
    return {"given": {"reduction": reduction}}


@pytest.mark.parametrize("adapter", [None, lora()], ids=["full", "lora"])
def test_weights_of_one_by_token_are_trl_s_own_training_to_the_bit(
    tiny_chat: Path, tmp_path: Path, adapter: LoraConfig | None
) -> None:
    rows = some_rows()
    plain = [{key: row[key] for key in ("prompt", "completion")} for row in rows]
    settings = {"gradient_accumulation_steps": 2, "optim": "adamw_torch", "max_grad_norm": 1.0, "peft_config": adapter}
    theirs = trained(tiny_chat, plain, tmp_path / "a", kind=SFTTrainer, **settings)
    ours = trained(tiny_chat, rows, tmp_path / "b", **settings, **by("token"))
    assert torch.equal(ours, theirs)
    untrained = weights_of(a_trainer(tiny_chat, rows, tmp_path / "c", peft_config=adapter))
    assert gap(ours, untrained) > 1e-3


def test_the_paper_s_loss_is_trl_s_where_all_rows_are_as_long(tiny_chat: Path, tmp_path: Path) -> None:
    rows = [some_rows(1)[0]] * 8
    plain = [{key: row[key] for key in ("prompt", "completion")} for row in rows]
    theirs = trained(tiny_chat, plain, tmp_path / "a", kind=SFTTrainer)
    assert gap(trained(tiny_chat, rows, tmp_path / "b"), theirs) < ROUNDING


def test_the_logged_loss_is_the_sum_written_out(tiny_chat: Path, tmp_path: Path) -> None:
    rows = weighed(some_rows(8), MIXED)
    trainer = a_trainer(
        tiny_chat, rows, tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=1
    )
    tokens = trainer.train_dataset
    above = 0.0
    trainer.model.eval()
    for row in tokens:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])[1:]
        with torch.no_grad():
            log_probs = trainer.model(ids).logits[0, :-1].double().log_softmax(-1)
        learned = labels != -100
        losses = -log_probs.gather(1, labels.clamp(min=0)[:, None])[learned]
        above += row[WEIGHT_COLUMN] * float(losses.mean())
    total = sum(row[WEIGHT_COLUMN] for row in rows)
    trainer.train()
    assert logged(trainer, "loss") == [pytest.approx(above / total, rel=1e-3)]
    assert logged(trainer, "weight_sum") == [pytest.approx(total, rel=1e-6)]


@each_reduction
def test_the_sum_of_weights_is_logged_at_each_step(tiny_chat: Path, tmp_path: Path, reduction: str) -> None:
    rows = weighed(some_rows(), [0.25, 0.5, 1.0, 2.0])
    trainer = a_trainer(tiny_chat, rows, tmp_path, gradient_accumulation_steps=2, max_steps=2, **by(reduction))
    trainer.train()
    assert logged(trainer, "weight_sum") == [7.5, 7.5]


@each_reduction
def test_a_common_factor_changes_nothing(tiny_chat: Path, tmp_path: Path, reduction: str) -> None:
    rows = weighed(some_rows(), MIXED)
    scaled = [{**row, WEIGHT_COLUMN: 7 * row[WEIGHT_COLUMN]} for row in rows]
    one, seven = (trained(tiny_chat, r, tmp_path / str(i), **by(reduction)) for i, r in enumerate((rows, scaled)))
    assert gap(one, seven) < ROUNDING


@each_reduction
def test_a_weight_of_zero_is_the_row_left_out(tiny_chat: Path, tmp_path: Path, reduction: str) -> None:
    rows = some_rows()
    zeroed = weighed(rows, [1.0, 0.0])
    masked = trained(tiny_chat, zeroed, tmp_path / "a", per_device_train_batch_size=8, max_steps=2, **by(reduction))
    dropped = trained(tiny_chat, rows[::2], tmp_path / "b", max_steps=2, **by(reduction))
    assert gap(masked, dropped) < ROUNDING


@each_reduction
def test_a_weight_of_two_is_the_row_twice(tiny_chat: Path, tmp_path: Path, reduction: str) -> None:
    rows = some_rows(4)
    doubled = [{**rows[0], WEIGHT_COLUMN: 2.0}, *rows[1:]]
    once = trained(tiny_chat, doubled, tmp_path / "a", **by(reduction))
    twice = trained(tiny_chat, [rows[0], *rows], tmp_path / "b", per_device_train_batch_size=5, **by(reduction))
    assert gap(once, twice) < ROUNDING
    assert gap(once, trained(tiny_chat, rows, tmp_path / "c", **by(reduction))) > 1e-5


@each_reduction
def test_accumulated_micro_batches_are_one_batch(tiny_chat: Path, tmp_path: Path, reduction: str) -> None:
    rows = weighed(some_rows(), MIXED)
    shapes = [(8, 1), (2, 4), (1, 8)]
    ends = [
        trained(
            tiny_chat,
            rows,
            tmp_path / str(size),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            max_steps=2,
            **by(reduction),
        )
        for size, steps in shapes
    ]
    assert max(gap(ends[0], end) for end in ends[1:]) < ROUNDING


def test_resuming_is_not_stopping(tiny_chat: Path, tmp_path: Path) -> None:
    rows = weighed(some_rows(), MIXED)
    settings: dict[str, Any] = {
        "peft_config": lora(),
        "max_steps": 6,
        "optim": "adamw_torch",
        "train_sampling_strategy": "random",
        "save_strategy": "steps",
        "save_steps": 2,
        "lr_scheduler_type": "cosine",
    }
    whole = trained(tiny_chat, rows, tmp_path / "a", **settings)
    resumed = a_trainer(tiny_chat, rows, tmp_path / "b", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    assert torch.equal(weights_of(resumed), whole)


def test_bfloat16_follows_float32(tiny_chat: Path, tmp_path: Path) -> None:
    rows = weighed(some_rows(), MIXED)
    losses = []
    for bf16 in (False, True):
        trainer = a_trainer(tiny_chat, rows, tmp_path / str(bf16), bf16=bf16, max_steps=4)
        trainer.train()
        losses.append(logged(trainer, "loss"))
    single, half = losses
    assert half != single
    assert half == pytest.approx(single, rel=2e-2)


def test_a_step_whose_rows_have_no_weight_moves_nothing(tiny_chat: Path, tmp_path: Path) -> None:
    rows = weighed(some_rows(4), [0.0]) + some_rows(4)
    trainer = a_trainer(tiny_chat, rows, tmp_path, max_steps=1)
    before = weights_of(trainer)
    trainer.train()
    assert torch.equal(weights_of(trainer), before)
    assert logged(trainer, "weight_sum") == [0.0]


def test_rows_that_come_as_tokens_and_labels_are_taken_as_they_are(tiny_chat: Path, tmp_path: Path) -> None:
    rows = weighed(some_rows(), MIXED)
    trainer = a_trainer(tiny_chat, rows, tmp_path / "a")
    tokens = [{k: row[k] for k in ("input_ids", "labels", WEIGHT_COLUMN)} for row in trainer.train_dataset]
    trainer.train()
    assert torch.equal(trained(tiny_chat, tokens, tmp_path / "b"), weights_of(trainer))


def test_only_completions_are_learned(tiny_chat: Path, tmp_path: Path) -> None:
    trainer = a_trainer(tiny_chat, some_rows(4), tmp_path)
    for row, given in zip(trainer.train_dataset, some_rows(4), strict=True):
        learned = [token for token in row["labels"] if token != -100]
        text = trainer.processing_class.decode(learned)
        assert given["completion"][0]["content"] in text
        assert given["prompt"][0]["content"] not in text


def test_conversations_of_many_turns_are_learned(tiny_chat: Path, tmp_path: Path) -> None:
    turns = [{"role": role, "content": f"{role} one two"} for role in ("user", "assistant") * 2]
    rows = [{"prompt": turns[:3], "completion": turns[3:], WEIGHT_COLUMN: 1.0}] * 4
    trainer = a_trainer(tiny_chat, rows, tmp_path, max_steps=1)
    trainer.train()
    learned = [token for token in trainer.train_dataset[0]["labels"] if token != -100]
    assert trainer.processing_class.decode(learned).count("assistant one two") == 1


def test_rows_that_are_cut_or_lost_are_counted_with_their_weight(tiny_chat: Path, tmp_path: Path) -> None:
    long = " ".join(["bread"] * 60)
    rows = some_rows(4, words=(2, 3))
    rows += [{**rows[0], "completion": [{"role": "assistant", "content": long}], WEIGHT_COLUMN: 0.5}]
    rows += [{**rows[0], "prompt": [{"role": "user", "content": long}], WEIGHT_COLUMN: 0.25}]
    trainer = a_trainer(tiny_chat, rows, tmp_path, max_length=48)
    told = trainer.prepared["train"]
    assert (told.rows, told.truncated, told.silent) == (6, 2, 1)
    assert (told.weight, told.silent_weight) == (4.75, 0.25)
    assert len(trainer.train_dataset) == 5
    assert max(map(len, trainer.train_dataset["input_ids"])) == 48


def test_a_row_whose_only_label_is_its_first_token_teaches_nothing(tiny_chat: Path, tmp_path: Path) -> None:
    rows = [{"input_ids": [5, 6, 7], "labels": [5, -100, -100]}, {"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}]
    trainer = a_trainer(tiny_chat, weighed(rows, [0.5, 1.0]), tmp_path)
    assert (trainer.prepared["train"].silent, trainer.prepared["train"].silent_weight) == (1, 0.5)
    assert len(trainer.train_dataset) == 1


def test_rows_that_all_die_are_an_error(tiny_chat: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none of 4: 4 are longer than 3 tokens"):
        a_trainer(tiny_chat, some_rows(4), tmp_path, max_length=3)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, -1.0], "-1.0 in row 1"),
        ([1.0, float("nan")], "nan in row 1"),
        ([0.0], "none of 16 rows"),
        ([1.0, None], "None in row 1"),
    ],
)
def test_bad_weights_are_refused_before_any_step(
    tiny_chat: Path, tmp_path: Path, weights: list[float], said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        a_trainer(tiny_chat, weighed(some_rows(), weights), tmp_path)


def test_rows_without_the_weight_column_are_refused(tiny_chat: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="weight column 'w' in the train rows"):
        a_trainer(tiny_chat, some_rows(), tmp_path, given={"weight_column": "w"})


def test_a_batch_without_weights_is_an_error_never_one(tiny_chat: Path, tmp_path: Path) -> None:
    trainer = a_trainer(tiny_chat, some_rows(), tmp_path)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    del batch["weight"]
    with pytest.raises(SourceError, match="its rows' weights"):
        trainer.compute_loss(trainer.model, batch)
    with pytest.raises(SourceError, match="of every row; got None"):
        trainer.data_collator([{"input_ids": [1, 2]}])


def test_evaluation_is_weighted_too(tiny_chat: Path, tmp_path: Path) -> None:
    rows = some_rows(4)
    only_first = weighed(rows, [1.0, 0.0, 0.0, 0.0])
    losses = []
    for name, held_out in (("a", only_first), ("b", rows[:1])):
        given = {"eval_dataset": Dataset.from_list(held_out)}
        trainer = a_trainer(tiny_chat, rows, tmp_path / name, given=given, per_device_eval_batch_size=4)
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"packing": True}, "packing"),
        ({"eval_packing": True}, "packing"),
        ({"padding_free": True, "max_length": None}, "padding_free"),
        ({"loss_type": "dft"}, "loss_type"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor"),
        ({"dataset_kwargs": {"skip_prepare_dataset": True}}, "dataset_kwargs"),
        ({"given": {"compute_loss_func": lambda *a, **k: 0}}, "compute_loss_func"),
        ({"given": {"compute_metrics": lambda p: {}}}, "compute_metrics"),
        ({"given": {"data_collator": lambda rows: {}}}, "data_collator"),
        ({"given": {"reduction": "mean"}}, "sample_mean, token"),
    ],
)
def test_what_would_lose_the_weights_is_refused_with_a_reason(
    tiny_chat: Path, tmp_path: Path, settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        a_trainer(tiny_chat, some_rows(4), tmp_path, **settings)


def test_a_router_s_loss_is_refused(tiny_chat: Path, tmp_path: Path) -> None:
    config = MixtralConfig(
        vocab_size=400,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=2,
        pad_token_id=0,
    )
    MixtralForCausalLM(config).save_pretrained(tmp_path / "experts")
    AutoTokenizer.from_pretrained(tiny_chat).save_pretrained(tmp_path / "experts")
    with pytest.raises(ConfigError, match="router_aux_loss_coef"):
        a_trainer(tmp_path / "experts", some_rows(4), tmp_path / "a")


@pytest.mark.parametrize("target", ["nothing_of_this_name", "lm_head"])
def test_lora_targets_that_cannot_be_are_refused_before_any_step(tiny_chat: Path, tmp_path: Path, target: str) -> None:
    with pytest.raises(ConfigError, match=target):
        a_trainer(tiny_chat, some_rows(4), tmp_path, peft_config=LoraConfig(target_modules=[target]))


def test_no_rows_are_refused(tiny_chat: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="rows to train on; got none"):
        a_trainer(tiny_chat, [], tmp_path)


def test_streamed_rows_are_refused(tiny_chat: Path, tmp_path: Path) -> None:
    trainer = a_trainer(tiny_chat, some_rows(4), tmp_path)
    with pytest.raises(ConfigError, match="streamed"):
        trainer._prepare_dataset(
            Dataset.from_list(some_rows(4)).to_iterable_dataset(), None, trainer.args, False, None, "train"
        )
