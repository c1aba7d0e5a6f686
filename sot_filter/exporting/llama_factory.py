"""LLaMA-Factory: sharegpt formatting with role and content, and the ``dataset_info.json`` that registers the file.

https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md describes the format. A question or a tool's result
and an answer must alternate, or LLaMA-Factory skips the row; and it knows no weight of a row. Its `openai` formatting
is not used: it adds a system prompt of its own.
"""

import json
from typing import Final

from sot_filter.exporting.exporter import Example, Exporter, Line, Seen, Written
from sot_filter.exporting.turns import Inexpressible, Turn, check_ends_with_answer, check_roles

_ASKS: Final = ("user", "tool")


def line(example: Example) -> Line:
    """``messages`` of role and content; ``tools`` as JSON text if there are any; or ``text``."""
    if example.text is not None:
        return {"text": example.text}
    check_roles(example.turns, "LLaMA-Factory")
    check_ends_with_answer(example.turns)
    spoken = example.turns[1:] if example.turns[0]["role"] == "system" else example.turns
    if any((turn["role"] in _ASKS) != (number % 2 == 0) for number, turn in enumerate(spoken)):
        raise Inexpressible("turns that do not alternate")
    tools = {"tools": json.dumps(example.tools, ensure_ascii=False)} if example.tools else {}
    return {"messages": [_said(turn) for turn in example.turns], **tools}


def settled(line: Line, seen: Seen) -> Line:
    """With ``tools`` where another line has them: LLaMA-Factory asks every line for a column it is told of."""
    return {**line, "tools": line.get("tools", "")} if "tools" in seen.columns else line


def beside(written: Written) -> dict[str, str]:
    """``dataset_info.json``."""
    about: dict[str, object] = {"file_name": written.file, "columns": {"prompt": "text"}}
    if not written.texts:
        columns = {name: name for name in ("messages", "tools") if name in written.seen.columns}
        tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
        tags |= {"observation_tag": "tool", "function_tag": "function_call", "system_tag": "system"}
        about = {"file_name": written.file, "formatting": "sharegpt", "columns": columns, "tags": tags}
    return {"dataset_info.json": json.dumps({written.name: about}, indent=2) + "\n"}


def loading(written: Written) -> str:
    """Options of the command."""
    stage = "pt" if written.texts else "sft"
    options = f"stage={stage} dataset_dir=. dataset={written.name}"
    return f"sh\nllamafactory-cli train {options} model_name_or_path=MODEL template=TEMPLATE finetuning_type=lora"


def _said(turn: Turn) -> Turn:
    calls = turn.get("tool_calls")
    if not calls:
        return {"role": turn["role"], "content": turn["content"]}
    if turn["content"].strip():
        raise Inexpressible("an answer with both a text and tool calls")
    return {"role": "function_call", "content": json.dumps([call["function"] for call in calls], ensure_ascii=False)}


LLAMA_FACTORY: Final = Exporter(
    writes="JSON Lines in LLaMA-Factory's sharegpt formatting, and dataset_info.json, which registers them.",
    ending="jsonl",
    weights="",
    weights_lost="weights: LLaMA-Factory has none, so every row counts alike",
    cannot_carry=(
        "row ids",
        "names of the speakers, ids of tool calls, and reasoning that stands beside an answer",
        "switches that a source sets on single turns (weight, train, loss)",
        "images and other parts of a turn that are no text",
    ),
    line=line,
    loading=loading,
    settled=settled,
    beside=beside,
)
