"""Outputs of runs as an export meets them: written by the package's own storages, with weights that are made up."""

import csv
import gzip
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sot_filter.rows import COLUMNS, DROPPED, DUPLICATE, EMPTY, INVALID, KEPT, UNKNOWN, named
from sot_filter.sources import STORAGES, local_source

Row = dict[str, Any]
#: A row's weight, whether it is kept, and its status.
Fate = tuple[float, bool, str]

WEATHER: Final = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
TIME: Final = {
    "type": "function",
    "function": {"name": "time", "parameters": {"type": "object", "properties": {"zone": {"type": "integer"}}}},
}
ARROW: Final = {"string": pa.string(), "float32": pa.float32(), "bool": pa.bool_()}


def talk(question: str, answer: str, *more: str, system: str | None = None) -> Row:
    """A row of messages that take turns."""
    head = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    said = [{"role": roles[i % 2], "content": text} for i, text in enumerate((question, answer, *more))]
    return {"messages": [*head, *said]}


def tool_talk(city: str) -> Row:
    """A row whose answer calls two tools, and then says something; the second call has other arguments."""
    calls = [
        {"id": "a1", "type": "function", "function": {"name": "weather", "arguments": {"city": city}}},
        {"id": "a2", "type": "function", "function": {"name": "time", "arguments": json.dumps({"zone": 2})}},
    ]
    turns = [
        {"role": "user", "content": f"How is {city}?"},
        {"role": "assistant", "content": None, "tool_calls": calls[:1]},
        {"role": "tool", "content": "rain", "tool_call_id": "a1", "name": "weather"},
        {"role": "assistant", "content": None, "tool_calls": calls[1:]},
        {"role": "tool", "content": "noon", "tool_call_id": "a2", "name": "time"},
        {"role": "assistant", "content": f"It rains in {city} at noon."},
    ]
    return {"messages": turns, "tools": [WEATHER, TIME]}


def talks(number: int, seed: int = 0) -> list[Row]:
    """Rows of one turn, of several, and with a system turn."""
    rng, rows = random.Random(seed), []
    for i in range(number):
        more = (f"and {i}?", f"that too, {i}") if rng.random() < 0.3 else ()
        rows.append(talk(f"what is {i}", f"it is {i}", *more, system="mix and wait" if rng.random() < 0.3 else None))
    return rows


def fates(number: int, seed: int = 0) -> list[Fate]:
    """Two thirds kept, with weights of mean one over them; a few of the others are not plainly dropped."""
    rng = random.Random(seed + 1)
    kept = [rng.random() < 0.67 for _ in range(number)]
    weights = [rng.lognormvariate(0, 0.8) if keep else 0.0 for keep in kept]
    mean = sum(weights) / max(sum(kept), 1)
    others = (DROPPED, DROPPED, UNKNOWN, DUPLICATE)
    return [
        (weight / mean, keep, KEPT if keep else rng.choice(others)) for weight, keep in zip(weights, kept, strict=True)
    ]


def write_output(
    folder: Path,
    files: Mapping[str, Sequence[Row | str]],
    decided: Sequence[Fate],
    *,
    prefix: str = "sot_",
    mode: str = "columns",
    **reading: Any,
) -> Path:
    """An output folder with these files, their rows having these fates in the files' order by name.

    A row that is text is written as it stands, where the kind of file has lines.
    """
    source_folder = folder.parent / f"{folder.name}-source"
    for name, rows in files.items():
        _store(source_folder / name, rows)
    source = local_source([str(source_folder / name) for name in files], **reading)
    start = 0
    for file in source.files:
        own = decided[start : start + file.rows]
        start += file.rows
        ids = [source.key(file, row).id for row in range(file.rows)]
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            fs, path = _local(source_folder / file.name)
            STORAGES[file.storage].append(fs, path, out, iter([_columns(ids, own, prefix)]))
    assert start == len(decided)
    output = {"mode": mode, "prefix": prefix, "hub": None}
    summary = {"name": "little run", "input": source.to_json(), "output": output}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "README.md").write_text("A card.", encoding="utf-8")
    return folder


def row_ids(folder: Path) -> list[str]:
    """The row ids of an output in its order."""
    source = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["input"]
    return [f"default/train/{file['name']}#{row}" for file in source["files"] for row in range(file["rows"])]


def read_lines(path: Path) -> list[Row]:
    """The lines of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _columns(ids: Sequence[str], decided: Sequence[Fate], prefix: str) -> pa.Table:
    scores = [weight - 1 for weight, _, _ in decided]
    values = {
        "sot_row_id": list(ids),
        "sot_score": scores,
        "sot_weight": [weight for weight, _, _ in decided],
        "sot_keep": [keep for _, keep, _ in decided],
        "sot_pull": scores,
        "sot_push": scores,
        "sot_status": [status for _, _, status in decided],
        "sot_reason": [f"because it is {status}" for _, _, status in decided],
        "sot_nearest_safe": ["safe#0" for _ in decided],
        "sot_nearest_harmful": ["harmful#0" for _ in decided],
    }
    return pa.table({named(name, prefix): pa.array(values[name], ARROW[kind]) for name, kind in COLUMNS.items()})


def _store(path: Path, rows: Sequence[Row | str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row for row in rows if isinstance(row, dict)]), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as handle:
            objects = [row for row in rows if isinstance(row, dict)]
            writer = csv.DictWriter(handle, list(objects[0]))
            writer.writeheader()
            writer.writerows(objects)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        data = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def _local(path: Path) -> tuple[Any, str]:
    import fsspec

    fs, name = fsspec.url_to_fs(str(path))
    return fs, str(name)


#: Fates of the rows that no run keeps.
LEFT: Final[dict[str, Fate]] = {
    "dropped": (0.0, False, DROPPED),
    "empty": (0.0, False, EMPTY),
    "invalid": (0.0, False, INVALID),
}
ONE: Final[Fate] = (1.0, True, KEPT)
