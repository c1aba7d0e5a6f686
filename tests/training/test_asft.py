"""AsFT's penalty against dense float64 matrices and autograd, on LoRA's own modules."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from sot_filter.errors import ConfigError, ModelError
from sot_filter.training.asft import Asft, Find, lora_modules, penalty_and_gradients
from sot_filter.training.direction import PROJECTORS, Projector, published_projector

each_projector = pytest.mark.parametrize("name", PROJECTORS)


def random_matrix(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense(projector: Projector) -> Tensor:
    """C as a whole matrix."""
    eye = torch.eye(projector.rows, dtype=torch.float64)
    return eye - projector.outside(eye)


@each_projector
@given(rows=st.integers(3, 9), columns=st.integers(3, 9), rank=st.integers(1, 4), seed=st.integers(0, 999))
def test_the_cheap_form_is_the_dense_one_with_its_gradients(
    name: str, rows: int, columns: int, rank: int, seed: int
) -> None:
    a, b = random_matrix(rank, columns, seed).requires_grad_(), random_matrix(rows, rank, seed + 1).requires_grad_()
    projector = PROJECTORS[name](random_matrix(rows, columns, seed + 2), 2)
    outside = torch.eye(rows, dtype=torch.float64) - dense(projector)
    expected = (outside @ b @ a).square().sum()
    expected.backward()
    value, to_a, to_b = penalty_and_gradients(a.detach(), b.detach(), projector)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(to_a, a.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(to_b, b.grad, rtol=1e-10, atol=1e-10)


@pytest.fixture
def lora_model(tiny_chat: Path) -> torch.nn.Module:
    """A tiny Llama with LoRA of scaling 2 whose B has moved off zero."""
    model = get_peft_model(
        LlamaForCausalLM.from_pretrained(tiny_chat, dtype=torch.float64),
        LoraConfig(target_modules=["q_proj", "down_proj"], r=4, lora_alpha=8),
        autocast_adapter_dtype=False,
    )
    for i, (name, p) in enumerate(model.named_parameters()):
        if "lora_" in name:
            p.data = 0.1 * random_matrix(*p.shape, seed=i)
    return model


def projectors_for(model: torch.nn.Module) -> dict[str, Projector]:
    found = lora_modules(model)
    return {
        name: published_projector(random_matrix(len(m.b), m.a.shape[1], seed=i))
        for i, (name, m) in enumerate(found.items())
    }


def giving(projectors: dict[str, Projector]) -> Find:
    return lambda names, transposed: projectors


def test_modules_are_called_as_in_the_checkpoint(lora_model: torch.nn.Module) -> None:
    found = lora_modules(lora_model)
    assert set(found) == {
        f"model.layers.{layer}.{name}" for layer in (0, 1) for name in ("self_attn.q_proj", "mlp.down_proj")
    }
    assert {module.scaling for module in found.values()} == {2.0}


def test_the_step_gains_the_gradient_of_the_penalty_on_what_lora_adds(lora_model: torch.nn.Module) -> None:
    asft = Asft(giving(projectors_for(lora_model)), strength=0.3)
    asft.start(lora_model)
    expected = torch.zeros((), dtype=torch.float64)
    for name, module in lora_modules(lora_model).items():
        layer = lora_model.get_submodule(f"base_model.model.{name}")
        delta = layer.get_delta_weight("default")  # peft's own: scaling times B A
        delta_graph = module.scaling * module.b @ module.a
        torch.testing.assert_close(delta_graph, delta)
        outside = torch.eye(len(delta), dtype=torch.float64) - dense(asft.projectors[name])
        expected = expected + 0.3 * (outside @ delta_graph).square().sum()
    leaves = {n: p for n, p in lora_model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(expected, list(leaves.values()))
    for p in leaves.values():
        p.grad = torch.ones_like(p)
    told = asft.adjust(0)
    assert told["asft_penalty"] == pytest.approx(float(expected.detach()), rel=1e-10)
    for p, gradient in zip(leaves.values(), gradients, strict=True):
        torch.testing.assert_close(p.grad, 1 + gradient, rtol=1e-9, atol=1e-9)
    for p in leaves.values():
        p.grad = None
    asft.adjust(1, scale=1024.0)
    for p, gradient in zip(leaves.values(), gradients, strict=True):
        torch.testing.assert_close(p.grad, 1024 * gradient, rtol=1e-9, atol=1e-9)


def test_order_plays_no_part(lora_model: torch.nn.Module) -> None:
    projectors = projectors_for(lora_model)
    told = []
    for order in (list(projectors), list(reversed(projectors))):
        asft = Asft(giving({name: projectors[name] for name in order}))
        asft.start(lora_model)
        told.append(asft.adjust(0)["asft_penalty"])
    assert told[0] == told[1] > 0


def test_modules_without_a_projector_are_named(lora_model: torch.nn.Module) -> None:
    projectors = projectors_for(lora_model)
    del projectors["model.layers.1.self_attn.q_proj"]
    with pytest.raises(ModelError, match=r"none for model\.layers\.1\.self_attn\.q_proj"):
        Asft(giving(projectors)).start(lora_model)
    wrong = projectors_for(lora_model)
    wrong["model.layers.0.mlp.down_proj"] = published_projector(torch.ones(5, 5))
    with pytest.raises(ModelError, match=r"others for model\.layers\.0\.mlp\.down_proj"):
        Asft(giving(wrong)).start(lora_model)


def test_what_is_no_product_of_two_factors_is_refused(tiny_chat: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(tiny_chat)
    with pytest.raises(ConfigError, match="LoRA modules for AsFT"):
        Asft(giving({})).start(model)
    dora = get_peft_model(model, LoraConfig(target_modules=["q_proj"], r=2, use_dora=True))
    with pytest.raises(ConfigError, match="without DoRA"):
        Asft(giving({})).start(dora)
    embedded = get_peft_model(
        LlamaForCausalLM.from_pretrained(tiny_chat), LoraConfig(target_modules=["embed_tokens"], r=2)
    )
    with pytest.raises(ConfigError, match="linear layers only"):
        Asft(giving({})).start(embedded)


def test_a_weight_on_its_side_is_known() -> None:
    model: Any = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=20, n_positions=8))
    config = LoraConfig(target_modules=["c_attn"], r=2, fan_in_fan_out=True)
    model = get_peft_model(model, config)
    (module,) = lora_modules(model).values()
    assert module.transposed
    assert (len(module.b), module.a.shape[1]) == (24, 8)
    asked = []

    def find(names: Collection[str], transposed: Collection[str]) -> dict[str, Projector]:
        asked.append((list(names), list(transposed)))
        return {name: published_projector(torch.ones(24, 8)) for name in names}

    Asft(find).start(model)
    assert asked == [(["transformer.h.0.attn.c_attn"],) * 2]


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match="a strength of 0 or more"):
        Asft(giving({}), strength=strength)
