"""The comparison with the peers runs, and they find what we find; what it times is not judged here."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "solve_speed.py"


def run(*arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("ott", "geomloss")),
    reason="the peers are not installed: pip install -c constraints.txt -e '.[bench]'",
)
def test_quick_comparison_agrees_with_the_peers() -> None:
    printed = run("--quick")
    lines = {line.split(" | ")[0].strip("| ").split(",")[0]: line for line in printed.splitlines() if " | " in line}
    for peer in ("tiled", "ott", "ott-scaling", "pot"):
        agreement, difference, value = re.search(r"\| ([\d.]+), (\S+) \| (\S+) \|$", lines[peer]).groups()
        assert float(agreement) > 0.99999, lines[peer]
        assert float(difference) < 1e-4, lines[peer]
        assert float(value) < 1e-5, lines[peer]
    # The gradient of the sharp cost is another one, and geomloss is still on its way from a large ε.
    assert 0.9 < float(re.search(r"\| ([\d.]+), \S+ \| \S+ \|$", lines["pot-sinkhorn2"])[1]) < 0.999
    assert "left out" not in printed
    assert 0 < int(re.search(r"warm.*\| (\d+) \|$", printed, re.MULTILINE)[1]) <= 20


@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-6), ("bf16", 2e-3)])
def test_device_branch_runs_on_a_cpu(precision: str, limit: float) -> None:
    printed = run(
        "--device", "cpu", "--precision", precision, "--rows", "400", "--references", "50", "--dimension", "32",
        "--repeats", "1",
    )  # fmt: skip
    for name in ("tiled", "cached"):
        assert float(re.search(rf"\| {name} \| \d+% \| (\S+) \|", printed)[1]) < limit
