"""Two ranks share the probe's work, see what one process sees, and stop together."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from sot_filter.training.margins import margins
from tests.training.probe_rank import BATCH_ROWS, run
from tests.training.tiny_triples import all_preferred, fused, naive, some_triples, write
from tests.training.two_ranks import in_two_ranks


def test_two_ranks_see_what_one_process_sees_and_stop_together(tiny_chat: Path, tmp_path: Path) -> None:
    triples = some_triples(12)
    file = write(tmp_path / "t.jsonl", all_preferred(triples, naive(tiny_chat, triples)))
    output = tmp_path / "two"
    output.mkdir()
    in_two_ranks("tests.training.probe_rank", tiny_chat, file, output=output)
    first, second = (json.loads((output / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second

    _, alone, read = run(tiny_chat, file, tmp_path / "one", ranks=1)
    assert alone.first is not None
    assert first["first"] == asdict(alone.first)
    assert first["last"]["stop"] == alone.stopped
    assert first["last"]["preferred"] < 9
    assert first["last"]["margin"] == pytest.approx(alone.last.margin if alone.last else None, abs=1e-3)
    # The same weights in one process, to the bit.
    found = [np.load(output / f"{rank}.npy") for rank in range(2)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(margins(fused(output / "model0"), read, BATCH_ROWS), found[0])
    # An error of the rank that holds the file is every rank's.
    assert "no look at its start" in first["refused"]
