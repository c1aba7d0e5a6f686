"""The weigh stage: one part is read while another is scored, and memory does not grow with the number of parts."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from sot_filter.artifacts import read_table
from sot_filter.errors import SolverError
from sot_filter.steps.weigh import WeighRows, ahead, together
from tests.steps.solved_run import SolvedRun

#: Weighs a run in a process of its own and prints the peak of its memory in KiB.
WEIGH = """
import resource, sys
from sot_filter.steps.weigh import WeighRows
step = WeighRows(sys.argv[1], int(sys.argv[2]), "embed", None, "solve", "weigh", 1, [], "cpu")
assert list(step.run()) == []
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_the_next_is_read_while_one_is_worked_on_and_no_further() -> None:
    started = [threading.Event() for _ in range(4)]

    def read(number: int) -> int:
        started[number].set()
        return 10 * number

    found: Iterator[tuple[int, int]] = ahead(read, range(4))
    for number in range(4):
        assert next(found) == (number, 10 * number)
        if number < 3:
            assert started[number + 1].wait(10)
        assert [event.is_set() for event in started[number + 2 :]] == [False] * len(started[number + 2 :])
    assert list(found) == []


def test_an_error_of_a_read_comes_where_its_item_would() -> None:
    def read(number: int) -> int:
        return 6 // (2 - number)

    found = ahead(read, range(4))
    assert [next(found), next(found)] == [(0, 3), (1, 6)]
    with pytest.raises(ZeroDivisionError):
        next(found)


def weigh(run: SolvedRun, parts: int, rows: int) -> int:
    """Peak memory in KiB of the stage over as many parts."""
    source = run.write_parts(parts, rows)
    command = [sys.executable, "-c", WEIGH, run.layout.root, str(rows)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    scores = [read_table(run.layout.scores(part), "weigh") for part in source.parts(rows)]
    assert sum(map(len, scores)) == parts * rows
    assert all(table.equals(scores[0].set_column(i, "slice:file", table["slice:file"]))
               for table in scores for i in [table.column_names.index("slice:file")])  # fmt: skip
    return int(said.stdout)


def test_memory_does_not_grow_with_the_number_of_parts(tmp_path: Path) -> None:
    """Ten times the parts, eight of which are scored while eight more are read: less than a tenth more."""
    run = SolvedRun(tmp_path, d=64)
    few = weigh(run, 16, 2048)
    # So that nothing is taken for done.
    shutil.rmtree(tmp_path / "weigh")
    many = weigh(run, 160, 2048)
    assert many < 1.1 * few, f"{few:,} KiB for 16 parts, {many:,} KiB for 160"


def test_small_parts_are_scored_together_and_large_ones_alone() -> None:
    class Sized(NamedTuple):
        rows: int

    sizes = [9000, 7000, 400, 20_000, 10_000, 6384, 1]
    groups = together([Sized(rows) for rows in sizes])  # type: ignore[list-item]
    assert [[part.rows for part in group] for group in groups] == [[9000, 7000], [400], [20_000], [10_000, 6384], [1]]
    assert together([]) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there_is_said_before_any_work(tmp_path: Path) -> None:
    run = SolvedRun(tmp_path)
    run.write_parts(1, 20)
    arguments = run.layout.root, 20, "embed", None, "solve", "weigh", 1, []
    with pytest.raises(SolverError, match="expected device cuda; got 0 CUDA devices"):
        list(WeighRows(*arguments, "cuda").run())
    assert not (tmp_path / "weigh").exists()
    assert list(WeighRows(*arguments, "auto").run()) == []
