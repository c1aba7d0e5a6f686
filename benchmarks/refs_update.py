"""What does `sot-filter refs update` save against a run from nothing, and does it give the same columns?

A run is made with a harmful reference that lacks its last rows; then these come and as many of its first rows go. The
update of that run is timed against a run from nothing with the reference as it is then, each the command itself in a
process of its own, from reading the pipeline file to the last word. Both outputs are compared column by column.

Needs a folder with Parquet files of columns prompt and response: the rows, a safe and a harmful reference.

    OMP_NUM_THREADS=1 python benchmarks/refs_update.py --data FOLDER/sub
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

READ = {"format": "prompt_completion", "columns": {"prompt": "prompt", "completion": "response"}}
SAME = ("sot_row_id", "sot_keep", "sot_status", "sot_nearest_safe", "sot_nearest_harmful")
CLOSE = ("sot_score", "sot_weight", "sot_pull", "sot_push")


def timed(*command: str) -> tuple[float, float, str]:
    """Seconds that ``sot-filter`` takes with these arguments, those of the CPU, and what it prints to stdout."""
    started, spent = time.monotonic(), cpu_seconds()
    ended = subprocess.run(
        [sys.executable, "-m", "sot_filter.cli", *command], check=True, text=True, stdout=subprocess.PIPE
    )
    return time.monotonic() - started, cpu_seconds() - spent, ended.stdout


def cpu_seconds() -> float:
    """What all commands so far have spent, which other work on the machine hardly changes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stages(folder: Path) -> str:
    """Where the seconds of a finished run went, as far as it says."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return f"embedding the rows {summary['embedding']['seconds']:.1f} s, solve {summary['solve']['seconds']:.1f} s"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", default="instruct_h10")
    parser.add_argument("--safe", default="instruct_safe_ref")
    parser.add_argument("--harmful", default="harmful_ref_cross")
    parser.add_argument("--change", type=int, default=20, help="rows that come, and rows that go")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every command")
    given = parser.parse_args()
    if not (given.data / f"{given.rows}.parquet").exists():
        sys.exit(f"no {given.rows}.parquet in {given.data}; see --help")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(f"python {' '.join(sys.argv)}   (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')})")
    folder = Path(tempfile.mkdtemp())
    try:
        for name in ("rows", "safe"):
            shutil.copy(given.data / f"{getattr(given, name)}.parquet", folder / f"{name}.parquet")
        table = pq.read_table(given.data / f"{given.harmful}.parquet")
        pq.write_table(table.slice(0, len(table) - given.change), folder / "harmful.parquet")
        settings: dict[str, Any] = {
            "version": 1,
            "name": "update",
            "input": {"files": str(folder / "rows.parquet"), **READ},
            "references": {
                role: {"files": str(folder / f"{role}.parquet"), **READ, "name": role} for role in ("safe", "harmful")
            },
            "output": {"folder": str(folder / "out")},
            "work_dir": str(folder / "work"),
        }
        pipeline = folder / "update.yaml"
        pipeline.write_text(yaml.safe_dump(settings))
        sets = [part for one in given.set for part in ("--set", one)]
        first, first_cpu, _ = timed("run", str(pipeline), *sets)
        print(f"run          {first:7.1f} s, CPU {first_cpu:6.1f} s   {stages(folder / 'out')}")
        pq.write_table(table.slice(given.change), folder / "harmful.parquet")
        update, update_cpu, told = timed("refs", "update", str(pipeline), "--json", *sets)
        change = json.loads(told)
        print(f"refs update  {update:7.1f} s, CPU {update_cpu:6.1f} s   {stages(folder / 'out')}")
        print(f"             embedded {change['embedded']}")
        fresh = ["--set", f"output.folder={folder / 'out2'}", "--set", f"work_dir={folder / 'work2'}"]
        again, again_cpu, _ = timed("run", str(pipeline), *sets, *fresh)
        print(f"from nothing {again:7.1f} s, CPU {again_cpu:6.1f} s   {stages(folder / 'out2')}")
        print(f"the update takes {update / again:.1%} of that time, {update_cpu / again_cpu:.1%} of the CPU's")
        print(f"of {change['rows']:,} rows {change['fell']['rows']} fell and {change['rose']['rows']} rose")
        found, expected = (pq.read_table(folder / out / "rows.parquet") for out in ("out", "out2"))
        for name in SAME:
            other = (found[name].to_numpy() != expected[name].to_numpy()).sum()
            print(f"{name:20} differs in {other} rows")
        for name in CLOSE:
            gap = np.abs(found[name].to_numpy() - expected[name].to_numpy()).max()
            print(f"{name:20} differs by {gap:.1e} at most")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
