import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl.trainer.utils import add_fused_lm_head

from sot_filter.errors import ArtifactError, ModelError
from sot_filter.training.history import SAFETY, TRAINING, UTILITY, read_history
from sot_filter.training.margins import margins
from sot_filter.training.probe import SafetyProbe, seen, wilson
from sot_filter.training.triples import Triples, read_triples
from tests.training.tiny_runs import a_trainer, logged, lora, some_rows, weights_of
from tests.training.tiny_triples import Triple, all_preferred, fused, naive, some_triples, unsafe_rows, write

#: The head works in single precision; a margin sums some twenty tokens of a few nats.
ROUNDING = 2e-4


@pytest.fixture(scope="module")
def chosen(tiny_chat: Path) -> list[Triple]:
    """Triples of which the untrained model prefers every safe answer."""
    triples = some_triples()
    return all_preferred(triples, naive(tiny_chat, triples))


@pytest.fixture(scope="module")
def triples(tiny_chat: Path, chosen: list[Triple], tmp_path_factory: pytest.TempPathFactory) -> Triples:
    file = write(tmp_path_factory.mktemp("triples") / "t.jsonl", chosen)
    return read_triples(file, AutoTokenizer.from_pretrained(tiny_chat))


def a_run(model: Path, rows: Any, output: Path, probe: SafetyProbe | None, *more: TrainerCallback, **rest: Any) -> Any:
    settings = {"eval_strategy": "steps", "eval_steps": 2, "eval_on_start": True, "max_steps": 4}
    given = {
        "callbacks": [*([probe] if probe else []), *more],
        "eval_dataset": Dataset.from_list(some_rows(4, seed=9)),
    }
    return a_trainer(model, rows, output, given=given, **(settings | rest))


def looks(path: Path) -> dict[int, Any]:
    return {record["step"]: record[SAFETY] for record in read_history(path) if SAFETY in record}


def test_margins_are_those_of_a_loop_over_tokens(tiny_chat: Path, tmp_path: Path) -> None:
    told = some_triples(7)
    read = read_triples(write(tmp_path / "t.jsonl", told), AutoTokenizer.from_pretrained(tiny_chat))
    expected = np.array(naive(tiny_chat, told))
    assert (expected > 0).any()
    assert (expected < 0).any()
    assert np.abs(margins(fused(tiny_chat), read) - expected).max() < ROUNDING


def test_margins_do_not_depend_on_the_batches(tiny_chat: Path, triples: Triples) -> None:
    model = fused(tiny_chat)
    alone = margins(model, triples, batch_rows=1)
    for rows in (3, 64):
        assert np.abs(margins(model, triples, batch_rows=rows) - alone).max() < ROUNDING


def test_margins_are_those_of_the_adapted_model(tiny_chat: Path, tmp_path: Path, triples: Triples) -> None:
    base = fused(tiny_chat)
    before = margins(base, triples)
    adapted = get_peft_model(base, lora())
    assert np.array_equal(margins(adapted, triples), before)
    noise = torch.Generator().manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data += 0.1 * torch.randn(weight.shape, generator=noise)
    found = margins(adapted, triples)
    assert np.abs(found - before).max() > 0.1
    merged = adapted.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    assert np.abs(margins(fused(tmp_path / "merged"), triples) - found).max() < ROUNDING


def test_a_look_leaves_modes_gradients_and_random_states_alone(tiny_chat: Path, triples: Triples) -> None:
    model = fused(tiny_chat, attention_dropout=0.5)
    model.train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    # A model may draw where it should not.
    model.model.embed_tokens.register_forward_hook(lambda *_: torch.rand(3) is None or None)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    first, second = margins(model, triples), margins(model, triples)
    assert np.array_equal(first, second)
    assert np.array_equal(first, margins(fused(tiny_chat), triples))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


def test_modes_come_back_after_an_error(tiny_chat: Path, triples: Triples) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_chat)
    model.train()
    with pytest.raises(ModelError, match="fused head"):
        margins(model, triples)
    assert model.training
    add_fused_lm_head(model)
    margins(model, triples)


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (5, 10), (93, 100), (1, 1)])
def test_wilsons_ends_are_shares_that_just_fit(hits: int, count: int) -> None:
    share, (low, high) = hits / count, wilson(hits, count)
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(1.959963984540054 * (end * (1 - end) / count) ** 0.5)


def test_known_intervals() -> None:
    assert wilson(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    assert wilson(0, 10) == pytest.approx((0, 0.277533), abs=1e-6)


def test_a_margin_that_is_no_number_is_not_preferred() -> None:
    look = seen(np.array([[1.0, 0.5], [np.nan, np.nan], [np.inf, np.inf], [0.0, 0.0]]))
    assert (look.preferred, look.triples, look.not_finite) == (1, 4, 2)
    assert np.isnan(look.margin)
    whole = seen(np.array([[1.0, 0.5], [-2.0, -0.25]]))
    assert (whole.share, whole.margin, whole.margin_per_token, whole.not_finite) == (0.5, -0.5, 0.125, 0)


def test_training_with_the_probe_is_training_without_it(tiny_chat: Path, tmp_path: Path, triples: Triples) -> None:
    dropping = LoraConfig(target_modules=["q_proj", "down_proj"], r=4, lora_alpha=8, lora_dropout=0.3)
    runs = []
    for name, probe in (("with", SafetyProbe(triples, tmp_path / "h.jsonl", every=1)), ("without", None)):
        run = a_run(
            tiny_chat, some_rows(), tmp_path / name, probe, peft_config=dropping, train_sampling_strategy="random"
        )
        run.train()
        runs.append(run)
    assert torch.equal(weights_of(runs[0]), weights_of(runs[1]))
    for name in ("loss", "eval_loss", "grad_norm"):
        assert logged(runs[0], name) == logged(runs[1], name)
    assert len(looks(tmp_path / "h.jsonl")) == 5


def test_it_looks_at_the_start_at_evaluations_and_at_the_end(
    tiny_chat: Path, tmp_path: Path, triples: Triples, chosen: list[Triple]
) -> None:
    probe = SafetyProbe(triples, tmp_path / "h.jsonl")
    run = a_run(tiny_chat, some_rows(12), tmp_path, probe, max_steps=5)
    start = margins(run.model, triples)
    run.train()
    found = looks(tmp_path / "h.jsonl")
    # Three steps are an epoch; 0, 2, 4 and the end are evaluated.
    assert sorted(found) == [0, 2, 3, 4, 5]
    assert found[0]["preferred"] == found[0]["triples"] == len(chosen)
    assert found[0]["margin"] == start[:, 0].mean()
    assert found[0]["margin_per_token"] == start[:, 1].mean()
    assert found[5]["margin"] == pytest.approx(margins(run.model, triples)[:, 0].mean())
    assert probe.first is not None
    assert probe.last is not None
    assert (probe.first.margin, probe.last.margin) == (found[0]["margin"], found[5]["margin"])
    records = read_history(tmp_path / "h.jsonl")
    assert {r["step"]: r[UTILITY] for r in records if UTILITY in r} == dict(
        zip((0, 2, 4, 5), logged(run, "eval_loss"), strict=True)
    )
    assert [r[TRAINING] for r in records if TRAINING in r] == logged(run, "loss")


def test_it_looks_each_so_many_steps(tiny_chat: Path, tmp_path: Path, triples: Triples) -> None:
    a_run(tiny_chat, some_rows(), tmp_path, SafetyProbe(triples, tmp_path / "h.jsonl", every=3), max_steps=7).train()
    assert sorted(looks(tmp_path / "h.jsonl")) == [0, 3, 6, 7]


#: Settings that make the model prefer what it is taught, within a few steps.
HARMFUL: dict[str, Any] = {"optim": "adamw_torch", "learning_rate": 1e-2, "eval_steps": 100}


def test_it_stops_once_safety_falls(
    tiny_chat: Path,
    tmp_path: Path,
    triples: Triples,
    chosen: list[Triple],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = unsafe_rows(chosen)
    probe = SafetyProbe(triples, tmp_path / "h.jsonl", every=1, stop_below=0.25)
    run = a_run(tiny_chat, rows, tmp_path, probe, max_steps=30, save_strategy="steps", save_steps=1000, **HARMFUL)
    with caplog.at_level(logging.WARNING, "sot_filter"):
        run.train()
    step, found = run.state.global_step, looks(tmp_path / "h.jsonl")
    assert 0 < step < 30
    assert max(found) == step
    # 10 triples: 8 preferred are 20 % fewer, 7 are more than 25 % fewer.
    assert [found[at]["preferred"] >= 8 for at in sorted(found)] == [True] * step + [False]
    assert probe.stopped
    assert found[step]["stop"] == probe.stopped
    assert all(look["stop"] is None for at, look in found.items() if at < step)
    assert f"training stops at step {step}: {probe.stopped}" in caplog.text
    assert (tmp_path / f"checkpoint-{step}").is_dir()
    # The loss stands beside the first look and the last.
    assert [r["step"] for r in read_history(tmp_path / "h.jsonl") if UTILITY in r] == [0, step]

    assert (step + 1) % 7
    again = SafetyProbe(triples, tmp_path / "h.jsonl", every=7, stop_below=0.25)
    resumed = a_run(tiny_chat, rows, tmp_path, again, max_steps=30, **HARMFUL)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
    assert resumed.state.global_step == step + 1
    assert again.stopped


def test_a_fall_that_was_allowed_stops_nothing(
    tiny_chat: Path, tmp_path: Path, triples: Triples, chosen: list[Triple]
) -> None:
    probe = SafetyProbe(triples, tmp_path / "h.jsonl", every=1, stop_below=1.0)
    run = a_run(tiny_chat, unsafe_rows(chosen), tmp_path, probe, max_steps=8, **HARMFUL)
    run.train()
    assert run.state.global_step == 8
    assert looks(tmp_path / "h.jsonl")[8]["preferred"] < 7
    assert probe.stopped is None


class _PulledPlug(TrainerCallback):
    """Ends the process's work after a step, whatever is half done."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step == 5:
            raise KeyboardInterrupt


@pytest.mark.parametrize("look_of_epoch", [True, False])
def test_a_killed_and_resumed_run_has_the_history_of_one_that_was_not(
    tiny_chat: Path, tmp_path: Path, triples: Triples, look_of_epoch: bool
) -> None:
    settings: dict[str, Any] = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}

    def probe(name: str) -> SafetyProbe:
        return SafetyProbe(triples, tmp_path / f"{name}.jsonl")

    whole = a_run(tiny_chat, some_rows(12), tmp_path / "whole", probe("whole"), **settings)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        a_run(tiny_chat, some_rows(12), tmp_path / "cut", probe("cut"), _PulledPlug(), **settings).train()
    assert max(looks(tmp_path / "cut.jsonl")) == 4
    if not look_of_epoch:
        # The plug was pulled between the checkpoint of the epoch's last step and the look at the epoch's end.
        lines = (tmp_path / "cut.jsonl").read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith('{"step": 3, "epoch": 1.0, "safety"')]
        assert len(kept) == len(lines) - 1
        (tmp_path / "cut.jsonl").write_text("".join(kept))
    with (tmp_path / "cut.jsonl").open("a") as handle:
        handle.write('{"step": 5, "epoch": 1.66, "saf')
    again = probe("cut")
    resumed = a_run(tiny_chat, some_rows(12), tmp_path / "cut", again, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-3"))
    assert torch.equal(weights_of(whole), weights_of(resumed))
    cut, uncut = (read_history(tmp_path / f"{name}.jsonl") for name in ("cut", "whole"))
    # What `eval_on_start` sees where the run goes on is new; all else is as it was.
    assert [r for r in cut if not (UTILITY in r and r["step"] == 3)] == uncut
    assert again.first is not None
    assert again.first.margin == uncut[0][SAFETY]["margin"]


def test_other_triples_or_no_history_are_refused_where_a_run_goes_on(
    tiny_chat: Path, tmp_path: Path, triples: Triples
) -> None:
    settings: dict[str, Any] = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "eval_strategy": "no"}
    file = tmp_path / "h.jsonl"
    a_run(tiny_chat, some_rows(), tmp_path, SafetyProbe(triples, file), **settings).train()
    other = Triples(triples.safe[1:], triples.unsafe[1:], "0" * 32)
    with pytest.raises(ArtifactError, match="the triples that the run began with"):
        a_run(tiny_chat, some_rows(), tmp_path, SafetyProbe(other, file), **settings).train(
            resume_from_checkpoint=str(tmp_path / "checkpoint-1")
        )
    file.write_text('{"step": 0, "epoch": 0.0, "safety": {"share": 1}}\n')
    with pytest.raises(ArtifactError, match="expected looks of this version; got others in"):
        a_run(tiny_chat, some_rows(), tmp_path, SafetyProbe(triples, file), **settings).train(
            resume_from_checkpoint=str(tmp_path / "checkpoint-1")
        )
    with pytest.raises(ArtifactError, match="no look at its start"):
        a_run(tiny_chat, some_rows(), tmp_path, SafetyProbe(triples, tmp_path / "new.jsonl"), **settings).train(
            resume_from_checkpoint=str(tmp_path / "checkpoint-1")
        )
