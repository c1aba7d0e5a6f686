"""What other references made of the same rows, told from two runs that are made up."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from sot_filter.cli.update_table import update_table
from sot_filter.report.change import NAMED, Run, compare
from sot_filter.sources import Source, SourceFile

FILES = (("a.jsonl", 3), ("empty.jsonl", 0), ("b.jsonl", 5))
SOURCE = Source(
    "default",
    "train",
    "text",
    {},
    tuple(SourceFile(name, f"/{name}", ".jsonl", n, 9, "sha256:0") for name, n in FILES),
)
IDS = [f"default/train/{name}#{i}" for name, n in FILES for i in range(n)]


def run(
    kept: str, score: list[float], safe: str, harmful: str, near: list[str], near_safe: list[str], cluster: list[str]
) -> Run:
    """A run of rows kept where ``kept`` has a k; a letter is the id and the text of a reference row.

    The harmful rows are in clusters of two.
    """
    medoids = [harmful[i // 2 * 2] for i in range(len(harmful))]
    rows = pa.table(
        {
            "kept": [one == "k" for one in kept],
            "score": np.float32(score),
            "nearest_safe": near_safe,
            "nearest_harmful": near,
            "cluster": cluster,
            "slice:language": ["en", "de"] * (len(kept) // 2),
            "slice:code": ["no code"] * len(kept),
        }
    )
    references = pa.table(
        {
            "role": ["safe"] * len(safe) + ["harmful"] * len(harmful),
            "id": [*safe, *harmful],
            "content": pa.array([one.encode() * 16 for one in (*safe, *harmful)], pa.binary(16)),
            "cluster": [""] * len(safe) + medoids,
        }
    )
    share = {"estimate": 0.1, "low": 0.05, "high": 0.2}
    facts = {"cut": 0.0, "harmful_share": share, "problem": {"epsilon": 0.05, "tau": 0.1}}
    return Run(rows, references, facts)


@pytest.fixture
def change() -> dict[str, Any]:
    """Row 1 and 6 fall, since E came near to 1 and T went that 6 was near to; row 3 rises, since B went."""
    before = run(
        "kkkdkdkk",
        [3, 1, 2, -1, 2, -5, 1.5, 0],
        "STU",
        "ABCD",
        list("AABBACDD"),
        list("SSSSSSTS"),
        list("AAAAACCC"),
    )
    after = run(
        "kdkkkddk",
        [3, -2, 2, 1, 2, -5, -1, 0],
        "SUV",
        "ACDE",
        list("AEDDACDA"),
        list("SSSVSSSS"),
        list("ADAAACDA"),
    )
    return compare(before, after, SOURCE)


def test_references_are_compared_by_their_texts(change: dict[str, Any]) -> None:
    assert change["references"] == {
        "safe": {"before": 3, "after": 3, "added": ["V"], "removed": ["T"]},
        "harmful": {"before": 4, "after": 4, "added": ["E"], "removed": ["B"]},
    }


def test_rows_that_crossed_are_named_the_furthest_first(change: dict[str, Any]) -> None:
    assert (change["rows"], change["kept"]) == (8, [6, 5])
    assert change["fell"]["named"] == [
        {"id": IDS[1], "before": 1.0, "after": -2.0, "cluster": "D"},
        {"id": IDS[6], "before": 1.5, "after": -1.0, "cluster": "D"},
    ]
    assert change["rose"]["named"] == [{"id": IDS[3], "before": -1.0, "after": 1.0, "cluster": "A"}]


def test_clusters_that_moved_them(change: dict[str, Any]) -> None:
    # Of the harmful rows A, C and D, E are together afterwards, A, B and C, D before.
    assert change["fell"]["nearest_changed"] == {"harmful": 1, "safe": 1}
    assert change["fell"]["clusters"] == [
        {"id": "D", "rows": 2, "nearest_changed": 1, "members": 2, "members_changed": 1}
    ]
    assert change["rose"]["nearest_changed"] == {"harmful": 1, "safe": 1}
    assert change["rose"]["clusters"] == [
        {"id": "A", "rows": 1, "nearest_changed": 1, "members": 2, "members_changed": 1}
    ]


def test_slices_in_which_rows_crossed(change: dict[str, Any]) -> None:
    assert change["slices"] == [
        {"facet": "language", "value": "de", "rows": 4, "kept_before": 2, "kept_after": 2, "fell": 1, "rose": 1},
        {"facet": "language", "value": "en", "rows": 4, "kept_before": 4, "kept_after": 3, "fell": 1, "rose": 0},
    ]


def test_no_more_rows_are_named_than_anybody_reads() -> None:
    n = 4 * NAMED
    names: Any = {"near": ["A"] * n, "near_safe": ["S"] * n, "cluster": ["A"] * n, "safe": "S", "harmful": "A"}
    files = (SourceFile("a.jsonl", "/a.jsonl", ".jsonl", n, 9, "sha256:0"),)
    source = Source("default", "train", "text", {}, files)
    change = compare(run("k" * n, [1.0] * n, **names), run("d" * n, [-1.0] * n, **names), source)
    assert change["fell"]["rows"] == n
    assert [row["id"] for row in change["fell"]["named"]] == [f"default/train/a.jsonl#{i}" for i in range(NAMED)]


def test_what_is_shown_cannot_steer_a_terminal(change: dict[str, Any]) -> None:
    change["fell"]["named"][0]["id"] = "a\x1b[31mb [red]"
    change["slices"][0]["value"] = "de\x07"
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(update_table({"name": "n", "changed": True, "embedded": {"safe": 1, "harmful": 1}, **change}))
    shown = console.export_text()
    assert "a\N{REPLACEMENT CHARACTER}[31mb [red]" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown
