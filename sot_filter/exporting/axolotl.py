"""Axolotl: messages for ``type: chat_template``, text for ``type: completion``, and the piece of YAML that reads them.

https://docs.axolotl.ai/docs/dataset-formats/conversation.html describes the format. Axolotl has no weight of a row:
``message_field_training`` and a part's ``train`` or ``weight`` are switches.
"""

import json
from typing import Final

import yaml

from sot_filter.exporting.exporter import Example, Exporter, Line, Seen, Written

_PLAIN: Final = frozenset({"role", "content"})


def line(example: Example) -> Line:
    """``messages`` and, if there are any, ``tools``; or ``text``."""
    if example.text is not None:
        return {"text": example.text}
    return {"messages": example.turns} | ({"tools": example.tools} if example.tools else {})


def settled(line: Line, seen: Seen) -> Line:
    """Messages and tools as JSON text where lines differ in their keys: Axolotl parses it, Arrow would mix them up."""
    if not seen.keys - _PLAIN and "tools" not in seen.columns:
        return line
    line = {**line, "tools": line.get("tools", [])}
    return {name: json.dumps(value, ensure_ascii=False) for name, value in line.items()}


def beside(written: Written) -> dict[str, str]:
    """``axolotl.yaml``, the data part of a configuration."""
    dataset = {"path": written.file, "ds_type": "json"}
    kind = {"type": "completion", "field": "text"} if written.texts else {"type": "chat_template"}
    return {"axolotl.yaml": yaml.safe_dump({"datasets": [{**dataset, **kind}]}, sort_keys=False)}


def loading(written: Written) -> str:
    """The data part of a configuration."""
    return f"yaml\n{beside(written)['axolotl.yaml']}".rstrip("\n")


AXOLOTL: Final = Exporter(
    writes="JSON Lines for Axolotl's chat_template (or completion) datasets, and axolotl.yaml, which names them.",
    ending="jsonl",
    weights="",
    weights_lost="weights: Axolotl has switches only, so every row counts alike",
    cannot_carry=(
        "row ids",
        "switches that a source sets on single turns (weight, train, loss)",
        "images and other parts of a turn that are no text",
    ),
    line=line,
    loading=loading,
    settled=settled,
    beside=beside,
)
