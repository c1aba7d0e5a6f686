"""benchmarks/at_size.py: rows that no model embedded, as the embed stage leaves them, and a tiny run over them."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from sot_filter.artifacts import matrix
from sot_filter.conversation import Conversation, InvalidRow
from sot_filter.embedding import Embedder
from sot_filter.embedding.base import Embeddings
from sot_filter.steps.embed import EMBEDDED, embedded_table

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))

from at_size import auroc, fitted  # noqa: E402
from fabricated import VIEWS, World  # noqa: E402

PARTS, PART = 6, 2000
TINY = World(PARTS * PART, references=200, dimension=32, pairs=(4, 8), files=2)


class Nothing(Embedder):
    """An embedder of no rows."""

    views, dimension = VIEWS, TINY.dimension

    def __init__(self) -> None:
        pass

    def embed(self, rows: Sequence[Conversation]) -> Embeddings:
        assert not rows
        return Embeddings({}, np.empty(0, np.int32), np.empty(0, np.bool_))


def test_columns_are_those_of_the_embed_stage() -> None:
    expected, _ = embedded_table(Nothing(), [InvalidRow("no messages")])
    for role in ("input", "safe", "harmful"):
        assert TINY.table(role, 0, 50, PARTS).schema == expected.schema, role


def test_a_part_follows_from_its_number_alone() -> None:
    once = TINY.table("input", 3, PART, PARTS)
    TINY.table("input", 2, PART, PARTS)
    assert TINY.table("input", 3, PART, PARTS).equals(once)
    assert not TINY.table("input", 2, PART, PARTS).equals(once)


def test_rows_are_as_told() -> None:
    table, kinds = TINY.table("input", 1, PART, PARTS), TINY.kinds(1, PART, PARTS)
    vectors = matrix(table["view:response"]).astype(np.float32)
    length = np.linalg.norm(vectors, axis=1)
    assert np.array_equal(pc.not_equal(table["status"], EMBEDDED).to_numpy(), kinds.empty)
    assert kinds.empty.any()
    assert not length[kinds.empty].any()
    np.testing.assert_allclose(length[~kinds.empty], 1, atol=2e-3)
    assert 0.01 < kinds.planted.mean() < 0.03
    # Planted rows are nearer to the harmful reference than to the safe one, others not.
    safe, harmful = (
        np.sort(vectors @ matrix(TINY.table(role, 0, 200, 1)["view:response"]).astype(np.float32).T)[:, -5:].mean(1)
        for role in ("safe", "harmful")
    )
    assert auroc((harmful - safe)[~kinds.empty], kinds.planted[~kinds.empty]) > 0.8


def test_repeated_texts_have_one_vector_in_all_parts() -> None:
    known: dict[bytes, list[object]] = {}
    parts_of: dict[bytes, set[int]] = {}
    for number in range(PARTS):
        table, kinds = TINY.table("input", number, PART, PARTS), TINY.kinds(number, PART, PARTS)
        again = kinds.repeats >= 0
        rows = table.take(np.flatnonzero(again)).to_pylist()
        for row, harmful in zip(rows, kinds.planted[again], strict=True):
            text = row["digest"]
            facts = [
                harmful,
                *(row[name] for name in ("view:prompt", "view:response", "pairs:response", "characters")),
            ]
            assert known.setdefault(text, facts) == facts
            parts_of.setdefault(text, set()).add(number)
    assert sum(len(parts) > 1 for parts in parts_of.values()) > 10


def test_auroc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 5, 60).astype(float), rng.random(60) < 0.4
    pairs = np.sign(values[positive][:, None] - values[~positive][None]) / 2 + 0.5
    assert auroc(values, positive) == pytest.approx(pairs.mean())


def test_a_cost_that_is_linear_is_found() -> None:
    sizes = np.asarray([[1.0, rows, 3e9 * min(rows, 200.0)] for rows in (100.0, 300.0, 1000.0)])
    np.testing.assert_allclose(fitted(sizes, sizes @ [2.0, 0.5, 1e-9]), [2.0, 0.5, 1e-9], rtol=1e-6)


@pytest.mark.slow
def test_a_tiny_run_prints_every_stage_and_finds_the_planted_rows() -> None:
    printed = subprocess.run(
        [
            sys.executable, str(FOLDER / "at_size.py"), "--rows", "2000", "--references", "150", "--dimension",
            "32", "--sample", "1500", "--replicates", "4", "--files", "3", "--tasks", "2",
        ],
        check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    ).stdout  # fmt: skip
    for stage in ("sample", "cluster", "assign", "solve", "weigh", "select"):
        assert len(re.findall(rf"^\| {stage} \| [12] \|", printed, re.MULTILINE)) == 1, stage
        assert len(re.findall(rf"^\| {stage} \| \d+\.\d \| \d+\.\d\d \|", printed, re.MULTILINE)) == 1, stage
    found = [float(value) for value in re.findall(r"planted rows among [\d,]+: (\S+);", printed)]
    assert len(found) == 1
    assert min(found) > 0.9
    assert re.search(r"weigh takes [\d.]+ times", printed)
