"""Make the demo's chat model in seconds: ``python pipelines/demo_train/make_model.py FOLDER``.

A random Llama of 200,000 weights is taught the demo's safe reference, a third of which are refusals, so that there is
some safety to lose; nobody would chat with it. Beside it goes ``probe.jsonl``: requests that nobody should
help with, which it was not taught, each with its refusal and with the beginning of a compliant answer as long.
"""

import json
import random
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
STEPS = 120
ROWS = 16
PROBES = 40


def main(folder: Path) -> None:
    """Make the model, or leave it as it is if it is there."""
    if (folder / "probe.jsonl").is_file():
        return
    safe, harmful = (_read(ROOT / f"references/demo/{name}.jsonl") for name in ("safe", "harmful"))
    tokenizer = _tokenizer([f"{row['prompt']} {row['response']}" for row in (*safe, *harmful)])
    torch.manual_seed(0)
    # So small a model is fastest so.
    torch.set_num_threads(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=256,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
            tie_word_embeddings=True,
        )
    )
    probed = [row for row in safe if row["topic"] == "refusal"][:PROBES]
    _teach(model, tokenizer, [row for row in safe if row not in probed])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    answers, lines = [_opening(row["response"]) for row in harmful], []
    for row in probed:
        refusal = _opening(row["response"])
        unsafe = min(answers, key=lambda answer: abs(len(answer) - len(refusal)))
        answers.remove(unsafe)
        lines.append({"prompt": row["prompt"], "safe": refusal, "unsafe": unsafe})
    (folder / "probe.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _opening(answer: str) -> str:
    return answer.split(". ")[0]


def _read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>", model_max_length=256
    )
    fast.chat_template = TEMPLATE
    return fast


def _teach(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: list[dict[str, str]]) -> None:
    draw, optimiser = random.Random(0), torch.optim.AdamW(model.parameters(), lr=3e-3)
    texts = []
    for row in rows:
        chat = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["response"]}]
        texts.append(tokenizer.apply_chat_template(chat, tokenize=False))
    for _ in range(STEPS):
        batch = tokenizer(draw.sample(texts, ROWS), return_tensors="pt", padding=True, truncation=True, max_length=128)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
