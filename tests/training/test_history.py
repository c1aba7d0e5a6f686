import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sot_filter.errors import ArtifactError
from sot_filter.training.history import SAFETY, TRAINING, UTILITY, History, read_history


def test_a_step_has_one_line_of_a_kind(tmp_path: Path) -> None:
    history = History(tmp_path / "new" / "history.jsonl")
    history.begin(0)
    for _ in range(2):
        history.add(UTILITY, 0, 0.0, 1.5)
        history.add(SAFETY, 0, 0.0, {"margin": math.nan})
        history.add(TRAINING, 1, 0.5, math.inf)
    assert read_history(history.path) == history.records
    assert history.records == [
        {"step": 0, "epoch": 0.0, "utility": 1.5},
        {"step": 0, "epoch": 0.0, "safety": {"margin": None}},
        {"step": 1, "epoch": 0.5, "training": None},
    ]


def test_what_lies_beyond_the_checkpoint_is_cut_and_a_new_run_begins_anew(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.begin(0)
    for step in range(6):
        history.add(UTILITY, step, step / 2, 1.0)
    with history.path.open("a") as handle:
        handle.write('{"step": 6, "epo')
    resumed = History(history.path)
    resumed.begin(4)
    assert [record["step"] for record in read_history(history.path)] == [0, 1, 2, 3, 4]
    resumed.add(UTILITY, 4, 2.0, 1.0)
    resumed.add(UTILITY, 5, 2.5, 1.0)
    assert [record["step"] for record in read_history(history.path)] == [0, 1, 2, 3, 4, 5]
    resumed.begin(0)
    assert history.path.read_bytes() == b""


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"step": 1}', '{"step": 1, "epoch": 0.5}', '{"step": "1", "epoch": 0.5, "utility": 1}']
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(f'{{"step": 0, "epoch": 0.0, "utility": 1.0}}\n{line}\n')
    with pytest.raises(ArtifactError, match=f"in line 2 of {path}"):
        read_history(path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="Make its folder writable"):
        History(tmp_path / "file" / "history.jsonl").begin(0)


def test_a_killed_process_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    code = (
        "import itertools, sys; from pathlib import Path; from sot_filter.training.history import History\n"
        "history = History(Path(sys.argv[1])); history.begin(0)\n"
        "for step in itertools.count(): history.add('utility', step, 0.0, 1.0)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=Path(__file__).resolve().parents[2])
    try:
        deadline = time.monotonic() + 30
        while not (path.exists() and path.stat().st_size > 2_000) and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    steps = [record["step"] for record in read_history(path)]
    assert steps == list(range(len(steps)))
    assert len(steps) > 20
    assert json.loads(path.read_text().splitlines()[0])["step"] == 0
