"""TRL's `SFTTrainer`: prompt and completion where the source keeps them apart, else messages; the weight in a column.

https://huggingface.co/docs/trl/dataset_formats describes the columns. TRL itself passes the weight by; a trainer that
reads a column of weights finds it.
"""

from typing import Final

from sot_filter.exporting.exporter import APART, Example, Exporter, Line, Written
from sot_filter.exporting.turns import Inexpressible


def line(example: Example) -> Line:
    """``messages``, ``prompt`` and ``completion``, or ``text``; ``tools`` if there are any; weight and row id."""
    row: Line
    if example.text is not None:
        row = {"text": example.text}
    elif example.format in APART:
        answered = max((i for i, turn in enumerate(example.turns) if turn["role"] != "assistant"), default=-1) + 1
        if not 0 < answered < len(example.turns):
            raise Inexpressible("a prompt or an answer that is missing")
        row = {"prompt": example.turns[:answered], "completion": example.turns[answered:]}
    else:
        row = {"messages": example.turns}
    if example.tools:
        row["tools"] = example.tools
    if example.weight is not None:
        row["sot_weight"] = example.weight
    return {**row, "sot_row_id": example.id}


def loading(written: Written) -> str:
    """A training script."""
    option = "assistant_only_loss=True, " if "messages" in written.seen.columns else ""
    return "\n".join(
        (
            "python",
            "from datasets import load_dataset",
            "from trl import SFTConfig, SFTTrainer",
            "",
            f'rows = load_dataset("parquet", data_files="{written.file}", split="train")',
            f'settings = SFTConfig({option}output_dir="trained")',
            "SFTTrainer(MODEL, args=settings, train_dataset=rows).train()",
        )
    )


TRL: Final = Exporter(
    writes="Parquet in TRL's standard columns, conversational: messages, or prompt and completion, or text.",
    ending="parquet",
    weights="the column sot_weight, which TRL's own SFTTrainer does not read",
    weights_lost="weights, in TRL's own SFTTrainer: every row counts alike there",
    cannot_carry=(
        "switches that a source sets on single turns (weight, train, loss)",
        "images and other parts of a turn that are no text",
    ),
    line=line,
    loading=loading,
)
