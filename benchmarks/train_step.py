"""Time of an optimiser step with the weighted trainer, SPF and AsFT, as ratios to stock TRL in the same run.

A random Llama with LoRA is trained on made-up tokens, by each way in turns, several rounds; each round's time is that
of all its steps, and the best round counts. On a GPU the arithmetic is bfloat16. Needs the extra `train`.

    python benchmarks/train_step.py --hidden 512 --layers 4 --length 256
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from sot_filter.training.method import METHODS
from sot_filter.training.projector_cache import find_projectors
from sot_filter.training.trainer import WeightedTrainer

VOCABULARY = 4096


def make_models(folder: Path, hidden: int, layers: int) -> tuple[Path, Path]:
    """A random aligned model and one whose weights are a little elsewhere, as its base."""
    words = {"<pad>": 0, "<eos>": 1, **{f"w{i}": i + 2 for i in range(VOCABULARY - 2)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=max(1, hidden // 64),
            pad_token_id=0,
        )
    )
    for name in ("aligned", "base"):
        model.save_pretrained(folder / name)
        fast.save_pretrained(folder / name)
        for weight in model.parameters():
            weight.data += 0.01 * torch.randn_like(weight)
    return folder / "aligned", folder / "base"


def make_rows(count: int, length: int) -> Dataset:
    """Rows of random tokens, the second half of them learned, of weights between a half and one and a half."""
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(2, VOCABULARY, (count, length), generator=draw)
    labels = tokens.clone()
    labels[:, : length // 2] = -100
    weights = (torch.rand(count, generator=draw) + 0.5).tolist()
    return Dataset.from_dict({"input_ids": tokens.tolist(), "labels": labels.tolist(), "sot_weight": weights})


def trainer_of(way: str, aligned: Path, base: Path, rows: Dataset, args: SFTConfig) -> SFTTrainer:
    """A trainer that is ready to go by one of the ways."""
    given: dict[str, Any] = {
        "args": args,
        "model": AutoModelForCausalLM.from_pretrained(aligned, dtype=torch.float32),
        "processing_class": PreTrainedTokenizerFast.from_pretrained(aligned),
        "peft_config": LoraConfig(target_modules="all-linear", r=8),
    }
    if way == "trl":
        return SFTTrainer(train_dataset=rows.remove_columns("sot_weight"), **given)
    options = {"asft": {"find": partial(find_projectors, aligned, base)}}.get(way, {})
    safety = {"safety_dataset": rows.select(range(2)).remove_columns("sot_weight")} if way == "spf" else {}
    return WeightedTrainer(train_dataset=rows, method=METHODS[way](**options), **safety, **given)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("hidden", 512), ("layers", 4), ("length", 256), ("rows", 8), ("steps", 20), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    cuda = torch.cuda.is_available()
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        aligned, base = make_models(Path(scratch), given.hidden, given.layers)
        rows = make_rows(given.rows * given.steps, given.length)
        args = SFTConfig(
            output_dir=f"{scratch}/out",
            per_device_train_batch_size=given.rows,
            max_steps=given.steps,
            max_length=given.length,
            learning_rate=1e-4,
            bf16=cuda,
            use_cpu=not cuda,
            logging_steps=given.steps,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        for _ in range(given.rounds):
            for way in ("trl", "plain", "spf", "asft"):
                trainer = trainer_of(way, aligned, base, rows, args)
                began = time.perf_counter()
                trainer.train()
                if cuda:
                    torch.cuda.synchronize()
                taken = time.perf_counter() - began
                best[way] = min(taken, best.get(way, taken))
    device = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"{given.steps} steps of {given.rows} x {given.length} tokens, {given.hidden} x {given.layers}, {device}")
    for way, seconds in best.items():
        beside = f"{seconds / best['trl']:.3f} of stock TRL, {seconds / best['plain']:.3f} of plain"
        print(f"{way:6} {seconds / given.steps * 1000:8.1f} ms a step   {beside}")


if __name__ == "__main__":
    main()
