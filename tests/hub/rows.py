"""Rows for the stand-in's repositories, and the files that hold them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[dict[str, object]]

#: A card of two configurations, one of them of two splits and the default.
CARD = b"""---
configs:
- config_name: bread
  default: true
  data_files:
  - {split: train, path: bread/train-*.parquet}
  - {split: test, path: bread/test.parquet}
- config_name: salt
  data_files: salt/*.parquet
---
"""


def pairs(count: int, topic: str = "bread", first: int = 0) -> Rows:
    """Rows of prompt and completion, all different."""
    return [
        {"prompt": f"how do I bake {topic} number {n}", "completion": f"mix {topic} then wait {n} minutes"}
        for n in range(first, first + count)
    ]


def as_parquet(rows: Rows) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows: Rows) -> bytes:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    return "\n".join(lines).encode() + b"\n"
