"""Triples for the tiny model to look at, and what it should find, by another way."""

import json
import random
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.utils import add_fused_lm_head

from tests.tiny_models import WORDS
from tests.training.tiny_runs import WEIGHT_COLUMN, Row

Triple = dict[str, Any]


def some_triples(count: int = 10, seed: int = 3) -> list[Triple]:
    """Triples of different lengths; texts, and every third as messages with an earlier exchange."""
    draw = random.Random(seed)

    def said() -> str:
        return " ".join(draw.choices(WORDS.split(), k=draw.randint(1, 8)))

    triples = [{"prompt": said(), "safe": said(), "unsafe": said()} for _ in range(count)]
    for triple in triples[::3]:
        triple["prompt"] = [
            {"role": "user", "content": said()},
            {"role": "assistant", "content": said()},
            {"role": "user", "content": triple["prompt"]},
        ]
        triple["unsafe"] = [{"role": "assistant", "content": triple["unsafe"]}]
    return triples


def write(path: Path, triples: list[Triple]) -> Path:
    path.write_text("".join(json.dumps(triple) + "\n" for triple in triples), encoding="utf-8")
    return path


def fused(model: Path, **settings: Any) -> Any:
    """The model as TRL's trainers make it."""
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, **settings)
    add_fused_lm_head(loaded)
    return loaded


def naive(model: Path, triples: list[Triple]) -> list[tuple[float, float]]:
    """Margins in total and by token: one answer at a time, one token at a time, in double precision."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    exact = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval()

    def told(prompt: Any, answer: Any) -> tuple[float, int]:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        last = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer
        before = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*turns, *last], tokenize=False)
        ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
        start = len(tokenizer(before, add_special_tokens=False)["input_ids"])
        assert tokenizer.decode(ids[:start]) == before
        total = 0.0
        for place in range(start, len(ids)):
            with torch.no_grad():
                logits = exact(torch.tensor([ids[:place]])).logits[0, -1]
            total += float(logits[ids[place]] - logits.logsumexp(0))
        return total, len(ids) - start

    found = []
    for triple in triples:
        (safe, s), (unsafe, u) = (told(triple["prompt"], triple[name]) for name in ("safe", "unsafe"))
        found.append((safe - unsafe, safe / s - unsafe / u))
    return found


def all_preferred(triples: list[Triple], found: list[tuple[float, float]]) -> list[Triple]:
    """The triples with safe and unsafe exchanged where the model prefers the unsafe one."""
    return [
        triple if total > 0 else {**triple, "safe": triple["unsafe"], "unsafe": triple["safe"]}
        for triple, (total, _) in zip(triples, found, strict=True)
    ]


def unsafe_rows(triples: list[Triple]) -> list[Row]:
    """Rows that teach the unsafe answers."""
    return [
        {
            "prompt": [{"role": "user", "content": one["prompt"]}]
            if isinstance(one["prompt"], str)
            else one["prompt"],
            "completion": [{"role": "assistant", "content": one["unsafe"]}]
            if isinstance(one["unsafe"], str)
            else one["unsafe"],
            WEIGHT_COLUMN: 1.0,
        }
        for one in triples
    ]
