"""The local executor: its logs say what went wrong, and nothing of the rows."""

import os
import resource
import subprocess
import sys
from pathlib import Path

from tests.e2e.cases import Case, rows_of
from tests.tiny_models import make_tiny_encoder


def test_the_log_of_a_failed_task_has_no_rows_in_it(tmp_path: Path) -> None:
    case = Case(tmp_path, make_tiny_encoder(tmp_path / "encoder"), {"a.jsonl": rows_of(30, 1)})
    case.run()
    size = next(path.stat().st_size for path in (case.work / "embed").rglob("*.arrow") if "input" in str(path))
    case.settings["work_dir"], case.settings["output"] = f"{case.work}2", {"folder": f"{case.output}2"}

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, size - 1))

    ended = subprocess.run(
        [sys.executable, "-m", "sot_filter.cli", "run", str(case.pipeline)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        preexec_fn=small_files,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "expected room to write " in ended.stderr
    logs = b"".join(path.read_bytes() for path in Path(f"{case.work}2", "logs").rglob("*") if path.is_file())
    assert b"Traceback" in logs
    for word in (b"flour", b"yeast", b"seven", b"eight"):
        assert word not in logs, word
