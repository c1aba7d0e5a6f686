"""LoRA as the recipe has it: which modules get an adapter, and a refusal where a name matches none."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from peft import LoraConfig, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from sot_filter.errors import ConfigError
from sot_filter.training.checkpoint import named

ALL_LINEAR: Final = "all-linear"


def lora_config(
    rank: int, alpha: float, dropout: float, targets: str | Sequence[str], name: str, revision: str | None
) -> LoraConfig:
    """PEFT's settings.

    Args:
        rank: of the two factors.
        alpha: scale of the update, divided by the rank.
        dropout: share of the adapters' inputs that are zeroed.
        targets: names of modules, or ``all-linear``.
        name: the model the adapter belongs to, as others will find it.
        revision: its commit.
    """
    modules: str | list[str] = ALL_LINEAR if targets == ALL_LINEAR else _listed(targets)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT divides it, and takes any number
        lora_dropout=dropout,
        target_modules=modules,
        task_type="CAUSAL_LM",
        base_model_name_or_path=name,
        revision=revision,
    )


def check_targets(outline: nn.Module, targets: str | Sequence[str]) -> None:
    """Refuse names that no linear module has, and the head, before anything is loaded.

    Args:
        outline: the model; its weights may lie nowhere.
        targets: names of modules, or ``all-linear``.

    Raises:
        ConfigError: it says which names there are.
    """
    if targets == ALL_LINEAR:
        return
    if not targets:
        raise ConfigError("names of modules in lora.targets", "none", "Name some, or leave it out for all-linear.")
    linear = [name for name, module in outline.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    head = outline.get_output_embeddings()  # type: ignore[operator]
    heads = [name for name, module in outline.named_modules() if module is head]
    there = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linear if name not in heads))
    do = f"Choose among {there}, or all-linear."
    if missing := [target for target in _listed(targets) if not _matching(linear, target)]:
        raise ConfigError(
            "lora.targets that are names of the model's linear modules", f"{named(missing)}, which match none", do
        )
    if any(_matching(heads, target) for target in _listed(targets)):
        raise ConfigError("lora.targets without the head", f"{named(heads)} among them", do)


def with_adapters(outline: nn.Module, config: LoraConfig) -> Any:
    """The outline with its adapters, to count them. Raises `ConfigError` where PEFT finds nothing to adapt."""
    try:
        return get_peft_model(outline, config)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(
            "a model with modules that LoRA can adapt", " ".join(str(error).split())[:200], "Correct lora.targets."
        ) from None


def _matching(names: Collection[str], target: str) -> list[str]:
    """Modules of this name or of a name that ends in it, as PEFT has it."""
    return [name for name in names if name == target or name.endswith(f".{target}")]


def _listed(targets: str | Sequence[str]) -> list[str]:
    return [targets] if isinstance(targets, str) else list(targets)
