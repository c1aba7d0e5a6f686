"""The model card of a trained adapter: data, weights, method and how to load it, from ``run.json`` alone."""

from pathlib import Path
from typing import Any, Final

import yaml

_METHODS: Final = {
    "plain": "weighted supervised fine-tuning",
    "spf": "SPF (arXiv 2601.10141): what of a gradient works against the model's safety is taken out",
    "asft": "AsFT (arXiv 2506.08473): updates that leave the direction of the model's alignment cost something",
}
_LOSSES: Final = {
    "sample_mean": "the weighted mean over rows of a row's mean loss, Σ wᵢLᵢ / Σ wᵢ",
    "token": "the mean over tokens, each times its row's weight",
}


def card(record: dict[str, Any]) -> str:
    """The README.md of an output folder."""
    recipe, data, adapter = record["recipe"], record["data"], record["recipe"]["lora"] is not None
    model, on_hub = record["model"]["name"], record["model"]["revision"] is not None
    head: dict[str, Any] = {"pipeline_tag": "text-generation", "tags": ["sot-filter", recipe["method"]["kind"]]}
    head["library_name"] = "peft" if adapter else "transformers"
    if on_hub:
        head |= {"base_model": model, "base_model_relation": "adapter" if adapter else "finetune"}
    if recipe["rows"]["dataset"]:
        head["datasets"] = [recipe["rows"]["dataset"]]
    parts = [
        f"# {record['name']}",
        f"{'LoRA adapter of' if adapter else 'Fine-tuned from'} {_at(record['model'])}, trained with "
        f"sot-filter {record['versions']['sot_filter']}.",
        "## Data and weights",
        _data(data, recipe),
        "## Method",
        _method(record),
        "## What was seen",
        _seen(record),
        "## Load it",
        f"```python\n{_load(record, adapter)}\n```",
        "The recipe with all commits is `recipe.yaml`; counts, versions and files' digests are in `run.json`. "
        "`sot-filter train recipe.yaml --verify` reads the rows again and compares their weights with those that each "
        "step felt.",
    ]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n" + "\n\n".join(parts) + "\n"


def _data(data: dict[str, Any], recipe: dict[str, Any]) -> str:
    where = f"at commit `{data['revision']}`" if data["revision"] else f"(digest of the used rows `{data['digest']}`)"
    name = f"of [{data['source']}](https://huggingface.co/datasets/{data['source']}) " if data["revision"] else ""
    weight = f"`{data['weight_column']}`" if data["weight_column"] else "none, all rows count alike"
    lines = [
        f"- {data['used']:,} of {data['rows']:,} rows {name}{where}, split `{data['split']}`",
        f"- weights: {weight}; Σw = {data['weight']:.6g}, worth {data['effective_rows']:,.1f} equal rows",
        f"- {data['learned']:,} of {data['tokens']:,} tokens are learned"
        + ("" if recipe["completion_only"] else " (prompts too)")
        + f"; {data['cut_rows']:,} rows were cut at {data['max_length']:,} tokens",
    ]
    lines += [f"- left out: {one['rows']:,} {reason.replace('_', ' ')}" for reason, one in data["left_out"].items()]
    return "\n".join(lines)


def _method(record: dict[str, Any]) -> str:
    recipe = record["recipe"]
    kind, options = (
        recipe["method"]["kind"],
        {k: v for k, v in recipe["method"].items() if k not in ("kind", "safety")},
    )
    if record["base"]:
        options["base"] = _at(record["base"])
    optimiser, lora = recipe["optimiser"], recipe["lora"]
    lines = [f"- {_METHODS[kind]}"]
    if options:
        lines.append("- " + ", ".join(f"{name} {value}" for name, value in options.items()))
    if record["safety"]:
        lines.append(f"- {record['safety']['used']:,} safety rows (digest `{record['safety']['digest']}`)")
    lines.append(f"- loss: {_LOSSES[recipe['loss']]}")
    if lora:
        lines.append(f"- LoRA of rank {lora['rank']}, alpha {lora['alpha']:g}, on {_names(lora['targets'])}")
    lines.append(
        f"- AdamW, {record['steps_done']:,} steps of {optimiser['batch_rows']:,} rows, learning rate "
        f"{optimiser['learning_rate']:g} ({optimiser['schedule']}), {record['precision']}, seed {recipe['seed']}"
    )
    return "\n".join(lines)


def _seen(record: dict[str, Any]) -> str:
    lines = [
        f"- training loss {record['loss']['first']:.4g} at the first step, {record['loss']['last']:.4g} at the last"
    ]
    if held := record["evaluation_loss"]:
        lines.append(
            f"- loss on {record['evaluation']['used']:,} held-out rows {held['first']:.4g}, then {held['last']:.4g}"
        )
    if looks := record.get("safety_seen"):
        first, last = looks["first"], looks["last"]
        lines.append(
            f"- of {first['triples']:,} probes the safe answer is likelier in {first['preferred']:,} before and "
            f"{last['preferred']:,} after (95 % interval {last['low']:.0%} to {last['high']:.0%})"
        )
    if record["stopped"]:
        lines.append(f"- stopped early: {record['stopped']}")
    if "curves.png" in record.get("curves", ()):
        lines.append("\n![safety and loss by step](curves.png)")
    return "\n".join(lines)


def _load(record: dict[str, Any], adapter: bool) -> str:
    model = record["model"]
    revision = f', revision="{model["revision"]}"' if model["revision"] else ""
    name = model["name"] if model["revision"] else "path/to/the/model"
    if not adapter:
        return (
            "from transformers import AutoModelForCausalLM\n\n"
            'model = AutoModelForCausalLM.from_pretrained("this folder")'
        )
    return (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM\n\n"
        f'model = AutoModelForCausalLM.from_pretrained("{name}"{revision})\n'
        'model = PeftModel.from_pretrained(model, "this folder")'
    )


def _at(model: dict[str, Any]) -> str:
    if model["revision"]:
        return f"[{model['name']}](https://huggingface.co/{model['name']}) at commit `{model['revision']}`"
    return f"a local model (`{Path(model['name']).name}`, SHA-256 `{model['digest']}`)"


def _names(targets: Any) -> str:
    return targets if isinstance(targets, str) else ", ".join(targets)
