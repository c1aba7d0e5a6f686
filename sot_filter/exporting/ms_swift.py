"""ms-swift: standard messages, the weight as ``loss_scale`` on every answer.

https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html describes the format. Since 4.3.0 an answer's
``loss_scale`` multiplies the loss of its tokens, if ``--is_binary_loss_scale false`` is given; without it any scale
above zero counts as one. The sum is divided by the number of tokens that are trained on, not by their weights.
"""

import json
from typing import Final

from sot_filter.exporting.exporter import Example, Exporter, Line, Seen, Written
from sot_filter.exporting.turns import Turn, check_ends_with_answer, check_roles


def line(example: Example) -> Line:
    """``messages`` of role, content and loss_scale; ``tools`` as JSON text if there are any."""
    if example.text is not None:
        return {"messages": [_scaled("assistant", example.text, example.weight)]}
    check_roles(example.turns, "ms-swift")
    check_ends_with_answer(example.turns)
    messages = []
    for turn in example.turns:
        calls = turn.get("tool_calls", ())
        scale = example.weight if turn["role"] == "assistant" else None
        if turn["content"] or not calls:
            messages.append(_scaled(turn["role"], turn["content"], scale))
        for call in calls:
            messages.append(_scaled("tool_call", json.dumps(call["function"], ensure_ascii=False), scale))
    tools = {"tools": json.dumps(example.tools, ensure_ascii=False)} if example.tools else {}
    return {"messages": messages, **tools}


def settled(line: Line, seen: Seen) -> Line:
    """With ``tools`` where another line has them, so that all lines have one schema."""
    return {**line, "tools": line.get("tools", "[]")} if "tools" in seen.columns else line


def loading(written: Written) -> str:
    """The command."""
    scaled = " \\\n    --loss_scale default --is_binary_loss_scale false" if written.weights else ""
    command = "pt" if written.texts else "sft"
    return f"sh\nswift {command} --model MODEL --dataset {written.file}{scaled}"


def _scaled(role: str, content: str, scale: float | None) -> Turn:
    return {"role": role, "content": content} | ({} if scale is None else {"loss_scale": scale})


MS_SWIFT: Final = Exporter(
    writes="JSON Lines in the standard format of ms-swift, with the weight as loss_scale on every answer.",
    ending="jsonl",
    weights="messages[].loss_scale of every answer, which ms-swift 4.3.0 and newer read with "
    "--is_binary_loss_scale false",
    weights_lost="the weight of the tokens that end a turn, which the template adds: they count as one",
    cannot_carry=(
        "row ids",
        "names of the speakers, and reasoning that stands beside an answer",
        "switches that a source sets on single turns (weight, train, loss)",
        "images and other parts of a turn that are no text",
    ),
    line=line,
    loading=loading,
    settled=settled,
)
