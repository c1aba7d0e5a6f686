"""Published weights, made without a run: rows with columns, or a sidecar, each value told apart from all others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from sot_filter.conversation import Conversation, Message
from sot_filter.rows import COLUMNS, DIGEST, named, published_name
from sot_filter.steps.publish import SCHEMA
from tests.sources.written import WRITERS, append

Row = dict[str, Any]


def pairs(n: int, first: int = 0) -> list[Row]:
    """Rows of prompt and completion, all different."""
    return [{"prompt": f"how to bake number {i}", "completion": f"wait {i} minutes"} for i in range(first, first + n)]


def columns_of(rows: list[Row], file: str = "a.parquet", config: str = "default", split: str = "train") -> pa.Table:
    """What a run could say of the rows: the weight is told by the text alone, the id by the place alone."""
    firsts: dict[str, int] = {}
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for place, row in enumerate(rows):
        text = json.dumps(row)
        blank = not any(str(value).strip() for value in row.values())
        first = firsts.setdefault(text, place)
        mark = 0 if blank else int.from_bytes(bytes.fromhex(digest_of(row))[:2])
        kept = not blank and mark % 3 != 0
        values = {
            "sot_row_id": f"{config}/{split}/{file}#{place}",
            "sot_score": -100.0 if blank else np.float32(mark / 7),
            "sot_weight": np.float32(mark / 11) if kept else 0.0,
            "sot_keep": kept,
            "sot_pull": np.float32(mark / 13),
            "sot_push": np.float32(mark / 17),
            "sot_status": "empty" if blank else "duplicate" if first != place else "kept" if kept else "dropped",
            "sot_reason": f"Because of {mark}.",
            "sot_nearest_safe": f"safe:default/train/s#{mark}",
            "sot_nearest_harmful": "",
        }
        for name, value in values.items():
            columns[name].append(value)
    return pa.table(columns, schema=SCHEMA)


def weight_of(row: Row) -> tuple[float, bool]:
    """What the row must get, from its text alone."""
    mark = int.from_bytes(bytes.fromhex(digest_of(row))[:2])
    blank = not any(str(value or "").strip() for value in row.values())
    kept = not blank and mark % 3 != 0
    return (float(np.float32(mark / 11)) if kept else 0.0), kept


def digest_of(row: Row) -> str:
    """In hexadecimal, zeros without text."""
    texts = [str(row.get(name) or "") for name in ("prompt", "completion")]
    said = Conversation((Message("user", texts[0]), Message("assistant", texts[1])))
    return "0" * 32 if said.is_empty else said.digest().hex()


def publish(
    folder: Path,
    files: dict[str, list[Row]],
    mode: str = "columns",
    *,
    prefix: str = "sot_",
    config: str = "default",
    split: str = "train",
    summary: bool = True,
) -> Path:
    """A folder as a run leaves it: files, card and summary."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        table = columns_of(rows, name, config, split)
        if mode == "sidecar":
            table = table.append_column(DIGEST, pa.array([digest_of(row) for row in rows], pa.string()))
        table = table.rename_columns([named(column, prefix) for column in table.column_names])
        path = folder / published_name(name, mode)
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode == "sidecar":
            pq.write_table(table, path, row_group_size=7)
            continue
        ending = next(ending for ending in WRITERS if name.endswith(ending))
        path.write_bytes(append(WRITERS[ending](rows), ending, table))
    sidecar = "sot" if config == "default" else f"{config}-sot"
    paths = [published_name(name, mode) for name in files]
    card = {"config_name": sidecar if mode == "sidecar" else config, "data_files": [{"split": split, "path": paths}]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': [card]})}---\n\n# weights\n")
    if summary:
        source = {
            "config": config,
            "split": split,
            "format": "prompt_completion",
            "columns": {"prompt": "prompt", "completion": "completion"},
            "files": [{"name": name} for name in files],
            "dataset": "org/source",
            "revision": "5" * 40,
        }
        (folder / "summary.json").write_text(json.dumps({"input": source}))
    return folder
