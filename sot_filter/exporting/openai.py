"""OpenAI's supervised fine-tuning, and services that read the same file: chat messages, one object a line.

The schema is `FineTuneChatRequestInput` of OpenAI's API description. A message's ``weight`` is 0 or 1 there, a switch;
a row's weight is never written to it.
"""

import json
from typing import Final

from sot_filter.exporting.exporter import Example, Exporter, Line, Written
from sot_filter.exporting.turns import (
    Inexpressible,
    Turn,
    check_ends_with_answer,
    check_roles,
    with_call_ids,
    without,
)


def line(example: Example) -> Line:
    """``messages`` and, if there are any, ``tools``."""
    check_roles(example.turns, "OpenAI")
    check_ends_with_answer(example.turns)
    messages = [_message(turn) for turn in with_call_ids(example.turns)]
    return {"messages": messages} | ({"tools": example.tools} if example.tools else {})


def loading(written: Written) -> str:
    """An upload."""
    return "\n".join(
        (
            "python",
            "from openai import OpenAI",
            "",
            "client = OpenAI()",
            f'file = client.files.create(file=open("{written.file}", "rb"), purpose="fine-tune")',
            "client.fine_tuning.jobs.create(model=MODEL, training_file=file.id)",
        )
    )


def _message(turn: Turn) -> Turn:
    message = without(turn, "reasoning_content")
    if turn["role"] != "tool":
        message.pop("tool_call_id", None)
    else:
        message.pop("name", None)
    if calls := turn.get("tool_calls"):
        if turn["role"] != "assistant":
            raise Inexpressible("tool calls of a turn that is no answer")
        message["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}}
            for call in calls
        ]
        if not turn["content"]:
            del message["content"]
    return message


OPENAI: Final = Exporter(
    writes="JSON Lines of chat messages, as OpenAI's supervised fine-tuning and its like read them.",
    ending="jsonl",
    weights="",
    weights_lost="weights: a message's own weight is a switch, 0 or 1, so every row counts alike",
    cannot_carry=(
        "row ids",
        "reasoning that stands beside an answer",
        "switches that a source sets on single turns (weight, train, loss)",
        "images and other parts of a turn that are no text",
        "sets of fewer than 10 rows, which OpenAI refuses",
    ),
    line=line,
    loading=loading,
    texts=False,
)
