"""The product's filter on a fine-tuning set: `sot-filter run` as anybody would start it, and what it leaves."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from numpy.typing import NDArray

from sot_filter.artifacts import matrix, read_table
from sot_filter.config import load_pipeline
from sot_filter.errors import SolverError
from sot_filter.planning import make_plan
from sot_filter.transport import fit_geometry

Views = dict[str, torch.Tensor]
_ROLES: Final = ("input", "safe", "harmful")


def run_filter(
    folder: Path, work: Path, texts: Mapping[str, Path], embed: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Run a pipeline in a process of its own, and measure it.

    Args:
        folder: where pipeline file and output go.
        work: the work folder, which runs on the same rows with the same embedding share: a row is embedded once.
        texts: files of input, safe and harmful reference.
        embed: settings of the embedding.
        settings: other top-level settings of the pipeline, as solve and select.

    Returns:
        Where the output is, how long it took and how much memory at most.

    Raises:
        SolverError: the command failed.
    """
    pipeline = {
        "name": folder.name,
        "input": {"files": str(texts["input"])},
        "references": {role: {"files": str(texts[role]), "format": "prompt_completion"} for role in _ROLES[1:]},
        "embed": {**embed, "threads": 1},
        **settings,
        "solve": {**settings.get("solve", {}), "threads": 1},
        "output": {"folder": str(folder / "out")},
        "work_dir": str(work),
    }
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(pipeline, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "sot_filter.cli", "run", str(file), "--redo", "--json"]
    began = time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SolverError("a run of the filter", f"exit code {process.returncode}", f"Read {folder / 'log.txt'}.")
    summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    return {
        "output": str(folder / "out"),
        "seconds": round(time.perf_counter() - began, 2),
        "memory": used.ru_maxrss * 1024,
        "solver": summary["mode"]["solver"],
        "problem": summary["problem"],
    }


def columns(output: str, *names: str) -> list[NDArray[Any]]:
    """Columns of an output, in row order."""
    [file] = sorted(Path(output).glob("*.parquet")) or sorted(Path(output).glob("*.jsonl"))
    if file.suffix == ".parquet":
        table = pq.read_table(file, columns=list(names))
        return [np.asarray(table[name].to_pylist()) for name in names]
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    return [np.asarray([row[name] for row in rows]) for name in names]


def points(folder: Path, centred: bool = True) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Unit vectors of rows, safe and harmful reference, as a finished run's solve sees them if it centres them."""
    plan = make_plan(load_pipeline(str(folder / "pipeline.yaml"), []))
    views: dict[str, Views] = {}
    for role, source in plan.sources.items():
        tables = [
            read_table(plan.layout.embeddings(role, source, part), plan.keys["embed"])
            for part in source.parts(plan.part_rows)
        ]
        views[role] = {
            view: torch.from_numpy(
                np.concatenate([matrix(table[f"view:{view}"]).astype(np.float32) for table in tables])
            )
            for view in plan.config.embed.views
        }
    geometry = fit_geometry(views["safe"], views["harmful"], plan.view_weights, centred)
    rows, safe, harmful = (geometry.points(views[role]).numpy() for role in _ROLES)
    return rows, safe, harmful


def embedding_seconds(folder: Path, since: float = 0.0) -> float:
    """Seconds that a run's embeddings took, whichever run made them; only of those finished after a time, if given."""
    plan, seconds = make_plan(load_pipeline(str(folder / "pipeline.yaml"), [])), 0.0
    for role, source in plan.sources.items():
        for part in source.parts(plan.part_rows):
            manifest = Path(f"{plan.layout.embeddings(role, source, part)}.json")
            if manifest.stat().st_mtime >= since:
                seconds += json.loads(manifest.read_text(encoding="utf-8"))["facts"]["seconds"]
    return round(seconds, 2)
