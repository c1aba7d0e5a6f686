"""What each trainer is given is what its documented schema takes; where it is installed, it says so itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from sot_filter.errors import ConfigError
from sot_filter.exporting import EXPORTERS, Request, export_output
from sot_filter.rows import DUPLICATE, KEPT
from tests.exporting.outputs import LEFT, ONE, TIME, WEATHER, fates, read_lines, talk, talks, tool_talk, write_output

ALPACA = [{"instruction": f"say {i}", "input": "" if i % 2 else "please", "output": f"that is {i}"} for i in range(6)]
PAIRS = [{"prompt": f"say {i}", "completion": f"that is {i}"} for i in range(6)]
SHAREGPT = [
    {"system": "wait", "conversations": [{"from": "human", "value": f"say {i}"}, {"from": "gpt", "value": f"is {i}"}]}
    for i in range(6)
]
TEXTS = [{"text": f"one two three {i}"} for i in range(6)]
CHATS = {"alpaca": ALPACA, "prompt_completion": PAIRS, "sharegpt": SHAREGPT, "messages": talks(6)}
TRAINERS = [name for name in EXPORTERS if name != "parquet"]


def exported(tmp_path: Path, target: str, rows: list[Any], decided: Any = None, **options: Any) -> dict[str, Any]:
    folder = write_output(tmp_path / "output", {"rows.jsonl": rows}, decided or [ONE] * len(rows))
    return export_output(str(folder), str(tmp_path / "export"), Request(target, **options))


def lines_of(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "export" / "train.jsonl"
    return read_lines(path) if path.exists() else loaded(tmp_path).to_list()


def loaded(tmp_path: Path) -> datasets.Dataset:
    """The data file, as every trainer here reads it."""
    (path,) = (tmp_path / "export").glob("train.*")
    kind = {".jsonl": "json", ".parquet": "parquet"}[path.suffix]
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("target", TRAINERS)
@pytest.mark.parametrize("format", CHATS)
def test_every_format_of_conversations_reaches_every_trainer(tmp_path: Path, target: str, format: str) -> None:
    rows = CHATS[format]
    result = exported(tmp_path, target, rows)
    assert result["rows"] == {"read": 6, "written": 6, "lines": 6}
    assert result["left_out"] == {}
    assert len(loaded(tmp_path)) == 6
    for line, row in zip(lines_of(tmp_path), rows, strict=True):
        assert said(line) == expected_turns(row)


def said(line: dict[str, Any]) -> list[tuple[str, str]]:
    messages = line["messages"] if "messages" in line else [*line["prompt"], *line["completion"]]
    return [(message["role"], message["content"]) for message in messages]


def expected_turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    if "messages" in row:
        return [(turn["role"], turn["content"]) for turn in row["messages"]]
    if "conversations" in row:
        asked, answered = row["conversations"]
        return [("system", row["system"]), ("user", asked["value"]), ("assistant", answered["value"])]
    if "prompt" in row:
        return [("user", row["prompt"]), ("assistant", row["completion"])]
    question = "\n".join(part for part in (row["instruction"], row["input"]) if part)
    return [("user", question), ("assistant", row["output"])]


@pytest.mark.parametrize("target", TRAINERS)
def test_raw_text_reaches_every_trainer_that_knows_it(tmp_path: Path, target: str) -> None:
    if not EXPORTERS[target].texts:
        with pytest.raises(ConfigError, match="raw text"):
            exported(tmp_path, target, TEXTS)
        assert not (tmp_path / "export").exists()
        return
    assert exported(tmp_path, target, TEXTS)["rows"]["written"] == 6
    texts = [line.get("text") or line["messages"][0]["content"] for line in lines_of(tmp_path)]
    assert texts == [row["text"] for row in TEXTS]


def test_a_fraction_is_never_a_message_weight(tmp_path: Path) -> None:
    rows = [{"messages": [*talk("a", "b")["messages"][:1], {"role": "assistant", "content": "b", "weight": 1}]}] * 3
    for target in TRAINERS:
        exported(tmp_path / target, target, rows, [(0.4, True, KEPT), (1.6, True, KEPT), ONE])
        text = json.dumps(lines_of(tmp_path / target))
        assert '"weight"' not in text, target


# trl


def test_trl_has_weights_of_float32_and_the_rows_own_tools(tmp_path: Path) -> None:
    rows = [talk("hi", "hello"), tool_talk("Rome"), tool_talk("Oslo")]
    exported(tmp_path, "trl", rows, [(0.25, True, KEPT), (0.1, True, KEPT), (2.65, True, KEPT)])
    data = loaded(tmp_path)
    assert data.features["sot_weight"].dtype == "float32"
    assert data["sot_weight"][:] == pytest.approx([0.25, 0.1, 2.65], rel=1e-7)
    assert data[0]["messages"] == rows[0]["messages"]
    assert data[0]["tools"] is None
    assert data[1]["tools"] == [WEATHER, TIME]
    # No key of one message shows up in another, and arguments are objects.
    assert set(data[1]["messages"][0]) == {"role", "content"}
    assert [m["tool_calls"][0]["function"]["arguments"] for m in data[1]["messages"] if "tool_calls" in m] == [
        {"city": "Rome"},
        {"zone": 2},
    ]
    assert data["sot_row_id"][0] == "default/train/rows.jsonl#0"


def test_trl_trains_one_step_on_each_shape(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.tiny_models import make_tiny_decoder

    folder = make_tiny_decoder(tmp_path / "model")
    template = (
        "{% for m in messages %}<|start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}{% else %}{{ m['content'] }}<|end|>{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
    )
    for name, rows in {**CHATS, "text": TEXTS}.items():
        exported(tmp_path / name, "trl", rows, fates(6, seed=2))
        data = loaded(tmp_path / name)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = template
        settings = trl.SFTConfig(
            output_dir=str(tmp_path / name / "trained"),
            assistant_only_loss="messages" in data.column_names,
            max_steps=1,
            per_device_train_batch_size=2,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        model = AutoModelForCausalLM.from_pretrained(folder)
        trainer = trl.SFTTrainer(model, args=settings, train_dataset=data, processing_class=tokenizer)
        assert 0 < trainer.train().training_loss < 20, name


# ms-swift


def test_ms_swift_has_the_weight_on_every_answer_and_nowhere_else(tmp_path: Path) -> None:
    result = exported(tmp_path, "ms-swift", [talk("a", "b", "c", "d", system="s")], [(0.5, True, KEPT)])
    (line,) = lines_of(tmp_path)
    assert line == {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "loss_scale": 0.5},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d", "loss_scale": 0.5},
        ]
    }
    assert "--is_binary_loss_scale false" in result["loading"]
    assert result["weights"]["how"].startswith("messages[].loss_scale")


def test_ms_swift_has_tool_calls_as_turns_and_one_schema(tmp_path: Path) -> None:
    exported(tmp_path, "ms-swift", [tool_talk("Rome"), talk("a", "b")], [(0.5, True, KEPT), (1.5, True, KEPT)])
    first, second = lines_of(tmp_path)
    assert [m["role"] for m in first["messages"]] == ["user", "tool_call", "tool", "tool_call", "tool", "assistant"]
    assert json.loads(first["messages"][1]["content"]) == {"name": "weather", "arguments": {"city": "Rome"}}
    assert first["messages"][1]["loss_scale"] == 0.5
    assert json.loads(first["tools"]) == [WEATHER, TIME]
    assert second["tools"] == "[]"


def test_ms_swift_repeats_without_weights(tmp_path: Path) -> None:
    result = exported(tmp_path, "ms-swift", talks(40), fates(40), repeat=True)
    assert "loss_scale" not in (tmp_path / "export" / "train.jsonl").read_text()
    assert "is_binary" not in result["loading"]


# axolotl


def test_axolotl_reads_plain_messages_by_the_piece_of_yaml(tmp_path: Path) -> None:
    exported(tmp_path, "axolotl", talks(5))
    (dataset,) = yaml.safe_load((tmp_path / "export" / "axolotl.yaml").read_text())["datasets"]
    assert dataset == {"path": "train.jsonl", "ds_type": "json", "type": "chat_template"}
    assert [line["messages"] for line in lines_of(tmp_path)] == [row["messages"] for row in talks(5)]


def test_axolotl_reads_messages_of_many_keys_as_text(tmp_path: Path) -> None:
    exported(tmp_path, "axolotl", [talk("a", "b"), tool_talk("Rome")])
    first, second = lines_of(tmp_path)
    assert json.loads(first["messages"]) == talk("a", "b")["messages"]
    assert json.loads(first["tools"]) == []
    assert json.loads(second["tools"]) == [WEATHER, TIME]
    assert json.loads(second["messages"])[1]["tool_calls"][0]["function"]["arguments"] == {"city": "Rome"}


# LLaMA-Factory


def test_llama_factory_is_told_of_the_file(tmp_path: Path) -> None:
    exported(tmp_path, "llama-factory", [talk("a", "b", system="s"), tool_talk("Rome")])
    info = json.loads((tmp_path / "export" / "dataset_info.json").read_text())
    assert list(info) == ["little-run"]
    assert info["little-run"]["file_name"] == "train.jsonl"
    assert info["little-run"]["columns"] == {"messages": "messages", "tools": "tools"}
    first, second = lines_of(tmp_path)
    assert first["tools"] == ""
    assert json.loads(second["tools"]) == [WEATHER, TIME]
    called = second["messages"][1]
    assert called["role"] == "function_call"
    assert json.loads(called["content"]) == [{"name": "weather", "arguments": {"city": "Rome"}}]


def test_llama_factory_leaves_out_what_it_would_skip(tmp_path: Path) -> None:
    both = tool_talk("Rome")
    both["messages"][1]["content"] = "I look."
    rows = [
        talk("a", "b"),
        {"messages": [{"role": "user", "content": "a"}, *talk("b", "c")["messages"]]},
        {"messages": talk("a", "b", "c")["messages"]},
        both,
    ]
    assert exported(tmp_path, "llama-factory", rows)["left_out"] == {
        "a last turn that is no answer": 1,
        "an answer with both a text and tool calls": 1,
        "turns that do not alternate": 1,
    }


# OpenAI


def test_openai_lines_are_of_its_schema(tmp_path: Path) -> None:
    exported(tmp_path, "openai", [talk("a", "b", "c", "d", system="s"), tool_talk("Rome")])
    for line in lines_of(tmp_path):
        check_openai(line)


def check_openai(line: dict[str, Any]) -> None:
    """As `FineTuneChatRequestInput` has it.

    https://docs.rs/crate/openai-client-base/0.12.0/source/src/models/fine_tune_chat_request_input.rs and the types it
    names are generated from OpenAI's API description, version 2.3.0.
    """
    keys = {
        "system": {"role", "content", "name"},
        "user": {"role", "content", "name"},
        "assistant": {"role", "content", "name", "refusal", "tool_calls", "weight"},
        "tool": {"role", "content", "tool_call_id"},
    }
    assert set(line) <= {"messages", "tools", "parallel_tool_calls"}
    for message in line["messages"]:
        assert set(message) <= keys[message["role"]]
        assert "content" in message or message["tool_calls"]
        assert isinstance(message.get("content", ""), str)
        assert message.get("weight", 1) in (0, 1)
        assert message["role"] != "tool" or message["tool_call_id"]
        for call in message.get("tool_calls", ()):
            assert set(call) == {"id", "type", "function"}
            assert call["type"] == "function"
            assert set(call["function"]) == {"name", "arguments"}
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert any(message["role"] == "assistant" for message in line["messages"])
    for tool in line.get("tools", ()):
        assert tool["type"] == "function"
        assert set(tool["function"]) <= {"name", "description", "parameters", "strict"}


def test_openai_gets_ids_where_calls_have_none(tmp_path: Path) -> None:
    row = tool_talk("Rome")
    for turn in row["messages"]:
        turn.pop("tool_call_id", None)
        for call in turn.get("tool_calls", ()):
            call.pop("id")
    lost = {
        "messages": [*talk("a", "b")["messages"], {"role": "tool", "content": "?"}, *talk("c", "d")["messages"][1:]]
    }
    assert exported(tmp_path, "openai", [row, lost])["left_out"] == {
        "a tool's result without the call it belongs to": 1
    }
    (line,) = lines_of(tmp_path)
    check_openai(line)
    assert [m["tool_call_id"] for m in line["messages"] if m["role"] == "tool"] == ["call_0", "call_1"]


# Rows that are not exported


@pytest.mark.parametrize("target", TRAINERS)
def test_every_row_is_written_or_counted_with_a_reason(tmp_path: Path, target: str) -> None:
    odd = [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}]}, ONE),
        ({"messages": []}, LEFT["empty"]),
        ({"messages": "no turns"}, LEFT["invalid"]),
        ("not JSON", LEFT["invalid"]),
        (talk("a", "b"), (0.5, True, DUPLICATE)),
        (talk("a", "b"), (0.5, False, DUPLICATE)),
        ({**talk("c", "d"), "tools": [{"type": "function"}]}, ONE),
    ]
    rows, decided = zip(*odd, *zip(talks(20), fates(20), strict=True), strict=True)
    result = exported(tmp_path, target, list(rows), list(decided))
    assert result["rows"]["read"] == 27
    assert result["rows"]["written"] + sum(result["left_out"].values()) == 27
    assert result["left_out"]["no answer to learn from"] == 1
    assert result["left_out"]["a tool without a name"] == 1
    assert (result["left_out"]["empty"], result["left_out"]["invalid"]) == (1, 2)
    kept = sum(keep for _, keep, _ in decided) - 2
    assert result["rows"]["written"] == len(loaded(tmp_path)) == kept


# The trainers themselves, where they are installed


@pytest.mark.parametrize("tools", [False, True])
def test_axolotl_itself_reads_the_file(tmp_path: Path, tools: bool) -> None:
    pytest.importorskip("axolotl.prompt_strategies.chat_template")
    rows = [talk("one?", "b two", system="wait"), *([tool_talk("Rome")] if tools else []), talk("what?", "d")]
    exported(tmp_path, "axolotl", rows)
    seen = _asked(_AXOLOTL, tmp_path)
    assert len(seen) == len(rows)
    for row, learned in zip(rows, seen, strict=True):
        answers = [turn["content"] for turn in row["messages"] if turn["role"] == "assistant" and turn["content"]]
        assert all(answer in learned for answer in answers)
        asked = [turn["content"] for turn in row["messages"] if turn["role"] == "user"]
        assert not any(question in learned for question in asked)


@pytest.mark.parametrize("tools", [False, True])
def test_llama_factory_itself_reads_the_file(tmp_path: Path, tools: bool) -> None:
    pytest.importorskip("llamafactory.data.converter")
    rows = [talk("a", "b", system="s"), *([tool_talk("Rome")] if tools else []), talk("c", "d", "e", "f")]
    exported(tmp_path, "llama-factory", rows)
    seen = _asked(_LLAMA_FACTORY, tmp_path)
    assert [bool(row["_response"]) for row in seen] == [True] * len(rows)
    assert seen[0]["_system"] == "s"
    assert seen[0]["_response"] == [{"role": "assistant", "content": "b"}]
    assert len(seen[-1]["_prompt"]) == 3
    if tools:
        roles = [turn["role"] for turn in seen[1]["_prompt"]]
        assert roles == ["user", "function", "observation", "function", "observation"]
        assert json.loads(seen[1]["_tools"]) == [WEATHER, TIME]


@pytest.mark.parametrize("tools", [False, True])
def test_ms_swift_itself_reads_the_file(tmp_path: Path, tools: bool) -> None:
    pytest.importorskip("swift.dataset.preprocessor.core")
    rows = [talk("a", "b", system="s"), *([tool_talk("Rome")] if tools else []), talk("c", "d", "e", "f")]
    weights = [0.25, 1.5, 1.25][-len(rows) :]
    exported(tmp_path, "ms-swift", rows, [(weight, True, KEPT) for weight in weights])
    seen, told, untold = _asked(_MS_SWIFT, tmp_path)
    assert len(seen) == len(rows)
    # Scales of the tokens that are learned from: those of the answer, then those that end the turn.
    assert set(told[0]) == {weights[0], 1.0}
    assert told[0][0] == weights[0]
    # Without the option the weights are gone, which is why the command has it.
    assert untold == [None] * len(rows)
    for weight, row in zip(weights, seen, strict=True):
        scales = [turn.get("loss_scale") for turn in row["messages"] if turn["role"] in ("assistant", "tool_call")]
        assert scales == [weight] * len(scales)
    if tools:
        assert seen[1]["tools"] == [WEATHER, TIME]


def _asked(script: str, tmp_path: Path) -> Any:
    """What a trainer's own code makes of the file, in a process of its own: these packages patch what they import."""
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=200, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return json.loads(answer.stdout.splitlines()[-1])


_AXOLOTL = """
import json, os, sys, yaml
from pathlib import Path
import datasets
from tests.tiny_models import make_tiny_decoder
from transformers import AutoTokenizer
from axolotl.datasets import TokenizedPromptDataset
from axolotl.prompt_strategies.chat_template import load
from axolotl.utils.dict import DictDefault

work = Path(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(make_tiny_decoder(work / "model"))
tokenizer.chat_template = (
    "{% if tools %}{{ tools | length }}{% endif %}{% for m in messages %}<|start|>{{ m['role'] }}\\n"
    "{{ m['content'] }}{% if m.tool_calls %}{{ m.tool_calls[0].function.arguments | tojson }}{% endif %}</s>"
    "{% endfor %}"
)
os.chdir(work / "export")
part = DictDefault(yaml.safe_load(Path("axolotl.yaml").read_text())["datasets"][0])
rows = datasets.load_dataset(part.ds_type, data_files=part.path, split="train")
settings = DictDefault({"train_on_inputs": False, "sequence_len": 512, "chat_template": "tokenizer_default"})
strategy = load(tokenizer, settings, ds_cfg=dict(part))
made = TokenizedPromptDataset(strategy, rows, process_count=1)
print(json.dumps([tokenizer.decode([t for t in row["labels"] if t != -100]) for row in made]))
"""

_LLAMA_FACTORY = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import datasets
from llamafactory.data.converter import get_dataset_converter
from llamafactory.data.parser import get_dataset_list

folder = Path(sys.argv[1]) / "export"
(about,) = get_dataset_list(["little-run"], str(folder))
rows = datasets.load_dataset("json", data_files=str(folder / about.dataset_name), split="train")
convert = get_dataset_converter(about.formatting, about, SimpleNamespace(media_dir="."))
print(json.dumps([convert(row) for row in rows]))
"""

_MS_SWIFT = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import datasets
from transformers import AutoTokenizer
from swift.dataset.preprocessor.core import AutoPreprocessor
from swift.template.register import TEMPLATE_MAPPING
from tests.tiny_models import make_tiny_decoder

rows = datasets.load_dataset("json", data_files=str(Path(sys.argv[1]) / "export" / "train.jsonl"), split="train")
rows = list(AutoPreprocessor()(rows, strict=True))
tokenizer = AutoTokenizer.from_pretrained(make_tiny_decoder(Path(sys.argv[1]) / "model"))
about = {"model_arch": None, "is_multimodal": False, "is_reward": False, "template": "chatml", "task_type": None}
tokenizer.model_meta = SimpleNamespace(**about)
tokenizer.model_info = SimpleNamespace(config=None, task_type="causal_lm", max_model_len=4096, model_dir="")


def scales(binary):
    meta = TEMPLATE_MAPPING["chatml"]
    options = {"agent_template": "hermes", "loss_scale": "default", "is_binary_loss_scale": binary}
    template = meta.template_cls(tokenizer, meta, max_length=4096, **options)
    template.set_mode("train")
    for row in rows:
        made = template.encode(dict(row))
        learned = [i for i, label in enumerate(made["labels"]) if label != -100]
        yield made.get("loss_scale") and [made["loss_scale"][i] for i in learned]


print(json.dumps([rows, list(scales(False)), list(scales(None))]))
"""
